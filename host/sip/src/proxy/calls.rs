//! Records of calls. A call has one only while there is something to remember: attributes that policies set, and From or To that they
//! rewrote. What its dialogs need to be routed is in their flow tokens.

use std::{collections::BTreeMap, time::Instant};

use super::{
    Proxy, Timeout,
    dialog::Rewrite,
    ids::{CallKey, IdMap, TxId},
    io::Attributes,
};
use crate::message::Method;

/// Records of calls.
#[derive(Debug, Default)]
pub(super) struct Calls {
    records: IdMap<CallKey, Call>,
}

/// What is remembered of a call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) attributes: Attributes,
    /// By branch of its INVITE.
    pub(super) rewrites: BTreeMap<u8, Rewrite>,
    /// Dialogs that were answered and have not ended.
    pub(super) dialogs: u32,
    /// When something of it passed last.
    pub(super) touched: Instant,
}

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn get(&mut self, key: CallKey, now: Instant) -> Option<&mut Call> {
        let call = self.records.get_mut(&key)?;
        call.touched = now;
        Some(call)
    }

    /// Without saying that something passed.
    pub(super) fn peek(&self, key: CallKey) -> Option<&Call> {
        self.records.get(&key)
    }

    /// A new record, or `None` if there are `calls_max`.
    pub(super) fn make(
        &mut self,
        key: CallKey,
        now: Instant,
        calls_max: usize,
    ) -> Option<&mut Call> {
        if self.records.len() >= calls_max {
            return None;
        }
        let call = Call {
            attributes: Attributes::default(),
            rewrites: BTreeMap::new(),
            dialogs: 0,
            touched: now,
        };
        Some(self.records.entry(key).or_insert(call))
    }

    pub(super) fn remove(&mut self, key: CallKey) {
        self.records.remove(&key);
    }
}

impl Proxy {
    /// The record of a call, made if there is none; `None` if there are too many.
    pub(super) fn call_record(&mut self, key: CallKey) -> Option<&mut Call> {
        let now = self.now();
        if self.calls.peek(key).is_none() {
            self.calls.make(key, now, self.config.limits.calls_max)?;
            self.start(self.config.timers.call_idle, Timeout::CallIdle(key));
        }
        self.calls.get(key, now)
    }

    /// One more dialog of the call stands.
    pub(super) fn call_answered(&mut self, id: TxId) {
        let Some(tx) = self.servers.get(&id).filter(|tx| tx.dialog.is_none()) else {
            return;
        };
        let now = self.now();
        if let Some(call) = self.calls.get(tx.call, now) {
            call.dialogs += 1;
        }
    }

    /// A call that came to nothing, or whose last dialog was ended by BYE, needs no record.
    pub(super) fn call_after(&mut self, id: TxId, status: u16) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        let (key, method, in_dialog) = (tx.call, tx.request.method(), tx.dialog.is_some());
        let is_failed_call =
            !in_dialog && method == Some(Method::Invite) && !(200..300).contains(&status);
        // Challenged, it comes again.
        let is_end = in_dialog && method == Some(Method::Bye) && !matches!(status, 401 | 407);
        let now = self.now();
        let Some(call) = self.calls.get(key, now) else {
            return;
        };
        if is_end {
            call.dialogs = call.dialogs.saturating_sub(1);
        }
        if (is_failed_call || is_end) && call.dialogs == 0 {
            self.calls.remove(key);
        }
    }

    pub(super) fn on_call_idle(&mut self, key: CallKey) {
        let idle = self.config.timers.call_idle;
        let now = self.now();
        let Some(call) = self.calls.peek(key) else {
            return;
        };
        let ends = call.touched + idle;
        if ends <= now {
            self.calls.remove(key);
        } else {
            self.timers.start_at(ends, Timeout::CallIdle(key));
        }
    }
}
