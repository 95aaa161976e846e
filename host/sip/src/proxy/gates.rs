//! Order within a dialog: while a message of it waits for an ask, later requests of the same direction wait behind it.

use std::collections::{BTreeMap, VecDeque};

use super::{
    Proxy,
    ids::{CallKey, TxId},
    io::{Cause, Direction},
    server_tx::Phase,
};

/// Keeps the messages of one dialog and direction in order while one of them waits for an ask.
#[derive(Debug, Default)]
pub(super) struct Gates {
    gates: BTreeMap<(CallKey, Direction), Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    holders: u32,
    /// Those of the holders that are ACKs, which nobody answers and so nobody bounds.
    acks: usize,
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

/// As many wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crowded;

impl Gates {
    pub(super) fn len(&self) -> usize {
        self.gates.len()
    }

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

    /// As `hold`, for an ACK; not if `queued_max` wait already.
    pub(super) fn hold_ack(
        &mut self,
        key: (CallKey, Direction),
        queued_max: usize,
    ) -> Result<(), Crowded> {
        let waiting = self.gates.get(&key).map_or(0, |gate| gate.acks);
        if waiting >= queued_max {
            return Err(Crowded);
        }
        let gate = self.gates.entry(key).or_default();
        gate.acks += 1;
        gate.holders += 1;
        Ok(())
    }

    /// Once for each `hold_ack`, before `release`.
    pub(super) fn release_ack(&mut self, key: (CallKey, Direction)) {
        if let Some(gate) = self.gates.get_mut(&key) {
            gate.acks = gate.acks.saturating_sub(1);
        }
    }

    /// Once for each hold.
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

impl Proxy {
    /// In order with what came before it in its dialog.
    pub(super) fn enter_gate(&mut self, id: TxId, direction: Direction) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        match self
            .gates
            .enter((tx.call, direction), id, self.config.limits.queued_max)
        {
            Queued::Free => self.ask_request(id),
            Queued::Waiting => tx.phase = Phase::Queued,
            Queued::Full => {
                let reply = self.unavailable(Cause::Overload).detail("queued_max");
                self.reply(id, reply);
            }
        }
    }

    /// Later requests of the dialog and direction wait from now on.
    pub(super) fn hold_server_gate(&mut self, id: TxId) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        if let (Some(dialog), None) = (&tx.dialog, tx.gate) {
            let gate = (tx.call, dialog.direction);
            tx.gate = Some(gate);
            self.gates.hold(gate);
        }
    }

    pub(super) fn release_server_gate(&mut self, id: TxId) {
        if let Some(gate) = self.servers.get_mut(&id).and_then(|tx| tx.gate.take()) {
            self.release_gate(gate);
        }
    }

    pub(super) fn release_gate(&mut self, gate: (CallKey, Direction)) {
        self.gates.release(gate);
        while let Some(next) = self.gates.next(gate) {
            // One that was cancelled while it waited is over.
            if self
                .servers
                .get(&next)
                .is_some_and(|tx| tx.phase == Phase::Queued)
            {
                self.ask_request(next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
