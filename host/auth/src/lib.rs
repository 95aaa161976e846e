//! Who somebody is, and who we are: digest credentials and nonces, bearer tokens and the keys that sign them. It holds the secrets and
//! gives none away; no socket, no file, no clock.
//!
//! What came of a look at credentials is an [`Outcome`]; what to answer is up to policies.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod client;
mod credentials;
mod digest;
mod issuer;
mod keys;
mod nonce;
mod params;
mod realm;
pub mod turn;
mod users;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

pub use digest::Algorithm;
pub use issuer::{Issuer, IssuerConfig};
pub use keys::{Keys, KeysError, TokenAlgorithm};
pub use nonce::{NONCE_KEY_BYTES, Nonces};
pub use realm::{Attempt, Freshness, Qop, Realm, RealmConfig, UriCheck};
pub use users::{Users, UsersError};

/// What came of a look at credentials. The texts are for the log: a peer need not know them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// They are right.
    Verified(Identity),
    /// There are none of the kind that was asked for.
    Missing,
    /// Right, but for a nonce that is over, is not this client's or was used before.
    Stale(String),
    /// Wrong.
    Wrong(String),
    /// Not what the grammar allows.
    Malformed(String),
    /// Nobody can tell now.
    Unavailable(String),
}

/// Who was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user of a realm, or the claim `sub` of a token; empty if it has none.
    pub name: String,
    /// A JSON object, of a token.
    pub claims: Option<String>,
    /// When a token is over, leeway included, in seconds of the Unix epoch.
    pub expires_unix_s: Option<u64>,
}

/// Everything that credentials are checked against.
#[derive(Debug, Default)]
pub struct Auth {
    /// By name.
    pub realms: BTreeMap<String, Realm>,
    /// Of all realms.
    pub nonces: Nonces,
    /// By name.
    pub issuers: BTreeMap<String, Issuer>,
}

impl Auth {
    /// Looks at a request's digest credentials for a realm; `None` if there is no such realm.
    pub fn digest(&self, realm: &str, attempt: &Attempt<'_>) -> Option<Outcome> {
        let realm = self.realms.get(realm)?;
        Some(realm.judge(&self.nonces, attempt))
    }

    /// The values of WWW-Authenticate or Proxy-Authenticate, strongest first; `None` if there is no such realm.
    pub fn digest_challenge(
        &self,
        realm: &str,
        client: &str,
        freshness: Freshness,
        now: SystemTime,
    ) -> Option<Vec<String>> {
        let realm = self.realms.get(realm)?;
        Some(realm.challenge(&self.nonces, client, freshness, now))
    }

    /// Looks at a token; `None` if there is no such issuer.
    pub fn bearer(&self, issuer: &str, token: &str, now: SystemTime) -> Option<Outcome> {
        Some(self.issuers.get(issuer)?.judge(token, now))
    }

    /// The value of WWW-Authenticate or Proxy-Authenticate, with an error of RFC 6750 §3.1; `None` if there is no such issuer.
    pub fn bearer_challenge(&self, issuer: &str, error: Option<&str>) -> Option<String> {
        Some(self.issuers.get(issuer)?.challenge(error))
    }
}

/// Milliseconds of the Unix epoch.
fn unix_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    millis(since.unwrap_or_default())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
