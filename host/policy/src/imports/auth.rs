//! `auth`: who sends. The host holds the secrets; a policy hears of what it was granted by name, and of nothing else.

use std::time::SystemTime;

use hookswitch_auth::{Attempt, Freshness};

use super::State;
use crate::{
    bindings::{
        imported::auth::{Host, Outcome, Role},
        types::{self, Reply},
    },
    context::{EditError, Message},
    journal::Journal,
};

/// The words of a role (RFC 3261 §22.2, §22.3): status, challenge, credentials.
fn words(role: Role) -> (u16, &'static str, &'static str) {
    match role {
        Role::End => (401, "WWW-Authenticate", "Authorization"),
        Role::Proxy => (407, "Proxy-Authenticate", "Proxy-Authorization"),
    }
}

impl State {
    /// The journal of a hook, for a policy that may ask about this realm or issuer.
    fn asked_about(&self, name: &str) -> Result<&Journal, EditError> {
        if !self
            .policy
            .grants()
            .auth
            .iter()
            .any(|granted| granted == name)
        {
            return Err(EditError::NotGranted);
        }
        self.journal.as_deref().ok_or(EditError::NoMessage)
    }
}

impl Host for State {
    fn digest(&mut self, realm: String, role: Role) -> Result<Outcome, types::EditError> {
        let journal = self.asked_about(&realm)?;
        let message = journal.message().ok_or(EditError::NoMessage)?;
        let (method, request_uri) = message.request_line().ok_or(EditError::NoMessage)?;
        let (_, _, credentials) = words(role);
        let outcome = self.policy.auth().digest(
            &realm,
            &Attempt {
                fields: &message.header_values(credentials),
                method: &method,
                request_uri: &request_uri,
                client: &client(journal),
                body: &body(message),
                now: SystemTime::now(),
            },
        );
        Ok(outcome.ok_or_else(|| unknown("realm", &realm))?.into())
    }

    fn digest_challenge(
        &mut self,
        realm: String,
        role: Role,
        stale: bool,
    ) -> Result<Reply, types::EditError> {
        let journal = self.asked_about(&realm)?;
        let freshness = if stale {
            Freshness::Stale
        } else {
            Freshness::First
        };
        let client = client(journal);
        let challenges =
            self.policy
                .auth()
                .digest_challenge(&realm, &client, freshness, SystemTime::now());
        let challenges = challenges.ok_or_else(|| unknown("realm", &realm))?;
        Ok(reply(role, challenges))
    }

    fn bearer(&mut self, issuer: String, token: String) -> Result<Outcome, types::EditError> {
        self.asked_about(&issuer)?;
        let outcome = self
            .policy
            .auth()
            .bearer(&issuer, &token, SystemTime::now());
        let outcome = outcome.ok_or_else(|| unknown("issuer", &issuer))?;
        if let hookswitch_auth::Outcome::Verified(_) = outcome {
            self.journal_mut()?.token_counted(token);
        }
        Ok(outcome.into())
    }

    fn bearer_challenge(
        &mut self,
        issuer: String,
        role: Role,
        error: Option<String>,
    ) -> Result<Reply, types::EditError> {
        self.asked_about(&issuer)?;
        check_error(error.as_deref())?;
        let auth = self.policy.auth();
        let challenge = auth.bearer_challenge(&issuer, error.as_deref());
        let challenge = challenge.ok_or_else(|| unknown("issuer", &issuer))?;
        Ok(reply(role, vec![challenge]))
    }
}

/// An error code stands in quotes (RFC 6750 §3).
fn check_error(error: Option<&str>) -> Result<(), EditError> {
    let is_code = |error: &str| {
        error
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    match error {
        Some(error) if !is_code(error) => Err(EditError::Invalid("not an error code".into())),
        Some(_) | None => Ok(()),
    }
}

/// The peer's address without its port: a client keeps its nonces when it reconnects.
fn client(journal: &Journal) -> String {
    journal.source.address().to_string()
}

fn body(message: &dyn Message) -> Vec<u8> {
    message
        .body()
        .map(|content| content.bytes)
        .unwrap_or_default()
}

fn reply(role: Role, challenges: Vec<String>) -> Reply {
    let (status, field, _) = words(role);
    let headers = challenges.into_iter().map(|value| types::HeaderField {
        name: field.to_owned(),
        value,
    });
    Reply {
        status,
        reason: None,
        headers: headers.collect(),
        body: None,
    }
}

fn unknown(what: &str, name: &str) -> EditError {
    EditError::Invalid(format!("there is no {what} {name:?}"))
}
