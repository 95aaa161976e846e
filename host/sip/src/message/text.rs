//! Bytes of header fields: white space, folding, comma lists, tokens (RFC 3261 §25.1).

use std::borrow::Cow;

/// Linear white space: what may stand around separators, folds included.
pub(crate) const fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Without the linear white space around it.
#[must_use]
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_lws(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_lws(*last)
    {
        bytes = rest;
    }
    bytes
}

/// `token` of RFC 3261 §25.1, at least one character.
#[must_use]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
        )
}

/// Joins folded lines with one space each (RFC 3261 §7.3.1); borrows what has none.
#[must_use]
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'\r', b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut joined = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(fold) = memchr::memchr2(b'\r', b'\n', rest) {
        let (before, after) = rest.split_at(fold);
        joined.extend_from_slice(trim_end(before));
        joined.push(b' ');
        rest = trim_start(after);
    }
    joined.extend_from_slice(rest);
    Cow::Owned(joined)
}

fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_lws(*first)
    {
        bytes = rest;
    }
    bytes
}

fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., last] = bytes
        && is_lws(*last)
    {
        bytes = rest;
    }
    bytes
}

/// Splits at the first `separator` outside of quoted strings and angle brackets; the rest begins after it.
pub(crate) fn split_once(value: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match find_outside(value, separator) {
        Some(at) => (&value[..at], Some(&value[at + 1..])),
        None => (value, None),
    }
}

/// Where `wanted` first stands outside of quoted strings and angle brackets.
pub(crate) fn find_outside(value: &[u8], wanted: u8) -> Option<usize> {
    let (mut quoted, mut angle, mut escaped) = (false, false, false);
    for (at, &byte) in value.iter().enumerate() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
        } else if angle {
            angle = byte != b'>';
        } else if byte == wanted {
            return Some(at);
        } else {
            quoted = byte == b'"';
            angle = byte == b'<';
        }
    }
    None
}

/// The values of one header field: split at commas where its grammar is a list, trimmed. Empty values are passed over.
#[derive(Clone, Debug)]
pub(crate) struct Split<'a> {
    rest: Option<&'a [u8]>,
    is_list: bool,
}

impl<'a> Split<'a> {
    pub(crate) fn new(value: &'a [u8], is_list: bool) -> Self {
        Self {
            rest: Some(value),
            is_list,
        }
    }

    /// What has not been given out yet.
    pub(crate) fn rest(&self) -> Option<&'a [u8]> {
        self.rest
    }
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while let Some(rest) = self.rest.take() {
            let (value, after) = if self.is_list {
                split_once(rest, b',')
            } else {
                (rest, None)
            };
            self.rest = after;
            let value = trim(value);
            if !value.is_empty() || !self.is_list {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(value: &str) -> Vec<&str> {
        Split::new(value.as_bytes(), true)
            .map(|v| std::str::from_utf8(v).unwrap())
            .collect()
    }

    #[test]
    fn commas_in_quotes_and_angle_brackets_do_not_split() {
        assert_eq!(
            split(r#""Doe, J \" ,x" <sip:a,b@h>;q=1 ,, <sip:c@h>, "#),
            [r#""Doe, J \" ,x" <sip:a,b@h>;q=1"#, "<sip:c@h>"]
        );
        assert_eq!(split("\"never closed, <a>"), ["\"never closed, <a>"]);
        assert_eq!(split(""), [""; 0]);
    }

    #[test]
    fn folds_become_one_space() {
        assert_eq!(*unfold(b"a \r\n\t b\r\n c"), *b"a b c");
        assert!(matches!(unfold(b"a b"), Cow::Borrowed(_)));
    }

    #[test]
    fn tokens() {
        assert!(is_token(b"x-y.!%*_+`'~9"));
        assert!(!is_token(b""));
        assert!(!is_token(b"a b"));
        assert!(!is_token(b"a:b"));
    }
}
