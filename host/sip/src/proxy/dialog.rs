//! What is known of dialogs and calls: little, since the flow token carries what a dialog needs.
//!
//! A call has a record only while there is something to remember: attributes that policies set, and From or To that they rewrote. A
//! gate stands only while a message of a dialog waits for an ask, so that later ones of the same direction do not overtake it.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::Hasher,
    time::Instant,
};

use super::{
    ids::{CallKey, Chance, IdMap, TxId},
    io::{Attributes, Direction},
};
use crate::{
    header::NameAddr,
    message::{HeaderName, Message},
    token::Token,
};

/// A request belongs to the dialog of this token.
#[derive(Clone, Copy, Debug)]
pub(super) struct InDialog {
    pub(super) token: Token,
    pub(super) direction: Direction,
}

/// Names the call of a request: by Call-ID, the tag of whoever made the dialog, and the passage.
pub(super) fn call_key(
    chance: &Chance,
    request: &Message,
    direction: Direction,
    passage: u32,
) -> CallKey {
    let tag = match direction {
        Direction::ToCallee => request.from_tag(),
        Direction::ToCaller => request.to_tag(),
    };
    let mut hasher = chance.hasher(b'c');
    hasher.write_u32(passage);
    hasher.write(request.call_id().unwrap_or_default().as_bytes());
    hasher.write_u8(0xff);
    hasher.write(tag.unwrap_or_default().as_bytes());
    CallKey(hasher.finish())
}

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

/// From and To as the two ends of a dialog know them. Values of the fields, To without a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rewrite {
    pub(super) from: Change,
    pub(super) to: Change,
}

/// One field before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// As the caller wrote it.
    pub(super) caller: Vec<u8>,
    /// As the callee sees it.
    pub(super) callee: Vec<u8>,
}

impl Rewrite {
    /// What the policies changed between the request as it came and as it goes.
    pub(super) fn between(came: &Message, goes: &Message) -> Option<Self> {
        let change = |name| {
            Some(Change {
                caller: came.header(name)?.into_owned(),
                callee: goes.header(name)?.into_owned(),
            })
        };
        let rewrite = Self {
            from: change(HeaderName::From)?,
            to: change(HeaderName::To)?,
        };
        let is_changed = |change: &Change| change.caller != change.callee;
        (is_changed(&rewrite.from) || is_changed(&rewrite.to)).then_some(rewrite)
    }

    /// From and To of a later request of the dialog, for the end that it goes to; the tags stay.
    pub(super) fn of_request(&self, request: &Message, direction: Direction) -> (Vec<u8>, Vec<u8>) {
        let (from, to) = match direction {
            Direction::ToCallee => (&self.from.callee, &self.to.callee),
            Direction::ToCaller => (&self.to.caller, &self.from.caller),
        };
        (
            with_tag(from, request.from_tag()),
            with_tag(to, request.to_tag()),
        )
    }
}

/// The value with this tag, in place of its own if it has one.
pub(super) fn with_tag(value: &[u8], tag: Option<&str>) -> Vec<u8> {
    let own = NameAddr::parse(value)
        .ok()
        .and_then(|address| address.tag());
    match (own, tag) {
        (Some(own), Some(tag)) if own == tag => value.to_vec(),
        (None, None) => value.to_vec(),
        (None, Some(tag)) => [value, b";tag=", tag.as_bytes()].concat(),
        (Some(_), _) => retagged(value, tag),
    }
}

fn retagged(value: &[u8], tag: Option<&str>) -> Vec<u8> {
    let Ok(address) = NameAddr::parse(value) else {
        return value.to_vec();
    };
    let mut out = [address.display_name, b" <", address.uri.as_bytes(), b">"].concat();
    let others = address
        .params
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("tag"));
    for (name, value) in others.chain(tag.map(|tag| ("tag", Some(tag)))) {
        out.extend([b";", name.as_bytes()].concat());
        out.extend(
            value
                .map(|value| [b"=", value.as_bytes()].concat())
                .unwrap_or_default(),
        );
    }
    out.trim_ascii_start().to_vec()
}

/// Keeps the messages of one dialog and direction in order while one of them waits for an ask.
#[derive(Debug, Default)]
pub(super) struct Gates {
    gates: BTreeMap<(CallKey, Direction), Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    holders: u32,
    queue: VecDeque<TxId>,
}

/// Could a request be put behind the others?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// Nothing is before it.
    Free,
    /// It waits.
    Waiting,
    /// `queued_max` wait already.
    Full,
}

impl Gates {
    pub(super) fn enter(
        &mut self,
        key: (CallKey, Direction),
        tx: TxId,
        queued_max: usize,
    ) -> Queued {
        match self.gates.get_mut(&key) {
            None => Queued::Free,
            Some(gate) if gate.queue.len() >= queued_max => Queued::Full,
            Some(gate) => {
                gate.queue.push_back(tx);
                Queued::Waiting
            }
        }
    }

    pub(super) fn hold(&mut self, key: (CallKey, Direction)) {
        self.gates.entry(key).or_default().holders += 1;
    }

    /// Once for each `hold`.
    pub(super) fn release(&mut self, key: (CallKey, Direction)) {
        if let Some(gate) = self.gates.get_mut(&key) {
            gate.holders = gate.holders.saturating_sub(1);
        }
    }

    /// The next request that may go on, if none before it is held; to be called until it is `None`.
    pub(super) fn next(&mut self, key: (CallKey, Direction)) -> Option<TxId> {
        let gate = self.gates.get_mut(&key)?;
        if gate.holders > 0 {
            return None;
        }
        let next = gate.queue.pop_front();
        if next.is_none() {
            self.gates.remove(&key);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_stay_whatever_else_changes() {
        let with = |value: &str, tag| String::from_utf8(with_tag(value.as_bytes(), tag)).unwrap();
        assert_eq!(with("<sip:b@h>", Some("2")), "<sip:b@h>;tag=2");
        assert_eq!(
            with("\"B\" <sip:b@h>;x=1;tag=1", Some("2")),
            "\"B\" <sip:b@h>;x=1;tag=2"
        );
        assert_eq!(with("sip:b@h;tag=1", Some("1")), "sip:b@h;tag=1");
        assert_eq!(with("sip:b@h;tag=1", None), "<sip:b@h>");
    }

    #[test]
    fn a_gate_lets_requests_through_one_after_the_other() {
        let mut gates = Gates::default();
        let key = (CallKey(1), Direction::ToCallee);
        assert_eq!(gates.enter(key, TxId(1), 2), Queued::Free);
        gates.hold(key);
        assert_eq!(gates.enter(key, TxId(2), 2), Queued::Waiting);
        assert_eq!(gates.enter(key, TxId(3), 2), Queued::Waiting);
        assert_eq!(gates.enter(key, TxId(4), 2), Queued::Full);
        assert_eq!(
            gates.enter((CallKey(1), Direction::ToCaller), TxId(5), 2),
            Queued::Free
        );
        assert_eq!(gates.next(key), None);
        gates.release(key);
        assert_eq!(gates.next(key), Some(TxId(2)));
        gates.hold(key);
        assert_eq!(gates.next(key), None, "the second waits in its turn");
        gates.release(key);
        assert_eq!(gates.next(key), Some(TxId(3)));
        assert_eq!(gates.next(key), None);
        assert!(gates.gates.is_empty());
    }
}
