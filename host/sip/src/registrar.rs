//! The registrar's rules (RFC 3261 §10.3): what an update does to the bindings of one address of record.
//!
//! Pure: whoever stores bindings calls [`apply`] under whatever lock or transaction it has. A binding is reached by the flow that it was
//! registered on (RFC 5626 §5.3), since a browser's Contact ends in `.invalid` and a phone's may be behind NAT; no name is looked up.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    flow::{Flow, FlowId, SessionKey},
    token::ClientKey,
    uri::SipUri,
};

mod sessions;

pub use sessions::{flow_of_session, is_of_session};

/// An address of record in canonical form (RFC 3261 §10.3 step 5): scheme, user and domain, without port and parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aor(Arc<str>);

impl Aor {
    /// `user` with its escapes decoded where they need not be; `domain` is empty where one registrar serves every domain as one.
    #[must_use]
    pub fn new(user: &str, domain: &str) -> Self {
        match (user, domain) {
            (user, "") => Self(format!("sip:{user}").into()),
            ("", domain) => Self(format!("sip:{}", domain.to_ascii_lowercase()).into()),
            (user, domain) => Self(format!("sip:{user}@{}", domain.to_ascii_lowercase()).into()),
        }
    }
    /// From text that was one before.
    #[must_use]
    pub fn canonical(text: &str) -> Self {
        Self(text.into())
    }
    /// `sip:alice@example.com`
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One contact of an address of record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The Contact URI, as registered.
    pub contact: String,
    /// Preference in thousandths (RFC 3261 §20.10); 1000 is most wanted.
    pub q: u16,
    /// When it is over.
    pub expires_at: Instant,
    /// Of the REGISTER that wrote it.
    pub call_id: String,
    /// Of the REGISTER that wrote it.
    pub cseq: u32,
    /// `+sip.instance`, as written.
    pub instance: Option<String>,
    /// `reg-id` (RFC 5626 §4.2).
    pub reg_id: Option<u32>,
    /// Finds this binding from a client token.
    pub client: ClientKey,
    /// Find this binding from a dialog's token: its own, the connections that it was reached on, and those of clients that it succeeded;
    /// the latest first.
    pub sessions: Vec<SessionKey>,
    /// URIs of the proxies between the client and us, nearest to us first (RFC 3327).
    pub path: Vec<String>,
    /// What it is reached on; `None` once that flow is gone.
    pub flow: Option<Arc<Flow>>,
}

/// What a REGISTER asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterUpdate {
    /// No Contact: tell the bindings.
    Query,
    /// `Contact: *` with `Expires: 0`.
    RemoveAll {
        /// Of the REGISTER.
        call_id: String,
        /// Of the REGISTER.
        cseq: u32,
    },
    /// Add, refresh or remove these.
    Contacts {
        /// Of the REGISTER.
        call_id: String,
        /// Of the REGISTER.
        cseq: u32,
        /// In their order.
        contacts: Vec<ContactUpdate>,
        /// What the REGISTER came on.
        flow: Arc<Flow>,
        /// From its Path.
        path: Vec<String>,
        /// How many bindings one address of record may have.
        contacts_max: usize,
    },
}

/// One Contact of a REGISTER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactUpdate {
    /// The URI.
    pub uri: String,
    /// How long; zero removes the binding.
    pub expires: Duration,
    /// In thousandths.
    pub q: u16,
    /// `+sip.instance`
    pub instance: Option<String>,
    /// `reg-id`
    pub reg_id: Option<u32>,
    /// Of this address of record and client.
    pub client: ClientKey,
    /// Of this address of record and Contact.
    pub session: SessionKey,
}

/// Why an update is refused; nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// An older REGISTER of the same Call-ID (RFC 3261 §10.3 steps 6 and 7).
    #[error("CSeq is not higher than that of an earlier REGISTER")]
    OutOfOrder,
    /// More than `contacts_max` that can be reached.
    #[error("too many contacts")]
    TooManyContacts,
}

impl RegisterError {
    /// The status that the REGISTER is answered with.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::OutOfOrder => 500,
            Self::TooManyContacts => 403,
        }
    }
}

/// Applies `update` to the bindings of one address of record; bindings that are over are dropped on the way.
///
/// # Errors
/// [`RegisterError`]; the bindings are as they were, but for those that are over.
pub fn apply(
    bindings: &mut Vec<Binding>,
    update: &RegisterUpdate,
    now: Instant,
) -> Result<(), RegisterError> {
    bindings.retain(|binding| binding.expires_at > now);
    match update {
        RegisterUpdate::Query => Ok(()),
        RegisterUpdate::RemoveAll { call_id, cseq } => {
            if bindings
                .iter()
                .any(|binding| binding.is_newer(call_id, *cseq))
            {
                return Err(RegisterError::OutOfOrder);
            }
            bindings.clear();
            Ok(())
        }
        RegisterUpdate::Contacts {
            call_id,
            cseq,
            contacts,
            flow,
            path,
            contacts_max,
        } => {
            let mut updated = bindings.clone();
            for contact in contacts {
                apply_contact(
                    &mut updated,
                    contact,
                    &Origin {
                        call_id,
                        cseq: *cseq,
                        flow,
                        path,
                    },
                    now,
                )?;
            }
            drop_unreachable(&mut updated, *contacts_max);
            if updated.len() > *contacts_max {
                return Err(RegisterError::TooManyContacts);
            }
            *bindings = updated;
            Ok(())
        }
    }
}

/// `flow` is gone: the bindings on it are unreachable until they are refreshed. Says whether any was.
pub fn flow_closed(bindings: &mut [Binding], flow: FlowId) -> bool {
    let mut any = false;
    for binding in bindings
        .iter_mut()
        .filter(|b| b.flow.as_ref().is_some_and(|f| f.id == flow))
    {
        binding.flow = None;
        any = true;
    }
    any
}

/// Makes room for clients that come back under another Contact each time, as a page does that is loaded again: who is reached on no
/// flow goes, the one that would end first before the others.
fn drop_unreachable(bindings: &mut Vec<Binding>, contacts_max: usize) {
    while bindings.len() > contacts_max {
        let unreachable = bindings
            .iter()
            .enumerate()
            .filter(|(_, b)| b.flow.is_none());
        let Some((oldest, _)) = unreachable.min_by_key(|(_, binding)| binding.expires_at) else {
            return;
        };
        bindings.remove(oldest);
    }
}

struct Origin<'a> {
    call_id: &'a str,
    cseq: u32,
    flow: &'a Arc<Flow>,
    path: &'a [String],
}

fn apply_contact(
    bindings: &mut Vec<Binding>,
    contact: &ContactUpdate,
    origin: &Origin<'_>,
    now: Instant,
) -> Result<(), RegisterError> {
    let at = bindings.iter().position(|binding| binding.is_of(contact));
    if at
        .and_then(|at| bindings.get(at))
        .is_some_and(|binding| binding.is_newer(origin.call_id, origin.cseq))
    {
        return Err(RegisterError::OutOfOrder);
    }
    if contact.expires.is_zero() {
        at.map(|at| bindings.remove(at));
        return Ok(());
    }
    let binding = Binding {
        contact: contact.uri.clone(),
        q: contact.q,
        expires_at: now + contact.expires,
        call_id: origin.call_id.to_owned(),
        cseq: origin.cseq,
        instance: contact.instance.clone(),
        reg_id: contact.reg_id,
        client: contact.client,
        sessions: sessions::take_over(bindings, at, contact.session, origin.flow),
        path: origin.path.to_vec(),
        flow: Some(Arc::clone(origin.flow)),
    };
    match at {
        Some(at) => bindings[at] = binding,
        None => bindings.push(binding),
    }
    Ok(())
}

impl Binding {
    /// What tokens of new dialogs call it.
    #[must_use]
    pub fn session(&self) -> SessionKey {
        // The registrar writes none without.
        self.sessions.first().copied().unwrap_or(SessionKey(0))
    }

    /// The same client: by instance and reg-id where it names them (RFC 5626 §6), else by Contact.
    fn is_of(&self, contact: &ContactUpdate) -> bool {
        match (&self.instance, &contact.instance) {
            (Some(mine), Some(its)) => mine == its && self.reg_id == contact.reg_id,
            (None, None) => self.client == contact.client,
            (Some(_), None) | (None, Some(_)) => {
                contact_address(&self.contact) == contact_address(&contact.uri)
            }
        }
    }

    fn is_newer(&self, call_id: &str, cseq: u32) -> bool {
        self.call_id == call_id && self.cseq >= cseq
    }
}

/// `user@host:port` of a Contact: its parameters differ between methods (clients add `ob` in some).
pub(crate) fn contact_address(contact: &str) -> String {
    let Some(uri) = SipUri::from_text(contact) else {
        return contact.to_owned();
    };
    let port = uri.port.map(|port| format!(":{port}")).unwrap_or_default();
    let host = uri.host.to_string().to_ascii_lowercase();
    format!("{}@{host}{port}", uri.user.unwrap_or_default())
}

#[cfg(test)]
#[path = "registrar_tests.rs"]
mod tests;
