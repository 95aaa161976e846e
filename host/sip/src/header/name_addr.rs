//! Addresses: From, To, Contact, Route, Record-Route, Path, Refer-To … (RFC 3261 §20.10, §25.1).

use std::borrow::Cow;

use super::{
    ViewError,
    params::{Params, unquote},
    text,
};
use crate::{
    message::text::{find_outside, is_lws, trim as trim_bytes},
    uri::Uri,
};

/// `"Name" <uri>;params`, `Name <uri>;params`, `<uri>;params` or `uri;params`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// As written, a quoted string with its quotes; empty if there is none. Need not be UTF-8.
    pub display_name: &'a [u8],
    /// As written, without angle brackets; a URI of some scheme, see [`NameAddr::parsed_uri`].
    pub uri: &'a str,
    /// Of the header field, not of the URI.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads one value. In the form without angle brackets all parameters are the field's (RFC 3261 §20).
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn parse(value: &'a [u8]) -> Result<Self, ViewError> {
        let address = Self::split(value)?;
        address.parsed_uri()?;
        Ok(address)
    }

    /// As [`NameAddr::parse`], for whoever wants the parameters alone: the URI may be anything.
    pub(crate) fn split(value: &'a [u8]) -> Result<Self, ViewError> {
        let value = trim_bytes(value);
        let (display_name, uri, rest) = match find_angle(value) {
            Some(open) => {
                let (name, bracketed) = value.split_at(open);
                let bracketed = bracketed.get(1..).unwrap_or_default();
                let close = memchr::memchr(b'>', bracketed).ok_or(ViewError("address"))?;
                let (uri, rest) = bracketed.split_at(close);
                (
                    trim_bytes(name),
                    uri,
                    trim_bytes(rest.get(1..).unwrap_or_default()),
                )
            }
            None => {
                let end = value
                    .iter()
                    .position(|&byte| byte == b';' || is_lws(byte))
                    .unwrap_or(value.len());
                let (uri, rest) = value.split_at(end);
                if memchr::memchr(b'?', uri).is_some() || memchr::memchr(b',', uri).is_some() {
                    return Err(ViewError("address"));
                }
                (&b""[..], uri, trim_bytes(rest))
            }
        };
        let params = match text(rest, "parameters")? {
            "" => "",
            rest => rest.strip_prefix(';').ok_or(ViewError("parameters"))?,
        };
        let uri = text(uri, "URI")?;
        Ok(Self {
            display_name,
            uri,
            params: Params::new(params),
        })
    }

    /// The URI's view.
    ///
    /// # Errors
    /// None for a view that [`NameAddr::parse`] made, which has checked it.
    pub fn parsed_uri(&self) -> Result<Uri<'a>, ViewError> {
        Uri::parse(self.uri).map_err(|_| ViewError("URI"))
    }

    /// The display name without quotes and escapes, if there is one; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn display(&self) -> Option<Cow<'a, str>> {
        if self.display_name.is_empty() {
            return None;
        }
        Some(match String::from_utf8_lossy(self.display_name) {
            Cow::Borrowed(name) => unquote(name),
            Cow::Owned(name) => Cow::Owned(unquote(&name).into_owned()),
        })
    }

    /// The `tag` of From and To.
    #[must_use]
    pub fn tag(&self) -> Option<&'a str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }

    /// The `q` of a contact in thousandths, 0 to 1000 (RFC 3261 §20.10); `None` also if it is malformed.
    #[must_use]
    pub fn q(&self) -> Option<u16> {
        let q = self.params.get("q")?;
        let (whole, fraction) = q.split_once('.').unwrap_or((q, ""));
        if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let thousandths = format!("{fraction:0<3}").parse().ok()?;
        match (whole, thousandths) {
            ("0", thousandths) => Some(thousandths),
            ("1", 0) => Some(1000),
            (_, _) => None,
        }
    }

    /// The `expires` of a contact in seconds; `None` also if it is malformed. Values beyond 2^32-1 count as that.
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        let digits = self.params.get("expires")?;
        let well_formed = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        well_formed.then(|| digits.parse().unwrap_or(u32::MAX))
    }

    /// `+sip.instance` of a contact without quotes and angle brackets: an instance's URN (RFC 5626 §4.1).
    #[must_use]
    pub fn instance(&self) -> Option<&'a str> {
        let value = self.params.get("+sip.instance")?.trim_matches('"');
        value.strip_prefix('<')?.strip_suffix('>')
    }

    /// `reg-id` of a contact (RFC 5626 §4.2).
    #[must_use]
    pub fn reg_id(&self) -> Option<u32> {
        self.params.get("reg-id")?.parse().ok().filter(|&id| id > 0)
    }
}

/// One value of Contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact<'a> {
    /// `*`: all of them, in a REGISTER that removes.
    Star,
    /// An address.
    Address(NameAddr<'a>),
}

impl<'a> Contact<'a> {
    /// Reads one value.
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn parse(value: &'a [u8]) -> Result<Self, ViewError> {
        match trim_bytes(value) {
            b"*" => Ok(Self::Star),
            value => NameAddr::parse(value).map(Self::Address),
        }
    }
}

/// Where the angle bracket of a name-addr opens: outside of quotes, and before any parameter.
fn find_angle(value: &[u8]) -> Option<usize> {
    if let [b'<', ..] = value {
        return Some(0);
    }
    // `find_outside` returns `wanted` before it takes it for a bracket.
    let open = find_outside(value, b'<')?;
    let before = value.get(..open)?;
    let is_parameter = find_outside(before, b';').is_some();
    (!is_parameter).then_some(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_an_address() {
        let parse = |value: &'static str| NameAddr::parse(value.as_bytes()).unwrap();
        let quoted = parse("\"A. \\\"G <b>;\" <sip:a@h;lr?x=y>;tag=1 ; foo");
        assert_eq!(quoted.display().as_deref(), Some("A. \"G <b>;"));
        assert_eq!((quoted.uri, quoted.tag()), ("sip:a@h;lr?x=y", Some("1")));
        assert!(quoted.params.has("FOO"));
        let tokens = parse("Anna  Lena\r\n <tel:+49>");
        assert_eq!(
            (tokens.display_name, tokens.uri, tokens.tag()),
            (&b"Anna  Lena"[..], "tel:+49", None)
        );
        let bare = parse("sip:a@h ;tag=x");
        assert_eq!(
            (bare.display(), bare.uri, bare.tag()),
            (None, "sip:a@h", Some("x"))
        );
        let bare =
            parse("sip:a@h;+sip.instance=\"<urn:uuid:1>\";reg-id=2;q=0.25;expires=99999999999");
        assert_eq!(
            (bare.uri, bare.instance(), bare.reg_id()),
            ("sip:a@h", Some("urn:uuid:1"), Some(2))
        );
        assert_eq!((bare.q(), bare.expires()), (Some(250), Some(u32::MAX)));
    }

    #[test]
    fn what_is_no_address() {
        for wrong in [
            "",
            "*",
            "<sip:a@h",
            "<>",
            "sip:a@h?x=y",
            "\"x\" sip:a@h",
            "<sip:a@h> tag=1",
            "a b",
            "\"x <sip:a@h>",
        ] {
            assert!(NameAddr::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert_eq!(Contact::parse(b" * "), Ok(Contact::Star));
    }

    #[test]
    fn display_names_need_not_be_utf8() {
        let address = NameAddr::parse(b"\"M\xfcller\" <sip:m@h>").unwrap();
        assert_eq!(address.display_name, b"\"M\xfcller\"");
        assert_eq!(address.display().as_deref(), Some("M\u{fffd}ller"));
    }

    #[test]
    fn q_values() {
        let q = |q: &str| {
            NameAddr::parse(format!("<sip:h>;q={q}").as_bytes())
                .unwrap()
                .q()
        };
        assert_eq!(
            [q("1"), q("1.0"), q("0.5"), q("0"), q("0.")],
            [Some(1000), Some(1000), Some(500), Some(0), Some(0)]
        );
        assert_eq!([q("1.5"), q("2"), q("0.1234"), q("x"), q("-1")], [None; 5]);
    }
}
