//! `[[auth.realm]]` and `[[auth.issuer]]`: what `auth` of the contract knows of credentials and tokens.

use std::{collections::HashSet, path::PathBuf, time::Duration};

use hookswitch_auth::{Algorithm, Qop, RealmConfig, UriCheck};
use hookswitch_policy::PolicySpec;

use super::{
    Faults,
    check::File,
    issuers::{self, Issuer},
    numbers::in_range,
    raw,
};

/// What credentials and tokens are checked against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// In the file's order.
    pub realms: Vec<Realm>,
    /// In the file's order.
    pub issuers: Vec<Issuer>,
}

/// A realm of digest credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    /// Its name and what it offers.
    pub config: RealmConfig,
    /// The file of its users; watched.
    pub users: PathBuf,
}

pub(super) fn check(file: &mut File, policies: &[PolicySpec], faults: &mut Faults) -> Auth {
    let mut names = HashSet::new();
    let raw: Vec<(String, raw::Realm)> = file.list("auth.realm", faults);
    let mut realms = Vec::new();
    for (key, raw) in raw {
        check_name(&format!("{key}.name"), &raw.name, &mut names, faults);
        realms.extend(realm(&key, raw, file, faults));
    }
    let raw: Vec<(String, raw::Issuer)> = file.list("auth.issuer", faults);
    let mut issuers = Vec::new();
    for (key, raw) in raw {
        check_name(&format!("{key}.name"), &raw.name, &mut names, faults);
        issuers.extend(issuers::check(&key, raw, file, faults));
    }
    file.rest_of("auth", "realm, issuer", faults);
    check_grants(policies, &names, faults);
    Auth { realms, issuers }
}

fn check_grants(policies: &[PolicySpec], names: &HashSet<String>, faults: &mut Faults) {
    for (index, policy) in policies.iter().enumerate() {
        let unknown = policy
            .grants
            .auth
            .iter()
            .filter(|name| !names.contains(*name));
        for name in unknown {
            faults.push(
                format!("policy[{index}].grants.auth"),
                format!("no realm or issuer `{name}`"),
                "add an [[auth.realm]] or [[auth.issuer]] of that name",
            );
        }
    }
}

/// It stands in quotes in challenges.
fn check_name(key: &str, name: &str, names: &mut HashSet<String>, faults: &mut Faults) {
    let is_quotable = |char: char| !char.is_control() && !matches!(char, '"' | '\\');
    if name.is_empty() || !name.chars().all(is_quotable) {
        faults.push(
            key,
            format!("{name:?} is not a name"),
            "write a domain, or words without quotes",
        );
    }
    if !names.insert(name.to_owned()) {
        faults.push(
            key,
            format!("`{name}` is taken by another realm or issuer"),
            "choose another name",
        );
    }
}

fn realm(key: &str, raw: raw::Realm, file: &File, faults: &mut Faults) -> Option<Realm> {
    let algorithms = named(
        &format!("{key}.algorithms"),
        raw.algorithms,
        Algorithm::find,
        "write SHA-256 or MD5",
        faults,
    );
    let qop = named(
        &format!("{key}.qop"),
        raw.qop,
        Qop::find,
        "write auth or auth-int",
        faults,
    );
    let uri_check = match raw.uri.as_deref() {
        None | Some("request") => UriCheck::RequestUri,
        Some("any") => UriCheck::Any,
        Some(other) => {
            faults.push(
                format!("{key}.uri"),
                format!("`{other}` is no such check"),
                "write request or any",
            );
            return None;
        }
    };
    let lifetime_s = raw.nonce_s_max.unwrap_or(300);
    let lifetime_s = in_range(&format!("{key}.nonce_s_max"), lifetime_s, 1, 86_400, faults)?;
    Some(Realm {
        config: RealmConfig {
            name: raw.name,
            // SIP.js and JsSIP read the first challenge alone, baresip 1.0 gives up where one is not for MD5.
            algorithms: algorithms.unwrap_or_else(|| vec![Algorithm::Md5]),
            qop: qop.unwrap_or_else(|| vec![Qop::Auth]),
            nonce_lifetime: Duration::from_secs(lifetime_s),
            uri_check,
        },
        users: file.path(&raw.users),
    })
}

/// A list of known words; `None` if there is no list.
pub(super) fn named<T: PartialEq>(
    key: &str,
    words: Option<Vec<String>>,
    find: impl Fn(&str) -> Option<T>,
    remedy: &str,
    faults: &mut Faults,
) -> Option<Vec<T>> {
    let words = words?;
    if words.is_empty() {
        faults.push(key, "empty", remedy);
    }
    let mut found = Vec::new();
    for word in words {
        match find(&word) {
            Some(known) if !found.contains(&known) => found.push(known),
            Some(_) => faults.push(key, format!("`{word}` stands there twice"), "keep one"),
            None => faults.push(key, format!("`{word}` is not known"), remedy),
        }
    }
    Some(found)
}
