//! An issuer of bearer tokens: what a token must say, and the keys that sign it (RFC 7519, RFC 7517, RFC 8725, RFC 8898). Fetches
//! nothing: it is given keys, and says when it wants newer ones.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use jsonwebtoken::{Header, Validation, decode, decode_header, errors::ErrorKind};
use serde_json::Value;

use crate::{
    Identity, Outcome,
    keys::{Keys, TokenAlgorithm},
};

/// A token; those with many groups in them have some 4 KB.
const TOKEN_BYTES_MAX: usize = 8_192;
/// Keys that are tried on one token.
const KEYS_TRIED_MAX: usize = 4;

/// What an operator says of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerConfig {
    /// In the configuration and in grants.
    pub name: String,
    /// The claim `iss`.
    pub issuer: String,
    /// The claim `aud` must have one of them.
    pub audience: Vec<String>,
    /// Which signatures count.
    pub algorithms: Vec<TokenAlgorithm>,
    /// How far clocks may be apart.
    pub leeway: Duration,
    /// Where clients get tokens (RFC 8898 §4).
    pub authz_server: String,
}

/// One issuer with its keys.
#[derive(Debug)]
pub struct Issuer {
    config: IssuerConfig,
    keys: ArcSwapOption<Keys>,
    wants_keys: AtomicBool,
}

impl Issuer {
    /// Without keys: until it has some, nobody can tell whether a token is right.
    #[must_use]
    pub fn new(config: IssuerConfig) -> Self {
        Self {
            config,
            keys: ArcSwapOption::empty(),
            wants_keys: AtomicBool::new(true),
        }
    }

    /// What the operator said.
    #[must_use]
    pub fn config(&self) -> &IssuerConfig {
        &self.config
    }

    /// These are its keys from now on.
    pub fn set_keys(&self, keys: Keys) {
        self.keys.store(Some(Arc::new(keys)));
    }

    /// Was there a token that newer keys might verify, since this was asked last? There are no keys at first.
    pub fn takes_wish_for_keys(&self) -> bool {
        self.wants_keys.swap(false, Relaxed)
    }

    /// The value of WWW-Authenticate or Proxy-Authenticate; `error` is one of RFC 6750 §3.1.
    pub(crate) fn challenge(&self, error: Option<&str>) -> String {
        let IssuerConfig {
            name, authz_server, ..
        } = &self.config;
        let error = error
            .map(|error| format!(r#", error="{error}""#))
            .unwrap_or_default();
        format!(r#"Bearer realm="{name}", authz_server="{authz_server}"{error}"#)
    }

    /// Looks at a token.
    pub(crate) fn judge(&self, token: &str, now: SystemTime) -> Outcome {
        self.check(token, now).unwrap_or_else(|outcome| outcome)
    }

    fn check(&self, token: &str, now: SystemTime) -> Result<Outcome, Outcome> {
        if token.len() > TOKEN_BYTES_MAX {
            let why = format!("a token of more than {TOKEN_BYTES_MAX} bytes");
            return Err(Outcome::Malformed(why));
        }
        // `none` is no algorithm that the library could read. What it read instead is the sender's text and no log line of ours.
        let header = decode_header(token)
            .map_err(|_| Outcome::Malformed("not a token with a signature that we know".into()))?;
        if header.crit.is_some() {
            // RFC 7515 §4.1.11: whatever it is, we do not understand it.
            return Err(wrong("crit is not understood"));
        }
        let algorithm = TokenAlgorithm::of(header.alg)
            .filter(|algorithm| self.config.algorithms.contains(algorithm))
            .ok_or_else(|| wrong(&format!("{:?} is not allowed", header.alg)))?;
        let Some(keys) = self.keys.load_full() else {
            self.wants_keys.store(true, Relaxed);
            return Err(Outcome::Unavailable("no keys yet".into()));
        };
        let claims = self.verify(token, &header, algorithm, &keys)?;
        let expires_unix_s = self.check_times(&claims, now)?;
        Ok(Outcome::Verified(Identity {
            name: text(&claims, "sub").unwrap_or_default().to_owned(),
            claims: Some(claims.to_string()),
            expires_unix_s: Some(expires_unix_s),
        }))
    }

    /// Signature, issuer and audience.
    fn verify(
        &self,
        token: &str,
        header: &Header,
        algorithm: TokenAlgorithm,
        keys: &Keys,
    ) -> Result<Value, Outcome> {
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&self.config.audience);
        validation.set_required_spec_claims(&["iss", "aud"]);
        // The library has a clock of its own.
        validation.validate_exp = false;
        let id = header.kid.as_deref();
        for key in keys.signing(id, algorithm).take(KEYS_TRIED_MAX) {
            match decode::<Value>(token, &key.key, &validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) => match error.kind() {
                    ErrorKind::InvalidSignature => {}
                    other => return Err(wrong(refused_for(other))),
                },
            }
        }
        // The issuer may have newer ones; a key that is here is not another tomorrow.
        if !id.is_some_and(|id| keys.has(id)) {
            self.wants_keys.store(true, Relaxed);
        }
        Err(wrong("signed with none of the issuer's keys"))
    }

    /// `exp` and `nbf`; gives the former, leeway included.
    fn check_times(&self, claims: &Value, now: SystemTime) -> Result<u64, Outcome> {
        let now_s = crate::unix_ms(now) / 1_000;
        let leeway_s = self.config.leeway.as_secs();
        let expires_s = time(claims, "exp").ok_or_else(|| wrong("exp is no time"))?;
        let expires_s = expires_s.saturating_add(leeway_s);
        if expires_s <= now_s {
            return Err(wrong("the token is over"));
        }
        let begins_s = claims.get("nbf").map_or(Some(0), |_| time(claims, "nbf"));
        let begins_s = begins_s.ok_or_else(|| wrong("nbf is no time"))?;
        if begins_s > now_s.saturating_add(leeway_s) {
            return Err(wrong("the token is not good yet"));
        }
        Ok(expires_s)
    }
}

fn wrong(why: &str) -> Outcome {
    Outcome::Wrong(why.to_owned())
}

/// In words of ours: those of the library may have the sender's in them.
fn refused_for(error: &ErrorKind) -> &'static str {
    match error {
        ErrorKind::InvalidIssuer => "another issuer's token",
        ErrorKind::InvalidAudience => "a token for others",
        ErrorKind::MissingRequiredClaim(_) => "a token without iss or aud",
        // Of the library, which may learn of more.
        _ => "not a token that can be read",
    }
}

fn text<'a>(claims: &'a Value, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// A NumericDate, which may have a fraction (RFC 7519 §2).
fn time(claims: &Value, name: &str) -> Option<u64> {
    let value = claims.get(name)?;
    let whole = |seconds: f64| (seconds >= 0.0).then_some(seconds as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(whole))
}

#[cfg(test)]
mod tests;
