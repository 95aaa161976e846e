//! The value of Authorization or Proxy-Authorization with the scheme Digest (RFC 7616 §3.4), read and not yet believed.

use thiserror::Error;

use crate::{
    digest::Algorithm,
    params::{self, ParamFault},
};

/// A value; real ones have some 400 bytes.
const CREDENTIALS_BYTES_MAX: usize = 4_096;
const SCHEME: &str = "Digest";

/// Each as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credentials<'a> {
    pub(crate) username: &'a str,
    pub(crate) realm: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) uri: &'a str,
    pub(crate) response: &'a str,
    /// `MD5` where the parameter is missing.
    pub(crate) algorithm: &'a str,
    pub(crate) qop: &'a str,
    pub(crate) nc: &'a str,
    pub(crate) cnonce: &'a str,
}

/// Why they cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum CredentialsFault {
    #[error("credentials of more than {CREDENTIALS_BYTES_MAX} bytes")]
    TooLong,
    #[error("credentials with {0}")]
    Params(#[from] ParamFault),
    #[error("credentials without {0}")]
    Missing(&'static str),
    #[error("credentials with {0} twice")]
    Twice(&'static str),
    #[error("credentials without qop: they could be replayed")]
    NoQop,
}

/// The parameters of a value if its scheme is Digest.
pub(crate) fn digest_params(value: &str) -> Option<&str> {
    let (scheme, params) = value.trim().split_once([' ', '\t'])?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(params)
}

impl<'a> Credentials<'a> {
    /// From the parameters behind the scheme.
    pub(crate) fn parse(text: &'a str) -> Result<Self, CredentialsFault> {
        if text.len() > CREDENTIALS_BYTES_MAX {
            return Err(CredentialsFault::TooLong);
        }
        let params = params::parse(text)?;
        let find = |name: &'static str| {
            let mut named = params
                .iter()
                .filter(|(other, _)| other.eq_ignore_ascii_case(name));
            match (named.next(), named.next()) {
                (_, Some(_)) => Err(CredentialsFault::Twice(name)),
                (found, None) => Ok(found.map(|(_, value)| *value)),
            }
        };
        let need = |name| find(name)?.ok_or(CredentialsFault::Missing(name));
        Ok(Self {
            username: need("username")?,
            realm: need("realm")?,
            nonce: need("nonce")?,
            uri: need("uri")?,
            response: need("response")?,
            algorithm: find("algorithm")?.unwrap_or(Algorithm::Md5.name()),
            qop: find("qop")?.ok_or(CredentialsFault::NoQop)?,
            nc: need("nc")?,
            cnonce: need("cnonce")?,
        })
    }

    /// The nonce count.
    pub(crate) fn count(&self) -> Option<u32> {
        let is_hex = self.nc.bytes().all(|byte| byte.is_ascii_hexdigit());
        let count = u32::from_str_radix(self.nc, 16).ok()?;
        (is_hex && count > 0).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"username="alice", realm="r", nonce="n", uri="sip:r", response="0123", qop=auth, nc=0000000a, cnonce="c""#;

    #[test]
    fn credentials_are_read() {
        let read = Credentials::parse(WHOLE).unwrap();
        assert_eq!(
            (read.username, read.uri, read.algorithm),
            ("alice", "sip:r", "MD5")
        );
        assert_eq!(read.count(), Some(10));
        assert_eq!(digest_params("  digest\ta=1"), Some("a=1"));
        assert_eq!(digest_params("Bearer x"), None);
        assert_eq!(digest_params("Digest"), None);
    }

    #[test]
    fn what_is_missing_twice_or_too_long_is_told() {
        for (text, fault) in [
            (
                WHOLE.replace("realm=\"r\",", ""),
                CredentialsFault::Missing("realm"),
            ),
            (WHOLE.replace("qop=auth,", ""), CredentialsFault::NoQop),
            (
                format!("{WHOLE}, NONCE=x"),
                CredentialsFault::Twice("nonce"),
            ),
            (
                WHOLE[..WHOLE.len() - 1].to_owned(),
                CredentialsFault::Params(ParamFault::OpenQuote),
            ),
            (
                format!("{WHOLE}{}", ", a=1".repeat(1_000)),
                CredentialsFault::TooLong,
            ),
        ] {
            assert_eq!(Credentials::parse(&text), Err(fault), "{text}");
        }
    }

    #[test]
    fn a_count_is_a_number_from_one() {
        for (nc, count) in [
            ("00000001", Some(1)),
            ("0", None),
            ("", None),
            ("+1", None),
            ("g", None),
            ("100000000", None),
        ] {
            let text = WHOLE.replace("0000000a", &format!("\"{nc}\""));
            assert_eq!(Credentials::parse(&text).unwrap().count(), count, "{nc}");
        }
    }
}
