//! URIs (RFC 3261 §19.1, RFC 3966, RFC 8141): views that leave the text as it is.
//!
//! Only sip and sips are taken apart; every other absolute URI is a scheme and the rest. Escapes are kept, and resolved
//! where a user is looked up.

mod escape;
pub(crate) mod host;

use std::fmt;

pub use self::{escape::unescape, host::Host};
use crate::{header::Params, message::text::cut};

/// Not a URI; says which part is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct UriError(pub &'static str);

/// An absolute URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uri<'a> {
    /// sip and sips.
    Sip(SipUri<'a>),
    /// tel (RFC 3966).
    Tel(TelUri<'a>),
    /// urn and all others.
    Other(OpaqueUri<'a>),
}

/// The two schemes of SIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`, over TLS on every hop.
    Sips,
}

/// `sip:user:password@host:port;params?headers`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipUri<'a> {
    /// sip or sips.
    pub scheme: Scheme,
    /// With its escapes; may hold parameters of its own, as telephone-subscribers do.
    pub user: Option<&'a str>,
    /// With its escapes.
    pub password: Option<&'a str>,
    /// The host.
    pub host: Host<'a>,
    /// The port, if written.
    pub port: Option<u16>,
    /// URI parameters.
    pub params: Params<'a>,
    /// After the question mark.
    pub headers: Option<&'a str>,
}

/// `tel:number;params`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelUri<'a> {
    /// With its visual separators.
    pub number: &'a str,
    /// `phone-context`, `ext`, …
    pub params: Params<'a>,
}

/// A URI of another scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpaqueUri<'a> {
    /// As written, without the colon.
    pub scheme: &'a str,
    /// After the colon, not empty.
    pub rest: &'a str,
}

impl<'a> Uri<'a> {
    /// Reads an absolute URI, without angle brackets.
    ///
    /// # Errors
    /// [`UriError`].
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        let (scheme, rest) = cut(text, b':').ok_or(UriError("scheme"))?;
        if let Some(scheme) = Scheme::named(scheme).filter(|_| !rest.is_empty()) {
            return SipUri::parse(scheme, rest).map(Self::Sip);
        }
        if !is_scheme(scheme) {
            Err(UriError("scheme"))
        } else if rest.is_empty() || rest.bytes().any(|byte| is_class(byte, Class::Forbidden)) {
            Err(UriError("URI"))
        } else if scheme.eq_ignore_ascii_case("tel") {
            let (number, params) = cut(rest, b';').unwrap_or((rest, ""));
            if number.is_empty() {
                return Err(UriError("number"));
            }
            Ok(Self::Tel(TelUri {
                number,
                params: Params::new(params),
            }))
        } else {
            Ok(Self::Other(OpaqueUri { scheme, rest }))
        }
    }

    /// The view of a sip or sips URI.
    #[must_use]
    pub fn as_sip(self) -> Option<SipUri<'a>> {
        match self {
            Self::Sip(uri) => Some(uri),
            Self::Tel(_) | Self::Other(_) => None,
        }
    }
}

impl Scheme {
    /// Of a URI that was read before, and so need not be taken apart; `None` if it is another scheme's.
    pub(crate) fn of(uri: &str) -> Option<Self> {
        cut(uri, b':').and_then(|(scheme, _)| Self::named(scheme))
    }

    fn named(scheme: &str) -> Option<Self> {
        if scheme.eq_ignore_ascii_case("sip") {
            Some(Self::Sip)
        } else if scheme.eq_ignore_ascii_case("sips") {
            Some(Self::Sips)
        } else {
            None
        }
    }
}

impl<'a> SipUri<'a> {
    /// Reads a sip or sips URI; `None` if it is of another scheme or malformed.
    #[must_use]
    pub fn from_text(text: &'a str) -> Option<Self> {
        Uri::parse(text).ok()?.as_sip()
    }

    fn parse(scheme: Scheme, rest: &'a str) -> Result<Self, UriError> {
        let Marks {
            at,
            colon,
            semicolon,
            question,
        } = Marks::of(rest)?;
        let (user, password, begin) = match (at, colon) {
            (Some(at), Some(colon)) => (rest.get(..colon), rest.get(colon + 1..at), at + 1),
            (Some(at), None) => (rest.get(..at), None, at + 1),
            (None, _) => (None, None, 0),
        };
        if user == Some("") {
            return Err(UriError("user"));
        }
        let end = question.unwrap_or(rest.len());
        let headers = question.and_then(|question| rest.get(question + 1..));
        let params = semicolon.and_then(|semicolon| rest.get(semicolon + 1..end));
        let hostport = rest.get(begin..semicolon.unwrap_or(end));
        let (host, port) = host::split_port(hostport.unwrap_or_default())?;
        Ok(Self {
            scheme,
            user,
            password,
            host: Host::parse(host)?,
            port,
            params: Params::new(params.unwrap_or_default()),
            headers,
        })
    }

    /// The `transport` parameter.
    #[must_use]
    pub fn transport(&self) -> Option<&'a str> {
        self.params.get("transport")
    }

    /// The `lr` parameter: a loose router (RFC 3261 §16.12).
    #[must_use]
    pub fn is_loose_router(&self) -> bool {
        self.params.has("lr")
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sip => "sip",
            Self::Sips => "sips",
        })
    }
}

/// Where the parts of a sip URI meet, found in one pass: messages are full of them.
#[derive(Default)]
struct Marks {
    /// After the user.
    at: Option<usize>,
    /// Between user and password.
    colon: Option<usize>,
    /// Before the parameters.
    semicolon: Option<usize>,
    /// Before the headers.
    question: Option<usize>,
}

impl Marks {
    /// `@` has to be escaped everywhere but after the user, and `?` and `;` may stand in the user unescaped.
    fn of(rest: &str) -> Result<Self, UriError> {
        let mut marks = Self::default();
        for (index, byte) in rest.bytes().enumerate() {
            match CLASSES[byte as usize] {
                Class::Plain => {}
                Class::Forbidden => return Err(UriError("URI")),
                Class::Separator => marks.note(index, byte),
            }
        }
        Ok(marks)
    }

    fn note(&mut self, index: usize, byte: u8) {
        let in_host = self.question.is_none();
        match byte {
            b'@' if self.at.is_none() => {
                *self = Self {
                    at: Some(index),
                    colon: self.colon,
                    ..Self::default()
                };
            }
            b':' if self.at.is_none() => self.colon = self.colon.or(Some(index)),
            b';' if in_host => self.semicolon = self.semicolon.or(Some(index)),
            b'?' if in_host => self.question = Some(index),
            _ => {}
        }
    }
}

/// What a byte of a URI may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    /// May stand between two parts.
    Separator,
    /// Spaces, controls, quotes and angle brackets would end the URI for whoever reads the message next.
    Forbidden,
}

fn is_class(byte: u8, class: Class) -> bool {
    CLASSES[byte as usize] == class
}

const CLASSES: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut table = [Class::Plain; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = match byte {
            0..=b' ' | b'<' | b'>' | b'"' | 0x7f => Class::Forbidden,
            b'@' | b':' | b';' | b'?' => Class::Separator,
            _ => Class::Plain,
        };
        byte += 1;
    }
    table
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sip(text: &str) -> SipUri<'_> {
        SipUri::from_text(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn parts_of_a_sip_uri() {
        let uri = sip(
            "sips:al%20ice;day=tuesday:pw@[2001:db8::1]:5061;transport=tcp;LR;maddr=1.2.3.4?subject=x&to=y",
        );
        assert_eq!(
            (uri.scheme, uri.user, uri.password),
            (Scheme::Sips, Some("al%20ice;day=tuesday"), Some("pw"))
        );
        assert_eq!(
            (uri.host, uri.port),
            (Host::V6("2001:db8::1".parse().unwrap()), Some(5061))
        );
        assert_eq!(
            (uri.transport(), uri.is_loose_router(), uri.headers),
            (Some("tcp"), true, Some("subject=x&to=y"))
        );
        let uri = sip("SIP:atlanta.com");
        assert_eq!(
            (uri.scheme, uri.user, uri.host, uri.port),
            (Scheme::Sip, None, Host::Name("atlanta.com"), None)
        );
        assert_eq!(sip("sip:192.0.2.4").host, Host::V4([192, 0, 2, 4].into()));
    }

    #[test]
    fn other_schemes_stay_whole() {
        let Ok(Uri::Tel(tel)) = Uri::parse("tel:+1-201-555;phone-context=x") else {
            panic!()
        };
        assert_eq!(
            (tel.number, tel.params.get("phone-context")),
            ("+1-201-555", Some("x"))
        );
        let Ok(Uri::Other(urn)) = Uri::parse("urn:service:sos") else {
            panic!()
        };
        assert_eq!((urn.scheme, urn.rest), ("urn", "service:sos"));
        assert!(Uri::parse("soap.beep://192.0.2.103:3002").is_ok());
    }

    #[test]
    fn what_is_no_uri() {
        for wrong in [
            "",
            "alice",
            "sip:",
            ":x",
            "1a:b",
            "sip:a b@h",
            "<sip:a@h>",
            "sip:@h",
            "sip:a@",
            "sip:a@h:99999",
            "sip:a@h:",
            "sip:a@[::1",
            "sip:a@h_\u{e9}",
            "tel:",
            "tel:;x",
        ] {
            assert!(Uri::parse(wrong).is_err(), "{wrong}");
        }
    }
}
