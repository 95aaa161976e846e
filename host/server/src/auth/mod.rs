//! Secrets on their way from files and servers to `auth` of the contract: read at the start, and again when they change. What is broken
//! leaves what was there before.

mod fetch;
pub(crate) mod keys;

use std::{path::Path, sync::Arc, time::SystemTime};

use anyhow::{Context, Result, ensure};
use hookswitch_auth::{Auth, Nonces, Realm, Users};
use hookswitch_policy::FileWatch;

use crate::{config, state::State};

/// A file of users, some 500,000 of them, or of keys.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Reads everything that the configuration names.
///
/// # Errors
/// A file that cannot be used, with the key that names it.
pub(crate) fn start(config: &config::Auth, state: &State) -> Result<Arc<Auth>> {
    let nonces = Nonces::new(state.nonce_key()?, SystemTime::now());
    let realms = config.realms.iter().map(|realm| {
        let users = read_users(realm)
            .with_context(|| format!("auth.realm `{}`: users", realm.config.name))?;
        let name = realm.config.name.clone();
        Ok((name, Realm::new(realm.config.clone(), users)))
    });
    let issuers = config.issuers.iter().map(|issuer| {
        let name = issuer.config.name.clone();
        let made = keys::issuer(issuer).with_context(|| format!("auth.issuer `{name}`"))?;
        Ok((name, made))
    });
    Ok(Arc::new(Auth {
        realms: realms.collect::<Result<_>>()?,
        nonces,
        issuers: issuers.collect::<Result<_>>()?,
    }))
}

/// Watches the files for as long as what it returns is held.
pub(crate) fn watch(config: &config::Auth, auth: &Arc<Auth>) -> Result<Vec<FileWatch>> {
    let realms = config.realms.iter().cloned();
    let watches = realms.map(|realm| {
        let (file, auth) = (realm.users.clone(), Arc::clone(auth));
        FileWatch::start(file, move || renew(&realm, &auth)).context("watching users")
    });
    let issuers = config.issuers.iter();
    watches
        .chain(issuers.filter_map(|issuer| keys::watch(issuer, auth)))
        .collect()
}

fn renew(realm: &config::Realm, auth: &Auth) {
    let name = &realm.config.name;
    match read_users(realm) {
        Ok(users) => {
            tracing::info!(realm = name, users = users.count(), "new users");
            if let Some(realm) = auth.realms.get(name) {
                realm.set_users(users);
            }
        }
        Err(error) => tracing::error!(
            realm = name,
            error = format!("{error:#}"),
            "the changed users are not used"
        ),
    }
}

/// The users of a realm, as its file has them.
///
/// # Errors
/// The file cannot be read, or is not what [`Users::parse`] takes.
pub(crate) fn read_users(realm: &config::Realm) -> Result<Users> {
    let config = &realm.config;
    let text = String::from_utf8(read(&realm.users)?)?;
    let users = Users::parse(&text, &config.name, &config.algorithms);
    users.with_context(|| realm.users.display().to_string())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let read = || -> Result<Vec<u8>> {
        let bytes = std::fs::metadata(path)?.len();
        ensure!(bytes <= FILE_BYTES_MAX, "more than {FILE_BYTES_MAX} bytes");
        Ok(std::fs::read(path)?)
    };
    read().with_context(|| path.display().to_string())
}
