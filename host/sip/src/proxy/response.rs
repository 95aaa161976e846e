//! A response as it comes back: its branch, its asks, and on to the client (RFC 3261 §16.7).

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Proxy, believe,
    best::Failure,
    branch::{Branch, BranchPhase, ClientEvent, Heard, Rewritten},
    challenge::Answered,
    dialog::with_tag,
    ids::BranchId,
    io::{Cause, DropCause},
    server_tx::{Client, Phase},
    via::ViaBranch,
};
use crate::message::{HeaderName, Message, MessageError, Method};

impl Proxy {
    pub(super) fn on_response(&mut self, response: Message) {
        let Some(via) = ViaBranch::of(&response) else {
            return self.dropped(DropCause::ForeignVia);
        };
        let id = BranchId(via.number);
        let queued_max = self.config.limits.queued_max;
        let Some(branch) = self.branches.get_mut(&id) else {
            if !self.absorbing.contains(&id) && !self.is_of_trunk(id, &response) {
                self.dropped(DropCause::StrayResponse);
            }
            return;
        };
        let method = response.cseq().map(|cseq| cseq.method);
        if method == Some(Method::Cancel) {
            return self.on_cancel_response(id, &response);
        }
        // Without a Via below ours it is for us (RFC 3261 §16.7 item 3), who asked for nothing but where we did: the timers judge the branch.
        let tx = self.servers.get(&branch.tx);
        let is_for_client = response.values(HeaderName::Via).nth(1).is_some()
            || tx.is_some_and(|tx| tx.client == Client::Ourselves);
        if method != branch.request.method()
            || branch.phase == BranchPhase::Preparing
            || !is_for_client
        {
            return self.dropped(DropCause::StrayResponse);
        }
        if branch.ask.is_none() {
            return self.take_response(id, response);
        }
        // In order: the one before it is still being asked about.
        let crowded_out = branch.enqueue(response, queued_max);
        if crowded_out {
            self.dropped(DropCause::Overload);
        }
    }

    /// Runs the client's table.
    fn take_response(&mut self, id: BranchId, response: Message) {
        let Some(status) = response.status() else {
            return;
        };
        if (200..300).contains(&status) && self.repeat_answer(id, &response) {
            return;
        }
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        branch.heard = Heard::Something;
        let peer = branch.candidate.place.peer();
        let actions = branch.step(ClientEvent::Response(status));
        if let Some(peer) = peer {
            self.is_back(peer);
        }
        self.act_client(id, actions, Some(response));
    }

    /// A 2xx that was forwarded goes again as it went, without hooks. Says whether it was one.
    fn repeat_answer(&mut self, id: BranchId, response: &Message) -> bool {
        let Some(branch) = self.branches.get(&id).filter(|branch| branch.is_invite()) else {
            return false;
        };
        let tag = response.to_tag().unwrap_or_default();
        let Some((_, bytes)) = branch.answers.iter().find(|(known, _)| known == tag) else {
            return false;
        };
        let (tx, bytes) = (branch.tx, bytes.clone());
        if !bytes.is_empty() {
            self.hand_down(tx, response.status().unwrap_or(200), bytes);
        }
        true
    }

    /// The table hands a response up: not a retransmission.
    pub(super) fn pass(&mut self, id: BranchId, mut response: Message) {
        let Some(branch) = self.branches.get(&id) else {
            return;
        };
        let Some(tx) = self.servers.get(&branch.tx) else {
            return;
        };
        let popped = response.remove_first_value(HeaderName::Via);
        believe::disbelieve(&mut response, branch.candidate.place.side);
        believe::hide(&mut response, tx.flow.side);
        // What cannot be written passes as it came: who waits for it must not wait for ever.
        let _ = popped.and_then(|_| restore(&mut response, &tx.request, branch));
        if branch.request.method() == Some(Method::Register) {
            self.take_registered(id, &mut response);
        }
        match response.status().unwrap_or(0) {
            ..200 => self.pass_provisional(id, response),
            200..300 => self.pass_success(id, response),
            status => self.pass_failure(id, status, response),
        }
    }

    fn pass_provisional(&mut self, id: BranchId, response: Message) {
        let status = response.status().unwrap_or(100);
        self.send_wanted_cancel(id);
        if status > 100 {
            self.put_off_timer_c(id);
        }
        let Some(branch) = self.branches.get(&id) else {
            return;
        };
        let is_awaited = self
            .servers
            .get(&branch.tx)
            .is_some_and(|tx| tx.phase == Phase::Working);
        // 100 is for the next hop alone, and so is what rings after it was given up.
        if status > 100 && is_awaited && branch.phase == BranchPhase::Sent {
            self.ask_response(id, response);
        }
    }

    fn pass_success(&mut self, id: BranchId, response: Message) {
        let answers_max = self.config.limits.answers_per_branch_max;
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        if branch.is_invite() {
            if branch.answers.len() >= answers_max {
                return self.dropped(DropCause::Overload);
            }
            branch.answers.push((
                response.to_tag().unwrap_or_default().to_owned(),
                Bytes::new(),
            ));
        } else if branch.phase == BranchPhase::Decided {
            return self.dropped(DropCause::StrayResponse);
        }
        self.ask_response(id, response);
    }

    /// Kept, until nothing better can come; unless it asks us, and not the client, who we are.
    fn pass_failure(&mut self, id: BranchId, status: u16, response: Message) {
        let response = match self.answer_challenge(id, response) {
            Answered::No(response) => response,
            Answered::Failed(failure) => return self.decide(id, failure),
            Answered::Again => return,
        };
        let Some(branch) = self.branches.get(&id) else {
            return;
        };
        let failure = Failure {
            status,
            response: Some(response),
            request: Some(Arc::clone(&branch.request)),
            upstream: branch.candidate.place.upstream(),
            cause: Cause::Forwarded,
            detail: String::new(),
        };
        self.decide(id, failure);
    }

    /// What waited behind the response that is done with.
    pub(super) fn next_response(&mut self, id: BranchId) {
        loop {
            let Some(branch) = self.branches.get_mut(&id) else {
                return;
            };
            if branch.ask.is_some() {
                return;
            }
            match branch.queue.pop_front() {
                Some(response) => self.take_response(id, response),
                None => break,
            }
        }
        if let Some(gate) = self
            .branches
            .get_mut(&id)
            .and_then(|branch| branch.gate.take())
        {
            self.release_gate(gate);
        }
        let tx = self.branches.get(&id).map(|branch| branch.tx);
        self.forget_branch_if_done(id);
        // A cancelled branch is waited for as long as a response of it is asked about.
        if let Some(tx) = tx {
            self.stage_may_be_over(tx);
        }
    }
}

/// CSeq, From and To as the client wrote them, with the tag that the other end chose.
fn restore(response: &mut Message, request: &Message, branch: &Branch) -> Result<(), MessageError> {
    if branch.ahead > 0
        && let Some(own) = request.header(HeaderName::CSeq)
    {
        response.set(HeaderName::CSeq, own)?;
    }
    match branch.rewritten {
        Rewritten::No => Ok(()),
        Rewritten::Yes => {
            let tag = response.to_tag().map(str::to_owned);
            let value = |name| request.header(name).unwrap_or_default().into_owned();
            response.set(HeaderName::From, value(HeaderName::From))?;
            response.set(
                HeaderName::To,
                with_tag(&value(HeaderName::To), tag.as_deref()),
            )
        }
    }
}
