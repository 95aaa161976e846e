//! Whether a request may become a SIP WebSocket (RFC 6455 §4.2, RFC 7118 §4). Pure: nothing is sent here.

use hyper::{
    Method, StatusCode, Version,
    header::{
        CONNECTION, HOST, HeaderMap, HeaderName, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
    http::request::Parts,
};
use thiserror::Error;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::config::Origins;

/// The subprotocol of RFC 7118.
pub(crate) const SUBPROTOCOL: &str = "sip";

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("not a WebSocket handshake of RFC 6455")]
    Malformed,
    #[error("Sec-WebSocket-Version must be 13")]
    Version,
    #[error("Sec-WebSocket-Protocol must offer sip (RFC 7118)")]
    Subprotocol,
    #[error("this Origin is not allowed here")]
    Origin,
}

impl Refusal {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Malformed | Self::Subprotocol => StatusCode::BAD_REQUEST,
            Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Origin => StatusCode::FORBIDDEN,
        }
    }
}

/// Does it ask for another protocol at all?
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
}

/// The value of Sec-WebSocket-Accept.
pub(crate) fn judge(request: &Parts, origins: &Origins) -> Result<String, Refusal> {
    let headers = &request.headers;
    let asks = request.method == Method::GET
        && request.version == Version::HTTP_11
        && has_token(headers, &UPGRADE, "websocket")
        && has_token(headers, &CONNECTION, "upgrade");
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    let (true, Some(key)) = (asks, key) else {
        return Err(Refusal::Malformed);
    };
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(Refusal::Version);
    }
    if !has_token(headers, &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return Err(Refusal::Subprotocol);
    }
    if !is_allowed(headers, origins) {
        return Err(Refusal::Origin);
    }
    Ok(derive_accept_key(key.as_bytes()))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

/// Browsers always send Origin on a WebSocket handshake (RFC 6455 §10.2); what has none is no page.
pub(crate) fn is_allowed(headers: &HeaderMap, origins: &Origins) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let Ok(origin) = origin.to_str().map(str::to_ascii_lowercase) else {
        return false;
    };
    match origins {
        Origins::Any => true,
        Origins::Listed(listed) => listed.contains(&origin),
        Origins::SameHost => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            let page = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && page == host.map(str::to_ascii_lowercase).as_deref()
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn handshake(change: &[(&'static str, Option<&str>)]) -> Parts {
        let mut request = Request::get("/sip").body(()).unwrap().into_parts().0;
        let standard = [
            ("host", "pbx.example:8443"),
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "sip"),
        ];
        for (name, value) in standard {
            request.headers.insert(name, value.parse().unwrap());
        }
        for (name, value) in change {
            match value {
                Some(value) => drop(request.headers.insert(*name, value.parse().unwrap())),
                None => drop(request.headers.remove(*name)),
            }
        }
        request
    }

    #[track_caller]
    fn check(
        change: &[(&'static str, Option<&str>)],
        origins: &Origins,
        expected: Option<Refusal>,
    ) {
        assert_eq!(judge(&handshake(change), origins).err(), expected);
    }

    #[test]
    fn the_handshake_of_the_rfc_is_accepted() {
        let accept = judge(&handshake(&[]), &Origins::SameHost).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_not_sip_over_websocket_is_refused() {
        use Refusal::{Malformed, Subprotocol, Version};
        for (change, expected) in [
            (("upgrade", Some("h2c")), Malformed),
            (("connection", Some("close")), Malformed),
            (("sec-websocket-key", None), Malformed),
            (("sec-websocket-key", Some("short")), Malformed),
            (("sec-websocket-version", Some("8")), Version),
            (("sec-websocket-version", None), Version),
            (("sec-websocket-protocol", None), Subprotocol),
            (("sec-websocket-protocol", Some("xmpp, mqtt")), Subprotocol),
        ] {
            check(&[change], &Origins::Any, Some(expected));
        }
        check(
            &[("sec-websocket-protocol", Some("xmpp, SIP"))],
            &Origins::Any,
            None,
        );
    }

    #[test]
    fn origins_are_checked() {
        let listed = Origins::Listed(vec!["https://phone.example".to_owned()]);
        let refused = Some(Refusal::Origin);
        check(&[("origin", Some("https://phone.example"))], &listed, None);
        check(
            &[("origin", Some("https://evil.example"))],
            &listed,
            refused,
        );
        check(
            &[("origin", Some("https://evil.example"))],
            &Origins::Any,
            None,
        );
        check(
            &[("origin", Some("https://PBX.example:8443"))],
            &Origins::SameHost,
            None,
        );
        check(
            &[("origin", Some("https://pbx.example"))],
            &Origins::SameHost,
            refused,
        );
        check(&[("origin", Some("null"))], &Origins::SameHost, refused);
    }
}
