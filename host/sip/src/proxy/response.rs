//! A response as it comes back: its branch, its asks, and on to the client (RFC 3261 §16.7).

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Proxy,
    asks::Waiting,
    best::Failure,
    branch::{Branch, BranchPhase, Cancel, ClientEvent, Rewritten},
    dialog::with_tag,
    forward::carries_session,
    ids::{BranchId, TxId},
    io::{Cause, Direction, DropCause, Hook, MediaVerdict, Output, SdpRole, Verdict},
    server_tx::Phase,
    stage::set_status,
    via::ViaBranch,
};
use crate::{
    message::{HeaderName, Message, MessageError, Method},
    transaction::client,
};

impl Proxy {
    pub(super) fn on_response(&mut self, response: Message) {
        let via = response
            .top_via()
            .and_then(|via| ViaBranch::parse(via.branch()?));
        let Some(via) = via else {
            return self.dropped(DropCause::ForeignVia);
        };
        let id = BranchId(via.number);
        let queued_max = self.config.limits.queued_max;
        let Some(branch) = self.branches.get_mut(&id) else {
            return self.dropped(DropCause::StrayResponse);
        };
        let method = response.cseq().map(|cseq| cseq.method);
        if method == Some(Method::Cancel) {
            return self.on_cancel_response(id, &response);
        }
        if method != branch.request.method() || branch.phase == BranchPhase::Preparing {
            return self.dropped(DropCause::StrayResponse);
        }
        if branch.ask.is_none() {
            return self.take_response(id, response);
        }
        // In order: the one before it is still being asked about.
        if branch.queue.len() >= queued_max {
            return self.dropped(DropCause::Overload);
        }
        branch.queue.push_back(response);
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
        let actions = branch.step(ClientEvent::Response(status));
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
        response.remove_first_value(HeaderName::Via);
        if !response.contains(HeaderName::Via) {
            return self.dropped(DropCause::Unanswerable);
        }
        if restore(&mut response, &tx.request, branch).is_err() {
            return self.dropped(DropCause::Unanswerable);
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

    /// Kept, until nothing better can come.
    fn pass_failure(&mut self, id: BranchId, status: u16, response: Message) {
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

    /// Asks `on-response` if there is one to ask.
    fn ask_response(&mut self, id: BranchId, response: Message) {
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        let Some(tx) = self.servers.get(&branch.tx) else {
            return;
        };
        if !tx.policies.hooks.has(Hook::Response) {
            return self.ask_response_media(id, response);
        }
        let (tx, request) = (branch.tx, Arc::clone(&branch.request));
        let status = response.status().unwrap_or(0);
        branch.in_hand = Some(response.clone());
        let ask = self.ask_id(Waiting::Response(id));
        self.push_ask(tx, ask, Hook::Response, response, |ask| {
            ask.status = status;
            ask.request = Some(request);
        });
        self.response_waits(id, ask);
    }

    /// The responses behind this one wait, and so do requests of the same dialog that travel the same way.
    fn response_waits(&mut self, id: BranchId, ask: super::io::AskId) {
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        branch.ask = Some(ask);
        let Some(tx) = self
            .servers
            .get(&branch.tx)
            .filter(|tx| tx.is_invite() || tx.dialog.is_some())
        else {
            return;
        };
        if branch.gate.is_none() {
            let gate = (
                tx.call,
                reverse(
                    tx.dialog
                        .map_or(Direction::ToCallee, |dialog| dialog.direction),
                ),
            );
            branch.gate = Some(gate);
            self.gates.hold(gate);
        }
    }

    pub(super) fn on_response_verdict(&mut self, id: BranchId, verdict: Verdict) {
        if self.answered(id).is_none() {
            return;
        }
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        let (tx, original) = (branch.tx, branch.in_hand.take());
        let is_final = original
            .as_ref()
            .and_then(Message::status)
            .is_some_and(|status| status >= 200);
        let response = match verdict {
            Verdict::Continue(next) => {
                let mut message = next.message;
                set_status(&mut message, next.status);
                self.apply_attributes(tx, next.transaction, next.call);
                Some(message)
            }
            Verdict::Skip if !is_final => None,
            // Whatever became of the hook, a final response passes.
            Verdict::Skip | Verdict::Fault { .. } | Verdict::Reply { .. } | Verdict::Discard => {
                original
            }
        };
        match response {
            Some(response) => self.ask_response_media(id, response),
            None => self.next_response(id),
        }
    }

    /// Asks media about the session description if there is one.
    fn ask_response_media(&mut self, id: BranchId, response: Message) {
        if !carries_session(&response) {
            return self.deliver(id, &response);
        }
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        let role = if carries_session(&branch.request) {
            SdpRole::Answer
        } else {
            SdpRole::Offer
        };
        let sdp = response.body().clone();
        branch.in_hand = Some(response.clone());
        let Some(branch) = self.branches.get(&id) else {
            return;
        };
        let media = self.media_branch(branch, &response);
        let tx = self.servers.get(&branch.tx);
        let asked = tx
            .and_then(|tx| tx.dialog)
            .map_or(Direction::ToCallee, |dialog| dialog.direction);
        let ask = self.ask_id(Waiting::ResponseMedia(id));
        self.outputs.push_back(Output::Media {
            id: ask,
            branch: media,
            direction: reverse(asked),
            role,
            sdp,
        });
        self.response_waits(id, ask);
    }

    pub(super) fn on_response_media(&mut self, id: BranchId, verdict: MediaVerdict) {
        if self.answered(id).is_none() {
            return;
        }
        let Some(mut response) = self
            .branches
            .get_mut(&id)
            .and_then(|branch| branch.in_hand.take())
        else {
            return;
        };
        match verdict {
            MediaVerdict::Unchanged => self.deliver(id, &response),
            MediaVerdict::Replace(sdp) => match response.set_body(sdp, None) {
                Ok(()) => self.deliver(id, &response),
                Err(_) => self.next_response(id),
            },
            // An answered call cannot be turned into a failure: it is passed on, and media has nothing to do with it.
            MediaVerdict::Refuse { .. } => self.deliver(id, &response),
        }
    }

    /// A response goes to the client: a provisional one, or a 2xx.
    fn deliver(&mut self, id: BranchId, response: &Message) {
        let Some(branch) = self.branches.get(&id) else {
            return;
        };
        let tx = branch.tx;
        let status = response.status().unwrap_or(0);
        if status < 200 {
            if self
                .servers
                .get(&tx)
                .is_some_and(|tx| tx.phase == Phase::Working)
            {
                self.hand_down(tx, status, response.to_bytes());
            }
        } else {
            self.deliver_success(id, tx, status, response);
        }
        self.next_response(id);
    }

    fn deliver_success(&mut self, id: BranchId, tx: TxId, status: u16, response: &Message) {
        let bytes = response.to_bytes();
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        let upstream = branch.candidate.place.upstream();
        let is_invite = branch.is_invite();
        let tag = response.to_tag().unwrap_or_default();
        if let Some((_, sent)) = branch.answers.iter_mut().find(|(known, _)| known == tag) {
            *sent = bytes.clone();
        }
        branch.phase = BranchPhase::Decided;
        self.hand_down(tx, status, bytes);
        if is_invite {
            self.call_answered(tx);
            self.cancel_losers(tx, id);
        }
        self.end(tx, status, Cause::Forwarded, String::new(), upstream);
    }

    /// What waited behind the response that is done with.
    fn next_response(&mut self, id: BranchId) {
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
        self.forget_branch_if_done(id);
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
    fn decide(&mut self, id: BranchId, failure: Failure) {
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        if branch.phase == BranchPhase::Decided {
            return;
        }
        branch.phase = BranchPhase::Decided;
        let tx_id = branch.tx;
        let is_silent = failure.response.is_none() || failure.status == 503;
        let next_member = branch.candidate.place.next_member().filter(|_| is_silent);
        let retry = next_member.map(|place| super::server_tx::Candidate {
            place,
            ..branch.candidate.clone()
        });
        let Some(tx) = self.servers.get_mut(&tx_id) else {
            return;
        };
        let is_global = failure.status >= 600;
        let is_working = tx.phase == Phase::Working;
        tx.best.offer(failure);
        if let Some(candidate) = retry.filter(|_| is_working) {
            tx.plan.candidates.push(candidate);
            return self.launch(tx_id);
        }
        if is_global && is_working {
            self.cancel_others(tx_id, id);
        }
        self.stage_may_be_over(tx_id);
    }

    /// 200, 481 or whatever else: the CANCEL arrived.
    fn on_cancel_response(&mut self, id: BranchId, response: &Message) {
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
}

/// From and To as the client wrote them, with the tag that the other end chose.
fn restore(response: &mut Message, request: &Message, branch: &Branch) -> Result<(), MessageError> {
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

pub(super) fn reverse(direction: Direction) -> Direction {
    match direction {
        Direction::ToCallee => Direction::ToCaller,
        Direction::ToCaller => Direction::ToCallee,
    }
}
