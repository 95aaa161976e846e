//! The computation of RFC 7616 §3.4, with MD5 as RFC 2617 has it and SHA-256 (RFC 8760). Without qop it is computed for those who ask
//! us, and never believed: such credentials could be replayed.

use md5::{Digest as _, Md5};
use sha2::Sha256;

/// What digests are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// `SHA-256`
    Sha256,
    /// `MD5`: weak, and all that most browsers' SIP libraries know.
    Md5,
}

/// What a response is computed over, as it stands in the credentials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) method: &'a str,
    pub(crate) uri: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) nc: &'a str,
    pub(crate) cnonce: &'a str,
    pub(crate) qop: &'a str,
    /// There with `auth-int`.
    pub(crate) body: Option<&'a [u8]>,
}

impl Algorithm {
    /// All of them, strongest first.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Md5];

    /// As challenges and credentials have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }

    /// The algorithm of a name, in any case.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let named = |algorithm: &Self| algorithm.name().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(named)
    }

    /// H(username ":" realm ":" password) in hex.
    #[must_use]
    pub fn ha1(self, username: &str, realm: &str, password: &str) -> String {
        self.hash(&[username, realm, password])
    }

    /// Digits of a digest in hex.
    #[must_use]
    pub fn hex_digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Md5 => 32,
        }
    }

    /// The response that somebody who knows `ha1` gives, in hex.
    pub(crate) fn response(self, ha1: &str, subject: &Subject<'_>) -> String {
        let a2 = match subject.body {
            None => self.hash(&[subject.method, subject.uri]),
            Some(body) => self.hash(&[subject.method, subject.uri, &self.hash_bytes(body)]),
        };
        self.hash(&[
            ha1,
            subject.nonce,
            subject.nc,
            subject.cnonce,
            subject.qop,
            &a2,
        ])
    }

    /// As RFC 2069 had it, for those who still offer no qop (RFC 2617 §3.2.2.1).
    pub(crate) fn response_without_qop(
        self,
        ha1: &str,
        nonce: &str,
        method: &str,
        uri: &str,
    ) -> String {
        self.hash(&[ha1, nonce, &self.hash(&[method, uri])])
    }

    fn hash(self, parts: &[&str]) -> String {
        self.hash_bytes(parts.join(":").as_bytes())
    }

    fn hash_bytes(self, bytes: &[u8]) -> String {
        match self {
            Self::Sha256 => hex(&Sha256::digest(bytes)),
            Self::Md5 => hex(&Md5::digest(bytes)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| {
        [
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ]
    });
    digits.map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 §3.9.1.
    const RFC_7616: Subject<'_> = Subject {
        method: "GET",
        uri: "/dir/index.html",
        nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        nc: "00000001",
        cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        qop: "auth",
        body: None,
    };

    #[track_caller]
    fn check(algorithm: Algorithm, user: [&str; 3], subject: &Subject<'_>, expected: &str) {
        let ha1 = algorithm.ha1(user[0], user[1], user[2]);
        assert_eq!(ha1.len(), algorithm.hex_digits());
        assert_eq!(algorithm.response(&ha1, subject), expected);
    }

    #[test]
    fn the_examples_of_the_rfcs() {
        let mufasa = ["Mufasa", "http-auth@example.org", "Circle of Life"];
        check(
            Algorithm::Md5,
            mufasa,
            &RFC_7616,
            "8ca523f5e9506fed4657c9700eebdbec",
        );
        check(
            Algorithm::Sha256,
            mufasa,
            &RFC_7616,
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        );
        // RFC 2617 §3.5.
        let subject = Subject {
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            cnonce: "0a4f113b",
            ..RFC_7616
        };
        check(
            Algorithm::Md5,
            ["Mufasa", "testrealm@host.com", "Circle Of Life"],
            &subject,
            "6629fae49393a05397450978507c4ef1",
        );
    }

    #[test]
    fn auth_int_covers_the_body() {
        let ha1 = Algorithm::Sha256.ha1("a", "r", "p");
        let subject = Subject {
            qop: "auth-int",
            body: Some(b"v=0"),
            ..RFC_7616
        };
        // Computed with coreutils' sha256sum.
        assert_eq!(
            Algorithm::Sha256.response(&ha1, &subject),
            "948f3835add9a8f8b290483b22107e4ce9984859e2991fb94b910e06785b7230"
        );
    }

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(Algorithm::find("sha-256"), Some(Algorithm::Sha256));
        assert_eq!(Algorithm::find("MD5"), Some(Algorithm::Md5));
        assert_eq!(Algorithm::find("MD5-sess"), None);
    }
}
