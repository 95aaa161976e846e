//! The called number within a Request-URI: read without its visual separators, and replaced where it stands.

use std::ops::Range;

use hookswitch_sdk::uri;

/// A number and where it stands in its URI.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Called {
    /// `+`, digits, `*` and `#` alone.
    pub(crate) number: String,
    place: Range<usize>,
}

impl Called {
    /// The number that this URI calls; `None` if its user is no number. Parameters of the user part, such as `phone-context`, are no
    /// part of it.
    pub(crate) fn of(request_uri: &str) -> Option<Self> {
        let user = uri::user(request_uri)?;
        let written = user.split(';').next()?;
        let start = request_uri.find(':')? + 1;
        Some(Self {
            number: normalise(written)?,
            place: start..start + written.len(),
        })
    }

    /// The URI with another number in the place of this one.
    pub(crate) fn replaced(&self, request_uri: &str, number: &str) -> String {
        let mut uri = request_uri.to_owned();
        // RFC 3261 §25.1: `#` stands in no user part unescaped.
        uri.replace_range(self.place.clone(), &number.replace('#', "%23"));
        uri
    }
}

/// Without visual separators (RFC 3966 §5.1.1) and escapes of `+`, `*` and `#`; `None` if it is no number then.
pub(crate) fn normalise(written: &str) -> Option<String> {
    let mut number = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(next) = rest.chars().next() {
        let (read, length) = match next {
            '%' => (unescape(rest.get(1..3)?)?, 3),
            _ => (next, next.len_utf8()),
        };
        match read {
            '0'..='9' | '*' | '#' => number.push(read),
            '+' if number.is_empty() => number.push('+'),
            '-' | '.' | '(' | ')' => {}
            _ => return None,
        }
        rest = rest.get(length..)?;
    }
    number.contains(|c: char| c != '+').then_some(number)
}

fn unescape(hex: &str) -> Option<char> {
    u8::from_str_radix(hex, 16).ok().map(char::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn numbers_in_uris() {
        let cases = [
            ("sip:+49-30-12.34@h", Some("+49301234".into())),
            (
                "sip:(030)1234;phone-context=+49@h;user=phone",
                Some("0301234".into()),
            ),
            ("tel:+49-(30)-1;ext=2", Some("+49301".into())),
            ("sip:*21%23@h", Some("*21#".into())),
            ("sip:21%2b@h", None),
            ("sip:%2b49%2A%23@h", Some("+49*#".into())),
            ("sip:alice@h", None),
            ("sip:+@h", None),
            ("sip:@h", None),
            ("sip:12%2@h", None),
            ("sip:12é@h", None),
            ("sip:h", None),
            ("urn:service:sos", None),
        ];
        for (uri, number) in cases {
            assert_eq!(Called::of(uri).map(|called| called.number), number, "{uri}");
        }
    }

    #[test]
    fn replaced_in_place() {
        let replaced = |uri: &str, number: &str| Called::of(uri).unwrap().replaced(uri, number);
        assert_eq!(
            replaced("SIP:+49-1;x=y:pw@h:5062;user=phone", "00491#"),
            "SIP:00491%23;x=y:pw@h:5062;user=phone"
        );
        assert_eq!(replaced("tel:+49-1;ext=2", "1"), "tel:1;ext=2");
    }
}
