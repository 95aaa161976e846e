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
        if !is_scheme(scheme) {
            return Err(UriError("scheme"));
        }
        if rest.is_empty() || rest.bytes().any(|byte| FORBIDDEN[byte as usize]) {
            return Err(UriError("URI"));
        }
        if scheme.eq_ignore_ascii_case("sip") {
            SipUri::parse(Scheme::Sip, rest).map(Self::Sip)
        } else if scheme.eq_ignore_ascii_case("sips") {
            SipUri::parse(Scheme::Sips, rest).map(Self::Sip)
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

impl<'a> SipUri<'a> {
    /// Reads a sip or sips URI; `None` if it is of another scheme or malformed.
    #[must_use]
    pub fn from_text(text: &'a str) -> Option<Self> {
        Uri::parse(text).ok()?.as_sip()
    }

    fn parse(scheme: Scheme, rest: &'a str) -> Result<Self, UriError> {
        // `@` has to be escaped everywhere but after the user, and `?` and `;` may stand in the user unescaped.
        let (userinfo, rest) = match cut(rest, b'@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, rest),
        };
        let (user, password) = match userinfo
            .map(|info| cut(info, b':').map_or((info, None), |(user, word)| (user, Some(word))))
        {
            Some(("", _)) => return Err(UriError("user")),
            Some((user, password)) => (Some(user), password),
            None => (None, None),
        };
        let (rest, headers) =
            cut(rest, b'?').map_or((rest, None), |(rest, headers)| (rest, Some(headers)));
        let (hostport, params) = cut(rest, b';').unwrap_or((rest, ""));
        let (host, port) = host::split_port(hostport)?;
        Ok(Self {
            scheme,
            user,
            password,
            host: Host::parse(host)?,
            port,
            params: Params::new(params),
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

/// Spaces, controls, quotes and angle brackets would end the URI for whoever reads the message next.
const FORBIDDEN: [bool; 256] = forbidden_bytes();

const fn forbidden_bytes() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte <= b' ' || matches!(byte, b'<' | b'>' | b'"' | 0x7f);
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
