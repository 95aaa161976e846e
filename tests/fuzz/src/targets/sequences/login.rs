//! Who we are at upstreams, as far as a proxy knows of it: what is asked is answered with words that can be found again.

use std::sync::Arc;

use hookswitch_sip::proxy::credentials::{Choice, Credentials, Freshness, Login, Subject};

use crate::Choices;

/// In every answer of ours, and in nothing else.
pub(super) const MARK: &str = "our-secret-answer";

/// What upstreams ask.
const ASKED: [&str; 8] = [
    "Digest realm=\"r\", nonce=\"1\"",
    "Digest realm=\"r\", nonce=\"2\", stale=true",
    "Digest realm=\"q\", nonce=\"3\"",
    "Digest realm=\"foreign\", nonce=\"4\"",
    "Basic realm=\"r\"",
    "Digest realm=\"r\", nonce=\"5\", Digest realm=\"q\", nonce=\"6\"",
    "Digest",
    "",
];

pub(super) fn ours() -> Login {
    Login(Arc::new(Ours))
}

/// The fields of a 401 or 407: of the server, of a proxy before it, or of both.
pub(super) fn challenge(choices: &mut Choices<'_>) -> String {
    let bits = choices.byte();
    let field = |name: &str| {
        format!(
            "{name}: {}\r\n",
            ASKED[usize::from(bits >> 2) % ASKED.len()]
        )
    };
    let [server, proxy] = ["WWW-Authenticate", "Proxy-Authenticate"].map(field);
    match bits % 4 {
        0 => server,
        1 => proxy,
        2 => server + &proxy,
        _ => String::new(),
    }
}

#[derive(Debug)]
struct Ours;

impl Credentials for Ours {
    fn choose(&self, challenges: &[&str]) -> Choice {
        let mut none = Choice::Foreign;
        for challenge in challenges {
            if !challenge.starts_with("Digest ") {
                none = Choice::Unknown;
            } else if !challenge.contains("foreign") {
                return Choice::Answer {
                    challenge: (*challenge).to_owned(),
                    freshness: match challenge.contains("stale=true") {
                        true => Freshness::Stale,
                        false => Freshness::First,
                    },
                };
            }
        }
        none
    }

    fn answer(&self, challenge: &str, request: &Subject<'_>) -> Option<String> {
        let Subject {
            method, uri, count, ..
        } = request;
        assert!(*count > 0);
        let value =
            format!("Digest username=\"{MARK}\", uri=\"{uri}\", nc={count:08x}, x={method}");
        challenge.starts_with("Digest ").then_some(value)
    }
}
