//! Escapes in URIs (RFC 3261 §19.1.2).

use std::borrow::Cow;

/// Resolves `%hh`; anything that is not an escape stays. Borrows what has none.
#[must_use]
pub fn unescape(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if memchr::memchr(b'%', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                plain.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            _ => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    Cow::Owned(plain)
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        letter => letter.to_ascii_lowercase() - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_escape_stays() {
        for (text, plain) in [
            ("%61l%20ice", &b"al ice"[..]),
            ("alice", b"alice"),
            ("%%4a%4", b"%J%4"),
            ("%fF%g0", b"\xff%g0"),
        ] {
            assert_eq!(*unescape(text), *plain, "{text}");
        }
    }
}
