//! The keys of issuers: from a file that is watched, or fetched from a server. The last good ones are used until there are better ones.

use std::{
    convert::Infallible,
    io,
    path::Path,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hookswitch_auth::{Auth, Issuer, Keys};
use hookswitch_policy::FileWatch;
use tokio::{sync::watch, task::JoinSet};

use super::{fetch, read};
use crate::{
    config::{self, KeySource, KeyUrl},
    server::Phase,
};

/// The start waits no longer for keys: an issuer that is away concerns not everybody.
const FIRST_FETCH_MAX: Duration = Duration::from_secs(3);
/// How often it is looked at whether a token named an unknown key.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After a failure the next try waits, each time twice as long.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// The first try for the keys of every issuer.
pub(crate) struct FirstFetch {
    /// Closed once all have been tried for.
    tried: mpsc::Receiver<Infallible>,
    until: Instant,
}

/// An issuer with its keys, if they are in a file.
///
/// # Errors
/// The file cannot be used, or that of the CA of a server.
pub(crate) fn issuer(config: &config::Issuer) -> Result<Issuer> {
    let issuer = Issuer::new(config.config.clone());
    match &config.keys {
        KeySource::File(path) => issuer.set_keys(of_file(config, path)?),
        KeySource::Url(from) => drop(fetch::connector(from)?),
    }
    Ok(issuer)
}

/// Watches a file of keys, if they are in one.
pub(super) fn watch(config: &config::Issuer, auth: &Arc<Auth>) -> Option<Result<FileWatch>> {
    let KeySource::File(path) = &config.keys else {
        return None;
    };
    let (path, config, auth) = (path.clone(), config.clone(), Arc::clone(auth));
    let file = path.clone();
    let look = move || {
        if let Some(issuer) = auth.issuers.get(&config.config.name) {
            renew(issuer, of_file(&config, &path));
        }
    };
    Some(FileWatch::start(file, look).context("watching keys"))
}

fn of_file(config: &config::Issuer, path: &Path) -> Result<Keys> {
    let keys = Keys::parse(&read(path)?, &config.config.algorithms);
    keys.with_context(|| path.display().to_string())
}

/// Fetches the keys of every issuer that has them on a server: at once, before they grow old, and when a token names an unknown one. A
/// thread of its own does so, which ends when `phase`'s sender is gone.
pub(crate) fn fetch_all(
    config: &config::Auth,
    auth: &Arc<Auth>,
    mut phase: watch::Receiver<Phase>,
) -> io::Result<FirstFetch> {
    let (trying, tried) = mpsc::channel();
    let of_issuer = |issuer: &config::Issuer| match &issuer.keys {
        KeySource::Url(url) => Some(fetch_for_ever(
            issuer.config.name.clone(),
            url.clone(),
            Arc::clone(auth),
            trying.clone(),
        )),
        KeySource::File(_) => None,
    };
    let fetches: Vec<_> = config.issuers.iter().filter_map(of_issuer).collect();
    if !fetches.is_empty() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = thread::Builder::new().name("keys".to_owned());
        thread.spawn(move || {
            runtime.block_on(async {
                let _fetching: JoinSet<()> = fetches.into_iter().collect();
                while phase.changed().await.is_ok() {}
            });
        })?;
    }
    let until = Instant::now() + FIRST_FETCH_MAX;
    Ok(FirstFetch { tried, until })
}

impl FirstFetch {
    /// Until every issuer has answered, or failed to, or it has taken too long.
    pub(crate) fn wait(self) {
        let left = self.until.saturating_duration_since(Instant::now());
        match self.tried.recv_timeout(left) {
            Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!("serving without the keys of an issuer that does not answer");
            }
            Ok(never) => match never {},
        }
    }
}

async fn fetch_for_ever(
    name: String,
    from: KeyUrl,
    auth: Arc<Auth>,
    trying: mpsc::Sender<Infallible>,
) {
    let Some(issuer) = auth.issuers.get(&name) else {
        return;
    };
    let mut trying = Some(trying);
    let mut backoff = BACKOFF_FIRST;
    loop {
        let keys = fetched(issuer, &from).await;
        let is_good = keys.is_ok();
        renew(issuer, keys);
        drop(trying.take());
        if is_good {
            backoff = BACKOFF_FIRST;
            until_wanted(issuer, &from).await;
        } else {
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }
}

async fn fetched(issuer: &Issuer, from: &KeyUrl) -> Result<Keys> {
    let fetch = async {
        let json = fetch::get(from).await?;
        Ok::<_, anyhow::Error>(Keys::parse(&json, &issuer.config().algorithms)?)
    };
    fetch.await.with_context(|| from.url.to_string())
}

/// Whoever makes tokens up must not make us fetch all the time.
async fn until_wanted(issuer: &Issuer, from: &KeyUrl) {
    let fetched = Instant::now();
    // What was wanted until now is here, or is not there.
    issuer.takes_wish_for_keys();
    tokio::time::sleep(from.every_min).await;
    while fetched.elapsed() < from.every_max && !issuer.takes_wish_for_keys() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn renew(issuer: &Issuer, keys: Result<Keys>) {
    let name = &issuer.config().name;
    match keys {
        Ok(keys) => {
            tracing::debug!(issuer = name, keys = keys.count(), "keys were read");
            issuer.set_keys(keys);
        }
        Err(error) => tracing::error!(
            issuer = name,
            error = format!("{error:#}"),
            "no new keys: those that are there stay in use"
        ),
    }
}
