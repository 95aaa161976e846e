//! Secrets on their way from files to `auth` of the contract: read at the start, and again when a file changes. A broken file leaves
//! what was there before.

use std::{sync::Arc, time::SystemTime};

use anyhow::{Context, Result, ensure};
use hookswitch_auth::{Auth, Nonces, Realm, Users};
use hookswitch_policy::FileWatch;

use crate::{config, state::State};

/// A file of users: some 500,000 of them.
const USERS_BYTES_MAX: u64 = 64 << 20;

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
    Ok(Arc::new(Auth {
        realms: realms.collect::<Result<_>>()?,
        nonces,
    }))
}

/// Watches the files for as long as what it returns is held.
pub(crate) fn watch(config: &config::Auth, auth: &Arc<Auth>) -> Result<Vec<FileWatch>> {
    let realms = config.realms.iter().cloned();
    let watches = realms.map(|realm| {
        let (file, auth) = (realm.users.clone(), Arc::clone(auth));
        FileWatch::start(file, move || renew(&realm, &auth)).context("watching users")
    });
    watches.collect()
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

fn read_users(realm: &config::Realm) -> Result<Users> {
    let path = &realm.users;
    let read = || -> Result<Users> {
        let bytes = std::fs::metadata(path)?.len();
        ensure!(
            bytes <= USERS_BYTES_MAX,
            "more than {USERS_BYTES_MAX} bytes"
        );
        let text = std::fs::read_to_string(path)?;
        let config = &realm.config;
        Ok(Users::parse(&text, &config.name, &config.algorithms)?)
    };
    read().with_context(|| path.display().to_string())
}
