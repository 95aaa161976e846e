//! `[turn]`: TURN servers that pages are given credentials for.

use std::time::Duration;

use super::{Faults, Password, check::File, numbers::in_range, raw};

/// Servers, what we share with them, and who may use them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// As pages take them: `turn:HOST:PORT?transport=udp`.
    pub uris: Vec<String>,
    /// `static-auth-secret` of coturn.
    pub secret: Password,
    /// How long credentials are good.
    pub ttl: Duration,
    /// Where WebSocket listeners answer.
    pub path: String,
    /// Who is given any.
    pub users: TurnUsers,
}

/// Who is given credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnUsers {
    /// Whom a policy identified by what an upgrade of his would have.
    Identified,
    /// Whoever may open a WebSocket.
    Anybody,
}

pub(super) fn check(raw: raw::Turn, file: &File, faults: &mut Faults) -> Option<Turn> {
    let secret = match (raw.secret, raw.secret_file) {
        (Some(secret), None) => Some(Password::Written(secret)),
        (None, Some(path)) => Some(Password::File(file.path(&path))),
        (None, None) | (Some(_), Some(_)) => {
            let what = "it stands in one place";
            faults.push("turn.secret", what, "write either secret or secret_file");
            None
        }
    };
    if raw.uris.is_empty() {
        faults.push("turn.uris", "empty", "write turn:HOST:PORT");
    }
    for (i, uri) in raw.uris.iter().enumerate() {
        let scheme = uri.split_once(':').map(|(scheme, _)| scheme);
        if !matches!(scheme, Some("turn" | "turns" | "stun" | "stuns")) {
            let what = format!("`{uri}` is no address of a TURN server");
            faults.push(
                format!("turn.uris[{i}]"),
                what,
                "write turn:HOST:PORT (RFC 7065)",
            );
        }
    }
    let path = raw.path.unwrap_or_else(|| "/turn".to_owned());
    if !path.starts_with('/') {
        let what = format!("`{path}` is no path");
        faults.push("turn.path", what, "begin it with a slash");
    }
    let ttl_s = raw.ttl_s.unwrap_or(86_400);
    let ttl_s = in_range("turn.ttl_s", ttl_s, 60, 30 * 86_400, faults)?;
    Some(Turn {
        uris: raw.uris,
        secret: secret?,
        ttl: Duration::from_secs(ttl_s),
        path,
        users: match raw.anonymous {
            Some(true) => TurnUsers::Anybody,
            Some(false) | None => TurnUsers::Identified,
        },
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::config::tests::check;

    #[test]
    fn what_cannot_be_given_to_pages_is_refused() {
        check(
            r#"
            [turn]
            uris = ["turn.example.com:3478", "turns:turn.example.com:5349"]
            ttl_s = 1
            path = "turn"
            "#,
            expect![[r#"
                4 faults in the configuration
                  turn.secret: it stands in one place; write either secret or secret_file
                  turn.uris[0]: `turn.example.com:3478` is no address of a TURN server; write turn:HOST:PORT (RFC 7065)
                  turn.path: `turn` is no path; begin it with a slash
                  turn.ttl_s: 1 is out of range; write a number from 60 to 2592000"#]],
        );
    }
}
