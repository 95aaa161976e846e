//! Bytes of header fields: white space, folding, comma lists, tokens (RFC 3261 §25.1).

use std::borrow::Cow;

/// Linear white space: what may stand around separators, folds included.
pub(crate) const fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Without the linear white space around it.
#[must_use]
pub fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

/// `token` of RFC 3261 §25.1, at least one character.
#[must_use]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && token_len(bytes) == bytes.len()
}

/// How many bytes at the start could be of a token.
pub(crate) fn token_len(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&byte| !TOKEN[byte as usize])
        .unwrap_or(bytes.len())
}

/// Looked up for nearly every byte of a message, hence a table.
const TOKEN: [bool; 256] = token_bytes();

const fn token_bytes() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
            );
        byte += 1;
    }
    table
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

pub(crate) fn trim_start(mut bytes: &[u8]) -> &[u8] {
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

/// Splits text at the first `separator`, an ASCII byte that is near: a search by vectors would take longer to begin.
pub(crate) fn cut(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|byte| byte == separator)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// In decimal; the formatter takes ten times as long.
pub(crate) fn push_number(text: &mut String, number: u32) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

/// Where `wanted` first stands outside of quoted strings and angle brackets.
pub(crate) fn find_outside(value: &[u8], wanted: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr3(wanted, b'"', b'<', value.get(at..)?)?;
        at = match *value.get(at)? {
            found if found == wanted => return Some(at),
            b'"' => quote_end(value, at + 1)?,
            _ => at + 1 + memchr::memchr(b'>', value.get(at..)?)?,
        };
    }
}

/// After the quote that closes the string whose content begins at `at`.
fn quote_end(value: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', value.get(at..)?)?;
        match value.get(at)? {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
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
            let comma = if self.is_list {
                find_outside(rest, b',')
            } else {
                None
            };
            self.rest = comma.and_then(|comma| rest.get(comma + 1..));
            let value = trim(comma.and_then(|comma| rest.get(..comma)).unwrap_or(rest));
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
