//! A response on its way to the client: `on-response`, media, and down to the server's table.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Proxy,
    asks::Waiting,
    branch::BranchPhase,
    forward::carries_session,
    ids::{BranchId, TxId},
    io::{AskId, Cause, Direction, Hook, MediaVerdict, Output, SdpRole, Verdict},
    server_tx::Phase,
    stage::set_status,
};
use crate::{
    flow::Destination,
    message::{HeaderName, Message},
};

impl Proxy {
    /// Asks `on-response` if there is one to ask.
    pub(super) fn ask_response(&mut self, id: BranchId, response: Message) {
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
    fn response_waits(&mut self, id: BranchId, ask: AskId) {
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
        let tx = branch.tx;
        // Only a response that has one is sent again until its PRACK comes (RFC 3262 §3).
        if role == SdpRole::Offer && response.contains(HeaderName::RSeq) {
            self.call_offered_early(tx, response.to_tag().unwrap_or_default());
        }
        let Some(branch) = self.branches.get(&id) else {
            return;
        };
        let (media, mode) = (
            self.media_branch(branch, &response),
            self.media_mode(branch),
        );
        let tx = self.servers.get(&branch.tx);
        let asked = tx
            .and_then(|tx| tx.dialog)
            .map_or(Direction::ToCallee, |dialog| dialog.direction);
        self.media_asked(id, &media);
        let ask = self.ask_id(Waiting::ResponseMedia(id));
        self.outputs.push_back(Output::Media {
            id: ask,
            branch: media,
            direction: reverse(asked),
            role,
            sdp,
            mode,
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
            MediaVerdict::Unchanged | MediaVerdict::Taken => self.deliver(id, &response),
            MediaVerdict::Replace(sdp) => {
                self.anchor_branch(id);
                if response.set_body(sdp, None).is_err() {
                    without_body(&mut response);
                }
                self.deliver(id, &response);
            }
            // An answered call cannot be turned into a failure. Without a description the caller ends it as its own stack does.
            MediaVerdict::Refuse { .. } => {
                without_body(&mut response);
                self.deliver(id, &response);
            }
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
        let (upstream, to) = (branch.candidate.place.upstream(), branch.candidate.place.to);
        let is_invite = branch.is_invite();
        if is_invite {
            let tag = response.to_tag().unwrap_or_default();
            let mut answers = branch.answers.iter_mut();
            if let Some((_, sent)) = answers.find(|(known, _)| known == tag) {
                *sent = bytes.clone();
            }
        }
        branch.phase = BranchPhase::Decided;
        self.by_destination.remove(&to, id);
        self.media_answered(id, response);
        self.refresh_targets(id, response);
        self.hand_down(tx, status, bytes);
        if let (Destination::Flow(callee), Some(tx)) = (to, self.servers.get_mut(&tx)) {
            tx.callee = Some(callee);
        }
        if is_invite {
            self.keep_credentials(id);
            self.anchor_dialog(id, response);
            self.call_answered(tx);
            self.cancel_losers(tx, id);
        }
        self.end(tx, status, Cause::Forwarded, String::new(), upstream);
    }
}

/// What media does not handle reaches nobody.
pub(super) fn without_body(message: &mut Message) {
    let set = message.set_body(Bytes::new(), None);
    debug_assert!(set.is_ok(), "a message can do without its body");
}

pub(super) fn reverse(direction: Direction) -> Direction {
    match direction {
        Direction::ToCallee => Direction::ToCaller,
        Direction::ToCaller => Direction::ToCallee,
    }
}
