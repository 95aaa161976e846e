//! What the table of a branch's client transaction wants done, and how a branch comes to its end without a 2xx.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Proxy, Timeout,
    best::Failure,
    branch::{Branch, BranchPhase, ClientEvent, Fallback, Heard},
    ids::BranchId,
    io::Cause,
    seal,
    server_tx::Phase,
    via::ViaBranch,
};
use crate::{
    flow::{Destination, Transport},
    limits::Limits,
    message::{HeaderName, Message},
    transaction::{Action, Timer},
};

impl Proxy {
    /// Does what a client's table said; `response` is the one of this event.
    pub(super) fn act_client(
        &mut self,
        id: BranchId,
        actions: &[Action],
        mut response: Option<Message>,
    ) {
        for action in actions {
            let Some(branch) = self.branches.get_mut(&id) else {
                return;
            };
            let (to, timing) = (branch.candidate.place.to, self.config.timing);
            match action {
                Action::Send | Action::Resend => {
                    let bytes = branch.bytes.clone();
                    self.send(to, bytes);
                }
                Action::Ack => {
                    if branch.ack.is_empty()
                        && let Some(response) = &response
                    {
                        branch.ack = seal::failure_ack(&branch.request, response);
                    }
                    let ack = branch.ack.clone();
                    self.send_own(to, ack);
                }
                Action::Start(timer) => {
                    let after = timing.duration(*timer, branch.retransmissions);
                    if matches!(timer, Timer::A | Timer::E) {
                        branch.retransmissions += 1;
                    }
                    self.start(after, Timeout::Client(id, *timer));
                }
                Action::StartT2(timer) => self.start(timing.t2, Timeout::Client(id, *timer)),
                Action::Pass => {
                    if let Some(response) = response.take() {
                        self.pass(id, response);
                    }
                }
                Action::Timeout => {
                    self.decide_own(id, 408, Cause::Timeout, "no final response in time")
                }
                Action::Unreachable => {
                    self.decide_own(id, 503, Cause::Unreachable, "the next hop is unreachable")
                }
            }
        }
        self.forget_branch_if_done(id);
    }

    pub(super) fn on_client_timer(&mut self, id: BranchId, timer: Timer) {
        let Some(branch) = self.branches.get_mut(&id) else {
            if timer == Timer::K {
                self.absorbing.remove(&id);
            }
            return;
        };
        // Once given up, a request is not sent again; should an INVITE have arrived, its provisional response gets the CANCEL.
        if matches!(timer, Timer::A | Timer::E) && branch.phase == BranchPhase::Decided {
            return;
        }
        let was_silent = branch.is_calling();
        let peer = branch.candidate.place.peer();
        let actions = branch.step(ClientEvent::Fired(timer));
        if let Some(peer) = peer.filter(|_| was_silent && actions.contains(&Action::Timeout)) {
            self.pass_over(peer);
        }
        self.act_client(id, actions, None);
    }

    pub(super) fn put_off_timer_c(&mut self, id: BranchId) {
        let until = self.now() + self.config.timers.timer_c;
        if let Some(branch) = self.branches.get_mut(&id) {
            branch.rings_until = until;
        }
    }

    /// Each provisional response puts it off (RFC 3261 §16.7 item 2); one entry among the timers does for all of them.
    pub(super) fn on_timer_c(&mut self, id: BranchId) {
        let now = self.now();
        let Some(branch) = self
            .branches
            .get(&id)
            .filter(|branch| branch.phase == BranchPhase::Sent)
        else {
            return;
        };
        if branch.rings_until > now {
            return self.timers.start_at(branch.rings_until, Timeout::C(id));
        }
        self.give_up(id, "Timer C");
    }

    /// Nothing can be delivered there.
    pub(super) fn on_unreachable(&mut self, to: Destination) {
        let waiting = self.by_destination.at(&to);
        // A connection that nobody waits for may end as it likes.
        if let Some(peer) = to.peer().filter(|_| !waiting.is_empty()) {
            self.pass_over(peer);
        }
        for id in waiting {
            self.fail(id);
        }
        self.trunks_unreachable(to);
    }

    /// These bytes cannot be delivered there.
    pub(super) fn on_undelivered(&mut self, to: Destination, bytes: Bytes) {
        let Ok(sent) = Message::parse(bytes, &Limits::WIDEST) else {
            return;
        };
        let via = sent
            .top_via()
            .and_then(|via| ViaBranch::parse(via.branch()?));
        let Some(id) = via.map(|via| BranchId(via.number)) else {
            return;
        };
        self.trunk_undelivered(id);
        // Neither a response, nor an ACK or CANCEL of the branch, nor a request that was sent before and may have arrived.
        let never_left = |branch: &Branch| {
            branch.candidate.place.to == to
                && sent.method() == branch.request.method()
                && branch.is_calling()
                && branch.retransmissions <= 1
        };
        if self
            .branches
            .get(&id)
            .is_some_and(|branch| never_left(branch))
        {
            self.fail(id);
        }
    }

    fn fail(&mut self, id: BranchId) {
        if self.fall_back(id) {
            return;
        }
        if let Some(branch) = self.branches.get_mut(&id) {
            let actions = branch.step(ClientEvent::TransportError);
            self.act_client(id, actions, None);
        }
    }

    /// From TCP to UDP, once (RFC 3261 §18.1.1). Says whether it did.
    fn fall_back(&mut self, id: BranchId) -> bool {
        let Some(branch) = self.branches.get_mut(&id) else {
            return false;
        };
        if branch.fallback == Fallback::None || !branch.is_calling() {
            return false;
        }
        branch.fallback = Fallback::None;
        let Some(place) = branch.candidate.place.over(Transport::Udp) else {
            return false;
        };
        self.by_destination.remove(&branch.candidate.place.to, id);
        self.by_destination.insert(place.to, id);
        let via = self.names.via(place.listener, Transport::Udp, &branch.via);
        // It cannot be had over TCP, which says nothing of UDP.
        if let Some(peer) = place.peer() {
            self.is_back(peer);
        }
        let Some(branch) = self.branches.get_mut(&id) else {
            return false;
        };
        branch.candidate.place = place;
        let replaced = via.map(|via| {
            Arc::make_mut(&mut branch.request).replace_first_value(HeaderName::Via, via)
        });
        if !matches!(replaced, Some(Ok(()))) {
            return false;
        }
        branch.bytes = branch.request.to_bytes();
        let actions = branch.start();
        self.act_client(id, actions, None);
        true
    }

    /// Nothing will come, or nothing that still matters: the stage goes on without it, and it is cancelled.
    pub(super) fn give_up(&mut self, id: BranchId, detail: &'static str) {
        let Some(branch) = self.branches.get(&id) else {
            return;
        };
        // RFC 4320 §4.2: 408 is not for the other methods, but whoever still waits is told something.
        let status = if branch.is_invite() { 408 } else { 504 };
        match branch.phase {
            BranchPhase::Preparing => {
                let failure = Failure::own(status, Cause::Timeout, detail);
                self.drop_branch(id, Some(failure));
            }
            // Whose 2xx is still being asked about has answered.
            BranchPhase::Sent if branch.answers.is_empty() => {
                self.cancel_branch(id, &[]);
                self.decide_own(id, status, Cause::Timeout, detail);
            }
            BranchPhase::Sent | BranchPhase::Decided => {}
        }
    }

    /// A branch came to its end without a 2xx, by our own judgement.
    pub(super) fn decide_own(&mut self, id: BranchId, status: u16, cause: Cause, detail: &str) {
        let Some(branch) = self.branches.get(&id) else {
            return;
        };
        let in_dialog = self
            .servers
            .get(&branch.tx)
            .is_some_and(|tx| tx.dialog.is_some());
        let is_session = branch.candidate.place.peer().is_none();
        // RFC 5626 §11.5: the flow to a client failed, which is no fault of a server's.
        let status = match (status, is_session, in_dialog) {
            (503, true, true) => 430,
            (503, true, false) => 480,
            (status, _, _) => status,
        };
        let upstream = branch.candidate.place.upstream();
        self.decide(
            id,
            Failure {
                upstream,
                ..Failure::own(status, cause, detail)
            },
        );
    }

    /// A branch came to its end without a 2xx.
    pub(super) fn decide(&mut self, id: BranchId, failure: Failure) {
        if !self.may_answer(id) {
            self.media_lost(id);
        }
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        let tx_id = branch.tx;
        if branch.phase == BranchPhase::Decided {
            // It was given up before; now it is over.
            return self.stage_may_be_over(tx_id);
        }
        branch.phase = BranchPhase::Decided;
        // Whoever was cancelled is still waited for, and news of its flow matter.
        if !(branch.is_invite() && branch.is_proceeding()) {
            self.by_destination.remove(&branch.candidate.place.to, id);
        }
        // It is that member or flow that failed, and not the user who did not answer there.
        let (candidate, is_silent) = (&branch.candidate, branch.heard == Heard::Nothing);
        let retry = match (&failure.response, failure.status) {
            (None, _) if is_silent => candidate.next_member().or_else(|| candidate.next_flow()),
            (Some(_), 503) => candidate.next_member(),
            // RFC 5626 §7: of an edge proxy before the client.
            (Some(_), 430) => candidate.next_flow(),
            (None | Some(_), _) => None,
        };
        let Some(tx) = self.servers.get_mut(&tx_id) else {
            return;
        };
        let is_global = failure.status >= 600;
        let is_working = tx.phase == Phase::Working;
        tx.best.offer(failure);
        if let Some(candidate) = retry.filter(|_| is_working) {
            return self.launch_branches(tx_id, vec![candidate]);
        }
        if is_global && is_working {
            self.cancel_others(tx_id, id);
        }
        self.stage_may_be_over(tx_id);
    }
}
