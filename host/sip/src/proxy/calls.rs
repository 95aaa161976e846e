//! Records of calls. A call has one only while there is something to remember: attributes that policies set, From or To that they
//! rewrote, credentials of ours that an ACK repeats, CSeqs of ours, and media that passes through us. What its dialogs need to be routed is in their flow tokens.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{
    Proxy,
    anchor::Anchor,
    config::ProxyTimers,
    credentials::Fields,
    cseq::{Numbers, NumbersKey},
    dialog::{Rewrite, ends_subscription, makes_dialog},
    ids::{CallKey, IdMap, TxId},
    io::{Attributes, Direction},
};
use crate::message::{Message, Method};

/// Records of calls.
#[derive(Debug, Default)]
pub(super) struct Calls {
    records: IdMap<CallKey, Call>,
    /// When each may be idle. Apart from the other timers, which are never taken out: a call is shorter than that by hours.
    due: BTreeSet<(Instant, CallKey)>,
}

/// What is remembered of a call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) attributes: Attributes,
    /// By branch of its INVITE.
    pub(super) rewrites: BTreeMap<u8, Rewrite>,
    /// Of ours in its latest INVITE, by branch of the first one and direction: for the ACK of the 2xx.
    pub(super) credentials: BTreeMap<(u8, Direction), Fields>,
    /// Where CSeq is not the client's own.
    pub(super) numbers: BTreeMap<NumbersKey, Numbers>,
    /// Dialogs that were answered and have not ended.
    pub(super) dialogs: u32,
    /// Its media passes through us.
    pub(super) anchor: Option<Box<Anchor>>,
    /// To tags whose reliable provisional response made an offer (RFC 3262 §5): the PRACK has the answer.
    early_offers: Vec<String>,
    kind: Kind,
    /// When something of it passed last.
    pub(super) touched: Instant,
    /// Its place in `Calls::due`.
    due: Instant,
}

/// What a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The dialogs of an INVITE.
    Call,
    /// Those of a SUBSCRIBE, of a REFER, or of a NOTIFY that came before either was answered.
    Subscription,
}

impl Kind {
    fn of(request: &Message) -> Self {
        match request.method() {
            Some(Method::Subscribe | Method::Refer | Method::Notify) => Self::Subscription,
            Some(_) | None => Self::Call,
        }
    }

    fn idle(self, timers: &ProxyTimers) -> Duration {
        match self {
            Self::Call => timers.call_idle,
            Self::Subscription => timers.subscription_idle,
        }
    }
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
    fn make(
        &mut self,
        key: CallKey,
        kind: Kind,
        (now, idle): (Instant, Duration),
        calls_max: usize,
    ) -> Option<&mut Call> {
        if self.records.len() >= calls_max {
            return None;
        }
        let call = Call {
            attributes: Attributes::default(),
            rewrites: BTreeMap::new(),
            credentials: BTreeMap::new(),
            numbers: BTreeMap::new(),
            dialogs: 0,
            anchor: None,
            early_offers: Vec::new(),
            kind,
            touched: now,
            due: now + idle,
        };
        self.due.insert((call.due, key));
        Some(self.records.entry(key).or_insert(call))
    }

    pub(super) fn remove(&mut self, key: CallKey) {
        if let Some(call) = self.records.remove(&key) {
            self.due.remove(&(call.due, key));
        }
    }

    /// When one may be idle.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Drops those of which nothing passed for too long.
    pub(super) fn drop_idle(&mut self, now: Instant, timers: &ProxyTimers) {
        while let Some((_, key)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.pop_first();
            let Some(call) = self.records.get_mut(&key) else {
                continue;
            };
            call.due = call.touched + call.kind.idle(timers);
            if call.due <= now {
                self.records.remove(&key);
            } else {
                self.due.insert((call.due, key));
            }
        }
    }
}

impl Proxy {
    /// The record of the call of a transaction, made if there is none; `None` if there are too many.
    pub(super) fn call_record(&mut self, id: TxId) -> Option<&mut Call> {
        let now = self.now();
        let tx = self.servers.get(&id)?;
        let key = tx.call;
        if self.calls.peek(key).is_none() {
            let kind = Kind::of(&tx.request);
            let calls_max = self.config.limits.calls_max;
            let idle = kind.idle(&self.config.timers);
            self.calls.make(key, kind, (now, idle), calls_max)?;
        }
        self.calls.get(key, now)
    }

    /// A reliable provisional response from whoever has this tag made an offer.
    pub(super) fn call_offered_early(&mut self, id: TxId, to_tag: &str) {
        let offers_max = self.config.limits.answers_per_branch_max;
        if let Some(call) = self.call_record(id)
            && call.early_offers.len() < offers_max
            && !call.early_offers.iter().any(|tag| tag == to_tag)
        {
            call.early_offers.push(to_tag.to_owned());
        }
    }

    /// Is that offer what a PRACK to this tag answers? Once.
    pub(super) fn call_answers_early(&mut self, key: CallKey, to_tag: &str) -> bool {
        let now = self.now();
        let offers = self.calls.get(key, now).map(|call| &mut call.early_offers);
        let Some(offers) = offers else {
            return false;
        };
        let before = offers.len();
        offers.retain(|tag| tag != to_tag);
        offers.len() < before
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

    /// A call that came to nothing, or whose last dialog was ended, needs no record.
    pub(super) fn call_after(&mut self, id: TxId, status: u16) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        let (key, in_dialog) = (tx.call, tx.dialog.is_some());
        let has_failed = !in_dialog && makes_dialog(&tx.request) && !(200..300).contains(&status);
        // Challenged, it comes again.
        let is_done = in_dialog && !matches!(status, 401 | 407);
        let hangs_up = is_done && tx.request.method() == Some(Method::Bye);
        let unsubscribes = is_done && ends_subscription(&tx.request);
        if hangs_up {
            self.forget_dialog(id);
        }
        let now = self.now();
        let Some(call) = self.calls.get(key, now) else {
            return;
        };
        if hangs_up {
            call.dialogs = call.dialogs.saturating_sub(1);
        }
        let is_over = match call.kind {
            Kind::Call => (has_failed || hangs_up) && call.dialogs == 0,
            Kind::Subscription => has_failed || unsubscribes,
        };
        if is_over {
            self.calls.remove(key);
        }
    }
}
