//! CANCEL (RFC 3261 §9, §16.10), the end of branches and transactions, and the records of calls that end with them.

use super::{
    Proxy, Timeout,
    branch::{BranchPhase, Cancel},
    dialog::Call,
    ids::{BranchId, CallKey, TxId},
    io::Cause,
    seal,
    server_tx::{Phase, ServerMachine},
};
use crate::{
    flow::{Flow, FlowId},
    message::{HeaderName, Message, Method},
    transaction::{Action, Reliability, client, invite_server},
};

/// RFC 3326: told to those who rang for nothing.
const ELSEWHERE: &[u8] = b"SIP;cause=200;text=\"Call completed elsewhere\"";

impl Proxy {
    /// Answered at once, whatever the INVITE waits for; 481 if there is none. Not a transaction of its own: its retransmission gets
    /// the same answer.
    pub(super) fn on_cancel(&mut self, flow: &Flow, cancel: &Message) {
        let invite = self
            .tx_key(cancel)
            .and_then(|key| self.by_key.get(&key).copied());
        let to_tag = match invite.and_then(|id| self.servers.get(&id)) {
            Some(tx) => tx.to_tag,
            None => self.chance.draw(),
        };
        let status = if invite.is_some() { 200 } else { 481 };
        let tag = format!("{to_tag:016x}");
        let response = Message::response_to(cancel, status, "", Some(&tag));
        self.send(super::request::reply_to(cancel, flow), response.to_bytes());
        if let Some(id) = invite {
            let reasons = cancel
                .values(HeaderName::Reason)
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>();
            self.cancel(id, &reasons);
        }
    }

    /// The client takes its INVITE back: what was not sent is dropped, what was sent is cancelled, and 487 goes when nothing is left.
    fn cancel(&mut self, id: TxId, reasons: &[Vec<u8>]) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        match tx.phase {
            Phase::Cancelled | Phase::Over => return,
            Phase::Queued | Phase::Working => tx.phase = Phase::Cancelled,
        }
        tx.plan.stages.clear();
        tx.plan.resolving.clear();
        tx.plan.candidates.clear();
        let (ask, branches) = (tx.ask.take(), tx.branches.clone());
        self.withdraw(ask);
        for branch in branches {
            self.cancel_branch(branch, reasons);
        }
        self.stage_may_be_over(id);
    }

    /// The connection that a request came on is gone: nobody is left to be answered.
    pub(super) fn on_client_gone(&mut self, flow: FlowId) {
        let first = (flow, TxId(0));
        let gone: Vec<TxId> = self
            .by_client
            .range(first..)
            .take_while(|(on, _)| *on == flow)
            .map(|(_, tx)| *tx)
            .collect();
        for id in gone {
            let Some(tx) = self.servers.get(&id).filter(|tx| !tx.is_over()) else {
                continue;
            };
            let branches = tx.branches.clone();
            self.end(id, 0, Cause::ClientGone, String::new(), None);
            for branch in branches {
                self.cancel_branch(branch, &[]);
            }
            self.terminate_unanswered(id);
        }
    }

    /// No final response will ever be sent, so the machine has nothing to wait for.
    fn terminate_unanswered(&mut self, id: TxId) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        tx.machine = match tx.machine {
            ServerMachine::Invite(invite_server::State::Proceeding) => {
                ServerMachine::Invite(invite_server::State::Terminated)
            }
            ServerMachine::Invite(state) => ServerMachine::Invite(state),
            ServerMachine::Other(_) => {
                ServerMachine::Other(crate::transaction::server::State::Terminated)
            }
        };
        self.forget_if_done(id);
    }

    /// Another branch answered.
    pub(super) fn cancel_losers(&mut self, id: TxId, winner: BranchId) {
        self.cancel_all_but(id, winner, &[ELSEWHERE.to_vec()]);
    }

    /// A 6xx ends the search for all.
    pub(super) fn cancel_others(&mut self, id: TxId, decider: BranchId) {
        self.cancel_all_but(id, decider, &[]);
    }

    fn cancel_all_but(&mut self, id: TxId, spared: BranchId, reasons: &[Vec<u8>]) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        for branch in tx.branches.clone() {
            if branch != spared {
                self.cancel_branch(branch, reasons);
            }
        }
    }

    /// CANCEL may follow a provisional response only (RFC 3261 §9.1), and is of no use for anything but INVITE.
    pub(super) fn cancel_branch(&mut self, id: BranchId, reasons: &[Vec<u8>]) {
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        match branch.phase {
            BranchPhase::Preparing => self.forget_branch(id),
            BranchPhase::Sent | BranchPhase::Decided if !branch.is_invite() => {}
            BranchPhase::Sent | BranchPhase::Decided => {
                if matches!(branch.cancel, Cancel::No)
                    && (branch.is_calling() || branch.is_proceeding())
                {
                    branch.cancel = Cancel::Wanted(reasons.to_vec());
                }
                if branch.is_proceeding() {
                    self.send_wanted_cancel(id);
                }
            }
        }
    }

    pub(super) fn send_wanted_cancel(&mut self, id: BranchId) {
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        let Cancel::Wanted(reasons) = &branch.cancel else {
            return;
        };
        let bytes = seal::cancel(&branch.request, reasons);
        let (to, reliability) = (
            branch.candidate.place.to,
            Reliability::from(branch.candidate.place.transport),
        );
        let (state, actions) = client::start(reliability);
        branch.cancel = Cancel::Sent {
            state,
            bytes: bytes.clone(),
            retransmissions: 1,
        };
        self.send(to, bytes);
        for action in actions {
            if let Action::Start(timer) = action {
                let after = self.config.timing.duration(*timer, 0);
                self.start(after, Timeout::Cancel(id, *timer));
            }
        }
        self.start(self.config.timing.t1 * 64, Timeout::CancelIgnored(id));
    }

    /// Removes a branch, and its transaction with the last of them.
    pub(super) fn forget_branch(&mut self, id: BranchId) {
        let Some(branch) = self.branches.remove(&id) else {
            return;
        };
        self.by_destination.remove(&(branch.candidate.place.to, id));
        self.withdraw(branch.ask);
        if let Some(tx) = self.servers.get_mut(&branch.tx) {
            tx.branches.retain(|other| *other != id);
        }
        if let Some(gate) = branch.gate {
            self.release_gate(gate);
        }
        self.forget_if_done(branch.tx);
    }

    pub(super) fn forget_branch_if_done(&mut self, id: BranchId) {
        if self
            .branches
            .get(&id)
            .is_some_and(|branch| branch.is_finished())
        {
            self.forget_branch(id);
        }
    }

    /// Removes a transaction that is over and has no branch that could still bring a 2xx.
    pub(super) fn forget_if_done(&mut self, id: TxId) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        if !tx.is_over()
            || !tx.is_terminated()
            || tx.branches.iter().any(|branch| self.may_answer(*branch))
        {
            return;
        }
        if let Some(tx) = self.servers.remove(&id) {
            self.by_key.remove(&tx.key);
            self.by_client.remove(&(tx.flow.id, id));
        }
    }

    fn may_answer(&self, id: BranchId) -> bool {
        self.branches.get(&id).is_some_and(|branch| {
            branch.ask.is_some()
                || branch.is_calling()
                || branch.is_proceeding()
                || !branch.answers.is_empty()
        })
    }

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
        let is_end = in_dialog && method == Some(Method::Bye);
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
}
