//! Credentials of the proxy's that can be read in a ladder, for upstreams that ask who it is.

use std::sync::Arc;

use hookswitch_sip::proxy::credentials::{Choice, Credentials, Freshness, Login, Subject};

/// Answers challenges of realms that begin with `pbx`, as `Digest NONCE COUNT METHOD URI`.
#[must_use]
pub fn login() -> Login {
    Login(Arc::new(Readable))
}

#[derive(Debug)]
struct Readable;

impl Credentials for Readable {
    fn choose(&self, challenges: &[&str]) -> Choice {
        let digests: Vec<_> = challenges
            .iter()
            .filter(|value| value.starts_with("Digest "))
            .collect();
        let Some(challenge) = digests.iter().find(|value| value.contains("realm=\"pbx")) else {
            return match digests.is_empty() {
                true => Choice::Unknown,
                false => Choice::Foreign,
            };
        };
        let freshness = match challenge.contains("stale=true") {
            true => Freshness::Stale,
            false => Freshness::First,
        };
        let challenge = (**challenge).to_string();
        Choice::Answer {
            challenge,
            freshness,
        }
    }

    fn answer(&self, challenge: &str, request: &Subject<'_>) -> Option<String> {
        let (_, rest) = challenge.split_once("nonce=\"")?;
        let (nonce, _) = rest.split_once('"')?;
        let Subject {
            method, uri, count, ..
        } = request;
        Some(format!("Digest {nonce} {count} {method} {uri}"))
    }
}
