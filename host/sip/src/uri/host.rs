//! The host of a URI or a Via: a name, an IPv4 address or an IPv6 reference.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::UriError;
use crate::message::{parse_number, trim};

/// A host. Its `Display` is what stands in a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    /// As written; compares without case, see [`Host::is_same`].
    Name(&'a str),
    /// IPv4.
    V4(Ipv4Addr),
    /// IPv6, in brackets on the wire.
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Reads a host as it stands in a URI.
    ///
    /// # Errors
    /// [`UriError`].
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        if let Some(reference) = text.strip_prefix('[') {
            let address = reference.strip_suffix(']').ok_or(UriError("host"))?;
            return address.parse().map(Self::V6).map_err(|_| UriError("host"));
        }
        if text.starts_with(|c: char| c.is_ascii_digit())
            && let Ok(address) = text.parse()
        {
            return Ok(Self::V4(address));
        }
        if is_name(text) {
            Ok(Self::Name(text))
        } else {
            Err(UriError("host"))
        }
    }

    /// Equal, names without case and without a final dot.
    #[must_use]
    pub fn is_same(self, other: Host<'_>) -> bool {
        match (self, other) {
            (Self::Name(a), Host::Name(b)) => strip_dot(a).eq_ignore_ascii_case(strip_dot(b)),
            (Self::V4(a), Host::V4(b)) => a == b,
            (Self::V6(a), Host::V6(b)) => a == b,
            (Self::Name(_) | Self::V4(_) | Self::V6(_), _) => false,
        }
    }

    /// If it is an address.
    #[must_use]
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::V4(address) => Some(address.into()),
            Self::V6(address) => Some(address.into()),
        }
    }
}

/// Labels and dots. Underscores are no part of a host name, and are found in many.
fn is_name(text: &str) -> bool {
    let labels = text.strip_suffix('.').unwrap_or(text);
    let mut before = b'.';
    for byte in labels.bytes() {
        let is_label_byte = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let ends_label = byte == b'.' && before != b'.';
        if !is_label_byte && !ends_label {
            return false;
        }
        before = byte;
    }
    before != b'.'
}

fn strip_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

/// Splits `host:port`; white space may stand around both, as it may in a Via.
pub(crate) fn split_port(text: &str) -> Result<(&str, Option<u16>), UriError> {
    // The colons of an IPv6 reference stand in its brackets.
    let host_end = if text.starts_with('[') {
        memchr::memchr(b']', text.as_bytes()).unwrap_or(0)
    } else {
        0
    };
    let after = text.as_bytes().get(host_end..).unwrap_or_default();
    let Some(colon) = after.iter().position(|&byte| byte == b':') else {
        return Ok((text, None));
    };
    let colon = host_end + colon;
    let port = trim(text.as_bytes().get(colon + 1..).unwrap_or_default());
    let port = parse_number(port).ok_or(UriError("port"))?;
    Ok((text.get(..colon).unwrap_or_default().trim_end(), Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_compare_without_case() {
        let host = |text| Host::parse(text).unwrap();
        assert!(host("Example.COM").is_same(host("example.com.")));
        assert!(host("[2001:DB8:0::1]").is_same(host("[2001:db8::1]")));
        assert!(!host("192.0.2.1").is_same(host("192.0.2.2")));
        assert!(!host("1.2.3").is_same(host("1.2.3.4")));
        assert_eq!(host("[::1]").to_string(), "[::1]");
        assert_eq!(host("192.0.2.1").address(), Some([192, 0, 2, 1].into()));
    }

    #[test]
    fn what_is_no_host() {
        for wrong in [
            "", "[::1", "::1]", "a b", "a/b", "[x]", "a:b", ".", ".a", "a..b", "a..",
        ] {
            assert!(Host::parse(wrong).is_err(), "{wrong}");
        }
    }
}
