//! Which connection leads to a client whose dialogs began on another one: what bindings remember of the connections that they were
//! reached on (RFC 5626 §4.3, §5.3).
//!
//! A client is the same if its binding is: same address of record, and same instance and reg-id or same Contact. All that somebody else
//! can do with a stranger's instance is to register it as a user of his own, which is another binding.

use std::{sync::Arc, time::Instant};

use super::Binding;
use crate::flow::{Flow, FlowId, SessionKey};

/// Sessions of one client from which dialogs are followed; each reconnect is one more.
const SESSIONS_MAX: usize = 24;

/// The flow by which a dialog reaches its client now: that of the client which `session` leads to, or, where nobody has that, the
/// connection `hint`, on which it began; by another flow of the same instance if need be (RFC 5626 §7). One connection may have carried
/// several clients, of which each has its own session.
#[must_use]
pub fn flow_of_session(
    bindings: &[Binding],
    session: SessionKey,
    hint: FlowId,
    now: Instant,
) -> Option<Arc<Flow>> {
    let current = || bindings.iter().filter(|binding| binding.expires_at > now);
    let has = |key: &SessionKey| current().any(|binding| binding.sessions.contains(key));
    let key = Some(session).filter(has).or(hint.session())?;
    let of_session = || current().filter(|binding| binding.sessions.contains(&key));
    let flows = || of_session().filter_map(|binding| binding.flow.as_ref());
    let is_sibling = |binding: &&Binding| {
        let instance = binding.instance.as_ref();
        instance.is_some() && of_session().any(|each| each.instance.as_ref() == instance)
    };
    let sibling = || current().filter(is_sibling).find_map(|b| b.flow.as_ref());
    let found = flows()
        .find(|flow| flow.id == hint)
        .or_else(|| flows().next());
    found.or_else(sibling).cloned()
}

/// Does a session lead to one of these?
#[must_use]
pub fn is_of_session(bindings: &[Binding], session: SessionKey) -> bool {
    let is_it = |binding: &Binding| binding.sessions.contains(&session);
    bindings.iter().any(is_it)
}

/// The sessions of the binding at `at`, or of a new one: `session`, once it is reached on `flow`.
pub(super) fn take_over(
    bindings: &mut [Binding],
    at: Option<usize>,
    session: SessionKey,
    flow: &Flow,
) -> Vec<SessionKey> {
    let earlier = match at {
        Some(at) => bindings[at].sessions.clone(),
        None => successor_of(bindings).unwrap_or_default(),
    };
    let connection = flow.id.session();
    if at.is_some() && connection.is_some_and(|connection| !earlier.contains(&connection)) {
        // Whoever was taken for its successor while it was away is not.
        for other in bindings.iter_mut() {
            let own = other.session();
            let stays = |each: &SessionKey| *each == own || !earlier.contains(each);
            other.sessions.retain(stays);
        }
    }
    let mut sessions = vec![session];
    for each in connection.into_iter().chain(earlier) {
        if !sessions.contains(&each) {
            sessions.push(each);
        }
    }
    sessions.truncate(SESSIONS_MAX);
    sessions
}

/// Of a page that was loaded again, and has neither its Contact nor an instance of before: it is the only client of its address of
/// record that can be reached, and one client is missing, with those that this one had succeeded in turn.
fn successor_of(bindings: &[Binding]) -> Option<Vec<SessionKey>> {
    if bindings.iter().any(|binding| binding.flow.is_some()) {
        return None;
    }
    let is_after_all = |binding: &&Binding| {
        let mut firsts = bindings.iter().filter_map(|other| other.sessions.first());
        firsts.all(|first| binding.sessions.contains(first))
    };
    let last = bindings.iter().find(is_after_all)?;
    Some(last.sessions.clone())
}
