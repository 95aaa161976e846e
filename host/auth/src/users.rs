//! The users of a realm: a TOML file of names with a password or with what digests are computed from, and no password kept.
//!
//! ```toml
//! [[user]]
//! name = "alice"
//! password = "secret"
//!
//! [[user]]
//! name = "bob"           # H(name ":" realm ":" password) in hex, one for each algorithm of the realm
//! sha256 = "…"
//! md5 = "…"
//! ```

use std::{collections::HashMap, fmt};

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use crate::digest::Algorithm;

/// By name.
#[derive(Default)]
pub struct Users {
    ha1s: HashMap<String, Ha1s>,
}

/// One for each algorithm of [`Algorithm::ALL`], in its order, where it is known.
type Ha1s = [Option<Box<str>>; Algorithm::ALL.len()];

/// What is wrong with a file. Never says a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UsersError {
    /// Not TOML, or other keys than these.
    #[error("not a list of users: {0}")]
    Syntax(String),
    /// A name that is missing, or that digests cannot carry.
    #[error(
        "user {0}: a name has no colon, quote, backslash or control character, and is not empty"
    )]
    Name(usize),
    /// A name that stands there twice.
    #[error("user `{0}` stands there twice")]
    Twice(String),
    /// Neither a password nor this algorithm's hash.
    #[error("user `{0}` has neither a password nor `{1}`, and the realm offers {2}")]
    Unusable(String, &'static str, &'static str),
    /// A hash that is none.
    #[error("user `{0}`: `{1}` is not {2} digits in hex")]
    Hash(String, &'static str, usize),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    user: Vec<RawUser>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUser {
    name: String,
    #[serde(default, deserialize_with = "secret")]
    password: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    sha256: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    md5: Option<String>,
}

/// Serde's own error would show what stands there.
fn secret<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(value);
    text.map(Some)
        .map_err(|_| de::Error::custom("a password or hash is not in quotes"))
}

impl Users {
    /// Reads a file's text; each user must have what `algorithms` need.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str, realm: &str, algorithms: &[Algorithm]) -> Result<Self, UsersError> {
        // The text around a fault would show passwords.
        let file: File =
            toml::from_str(text).map_err(|error| UsersError::Syntax(error.message().to_owned()))?;
        let mut ha1s = HashMap::with_capacity(file.user.len());
        for (index, user) in file.user.into_iter().enumerate() {
            if user.name.is_empty() || user.name.contains([':', '"', '\\', '\n', '\r', '\0']) {
                return Err(UsersError::Name(index));
            }
            let hashes = user.ha1s(realm, algorithms)?;
            if ha1s.insert(user.name.clone(), hashes).is_some() {
                return Err(UsersError::Twice(user.name));
            }
        }
        Ok(Self { ha1s })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ha1s.len()
    }

    pub(crate) fn ha1(&self, name: &str, algorithm: Algorithm) -> Option<&str> {
        let hashes = self.ha1s.get(name)?;
        hashes.get(algorithm as usize)?.as_deref()
    }
}

impl RawUser {
    fn ha1s(&self, realm: &str, algorithms: &[Algorithm]) -> Result<Ha1s, UsersError> {
        let mut hashes = Ha1s::default();
        for (slot, algorithm) in hashes.iter_mut().zip(Algorithm::ALL) {
            let (key, given) = match algorithm {
                Algorithm::Sha256 => ("sha256", &self.sha256),
                Algorithm::Md5 => ("md5", &self.md5),
            };
            let hash = match (given, &self.password) {
                (Some(hash), _) => Some(self.checked(key, hash, algorithm)?),
                (None, Some(password)) => Some(algorithm.ha1(&self.name, realm, password)),
                (None, None) if algorithms.contains(&algorithm) => {
                    let name = self.name.clone();
                    return Err(UsersError::Unusable(name, key, algorithm.name()));
                }
                (None, None) => None,
            };
            *slot = hash.map(String::into_boxed_str);
        }
        Ok(hashes)
    }

    fn checked(
        &self,
        key: &'static str,
        hash: &str,
        algorithm: Algorithm,
    ) -> Result<String, UsersError> {
        let digits = algorithm.hex_digits();
        if hash.len() == digits && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(hash.to_ascii_lowercase())
        } else {
            Err(UsersError::Hash(self.name.clone(), key, digits))
        }
    }
}

/// Tells nobody who they are.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn parse(text: &str, algorithms: &[Algorithm]) -> Result<Users, UsersError> {
        Users::parse(text, "example.com", algorithms)
    }

    #[test]
    fn a_password_and_its_hashes_come_to_the_same() {
        let md5 = Algorithm::Md5.ha1("alice", "example.com", "secret");
        let text = format!(
            "[[user]]\nname='alice'\npassword='secret'\n[[user]]\nname='bob'\nmd5='{}'",
            md5.to_uppercase()
        );
        let users = parse(&text, &[Algorithm::Md5]).unwrap();
        assert_eq!(users.count(), 2);
        assert_eq!(users.ha1("alice", Algorithm::Md5), Some(md5.as_str()));
        assert_eq!(users.ha1("bob", Algorithm::Md5), Some(md5.as_str()));
        assert_eq!(users.ha1("bob", Algorithm::Sha256), None);
        assert_eq!(users.ha1("carol", Algorithm::Md5), None);
    }

    #[track_caller]
    fn check(text: &str, expected: Expect) {
        expected.assert_eq(&parse(text, &Algorithm::ALL).unwrap_err().to_string());
    }

    #[test]
    fn faults_are_told_without_secrets() {
        check(
            "[[user]]\nname='a'\npassword=7",
            expect!["not a list of users: a password or hash is not in quotes"],
        );
        check(
            "[[user]]\nname='a'\npasword='hidden'",
            expect![
                "not a list of users: unknown field `pasword`, expected one of `name`, `password`, `sha256`, `md5`"
            ],
        );
        check(
            "[[user]]\nname='a:b'\npassword='x'",
            expect![
                "user 0: a name has no colon, quote, backslash or control character, and is not empty"
            ],
        );
        check(
            "[[user]]\nname='a'\npassword='x'\n[[user]]\nname='a'\npassword='y'",
            expect!["user `a` stands there twice"],
        );
        check(
            "[[user]]\nname='a'\nmd5='0123456789abcdef0123456789abcdef'",
            expect!["user `a` has neither a password nor `sha256`, and the realm offers SHA-256"],
        );
        check(
            "[[user]]\nname='a'\npassword='x'\nmd5='0123'",
            expect!["user `a`: `md5` is not 32 digits in hex"],
        );
    }
}
