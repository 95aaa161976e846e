//! Comparison of URIs (RFC 3261 §19.1.4) and the address of record (§10.3).

use std::borrow::Cow;

use super::{SipUri, Uri};

/// Parameters that make two URIs differ when only one of them has it (RFC 3261 §19.1.4).
const DECISIVE: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

/// Are two URIs equivalent? Those of other schemes than sip and sips compare byte for byte but for the scheme, tel without visual
/// separators (RFC 3966 §4).
#[must_use]
pub fn equivalent(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    match (a, b) {
        (Uri::Sip(a), Uri::Sip(b)) => a == b || sip_equivalent(a, b),
        (Uri::Tel(a), Uri::Tel(b)) => {
            digits(a.number).eq(digits(b.number))
                && a.params.as_str().eq_ignore_ascii_case(b.params.as_str())
        }
        (Uri::Other(a), Uri::Other(b)) => {
            a.scheme.eq_ignore_ascii_case(b.scheme) && a.rest == b.rest
        }
        (Uri::Sip(_) | Uri::Tel(_) | Uri::Other(_), _) => false,
    }
}

fn sip_equivalent(a: &SipUri<'_>, b: &SipUri<'_>) -> bool {
    a.scheme == b.scheme
        && same_escaped(a.user, b.user)
        && same_escaped(a.password, b.password)
        && a.host.is_same(b.host)
        && a.port == b.port
        && params_agree(a, b)
        && params_agree(b, a)
        && headers_agree(a.headers, b.headers)
        && headers_agree(b.headers, a.headers)
}

fn same_escaped(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == b || unescape(a) == unescape(b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Every parameter of `a` that `b` has too, or must have, is the same there.
fn params_agree(a: &SipUri<'_>, b: &SipUri<'_>) -> bool {
    a.params
        .iter()
        .all(|(name, value)| match b.params.find(name) {
            Some(other) => match (value, other) {
                (Some(value), Some(other)) => {
                    unescape(value).eq_ignore_ascii_case(&unescape(other))
                }
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            },
            None => !DECISIVE
                .iter()
                .any(|decisive| decisive.eq_ignore_ascii_case(name)),
        })
}

/// Header components are never ignored, and their order does not count.
fn headers_agree(a: Option<&str>, b: Option<&str>) -> bool {
    let (a, b) = (a.unwrap_or_default(), b.unwrap_or_default());
    let find = |wanted: &str| b.split('&').any(|other| same_component(wanted, other));
    a.split('&')
        .filter(|component| !component.is_empty())
        .all(find)
}

fn same_component(a: &str, b: &str) -> bool {
    let (a, b) = (
        a.split_once('=').unwrap_or((a, "")),
        b.split_once('=').unwrap_or((b, "")),
    );
    a.0.eq_ignore_ascii_case(b.0) && unescape(a.1) == unescape(b.1)
}

fn digits(number: &str) -> impl Iterator<Item = u8> {
    number
        .bytes()
        .filter(|byte| !matches!(byte, b'-' | b'.' | b'(' | b')'))
        .map(|byte| byte.to_ascii_lowercase())
}

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

/// The canonical form of an address of record (RFC 3261 §10.3 step 5): scheme, unescaped user, host in lower case and port, without
/// password, parameters and headers. Characters that a user may not have stay escaped. `None` for other schemes than sip and sips.
#[must_use]
pub fn address_of_record(uri: &Uri<'_>) -> Option<String> {
    let sip = uri.as_sip()?;
    let mut aor = format!("{}:", sip.scheme);
    if let Some(user) = sip.user {
        for &byte in unescape(user).iter() {
            if is_user_byte(byte) {
                aor.push(byte as char);
            } else {
                aor.push_str(&format!("%{byte:02X}"));
            }
        }
        aor.push('@');
    }
    let host = sip.host.to_string().to_ascii_lowercase();
    aor.push_str(host.strip_suffix('.').unwrap_or(&host));
    if let Some(port) = sip.port {
        aor.push_str(&format!(":{port}"));
    }
    Some(aor)
}

/// `unreserved` and `user-unreserved` of RFC 3261 §25.1.
fn is_user_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        let (a, b) = (Uri::parse(a).unwrap(), Uri::parse(b).unwrap());
        let (there, back) = (equivalent(&a, &b), equivalent(&b, &a));
        assert_eq!(there, back, "comparison is symmetric");
        there
    }

    #[test]
    fn equivalent_uris() {
        for (a, b) in [
            (
                "sip:%61lice@atlanta.com;transport=TCP",
                "sip:alice@AtLanTa.CoM;Transport=tcp",
            ),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            (
                "sip:carol@chicago.com;newparam=5",
                "sip:carol@chicago.com;security=on",
            ),
            (
                "sip:b@h;transport=tcp?to=sip:b%40h&subject=x",
                "sip:b@h;transport=tcp?Subject=x&to=sip:b@h",
            ),
            ("sip:a@[2001:db8::1]", "SIP:a@[2001:0db8:0:0::1]"),
            ("tel:+1-201-555", "TEL:+1201555"),
            ("urn:service:sos", "URN:service:sos"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn different_uris() {
        for (a, b) in [
            ("sip:ALICE@h", "sip:alice@h"),
            ("sip:bob@h", "sip:bob@h:5060"),
            ("sip:bob@h", "sip:bob@h;transport=udp"),
            ("sip:bob@h", "sips:bob@h"),
            ("sip:bob@h", "sip:h"),
            ("sip:bob@h", "sip:bob:pw@h"),
            ("sip:c@h", "sip:c@h?Subject=next%20meeting"),
            ("sip:c@h;security=on", "sip:c@h;security=off"),
            ("sip:c@h;lr", "tel:1"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn addresses_of_record() {
        let aor = |text| address_of_record(&Uri::parse(text).unwrap());
        assert_eq!(
            aor("SIP:%61l%20ice:pw@AtLanta.COM.:5070;transport=tcp?x=y").as_deref(),
            Some("sip:al%20ice@atlanta.com:5070")
        );
        assert_eq!(aor("sips:h").as_deref(), Some("sips:h"));
        assert_eq!(aor("tel:+49"), None);
    }
}
