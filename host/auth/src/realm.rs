//! A realm: who its users are, what it offers them, and whether a request's credentials are right (RFC 3261 §22, RFC 7616, RFC 8760).

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;

use crate::{
    Identity, Outcome,
    credentials::{self, Credentials},
    digest::{Algorithm, Subject},
    nonce::{Nonces, Owner},
    users::Users,
};

/// Values of Authorization in one request that are looked at; one for each realm on the way.
const FIELDS_MAX: usize = 16;
/// What an unknown user's response is compared with, so that it takes as long as a known one's.
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What an operator says of a realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealmConfig {
    /// As users see it.
    pub name: String,
    /// Offered in this order.
    pub algorithms: Vec<Algorithm>,
    /// Offered in this order.
    pub qop: Vec<Qop>,
    /// How long a nonce is good.
    pub nonce_lifetime: Duration,
    /// Whether credentials are good for their own Request-URI alone.
    pub uri_check: UriCheck,
}

/// What credentials protect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop {
    /// `auth`: method and URI.
    Auth,
    /// `auth-int`: the body, too.
    AuthInt,
}

/// Whether the URI of credentials is compared with the request's (RFC 7616 §3.4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriCheck {
    /// Another URI makes them wrong.
    RequestUri,
    /// For clients whose requests another proxy rewrites.
    Any,
}

/// Whether a challenge answers credentials that were right but for their nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// A client may have to ask its user.
    First,
    /// `stale=true`: the client tries again by itself.
    Stale,
}

/// A request, as far as its credentials speak of it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Each value of Authorization or Proxy-Authorization.
    pub fields: &'a [String],
    /// Of the request.
    pub method: &'a str,
    /// Of the request.
    pub request_uri: &'a str,
    /// The address that it came from, without port.
    pub client: &'a str,
    /// Of the request; empty if there is none.
    pub body: &'a [u8],
    /// When it came.
    pub now: SystemTime,
}

/// One realm with its users.
#[derive(Debug)]
pub struct Realm {
    config: RealmConfig,
    users: ArcSwap<Users>,
}

impl Qop {
    /// As challenges and credentials have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }

    /// The one of a name, in any case.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let named = |qop: &Self| qop.name().eq_ignore_ascii_case(name);
        [Self::Auth, Self::AuthInt].into_iter().find(named)
    }
}

impl Realm {
    /// A realm with these users.
    #[must_use]
    pub fn new(config: RealmConfig, users: Users) -> Self {
        let users = ArcSwap::from_pointee(users);
        Self { config, users }
    }

    /// What the operator said.
    #[must_use]
    pub fn config(&self) -> &RealmConfig {
        &self.config
    }

    /// These are its users from now on.
    pub fn set_users(&self, users: Users) {
        self.users.store(Arc::new(users));
    }

    /// One challenge for each algorithm.
    pub(crate) fn challenge(
        &self,
        nonces: &Nonces,
        client: &str,
        freshness: Freshness,
        now: SystemTime,
    ) -> Vec<String> {
        let nonce = nonces.issue(self.owner(client), now);
        let qop: Vec<_> = self.config.qop.iter().map(|qop| qop.name()).collect();
        let (realm, qop) = (&self.config.name, qop.join(","));
        let stale = match freshness {
            Freshness::First => "",
            Freshness::Stale => ", stale=true",
        };
        let challenges = self.config.algorithms.iter().map(|algorithm| {
            let algorithm = algorithm.name();
            format!(r#"Digest realm="{realm}", nonce="{nonce}", algorithm={algorithm}, qop="{qop}"{stale}"#)
        });
        challenges.collect()
    }

    /// Looks for credentials for this realm, and at them.
    pub(crate) fn judge(&self, nonces: &Nonces, attempt: &Attempt<'_>) -> Outcome {
        if attempt.fields.len() > FIELDS_MAX {
            return Outcome::Malformed(format!("more than {FIELDS_MAX} credentials"));
        }
        let digests = attempt
            .fields
            .iter()
            .filter_map(|value| credentials::digest_params(value));
        for params in digests {
            match Credentials::parse(params) {
                Ok(credentials) if credentials.realm == self.config.name => {
                    return self
                        .check(nonces, attempt, &credentials)
                        .unwrap_or_else(|outcome| outcome);
                }
                Ok(_) => {}
                Err(fault) => return Outcome::Malformed(fault.to_string()),
            }
        }
        Outcome::Missing
    }

    fn check(
        &self,
        nonces: &Nonces,
        attempt: &Attempt<'_>,
        credentials: &Credentials<'_>,
    ) -> Result<Outcome, Outcome> {
        let wrong = |why: String| Outcome::Wrong(why);
        let algorithm = Algorithm::find(credentials.algorithm)
            .filter(|algorithm| self.config.algorithms.contains(algorithm))
            .ok_or_else(|| {
                wrong(format!(
                    "{} was not offered",
                    printable(credentials.algorithm)
                ))
            })?;
        let qop = Qop::find(credentials.qop)
            .filter(|qop| self.config.qop.contains(qop))
            .ok_or_else(|| {
                wrong(format!(
                    "qop {} was not offered",
                    printable(credentials.qop)
                ))
            })?;
        let count = credentials
            .count()
            .ok_or_else(|| Outcome::Malformed("credentials with an nc that is no count".into()))?;
        if self.config.uri_check == UriCheck::RequestUri
            && !same_resource(credentials.uri, attempt.request_uri)
        {
            return Err(wrong("uri is not the Request-URI".into()));
        }
        self.check_response(attempt, credentials, algorithm, qop)?;
        // A nonce tells nothing until the response shows who uses it: nobody else fills the table of their uses.
        let owner = self.owner(attempt.client);
        nonces
            .take(
                credentials.nonce,
                count,
                owner,
                self.config.nonce_lifetime,
                attempt.now,
            )
            .map_err(|fault| Outcome::Stale(fault.to_string()))?;
        Ok(Outcome::Verified(Identity {
            name: credentials.username.to_owned(),
            claims: None,
            expires_unix_s: None,
        }))
    }

    fn check_response(
        &self,
        attempt: &Attempt<'_>,
        credentials: &Credentials<'_>,
        algorithm: Algorithm,
        qop: Qop,
    ) -> Result<(), Outcome> {
        let users = self.users.load();
        let ha1 = users.ha1(credentials.username, algorithm);
        let subject = Subject {
            method: attempt.method,
            uri: credentials.uri,
            nonce: credentials.nonce,
            nc: credentials.nc,
            cnonce: credentials.cnonce,
            qop: credentials.qop,
            body: match qop {
                Qop::Auth => None,
                Qop::AuthInt => Some(attempt.body),
            },
        };
        let expected = algorithm.response(ha1.unwrap_or(NOBODY), &subject);
        let is_equal = equal(&expected, credentials.response);
        match ha1 {
            Some(_) if is_equal => Ok(()),
            Some(_) => Err(Outcome::Wrong("wrong password".into())),
            None => Err(Outcome::Wrong("unknown user".into())),
        }
    }

    fn owner<'a>(&'a self, client: &'a str) -> Owner<'a> {
        Owner {
            realm: &self.config.name,
            client,
        }
    }
}

/// In a time that does not tell where they differ.
fn equal(expected: &str, given: &str) -> bool {
    let pairs = expected.bytes().zip(given.bytes());
    let difference = pairs.fold(0, |difference, (ours, theirs)| {
        difference | (ours ^ theirs.to_ascii_lowercase())
    });
    expected.len() == given.len() && difference == 0
}

/// Equal but for parameters, headers and the case of what stands behind the user.
fn same_resource(credentials: &str, request: &str) -> bool {
    let (user, place) = resource(credentials);
    let (other_user, other_place) = resource(request);
    user == other_user && place.eq_ignore_ascii_case(other_place)
}

/// Scheme and user, and what follows up to the parameters. Parameters within a user part stay there.
fn resource(uri: &str) -> (&str, &str) {
    let (user, place) = match uri.rfind('@') {
        Some(at) => uri.split_at(at),
        None => ("", uri),
    };
    (user, place.split([';', '?']).next().unwrap_or(place))
}

/// For the log: short, and on one line.
fn printable(text: &str) -> String {
    let safe = |char: char| if char.is_control() { '?' } else { char };
    text.chars().take(32).map(safe).collect()
}

#[cfg(test)]
mod tests;
