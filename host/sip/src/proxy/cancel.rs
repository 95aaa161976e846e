//! CANCEL (RFC 3261 §9, §16.10): the client's, of its INVITE, and ours, of the branches of one.

use super::{
    Proxy, Timeout,
    branch::{BranchPhase, Cancel, ClientMachine},
    ids::{BranchId, TxId},
    io::Cause,
    reply::{Reply, write_reply},
    request::{reply_to, stamp_via},
    seal,
    server_tx::Phase,
};
use crate::{
    flow::Flow,
    message::{HeaderName, Message},
    transaction::{Action, Reliability, Timer, client},
};

/// RFC 3326: told to those who rang for nothing.
const ELSEWHERE: &[u8] = b"SIP;cause=200;text=\"Call completed elsewhere\"";

impl Proxy {
    /// Answered at once, whatever the INVITE waits for; 481 if there is none from there. Not a transaction of its own: its
    /// retransmission gets the same answer.
    pub(super) fn on_cancel(&mut self, flow: &Flow, mut cancel: Message) {
        let invite = self
            .tx_key(&cancel, flow)
            .and_then(|key| self.by_key.get(&key).copied());
        let to_tag = match invite.and_then(|id| self.servers.get(&id)) {
            Some(tx) => tx.to_tag,
            None => self.chance.draw(),
        };
        let (status, cause) = match invite {
            Some(_) => (200, Cause::Answered),
            None => (481, Cause::Refused),
        };
        let to = reply_to(&cancel, flow);
        stamp_via(&mut cancel, flow.peer);
        let reply = Reply::new(status, cause);
        let response = write_reply(&cancel, &reply, to_tag, &self.config.server_name);
        self.send(to, response.to_bytes());
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
            Phase::Queued | Phase::Working | Phase::Settling => tx.phase = Phase::Cancelled,
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
        self.send_own(to, bytes);
        for action in actions {
            if let Action::Start(timer) = action {
                let after = self.config.timing.duration(*timer, 0);
                self.start(after, Timeout::Cancel(id, *timer));
            }
        }
        self.start(self.config.timing.t1 * 64, Timeout::CancelIgnored(id));
    }

    /// 200, 481 or whatever else: the CANCEL arrived.
    pub(super) fn on_cancel_response(&mut self, id: BranchId, response: &Message) {
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        let reliability = crate::transaction::Reliability::from(branch.candidate.place.transport);
        if let Cancel::Sent { state, .. } = &mut branch.cancel {
            let is_final = response.status().is_some_and(|status| status >= 200);
            let event = if is_final {
                client::Event::Final
            } else {
                client::Event::Provisional
            };
            *state = client::step(*state, event, reliability).0;
        }
        self.forget_branch_if_done(id);
    }

    pub(super) fn on_cancel_timer(&mut self, id: BranchId, timer: Timer) {
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        let reliability = Reliability::from(branch.candidate.place.transport);
        let Cancel::Sent {
            state,
            bytes,
            retransmissions,
        } = &mut branch.cancel
        else {
            return;
        };
        let (next, actions) = client::step(*state, client::Event::Fired(timer), reliability);
        *state = next;
        let (to, bytes, rounds) = (branch.candidate.place.to, bytes.clone(), *retransmissions);
        *retransmissions += 1;
        let timing = self.config.timing;
        for action in actions {
            let after = match action {
                Action::Start(timer) => timing.duration(*timer, rounds),
                Action::StartT2(_) => timing.t2,
                Action::Resend => {
                    self.send(to, bytes.clone());
                    continue;
                }
                Action::Send
                | Action::Ack
                | Action::Pass
                | Action::Timeout
                | Action::Unreachable => continue,
            };
            self.start(after, Timeout::Cancel(id, timer));
        }
        self.forget_branch_if_done(id);
    }

    /// Whoever does not answer a CANCEL'd INVITE never will.
    pub(super) fn on_cancel_ignored(&mut self, id: BranchId) {
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        if branch.is_proceeding() || branch.is_calling() {
            branch.machine = ClientMachine::Terminated;
            self.decide_own(
                id,
                408,
                Cause::Timeout,
                "no final response to a cancelled INVITE",
            );
        }
        self.forget_branch_if_done(id);
    }
}
