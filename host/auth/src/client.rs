//! The other side of digest (RFC 3261 §22, RFC 7616 §3.4, RFC 8760): what we say when somebody asks who we are. It believes nobody and
//! decides nothing; the password goes into digests and nowhere else.

use std::{fmt, sync::OnceLock};

use thiserror::Error;

use crate::{
    Qop,
    credentials::digest_params,
    digest::{Algorithm, Subject},
    params::{self, ParamFault},
};

/// A value; real ones have some 200 bytes.
const CHALLENGE_BYTES_MAX: usize = 4_096;

/// Credentials of ours.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    username: String,
    password: String,
    realm: Option<String>,
    /// Without `realm`: that of the first challenge. Behind a carrier anybody may ask, and would get a digest for a realm of his own.
    first: OnceLock<String>,
}

/// One value of WWW-Authenticate or Proxy-Authenticate that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge<'a> {
    value: &'a str,
    realm: &'a str,
    nonce: &'a str,
    opaque: Option<&'a str>,
    algorithm: Algorithm,
    /// MD5 goes without saying, for those who know no other.
    algorithm_is_named: bool,
    qop: Option<Qop>,
    is_stale: bool,
}

/// What credentials are computed over.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its Request-URI, as it is sent.
    pub uri: &'a str,
    /// Its body; empty if there is none.
    pub body: &'a [u8],
    /// How many requests had credentials of this nonce, with this one.
    pub count: u32,
    /// Chance of ours.
    pub cnonce: &'a str,
}

/// Why none of several challenges is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoneFits {
    /// Somebody else may know what to answer.
    #[error("every challenge is of another realm")]
    Foreign,
    /// Basic, an algorithm or qop that we do not know, or what nobody can read.
    #[error("no challenge is one that we can answer")]
    Unknown,
}

/// Why one challenge cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
enum ChallengeFault {
    #[error("a challenge of more than {CHALLENGE_BYTES_MAX} bytes")]
    TooLong,
    #[error("a challenge that is not digest")]
    Scheme,
    #[error("a challenge with {0}")]
    Params(#[from] ParamFault),
    #[error("a challenge without {0}")]
    Missing(&'static str),
    #[error("an algorithm that we do not know")]
    Algorithm,
    #[error("a qop that we do not know")]
    Qop,
}

impl Login {
    /// With `realm`, challenges of that one alone are answered; without, those of the realm that the first one names.
    #[must_use]
    pub fn new(username: &str, password: &str, realm: Option<&str>) -> Self {
        Self {
            username: quoted(username),
            password: password.to_owned(),
            realm: realm.map(quoted),
            first: OnceLock::new(),
        }
    }

    /// The realm that is ours for no other reason than that it was named first.
    #[must_use]
    pub fn first_realm(&self) -> Option<&str> {
        self.first.get().map(String::as_str)
    }

    /// The one of these values that is answered: the strongest that we know (RFC 8760 §2.4 leaves it to us), the first of equals.
    ///
    /// # Errors
    /// None is for us.
    pub fn choose<'c>(
        &self,
        values: impl IntoIterator<Item = &'c str>,
    ) -> Result<Challenge<'c>, NoneFits> {
        let (mut best, mut none) = (None::<Challenge<'c>>, NoneFits::Foreign);
        for value in values {
            match Challenge::parse(value) {
                Ok(challenge) if !self.is_for_us(&challenge) => {}
                Ok(challenge) => {
                    // Algorithms are in the order of their strength.
                    if best
                        .as_ref()
                        .is_none_or(|best| challenge.algorithm < best.algorithm)
                    {
                        best = Some(challenge);
                    }
                }
                Err(_) => none = NoneFits::Unknown,
            }
        }
        let best = best.ok_or(none)?;
        if self.realm.is_none() {
            self.first.get_or_init(|| best.realm.to_owned());
        }
        // Another thread may have heard of another realm first.
        match self.is_for_us(&best) {
            true => Ok(best),
            false => Err(NoneFits::Foreign),
        }
    }

    fn is_for_us(&self, challenge: &Challenge<'_>) -> bool {
        let realm = self.realm.as_deref().or(self.first_realm());
        realm.is_none_or(|realm| realm == challenge.realm)
    }

    /// The value of Authorization or Proxy-Authorization.
    #[must_use]
    pub fn answer(&self, challenge: &Challenge<'_>, request: &Request<'_>) -> String {
        let Self { username, .. } = self;
        let Challenge {
            realm,
            nonce,
            algorithm,
            ..
        } = challenge;
        let uri = request.uri;
        let nc = format!("{:08x}", request.count);
        let ha1 = algorithm.ha1(username, realm, &self.password);
        let response = match challenge.qop {
            None => algorithm.response_without_qop(&ha1, nonce, request.method, uri),
            Some(qop) => algorithm.response(
                &ha1,
                &Subject {
                    method: request.method,
                    uri,
                    nonce,
                    nc: &nc,
                    cnonce: request.cnonce,
                    qop: qop.name(),
                    body: match qop {
                        Qop::Auth => None,
                        Qop::AuthInt => Some(request.body),
                    },
                },
            ),
        };
        let mut value = format!(
            r#"Digest username="{username}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}""#
        );
        if challenge.algorithm_is_named {
            value.push_str(&format!(", algorithm={}", algorithm.name()));
        }
        if let Some(opaque) = challenge.opaque {
            value.push_str(&format!(r#", opaque="{opaque}""#));
        }
        if let Some(qop) = challenge.qop {
            let (qop, cnonce) = (qop.name(), request.cnonce);
            value.push_str(&format!(r#", qop={qop}, nc={nc}, cnonce="{cnonce}""#));
        }
        value
    }
}

/// Without the password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .field("realm", &self.realm)
            .finish_non_exhaustive()
    }
}

impl<'a> Challenge<'a> {
    fn parse(value: &'a str) -> Result<Self, ChallengeFault> {
        if value.len() > CHALLENGE_BYTES_MAX {
            return Err(ChallengeFault::TooLong);
        }
        let params = params::parse(digest_params(value).ok_or(ChallengeFault::Scheme)?)?;
        let find = |name: &str| {
            let is_it = |(other, _): &&(&str, &str)| other.eq_ignore_ascii_case(name);
            params.iter().find(is_it).map(|(_, value)| *value)
        };
        let need = |name| find(name).ok_or(ChallengeFault::Missing(name));
        let named = find("algorithm");
        let algorithm = named.map_or(Some(Algorithm::Md5), Algorithm::find);
        let qop = find("qop").map(strongest_qop).transpose()?;
        Ok(Self {
            value,
            realm: need("realm")?,
            nonce: need("nonce")?,
            opaque: find("opaque"),
            algorithm: algorithm.ok_or(ChallengeFault::Algorithm)?,
            algorithm_is_named: named.is_some(),
            qop,
            is_stale: find("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    /// As it was sent.
    #[must_use]
    pub fn value(&self) -> &'a str {
        self.value
    }

    /// The credentials before were right but for their nonce.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.is_stale
    }
}

/// `auth` where it is offered: between us and an upstream others change bodies.
fn strongest_qop(offered: &str) -> Result<Qop, ChallengeFault> {
    let known = offered.split(',').filter_map(|qop| Qop::find(qop.trim()));
    let known: Vec<_> = known.collect();
    let auth = known.iter().find(|qop| **qop == Qop::Auth);
    auth.or(known.first()).copied().ok_or(ChallengeFault::Qop)
}

/// As it stands between quotes (RFC 3261 §25.1), which is what digests are computed over.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mufasa() -> Login {
        Login::new("Mufasa", "Circle of Life", None)
    }

    fn challenge(algorithm: &str, more: &str) -> String {
        format!(
            r#"Digest realm="http-auth@example.org", {more}algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#
        )
    }

    fn request() -> Request<'static> {
        Request {
            method: "GET",
            uri: "/dir/index.html",
            body: b"",
            count: 1,
            cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        }
    }

    /// RFC 7616 §3.9.1: both challenges, and the answer to each.
    #[test]
    fn the_examples_of_rfc_7616() {
        let qop = "qop=\"auth, auth-int\", ";
        let (sha256, md5) = (challenge("SHA-256", qop), challenge("MD5", qop));
        for (values, algorithm, response) in [
            (
                vec![md5.as_str(), &sha256],
                "SHA-256",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
            (vec![&md5], "MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ] {
            let chosen = mufasa().choose(values).unwrap();
            assert_eq!(
                mufasa().answer(&chosen, &request()),
                format!(
                    r#"Digest username="Mufasa", realm="http-auth@example.org", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", uri="/dir/index.html", response="{response}", algorithm={algorithm}, opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", qop=auth, nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ""#
                )
            );
        }
    }

    /// RFC 2617 §3.2.2.1 without qop, and §3.5 for the values; the response computed with coreutils' md5sum.
    #[test]
    fn who_offers_no_qop_is_answered_as_of_old() {
        let login = Login::new("Mufasa", "Circle Of Life", None);
        let value =
            r#"Digest realm="testrealm@host.com",nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093""#;
        let chosen = login.choose([value]).unwrap();
        assert_eq!(
            login.answer(&chosen, &request()),
            r#"Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html", response="670fd8c2df070c60b045671b8b24ff02""#
        );
    }

    #[test]
    fn auth_int_is_answered_where_nothing_else_is_offered() {
        let value = challenge("MD5", "qop=auth-int, ");
        let chosen = mufasa().choose([value.as_str()]).unwrap();
        let with = |body| mufasa().answer(&chosen, &Request { body, ..request() });
        assert!(with(b"v=0").contains("qop=auth-int"));
        assert_ne!(with(b"v=0"), with(b"v=1"));
    }

    #[test]
    fn what_cannot_be_answered_is_told_from_what_is_for_others() {
        let good = challenge("MD5", "");
        let of = |realm| Login::new("a", "p", realm);
        let check = |login: &Login, values: &[&str]| {
            let chosen = login.choose(values.iter().copied());
            chosen.map(|chosen| chosen.value().to_owned())
        };
        let ours = of(Some("http-auth@example.org"));
        assert_eq!(check(&ours, &[&good]), Ok(good.clone()));
        assert_eq!(check(&of(Some("else")), &[&good]), Err(NoneFits::Foreign));
        assert_eq!(check(&ours, &[]), Err(NoneFits::Foreign));
        for bad in [
            "Basic realm=\"x\"",
            "Digest",
            "Digest realm=\"x\"",
            "Digest realm=\"x\", nonce=\"y",
            "Digest realm=\"x\", nonce=\"y\", algorithm=SHA-512-256",
            "Digest realm=\"x\", nonce=\"y\", qop=\"auth-conf\"",
            &format!("Digest realm=\"{}\"", "x".repeat(CHALLENGE_BYTES_MAX)),
        ] {
            assert_eq!(check(&of(None), &[bad]), Err(NoneFits::Unknown), "{bad}");
            assert_eq!(check(&ours, &[bad, &good]), Ok(good.clone()), "{bad}");
        }
    }

    #[test]
    fn without_a_realm_the_first_that_is_named_is_ours() {
        let of = |realm: &str, algorithm: &str| {
            format!(r#"Digest realm="{realm}", nonce="n", algorithm={algorithm}"#)
        };
        let (theirs, other) = (of("carrier", "MD5"), of("phone", "SHA-256"));
        let login = Login::new("a", "p", None);
        let check = |values: &[&str]| {
            let chosen = login.choose(values.iter().copied());
            chosen.map(|chosen| chosen.value().to_owned())
        };
        assert_eq!(login.first_realm(), None);
        assert_eq!(check(&[&theirs]), Ok(theirs.clone()));
        assert_eq!(login.first_realm(), Some("carrier"));
        assert_eq!(check(&[&other]), Err(NoneFits::Foreign));
        assert_eq!(check(&[&other, &theirs]), Ok(theirs.clone()));
        assert!(check(&[&of("carrier", "SHA-256")]).is_ok());
        let told = Login::new("a", "p", Some("phone"));
        assert!(told.choose([other.as_str()]).is_ok());
        assert_eq!(told.first_realm(), None);
    }

    #[test]
    fn stale_is_read_in_any_case() {
        for (text, is_stale) in [
            ("stale=TRUE, ", true),
            ("stale=\"true\", ", true),
            ("stale=false, ", false),
            ("", false),
        ] {
            let value = challenge("MD5", text);
            assert_eq!(
                mufasa().choose([value.as_str()]).unwrap().is_stale(),
                is_stale,
                "{text}"
            );
        }
    }

    #[test]
    fn quotes_are_escaped_and_the_password_is_shown_to_nobody() {
        let login = Login::new("a\"b\\", "secret", None);
        let value = challenge("MD5", "");
        let answer = login.answer(&login.choose([value.as_str()]).unwrap(), &request());
        assert!(
            answer.starts_with(r#"Digest username="a\"b\\", "#),
            "{answer}"
        );
        assert!(!format!("{login:?}").contains("secret"));
    }
}
