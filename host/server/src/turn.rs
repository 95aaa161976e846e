//! What a page asks for before it calls: TURN servers, and credentials that they take for a while. Never says the secret.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use hookswitch_auth::turn::credentials;
use serde_json::{Value, json};

use crate::{
    carriers,
    config::{self, TurnUsers},
};

/// `[turn]`, with the secret.
#[derive(Debug)]
pub(crate) struct Turn {
    uris: Vec<String>,
    secret: String,
    ttl: Duration,
    path: String,
    users: TurnUsers,
}

impl Turn {
    /// Reads the file of the secret.
    ///
    /// # Errors
    /// It cannot be used.
    pub(crate) fn new(config: &config::Turn) -> Result<Self> {
        Ok(Self {
            uris: config.uris.clone(),
            secret: carriers::password(&config.secret).context("turn.secret_file")?,
            ttl: config.ttl,
            path: config.path.clone(),
            users: config.users,
        })
    }

    /// Where it is asked for.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// What `new RTCPeerConnection` takes; `None` for whom it is not.
    pub(crate) fn servers(&self, identity: Option<&str>, now: SystemTime) -> Option<Value> {
        let user = match (identity, self.users) {
            (Some(identity), _) => identity,
            (None, TurnUsers::Anybody) => "anybody",
            (None, TurnUsers::Identified) => return None,
        };
        let made = credentials(&self.secret, user, now + self.ttl);
        Some(json!({
            "iceServers": [{
                "urls": self.uris,
                "username": made.username,
                "credential": made.password,
            }],
            "ttl_s": self.ttl.as_secs(),
        }))
    }
}
