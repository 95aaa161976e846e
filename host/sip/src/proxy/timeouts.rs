//! What the timers of a proxy are for, and what happens when one comes up.

use super::{
    Proxy,
    branch::{BranchPhase, Cancel, ClientEvent},
    ids::{BranchId, CallKey, TxId},
    io::Cause,
    server_tx::{Phase, ServerEvent, ServerMachine},
};
use crate::transaction::{Action, Reliability, Timer, client, invite_server, server};

/// Whose timer, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timeout {
    /// Of a server transaction's table.
    Server(TxId, Timer),
    /// Of a client transaction's table.
    Client(BranchId, Timer),
    /// Of the client transaction of a CANCEL.
    Cancel(BranchId, Timer),
    /// No final response came for 64*T1 after a CANCEL (RFC 3261 §9.1).
    CancelIgnored(BranchId),
    /// 100 is due.
    Trying(TxId),
    /// A discarded request need not be remembered any longer.
    Discarded(TxId),
    /// A branch that nothing came back from.
    FirstResponse(BranchId),
    /// The stage that was the n-th to be launched.
    NoAnswer(TxId, u32),
    /// Timer C (RFC 3261 §16.6 item 11).
    C(BranchId),
    /// A call's record may be idle.
    CallIdle(CallKey),
}

impl Proxy {
    pub(super) fn on_timeout(&mut self, timeout: Timeout) {
        match timeout {
            Timeout::Server(id, timer) => {
                let Some(tx) = self.servers.get_mut(&id) else {
                    return;
                };
                let actions = tx.step(ServerEvent::Fired(timer));
                self.act_server(id, actions, None);
            }
            Timeout::Client(id, timer) => self.on_client_timer(id, timer),
            Timeout::Cancel(id, timer) => self.on_cancel_timer(id, timer),
            Timeout::CancelIgnored(id) => self.on_cancel_ignored(id),
            Timeout::Trying(id) => self.send_trying(id),
            Timeout::Discarded(id) => self.on_discarded(id),
            Timeout::FirstResponse(id) => {
                if self
                    .branches
                    .get(&id)
                    .is_some_and(|branch| branch.is_calling())
                {
                    self.give_up(id, "no response in time");
                }
            }
            Timeout::NoAnswer(id, launched) => self.on_no_answer(id, launched),
            Timeout::C(id) => self.on_timer_c(id),
            Timeout::CallIdle(key) => self.on_call_idle(key),
        }
    }

    fn on_client_timer(&mut self, id: BranchId, timer: Timer) {
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        // Once given up, a request is not sent again; should an INVITE have arrived, its provisional response gets the CANCEL.
        if matches!(timer, Timer::A | Timer::E) && branch.phase == BranchPhase::Decided {
            return;
        }
        let actions = branch.step(ClientEvent::Fired(timer));
        self.act_client(id, actions, None);
    }

    fn on_cancel_timer(&mut self, id: BranchId, timer: Timer) {
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
        if actions.contains(&Action::Resend) {
            *retransmissions += 1;
            self.send(to, bytes);
            let after = self.config.timing.duration(timer, rounds);
            self.start(after, Timeout::Cancel(id, timer));
        }
        self.forget_branch_if_done(id);
    }

    /// Whoever does not answer a CANCEL'd INVITE never will.
    fn on_cancel_ignored(&mut self, id: BranchId) {
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        if branch.is_proceeding() || branch.is_calling() {
            branch.machine = super::branch::ClientMachine::Terminated;
            self.decide_own(
                id,
                408,
                Cause::Timeout,
                "no final response to a cancelled INVITE",
            );
        }
        self.forget_branch_if_done(id);
    }

    fn on_no_answer(&mut self, id: TxId, launched: u32) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        if tx.plan.launched != launched || tx.phase != Phase::Working {
            return;
        }
        for id in tx.branches.clone() {
            if let Some(branch) = self.branches.get_mut(&id) {
                // It is the user who does not answer, not that member.
                branch.candidate.place.others.clear();
            }
            self.give_up(id, "no answer in time");
        }
    }

    /// Each provisional response puts it off (RFC 3261 §16.7 item 2); one entry among the timers does for all of them.
    fn on_timer_c(&mut self, id: BranchId) {
        let now = self.now();
        let Some(branch) = self
            .branches
            .get(&id)
            .filter(|branch| branch.phase == BranchPhase::Sent)
        else {
            return;
        };
        if branch.rings_until > now {
            return self.timers.start(branch.rings_until, Timeout::C(id));
        }
        self.give_up(id, "Timer C");
    }

    /// Nothing will come, or nothing that still matters: the stage goes on without it, and it is cancelled.
    pub(super) fn give_up(&mut self, id: BranchId, detail: &'static str) {
        if self
            .branches
            .get(&id)
            .is_none_or(|branch| branch.phase == BranchPhase::Decided)
        {
            return;
        }
        self.cancel_branch(id, &[]);
        self.decide_own(id, 408, Cause::Timeout, detail);
    }

    fn on_discarded(&mut self, id: TxId) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        tx.machine = match tx.machine {
            ServerMachine::Invite(_) => ServerMachine::Invite(invite_server::State::Terminated),
            ServerMachine::Other(_) => ServerMachine::Other(server::State::Terminated),
        };
        self.forget_if_done(id);
    }

    fn on_call_idle(&mut self, key: CallKey) {
        let idle = self.config.timers.call_idle;
        let now = self.now();
        let Some(call) = self.calls.peek(key) else {
            return;
        };
        let ends = call.touched + idle;
        if ends <= now {
            self.calls.remove(key);
        } else {
            self.timers.start(ends, Timeout::CallIdle(key));
        }
    }
}
