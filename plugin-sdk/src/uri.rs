//! The parts of a URI that policies ask for most (RFC 3261 §19.1, RFC 3966), as slices of its text. Decodes no escapes.

/// The user of a `sip` or `sips` URI, without password, or the number of a `tel` URI; parameters that stand within the user part
/// stay with it.
pub fn user(uri: &str) -> Option<&str> {
    match split_scheme(uri)? {
        (Scheme::Sip, rest) => {
            let (userinfo, _) = rest.split_once('@')?;
            Some(userinfo.split_once(':').map_or(userinfo, |(user, _)| user))
        }
        (Scheme::Tel, rest) => Some(rest.split(';').next().unwrap_or(rest)),
    }
}

/// The host of a `sip` or `sips` URI, without port; an IPv6 address keeps its brackets.
pub fn host(uri: &str) -> Option<&str> {
    let (Scheme::Sip, rest) = split_scheme(uri)? else {
        return None;
    };
    let hostport = rest.split_once('@').map_or(rest, |(_, host)| host);
    let end = match hostport.strip_prefix('[') {
        Some(address) => address.find(']')? + 2,
        None => hostport.find([':', ';', '?']).unwrap_or(hostport.len()),
    };
    hostport.get(..end)
}

/// Do two URIs name the same user at the same host, or the same number? Scheme, port and parameters do not count; escapes are not
/// decoded, so that a disguised name is another one.
pub fn is_same_address(a: &str, b: &str) -> bool {
    let host = |uri| host(uri).map(str::to_ascii_lowercase);
    user(a).is_some() && user(a) == user(b) && host(a) == host(b)
}

enum Scheme {
    Sip,
    Tel,
}

fn split_scheme(uri: &str) -> Option<(Scheme, &str)> {
    let (scheme, rest) = uri.split_once(':')?;
    if scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips") {
        Some((Scheme::Sip, rest))
    } else if scheme.eq_ignore_ascii_case("tel") {
        Some((Scheme::Tel, rest))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let cases = [
            ("sip:alice@example.com", Some("alice"), Some("example.com")),
            (
                "SIPS:alice:pw@example.com:5061;transport=tcp",
                Some("alice"),
                Some("example.com"),
            ),
            (
                "sip:+49;phone-context=a@[2001:db8::1]:5060",
                Some("+49;phone-context=a"),
                Some("[2001:db8::1]"),
            ),
            ("sip:example.com?Subject=x", None, Some("example.com")),
            ("tel:+49-30-1234;ext=5", Some("+49-30-1234"), None),
            ("urn:service:sos", None, None),
            ("sip:[2001:db8::1", None, None),
            ("nonsense", None, None),
        ];
        for (uri, expected_user, expected_host) in cases {
            assert_eq!(
                (user(uri), host(uri)),
                (expected_user, expected_host),
                "{uri}"
            );
        }
    }
}
