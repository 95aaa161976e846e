//! From one stage to the next: a stage that failed, `on-failure`, the best response (RFC 3261 §16.7 items 4 to 6).

use super::{
    Proxy, Timeout,
    asks::Waiting,
    best::Failure,
    branch::BranchPhase,
    challenge,
    ids::{BranchId, TxId},
    io::{Cause, Hook, Verdict},
    reply::Reply,
    server_tx::Phase,
};
use crate::{
    flow::UpstreamId,
    message::{HeaderName, Message},
};

impl Proxy {
    /// Prepares the next stage, or ends the search.
    pub(super) fn next_stage(&mut self, id: TxId) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        match tx.plan.begin_stage() {
            Some(_) => self.resolve(id),
            None => self.on_failed(id),
        }
    }

    /// Goes on if no branch is left that could still succeed.
    pub(super) fn stage_may_be_over(&mut self, id: TxId) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        let undecided = |branch: &BranchId| {
            self.branches
                .get(branch)
                .is_some_and(|b| b.phase != BranchPhase::Decided)
        };
        if tx.ask.is_some() || tx.branches.iter().any(undecided) {
            return;
        }
        match tx.phase {
            Phase::Queued | Phase::Over => {}
            Phase::Settling | Phase::Cancelled if self.may_still_succeed(id) => {}
            Phase::Settling => self.on_failed(id),
            Phase::Cancelled => self.reply(id, Reply::new(487, Cause::Cancelled)),
            Phase::Working if tx.best.is_global() => self.on_failed(id),
            Phase::Working => self.next_stage(id),
        }
    }

    /// A branch that was given up and cancelled may have sent a 2xx that crosses our CANCEL: its final response is waited for, 64*T1
    /// at most (RFC 3261 §9.1, §16.8), before the client is told of a failure.
    fn may_still_succeed(&self, id: TxId) -> bool {
        let Some(tx) = self.servers.get(&id) else {
            return false;
        };
        let branches = tx.branches.iter().filter_map(|id| self.branches.get(id));
        branches
            .filter(|branch| branch.is_invite())
            .any(|branch| branch.is_proceeding() || branch.ask.is_some())
    }

    /// Every stage failed: the policies may know another way.
    fn on_failed(&mut self, id: TxId) {
        let settling = self.may_still_succeed(id);
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        tx.phase = if settling {
            Phase::Settling
        } else {
            Phase::Working
        };
        if settling {
            return;
        }
        tx.plan.stages.clear();
        let may_ask =
            tx.dialog.is_none() && tx.plan.failure_rounds < self.config.limits.failure_rounds_max;
        if !may_ask || !tx.policies.hooks.has(Hook::Failure) {
            return self.send_best(id);
        }
        tx.plan.failure_rounds += 1;
        let status = tx.best.status().unwrap_or(480);
        let message = (**tx.outgoing.as_ref().unwrap_or(&tx.request)).clone();
        let ask = self.ask_id(Waiting::Failure(id));
        self.push_ask(id, ask, Hook::Failure, message, |ask| ask.status = status);
        self.wait(id, ask);
    }

    pub(super) fn on_failure_verdict(&mut self, id: TxId, verdict: Verdict) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        tx.ask = None;
        match verdict {
            Verdict::Continue(next) if next.targets.is_empty() => {
                self.apply_attributes(id, next.transaction, next.call);
                self.send_best(id);
            }
            Verdict::Continue(next) => {
                tx.best = super::best::Best::default();
                let targets = self.apply(id, *next);
                self.plan(id, targets);
                self.next_stage(id);
            }
            Verdict::Reply {
                status,
                reason,
                headers,
                body,
            } => {
                let reason = reason.unwrap_or_default();
                self.reply(
                    id,
                    Reply {
                        reason,
                        headers,
                        body,
                        ..Reply::new(status, Cause::Policy)
                    },
                );
            }
            Verdict::Fault { reason } => {
                self.reply(id, Reply::new(500, Cause::PolicyFault).detail(reason))
            }
            Verdict::Discard | Verdict::Skip => self.send_best(id),
        }
    }

    /// The best response goes back, through `on-response` if a peer sent it.
    fn send_best(&mut self, id: TxId) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        let none = || Failure::own(480, Cause::Unreachable, "no target could be tried");
        let mut failure = tx.best.take().unwrap_or_else(none);
        let Some(response) = failure.response.take() else {
            return self.send_failure(id, failure);
        };
        if !tx.policies.hooks.has(Hook::Response) {
            failure.response = Some(response);
            return self.send_failure(id, failure);
        }
        let (status, request) = (failure.status, failure.request.clone());
        failure.response = Some(response.clone());
        let ask = self.ask_id(Waiting::Best(id, Box::new(failure)));
        self.push_ask(id, ask, Hook::Response, response, |ask| {
            ask.status = status;
            ask.request = request;
        });
        self.wait(id, ask);
    }

    pub(super) fn on_best_verdict(&mut self, id: TxId, mut failure: Failure, verdict: Verdict) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        tx.ask = None;
        match verdict {
            Verdict::Continue(next) => {
                let mut message = next.message;
                set_status(&mut message, next.status);
                failure.status = message.status().unwrap_or(failure.status);
                failure.response = Some(message);
                self.apply_attributes(id, next.transaction, next.call);
            }
            // A response passes as it is.
            Verdict::Reply { .. } | Verdict::Discard | Verdict::Skip | Verdict::Fault { .. } => {}
        }
        self.send_failure(id, failure);
    }

    fn send_failure(&mut self, id: TxId, failure: Failure) {
        let Failure {
            status,
            response,
            upstream,
            cause,
            detail,
            request: _,
        } = failure;
        match response {
            Some(response) => self.forward_final(id, status, &response, cause, detail, upstream),
            // RFC 4320 §4.2: the client has timed out too, and a 408 that comes late gets us a bad name.
            None if status == 408 && self.is_other(id) => self.end_silently(id, cause, detail),
            None => {
                let cause = if cause == Cause::Forwarded {
                    Cause::Unreachable
                } else {
                    cause
                };
                let mut reply = Reply::new(status, cause).detail(detail);
                if cause == Cause::Credentials {
                    reply.reason = challenge::REASON.to_owned();
                }
                self.reply(id, reply);
            }
        }
    }

    /// Is it anything but an INVITE?
    fn is_other(&self, id: TxId) -> bool {
        self.servers.get(&id).is_some_and(|tx| !tx.is_invite())
    }

    /// No answer goes, and retransmissions are absorbed.
    pub(super) fn end_silently(&mut self, id: TxId, cause: Cause, detail: String) {
        self.end(id, 0, cause, detail, None);
        self.start(self.config.timing.t1 * 64, Timeout::Silent(id));
    }

    /// A final response of a branch goes back.
    pub(super) fn forward_final(
        &mut self,
        id: TxId,
        status: u16,
        response: &Message,
        cause: Cause,
        detail: String,
        upstream: Option<UpstreamId>,
    ) {
        self.hand_down(id, status, response.to_bytes());
        self.end(id, status, cause, detail, upstream);
    }

    /// RFC 3261 §8.2.6.1: who waits is told that we work on it.
    pub(super) fn send_trying(&mut self, id: TxId) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        if tx.is_over() || tx.sent.is_some() {
            return;
        }
        let mut trying = Message::response_to(&tx.request, 100, "", None);
        // Cannot fail: the field has a valid name and no value to object to.
        let _ = trying.set(HeaderName::ContentLength, "0");
        self.hand_down(id, 100, trying.to_bytes());
    }
}

/// What `on-response` made of the status, checked by whoever ran it.
pub(super) fn set_status(response: &mut Message, status: Option<u16>) {
    if let Some(status) = status.filter(|&status| Some(status) != response.status()) {
        let set = response.set_status(status, "");
        debug_assert!(set.is_ok(), "a response has a status");
    }
}
