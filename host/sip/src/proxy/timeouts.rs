//! What the timers of a proxy are for, and what happens when one comes up.

use super::{
    Proxy,
    ids::{BranchId, TxId},
    server_tx::{Phase, ServerEvent},
};
use crate::transaction::Timer;

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
    /// A request that gets no answer need not be remembered any longer.
    Silent(TxId),
    /// A branch that nothing came back from.
    FirstResponse(BranchId),
    /// The stage that was the n-th to be launched.
    NoAnswer(TxId, u32),
    /// Timer C (RFC 3261 §16.6 item 11).
    C(BranchId),
    /// Of the client transaction of a registration of ours, by its index and the branch.
    Trunk(usize, BranchId, Timer),
    /// A registration of ours is to be refreshed or tried again; of several the one with the last number counts.
    TrunkDue(usize, u32),
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
            Timeout::Silent(id) => self.on_silent(id),
            Timeout::FirstResponse(id) => {
                if self
                    .branches
                    .get(&id)
                    .is_some_and(|branch| branch.is_calling())
                {
                    self.on_no_first_response(id);
                }
            }
            Timeout::NoAnswer(id, launched) => self.on_no_answer(id, launched),
            Timeout::C(id) => self.on_timer_c(id),
            Timeout::Trunk(at, branch, timer) => self.on_trunk_timer(at, branch, timer),
            Timeout::TrunkDue(at, number) => self.on_trunk_due(at, number),
        }
    }

    fn on_no_first_response(&mut self, id: BranchId) {
        let peer = self
            .branches
            .get(&id)
            .and_then(|branch| branch.candidate.place.peer());
        if let Some(peer) = peer {
            self.pass_over(peer);
        }
        self.give_up(id, "no response in time");
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
}
