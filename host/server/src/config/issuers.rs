//! `[[auth.issuer]]`: whose bearer tokens count, and where the keys that verify them come from.

use std::{path::PathBuf, time::Duration};

use hookswitch_auth::{IssuerConfig, TokenAlgorithm};
use hyper::Uri;

use super::{Faults, auth::named, check::File, numbers::in_range, raw};

/// An issuer of bearer tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Its name and what its tokens must say.
    pub config: IssuerConfig,
    /// Where its keys come from.
    pub keys: KeySource,
}

/// Where a JSON Web Key Set (RFC 7517) comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file; watched.
    File(PathBuf),
    /// A server.
    Url(KeyUrl),
}

/// Keys that are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUrl {
    /// `https`, or `http` on this machine.
    pub url: Uri,
    /// PEM of who signs its certificate; the system's CAs if `None`.
    pub ca: Option<PathBuf>,
    /// How often at most, whatever tokens name.
    pub every_min: Duration,
    /// How often at least.
    pub every_max: Duration,
}

pub(super) fn check(
    key: &str,
    raw: raw::Issuer,
    file: &File,
    faults: &mut Faults,
) -> Option<Issuer> {
    let algorithms = algorithms(key, &raw, faults);
    if raw.audience.is_empty() {
        faults.push(
            format!("{key}.audience"),
            "empty",
            "write what the claim aud must have",
        );
    }
    let leeway_s = raw.leeway_s.unwrap_or(30);
    let leeway_s = in_range(&format!("{key}.leeway_s"), leeway_s, 0, 600, faults);
    let keys = key_source(key, &raw, file, faults);
    let (at, authz_server) = match raw.authz_server {
        Some(server) => ("authz_server", server),
        None => ("issuer", raw.issuer.clone()),
    };
    if url(&authz_server).is_err() || authz_server.contains(['"', '\\']) {
        faults.push(
            format!("{key}.{at}"),
            format!("`{authz_server}` is not a URL of https"),
            "write where clients get tokens in authz_server",
        );
    }
    Some(Issuer {
        config: IssuerConfig {
            name: raw.name,
            issuer: raw.issuer,
            audience: raw.audience,
            algorithms,
            leeway: Duration::from_secs(leeway_s?),
            authz_server,
        },
        keys: keys?,
    })
}

/// Those of public keys unless others are named.
fn algorithms(key: &str, raw: &raw::Issuer, faults: &mut Faults) -> Vec<TokenAlgorithm> {
    let known = TokenAlgorithm::ALL.map(TokenAlgorithm::name).join(", ");
    let algorithms = named(
        &format!("{key}.algorithms"),
        raw.algorithms.clone(),
        TokenAlgorithm::find,
        &format!("the algorithms are {known}"),
        faults,
    );
    let Some(algorithms) = algorithms else {
        let all = TokenAlgorithm::ALL.into_iter();
        return all.filter(|algorithm| !algorithm.is_shared()).collect();
    };
    let is_shared = algorithms.iter().any(|algorithm| algorithm.is_shared());
    if is_shared && algorithms.len() > 1 {
        faults.push(
            format!("{key}.algorithms"),
            "a shared secret beside public keys",
            "make two issuers of it",
        );
    }
    if is_shared && raw.keys_url.is_some() {
        faults.push(
            format!("{key}.keys_url"),
            "a shared secret is not to be fetched",
            "write keys_file",
        );
    }
    algorithms
}

fn key_source(key: &str, raw: &raw::Issuer, file: &File, faults: &mut Faults) -> Option<KeySource> {
    match (&raw.keys_file, &raw.keys_url) {
        (Some(path), None) => Some(KeySource::File(file.path(path))),
        (None, Some(text)) => key_url(key, raw, text, file, faults).map(KeySource::Url),
        (None, None) | (Some(_), Some(_)) => {
            faults.push(
                format!("{key}.keys_file"),
                "keys come from one place",
                "write keys_file or keys_url",
            );
            None
        }
    }
}

fn key_url(
    key: &str,
    raw: &raw::Issuer,
    text: &str,
    file: &File,
    faults: &mut Faults,
) -> Option<KeyUrl> {
    let url = url(text);
    match url {
        Ok(_) => {}
        Err(UrlFault::Scheme) => faults.push(
            format!("{key}.keys_url"),
            format!("`{text}` is not a URL of https"),
            "write https://, or http:// for this machine itself",
        ),
        // Without the text: a password may be in it.
        Err(UrlFault::User) => faults.push(
            format!("{key}.keys_url"),
            "a URL with a user before the host",
            "leave out what stands before the @: keys are given to everybody",
        ),
    }
    let mut seconds = |name, given: Option<i64>, default, min| {
        let key = format!("{key}.{name}");
        in_range(&key, given.unwrap_or(default), min, 86_400, faults).map(Duration::from_secs)
    };
    let every_min = seconds("keys_s_min", raw.keys_s_min, 10, 1);
    let every_max = seconds("keys_s_max", raw.keys_s_max, 300, 10);
    Some(KeyUrl {
        url: url.ok()?,
        ca: raw.keys_ca.as_deref().map(|path| file.path(path)),
        every_min: every_min?,
        every_max: every_max?,
    })
}

/// What is wrong with a URL.
enum UrlFault {
    /// It is none, or one in the clear.
    Scheme,
    /// Userinfo (RFC 3986 §3.2.1): the password would stand in the log and in Host.
    User,
}

/// In the clear it could be anybody's, but on the way to this machine itself.
fn url(text: &str) -> Result<Uri, UrlFault> {
    let url: Uri = text.parse().map_err(|_| UrlFault::Scheme)?;
    let authority = url.authority().ok_or(UrlFault::Scheme)?;
    if authority.as_str().contains('@') {
        return Err(UrlFault::User);
    }
    let is_here = matches!(authority.host(), "localhost" | "127.0.0.1" | "[::1]");
    match url.scheme_str() {
        Some("https") => Ok(url),
        Some("http") if is_here => Ok(url),
        Some(_) | None => Err(UrlFault::Scheme),
    }
}
