//! Credentials for a TURN server that shares a secret with us: whoever has them may use it for some time, and the server need not know
//! its users (draft-uberti-behave-turn-rest-00, `use-auth-secret` of coturn).

use std::time::{Duration, SystemTime};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// For one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// When they are over, in seconds since 1970, a colon, and whose they are.
    pub username: String,
    /// What a page calls `credential`.
    pub password: String,
}

/// That are over at `until`.
#[must_use]
pub fn credentials(secret: &str, user: &str, until: SystemTime) -> Credentials {
    let until = until.duration_since(SystemTime::UNIX_EPOCH);
    let until_s = until.map_or(0, |until: Duration| until.as_secs());
    let username = format!("{until_s}:{user}");
    let mut mac =
        Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(username.as_bytes());
    let password = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    Credentials { username, password }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `printf %s USERNAME | openssl dgst -sha1 -hmac SECRET -binary | base64` has it.
    #[test]
    fn is_what_others_compute() {
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(1_433_895_918);
        let made = credentials("north", "alice", until);
        assert_eq!(made.username, "1433895918:alice");
        assert_eq!(made.password, "RqMvcGPYTJMGThVLSi4amT4zFtI=");
    }
}
