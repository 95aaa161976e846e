//! Credentials of ours for an upstream: which challenges are answered, and how often (RFC 3261 §22).
//!
//! The secret and the computation are behind [`Credentials`], which the server gives to each upstream's configuration. Nobody waits for
//! it: an answer is computed at once, and what it depends on (the challenge, the nonce count, chance) comes from here.

use std::{fmt, sync::Arc};

use crate::message::{HeaderName, Message, MessageError, text::find_outside, unfold};

/// Challenges that one request is sent anew for: one of a proxy, one of the server behind it, and a nonce that was over.
const CHALLENGES_MAX: u8 = 3;

/// Challenges of one hop that are answered ahead of time.
const KNOWN_MAX: usize = 4;

/// Credentials of ours.
pub trait Credentials: fmt::Debug + Send + Sync {
    /// Which of these values of WWW-Authenticate or Proxy-Authenticate is to be answered: the strongest that is known.
    fn choose(&self, challenges: &[&str]) -> Choice;

    /// The value of Authorization or Proxy-Authorization; `None` if `challenge` is not one that was chosen.
    fn answer(&self, challenge: &str, request: &Subject<'_>) -> Option<String>;
}

/// Which challenge is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This one.
    Answer {
        /// Its value.
        challenge: String,
        /// Whether it says that the credentials before were right but for their nonce.
        freshness: Freshness,
    },
    /// All are of other realms: whoever sent the request may know what to answer.
    Foreign,
    /// None is one that can be answered.
    Unknown,
}

/// Why a challenge came (RFC 7616 §3.3, `stale`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// There were no credentials, or they were wrong.
    First,
    /// There were right ones with a nonce that is over.
    Stale,
}

/// What credentials are computed over.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Of the request.
    pub method: &'a str,
    /// Its Request-URI, as it is sent.
    pub uri: &'a str,
    /// Its body; empty if there is none.
    pub body: &'a [u8],
    /// How many requests had credentials of this nonce, with this one.
    pub count: u32,
    /// Drawn for this request.
    pub cnonce: &'a str,
}

/// An [`UpstreamConfig`](super::config::UpstreamConfig)'s: two are the same if they are one.
#[derive(Clone, Debug)]
pub struct Login(pub Arc<dyn Credentials>);

impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Login {}

/// Who asks: the server (401) or a proxy before it (407).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    Server,
    Proxy,
}

impl Asker {
    const ALL: [Self; 2] = [Self::Server, Self::Proxy];

    fn challenge(self) -> HeaderName {
        match self {
            Self::Server => HeaderName::WwwAuthenticate,
            Self::Proxy => HeaderName::ProxyAuthenticate,
        }
    }

    fn credentials(self) -> HeaderName {
        match self {
            Self::Server => HeaderName::Authorization,
            Self::Proxy => HeaderName::ProxyAuthorization,
        }
    }
}

/// Challenges of one hop, for this request and for those after it: at most one of each asker and realm, since several proxies in a row
/// may ask (RFC 3261 §22.3).
#[derive(Clone, Debug, Default)]
pub(super) struct Challenges(Vec<Known>);

#[derive(Clone, Debug)]
struct Known {
    asker: Asker,
    value: String,
    /// Requests that had credentials of its nonce.
    count: u32,
}

/// What one request has said of who we are.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// Whose fields it has, the topmost last.
    signed_for: Vec<Asker>,
    /// Whose challenge to this very request was answered, and of which realm.
    answered: Vec<(Asker, String)>,
    /// Those answered so far.
    challenges: u8,
}

/// Credentials as they stand in a request, from its top.
pub(super) type Fields = Vec<(HeaderName, Vec<u8>)>;

/// What a 401 or 407 comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// It is for whoever sent the request.
    Foreign,
    /// The request goes anew, with credentials for these.
    Answer(Vec<(Asker, String)>),
    /// What we said was wrong.
    Refused,
    /// In no way that we know.
    Unknown,
}

impl Said {
    /// What is to be done about a response of 401 or 407.
    pub(super) fn read(&self, login: &Login, response: &Message) -> Reading {
        let mut answers = Vec::new();
        let mut none = Reading::Foreign;
        for asker in Asker::ALL {
            let values: Vec<_> = response.values(asker.challenge()).map(unfold).collect();
            let values: Vec<_> = values
                .iter()
                .filter_map(|value| std::str::from_utf8(value).ok())
                .collect();
            if values.is_empty() {
                continue;
            }
            match login.0.choose(&values) {
                Choice::Answer {
                    challenge,
                    freshness,
                } if self.may_answer(asker, &challenge, freshness) => {
                    answers.push((asker, challenge));
                }
                Choice::Answer { .. } => return Reading::Refused,
                Choice::Unknown => none = Reading::Unknown,
                Choice::Foreign => {}
            }
        }
        match answers.is_empty() {
            true => none,
            false => Reading::Answer(answers),
        }
    }

    fn may_answer(&self, asker: Asker, challenge: &str, freshness: Freshness) -> bool {
        let is_same = |(known, realm): &(Asker, String)| {
            *known == asker && realm.as_str() == realm_of(challenge)
        };
        let is_new = match freshness {
            Freshness::First => !self.answered.iter().any(is_same),
            Freshness::Stale => true,
        };
        is_new && self.challenges < CHALLENGES_MAX
    }

    /// Of the same request, sent anew with answers to these.
    pub(super) fn after(&self, answers: &[(Asker, String)]) -> Self {
        let mut next = Self {
            signed_for: Vec::new(),
            ..self.clone()
        };
        next.challenges += 1;
        let answered = answers.iter();
        let answered = answered.map(|(asker, value)| (*asker, realm_of(value).to_owned()));
        next.answered.extend(answered);
        next
    }

    /// Adds a field for each challenge that is known.
    pub(super) fn sign(
        &mut self,
        request: &mut Message,
        login: &Login,
        challenges: &mut Challenges,
        cnonce: u64,
    ) -> Result<(), MessageError> {
        let cnonce = format!("{cnonce:016x}");
        for known in &mut challenges.0 {
            known.count = known.count.saturating_add(1);
            let subject = Subject {
                method: request.method().map_or("", |method| method.as_str()),
                uri: request.request_uri().unwrap_or_default(),
                body: request.body(),
                count: known.count,
                cnonce: &cnonce,
            };
            if let Some(value) = login.0.answer(&known.value, &subject) {
                // Before what the client says to others: some look at the first alone.
                request.prepend(known.asker.credentials(), value)?;
                self.signed_for.push(known.asker);
            }
        }
        Ok(())
    }

    /// What [`Said::sign`] added, in the order of the request.
    pub(super) fn fields(&self, request: &Message) -> Fields {
        let fields_for = |asker: Asker| {
            let count = self.signed_for.iter().filter(|of| **of == asker).count();
            let name = asker.credentials();
            let values = request.values(name).take(count);
            values.map(move |value| (name, value.to_vec()))
        };
        Asker::ALL.into_iter().flat_map(fields_for).collect()
    }

    /// Takes away again what [`Said::sign`] added.
    pub(super) fn unsign(&self, request: &mut Message) -> Result<(), MessageError> {
        for asker in self.signed_for.iter().rev() {
            request.remove_first_value(asker.credentials())?;
        }
        Ok(())
    }
}

impl Challenges {
    /// The latest challenge of an asker and realm is the one that counts.
    pub(super) fn learn(&mut self, answers: &[(Asker, String)]) {
        for (asker, value) in answers {
            let realm = realm_of(value);
            let is_same = |known: &Known| known.asker == *asker && realm_of(&known.value) == realm;
            self.0.retain(|known| !is_same(known));
            if self.0.len() == KNOWN_MAX {
                self.0.remove(0);
            }
            self.0.push(Known {
                asker: *asker,
                value: value.clone(),
                count: 0,
            });
        }
    }
}

/// As it is written in a challenge; empty if it has none (RFC 7616 §3.3).
fn realm_of(challenge: &str) -> &str {
    let (_, mut rest) = challenge.split_once(' ').unwrap_or_default();
    loop {
        let end = find_outside(rest.as_bytes(), b',').unwrap_or(rest.len());
        let (param, after) = rest.split_at(end);
        let (name, value) = param.split_once('=').unwrap_or_default();
        if name.trim().eq_ignore_ascii_case("realm") {
            return value.trim();
        }
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None => return "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_is_found_among_the_parameters() {
        for (challenge, realm) in [
            (r#"Digest realm="a", nonce="n""#, r#""a""#),
            (
                r#"Digest nonce="n, realm=x",Realm = "b, c" , qop="auth""#,
                r#""b, c""#,
            ),
            (r#"Digest nonce="n""#, ""),
            (r#"Digest nonce="n, realm="x""#, ""),
            ("Digest", ""),
        ] {
            assert_eq!(realm_of(challenge), realm, "{challenge}");
        }
    }

    #[test]
    fn no_more_challenges_are_known_than_are_answered_at_once() {
        let mut challenges = Challenges::default();
        for number in 0..9 {
            for asker in Asker::ALL {
                challenges.learn(&[(asker, format!("Digest realm=\"{number}\""))]);
            }
        }
        assert_eq!(challenges.0.len(), KNOWN_MAX);
        assert_eq!(
            challenges.0.last().map(|known| known.asker),
            Some(Asker::Proxy)
        );
    }
}
