//! Bencode: the notation of rtpengine's control protocol. Strings are bytes, keys of a dictionary stay in the order that they came in.

/// Lists and dictionaries within one another.
pub const DEPTH_MAX: usize = 16;
/// Integers, strings, lists and dictionaries of one message together.
pub const VALUES_MAX: usize = 16_384;

/// A value; strings are borrowed from the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'b> {
    /// `i42e`
    Integer(i64),
    /// `4:spam`
    Text(&'b [u8]),
    /// `l…e`
    List(Vec<Value<'b>>),
    /// `d…e`: pairs of a string and a value.
    Dictionary(Vec<(&'b [u8], Value<'b>)>),
}

/// Why bytes are not bencode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BencodeError {
    /// They end in the middle of a value.
    #[error("cut short")]
    Short,
    /// What begins a value begins none.
    #[error("not bencode")]
    Malformed,
    /// More than [`DEPTH_MAX`] or [`VALUES_MAX`].
    #[error("too deep or too many values")]
    TooLarge,
    /// Something stands behind the value.
    #[error("more than one value")]
    Rest,
}

impl<'b> Value<'b> {
    /// Reads the one value that `bytes` are.
    ///
    /// # Errors
    /// [`BencodeError`]
    pub fn decode(bytes: &'b [u8]) -> Result<Self, BencodeError> {
        let mut reader = Reader {
            rest: bytes,
            values_left: VALUES_MAX,
        };
        let value = reader.value(DEPTH_MAX)?;
        if reader.rest.is_empty() {
            Ok(value)
        } else {
            Err(BencodeError::Rest)
        }
    }

    /// Appends it to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Integer(number) => out.extend(format!("i{number}e").bytes()),
            Self::Text(text) => encode_text(text, out),
            Self::List(values) => {
                out.push(b'l');
                values.iter().for_each(|value| value.encode(out));
                out.push(b'e');
            }
            Self::Dictionary(pairs) => {
                out.push(b'd');
                for (key, value) in pairs {
                    encode_text(key, out);
                    value.encode(out);
                }
                out.push(b'e');
            }
        }
    }

    /// The first value of a key, of a dictionary.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dictionary(pairs) => {
                let found = pairs.iter().find(|(name, _)| *name == key.as_bytes());
                found.map(|(_, value)| value)
            }
            Self::Integer(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// Its pairs, of a dictionary.
    pub fn pairs(&self) -> impl Iterator<Item = &(&'b [u8], Self)> {
        let pairs = match self {
            Self::Dictionary(pairs) => pairs.as_slice(),
            Self::Integer(_) | Self::Text(_) | Self::List(_) => &[],
        };
        pairs.iter()
    }

    /// Its bytes, of a string.
    #[must_use]
    pub fn text(&self) -> Option<&'b [u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Integer(_) | Self::List(_) | Self::Dictionary(_) => None,
        }
    }

    /// Its number, of an integer.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Text(_) | Self::List(_) | Self::Dictionary(_) => None,
        }
    }
}

fn encode_text(text: &[u8], out: &mut Vec<u8>) {
    out.extend(text.len().to_string().bytes());
    out.push(b':');
    out.extend_from_slice(text);
}

struct Reader<'b> {
    rest: &'b [u8],
    values_left: usize,
}

impl<'b> Reader<'b> {
    fn value(&mut self, depth_left: usize) -> Result<Value<'b>, BencodeError> {
        self.values_left = self
            .values_left
            .checked_sub(1)
            .ok_or(BencodeError::TooLarge)?;
        match self.rest.first().ok_or(BencodeError::Short)? {
            b'i' => {
                self.skip();
                self.number(b'e').map(Value::Integer)
            }
            b'0'..=b'9' => self.text().map(Value::Text),
            b'l' => {
                let mut values = Vec::new();
                self.each(depth_left, |reader, depth_left| {
                    values.push(reader.value(depth_left)?);
                    Ok(())
                })?;
                Ok(Value::List(values))
            }
            b'd' => {
                let mut pairs = Vec::new();
                self.each(depth_left, |reader, depth_left| {
                    pairs.push((reader.text()?, reader.value(depth_left)?));
                    Ok(())
                })?;
                Ok(Value::Dictionary(pairs))
            }
            _ => Err(BencodeError::Malformed),
        }
    }

    /// From the letter that begins a list or a dictionary to the `e` that ends it.
    fn each(
        &mut self,
        depth_left: usize,
        mut item: impl FnMut(&mut Self, usize) -> Result<(), BencodeError>,
    ) -> Result<(), BencodeError> {
        let depth_left = depth_left.checked_sub(1).ok_or(BencodeError::TooLarge)?;
        self.skip();
        while *self.rest.first().ok_or(BencodeError::Short)? != b'e' {
            item(self, depth_left)?;
        }
        self.skip();
        Ok(())
    }

    fn text(&mut self) -> Result<&'b [u8], BencodeError> {
        let length = self.number(b':')?;
        let length = usize::try_from(length).map_err(|_| BencodeError::Malformed)?;
        let (text, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(BencodeError::Short)?;
        self.rest = rest;
        Ok(text)
    }

    fn number(&mut self, end: u8) -> Result<i64, BencodeError> {
        let length = self.rest.iter().position(|byte| *byte == end);
        let (digits, rest) = self
            .rest
            .split_at_checked(length.ok_or(BencodeError::Short)?)
            .ok_or(BencodeError::Short)?;
        self.rest = rest;
        self.skip();
        let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
        let digits = str::from_utf8(digits).ok();
        let digits = digits.filter(|digits| digits.as_bytes().iter().all(is_number));
        digits
            .and_then(|digits| digits.parse().ok())
            .ok_or(BencodeError::Malformed)
    }

    fn skip(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value<'_> {
        Value::Text(text.as_bytes())
    }

    #[test]
    fn every_kind_is_read_and_written() {
        let bytes = b"d4:listli1ei-2e0:e6:nestedd1:a1:bee";
        let nested = Value::Dictionary(vec![(b"a", text("b"))]);
        let list = Value::List(vec![Value::Integer(1), Value::Integer(-2), text("")]);
        let value = Value::Dictionary(vec![(b"list", list), (b"nested", nested)]);
        assert_eq!(Value::decode(bytes), Ok(value.clone()));
        let mut out = Vec::new();
        value.encode(&mut out);
        assert_eq!(out, bytes);
        let b = value.get("nested").and_then(|nested| nested.get("a"));
        assert_eq!(b.and_then(Value::text), Some(&b"b"[..]));
        assert_eq!(value.get("a"), None);
    }

    #[test]
    fn what_is_not_bencode_is_refused() {
        for (bytes, error) in [
            (&b""[..], BencodeError::Short),
            (b"i42", BencodeError::Short),
            (b"5:spam", BencodeError::Short),
            (b"l1:a", BencodeError::Short),
            (b"d1:ae", BencodeError::Malformed),
            (b"di1e1:ae", BencodeError::Malformed),
            (b"i4 2e", BencodeError::Malformed),
            (b"i+4e", BencodeError::Malformed),
            (b"i99999999999999999999e", BencodeError::Malformed),
            (b"99999999999999999999:a", BencodeError::Malformed),
            (b"x", BencodeError::Malformed),
            (b"i1ei2e", BencodeError::Rest),
        ] {
            assert_eq!(Value::decode(bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn depth_and_number_are_limited() {
        let nested = |depth: usize| [b"l".repeat(depth), b"e".repeat(depth)].concat();
        assert!(Value::decode(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(
            Value::decode(&nested(DEPTH_MAX + 1)),
            Err(BencodeError::TooLarge)
        );
        let many = [b"l".to_vec(), b"0:".repeat(VALUES_MAX), b"e".to_vec()].concat();
        assert_eq!(Value::decode(&many), Err(BencodeError::TooLarge));
    }
}
