//! Parameters: `;name=value;flag` of header fields and URIs (RFC 3261 §7.3.1, §19.1.1).

use std::borrow::Cow;

use crate::message::text::{cut, find_outside, trim as trim_bytes, trim_start};

/// Parameters in order. Names compare without case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// Of what follows the first semicolon.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// As written, without the first semicolon.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The value of the first parameter of this name, as written (a quoted string with its quotes, see [`unquote`]); empty for a flag.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.find(name).map(|value| value.unwrap_or(""))
    }

    /// Is there a parameter of this name, with or without a value?
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The first parameter of this name: its value, or `Some(None)` for a flag.
    #[must_use]
    pub fn find(self, name: &str) -> Option<Option<&'a str>> {
        self.iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Names and values in order. Parameters without a name are passed over.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + Clone {
        let mut rest = Some(self.0);
        std::iter::from_fn(move || {
            while let Some(text) = rest.take() {
                let (param, after) = split_once(text, b';');
                rest = after;
                let (name, value) =
                    cut(param, b'=').map_or((param, None), |(name, value)| (name, Some(value)));
                let name = trim(name);
                if !name.is_empty() {
                    return Some((name, value.map(trim)));
                }
            }
            None
        })
    }
}

/// The content of a quoted string, its escapes resolved; any other text as it is.
#[must_use]
pub fn unquote(value: &str) -> Cow<'_, str> {
    let Some(inner) = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
    else {
        return Cow::Borrowed(value);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        plain.extend(if char == '\\' {
            chars.next()
        } else {
            Some(char)
        });
    }
    Cow::Owned(plain)
}

/// Without the linear white space around it.
pub(super) fn trim(text: &str) -> &str {
    let start = text.len() - trim_start(text.as_bytes()).len();
    text.get(start..start + trim_bytes(text.as_bytes()).len())
        .unwrap_or_default()
}

/// Splits at the first `separator` outside of quoted strings.
pub(super) fn split_once(text: &str, separator: u8) -> (&str, Option<&str>) {
    match find_outside(text.as_bytes(), separator) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_without_case_and_quotes_hide_separators() {
        let params = Params::new("Tag=a;lr;; x = \"q;\\\"=y\" ; \r\n z=1=2");
        assert_eq!(params.get("tag"), Some("a"));
        assert_eq!(params.find("LR"), Some(None));
        assert_eq!(params.get("x").map(unquote).as_deref(), Some("q;\"=y"));
        assert_eq!(params.get("z"), Some("1=2"));
        assert_eq!(params.get("y"), None);
        assert_eq!(params.iter().count(), 4);
    }
}
