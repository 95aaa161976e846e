//! Branches: from a candidate to a request on its way (RFC 3261 §16.6), with the asks in between.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::{
    Proxy, Timeout,
    asks::Waiting,
    best::Failure,
    branch::{Branch, BranchPhase, Cancel, ClientMachine, Fallback, Heard, Rewritten},
    credentials::Said,
    ids::{BranchId, CallKey, TxId},
    io::{BranchInfo, Cause, Direction, Hook, MediaBranch, MediaVerdict, Output, SdpRole, Verdict},
    media::Told,
    reply::Reply,
    request::MAX_FORWARDS,
    server_tx::{Candidate, Phase},
    via::ViaBranch,
};
use crate::{
    header::TokenParams,
    message::{HeaderName, Message, Method},
};

impl Proxy {
    /// Makes branches of the candidates of a stage.
    pub(super) fn launch(&mut self, id: TxId) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        let candidates = std::mem::take(&mut tx.plan.candidates);
        tx.plan.launched += 1;
        let launched = tx.plan.launched;
        let stage = candidates.first().map(|candidate| candidate.stage);
        let timeouts = stage.and_then(|stage| {
            tx.plan
                .timeouts
                .iter()
                .find(|timeouts| timeouts.stage == stage)
        });
        let no_answer = timeouts
            .and_then(|timeouts| timeouts.no_answer)
            .or(self.config.timers.no_answer);
        if let Some(no_answer) = no_answer.filter(|_| tx.is_invite()) {
            self.start_odd(no_answer, Timeout::NoAnswer(id, launched));
        }
        self.launch_branches(id, candidates);
    }

    /// Branches of the stage that runs, as many as are allowed.
    pub(super) fn launch_branches(&mut self, id: TxId, mut candidates: Vec<Candidate>) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        let branches_max = self.config.limits.branches_max;
        candidates.truncate(branches_max.saturating_sub(tx.plan.branches_made));
        // All of them first, so that one that fails at once does not end the stage.
        let branches: Vec<BranchId> = candidates
            .into_iter()
            .filter_map(|each| self.make_branch(id, each))
            .collect();
        for branch in branches {
            self.ask_branch(branch);
        }
        self.stage_may_be_over(id);
    }

    fn make_branch(&mut self, id: TxId, candidate: Candidate) -> Option<BranchId> {
        let (number, now) = (self.chance.draw(), self.now());
        let tx = self.servers.get_mut(&id)?;
        let mut request = Arc::clone(tx.outgoing.as_ref()?);
        if let Some(uri) = &candidate.uri
            && Arc::make_mut(&mut request).set_request_uri(uri).is_err()
        {
            tx.best
                .offer(Failure::own(500, Cause::Unreachable, "not a Request-URI"));
            return None;
        }
        for (name, value) in &candidate.headers {
            let set = Arc::make_mut(&mut request).set(name.as_str(), value);
            if set.is_err() {
                tx.best.offer(Failure::own(
                    500,
                    Cause::PolicyFault,
                    "a header field of a target cannot be set",
                ));
                return None;
            }
        }
        let branch = BranchId(number);
        let via = ViaBranch {
            worker: self.config.worker,
            number,
            loop_hash: tx.loop_hash,
        };
        let index = u8::try_from(tx.plan.branches_made).unwrap_or(u8::MAX);
        tx.plan.branches_made += 1;
        tx.branches.push(branch);
        let new = Branch {
            tx: id,
            via,
            index,
            candidate,
            machine: ClientMachine::Idle,
            request,
            bytes: Bytes::new(),
            phase: BranchPhase::Preparing,
            heard: Heard::Nothing,
            rewritten: Rewritten::No,
            aliases: Vec::new(),
            fallback: Fallback::None,
            said: Said::default(),
            ahead: 0,
            ask: None,
            in_hand: None,
            queue: VecDeque::new(),
            gate: None,
            cancel: Cancel::No,
            answers: Vec::new(),
            ack: Bytes::new(),
            retransmissions: 0,
            told: Told::Unknown,
            rings_until: now,
        };
        self.branches.insert(branch, Box::new(new));
        Some(branch)
    }

    /// Asks `on-branch` if there is one to ask.
    fn ask_branch(&mut self, id: BranchId) {
        let Some(branch) = self.branches.get(&id) else {
            return;
        };
        let Some(tx) = self.servers.get(&branch.tx) else {
            return;
        };
        // An earlier one of this stage may have ended the whole transaction.
        if tx.phase != Phase::Working {
            return self.forget_branch(id);
        }
        if !tx.policies.hooks.has(Hook::Branch) {
            return self.ask_branch_media(id);
        }
        let message = (*branch.request).clone();
        let info = BranchInfo {
            target: branch.candidate.target,
            uri: message.request_uri().unwrap_or_default().to_owned(),
            upstream: branch.candidate.place.upstream(),
            member: branch
                .candidate
                .place
                .upstream()
                .and_then(|_| branch.candidate.place.peer()),
            stage: branch.candidate.stage,
        };
        let tx = branch.tx;
        let ask = self.ask_id(Waiting::Branch(id));
        self.push_ask(tx, ask, Hook::Branch, message, |ask| {
            ask.branch = Some(info)
        });
        self.branch_waits(id, ask);
    }

    fn branch_waits(&mut self, id: BranchId, ask: super::io::AskId) {
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        branch.ask = Some(ask);
        let tx = branch.tx;
        self.hold_server_gate(tx);
    }

    pub(super) fn on_branch_verdict(&mut self, id: BranchId, verdict: Verdict) {
        if self.answered(id).is_none() {
            return;
        }
        match verdict {
            Verdict::Continue(next) => {
                let Some(branch) = self.branches.get_mut(&id) else {
                    return;
                };
                branch.request = Arc::new(next.message);
                let tx = branch.tx;
                self.apply_attributes(tx, next.transaction, next.call);
                self.ask_branch_media(id);
            }
            Verdict::Skip | Verdict::Discard => self.drop_branch(id, None),
            Verdict::Reply { status, .. } => {
                self.drop_branch(id, Some(Failure::own(status, Cause::Policy, "on-branch")));
            }
            Verdict::Fault { reason } => {
                self.drop_branch(id, Some(Failure::own(500, Cause::PolicyFault, reason)))
            }
        }
    }

    /// Asks media about the session description if there is one.
    fn ask_branch_media(&mut self, id: BranchId) {
        let Some(branch) = self.branches.get(&id) else {
            return;
        };
        let Some(tx) = self.servers.get(&branch.tx) else {
            return;
        };
        let direction = tx
            .dialog
            .map_or(Direction::ToCallee, |dialog| dialog.direction);
        if tx.dialog.is_some() && is_key(&branch.request) && self.is_anchored(tx.call) {
            let body = branch.request.body().clone();
            let branch = self.media_branch(branch, &branch.request);
            let ask = self.ask_id(Waiting::BranchMedia(id));
            self.outputs.push_back(Output::Key {
                id: ask,
                branch,
                direction,
                body,
            });
            return self.branch_waits(id, ask);
        }
        if !carries_session(&branch.request) {
            return self.send_branch(id);
        }
        let request = Arc::clone(&branch.request);
        let (call, media) = (tx.call, self.media_branch(branch, &request));
        let mode = self.media_mode(branch);
        let role = self.role_of(&request, call);
        self.media_asked(id, &media);
        let ask = self.ask_id(Waiting::BranchMedia(id));
        self.outputs.push_back(Output::Media {
            id: ask,
            branch: media,
            direction,
            role,
            sdp: request.body().clone(),
            mode,
        });
        self.branch_waits(id, ask);
    }

    /// A request offers, but for a PRACK of an offer.
    fn role_of(&mut self, request: &Message, call: CallKey) -> SdpRole {
        let to_tag = request.to_tag().unwrap_or_default();
        if request.method() == Some(Method::Prack) && self.call_answers_early(call, to_tag) {
            SdpRole::Answer
        } else {
            SdpRole::Offer
        }
    }

    pub(super) fn on_branch_media(&mut self, id: BranchId, verdict: MediaVerdict) {
        if self.answered(id).is_none() {
            return;
        }
        match verdict {
            MediaVerdict::Unchanged => self.send_branch(id),
            MediaVerdict::Replace(sdp) => {
                self.anchor_branch(id);
                let Some(branch) = self.branches.get_mut(&id) else {
                    return;
                };
                match Arc::make_mut(&mut branch.request).set_body(sdp, None) {
                    Ok(()) => self.send_branch(id),
                    Err(error) => {
                        self.drop_branch(
                            id,
                            Some(Failure::own(500, Cause::Unreachable, error.to_string())),
                        );
                    }
                }
            }
            MediaVerdict::Taken => self.answer_for(id),
            MediaVerdict::Refuse { status, reason } => {
                self.drop_branch(id, Some(Failure::own(status, Cause::Refused, reason)));
            }
        }
    }

    /// In the place of whoever the request was for.
    fn answer_for(&mut self, id: BranchId) {
        let Some(tx) = self.branches.get(&id).map(|branch| branch.tx) else {
            return;
        };
        self.forget_branch(id);
        let told = "the other end is told in its media".to_owned();
        self.reply(tx, Reply::new(200, Cause::Answered).detail(told));
    }

    /// Names the branch of the INVITE that made the dialog, now or back then.
    pub(super) fn media_branch(&self, branch: &Branch, message: &Message) -> MediaBranch {
        let tx = self.servers.get(&branch.tx);
        let dialog = tx.and_then(|tx| tx.dialog);
        let direction = dialog.map_or(Direction::ToCallee, |dialog| dialog.direction);
        let here = tx.map_or(branch.candidate.place.leg(), |tx| {
            super::place::leg_of(tx.flow.side)
        });
        let there = branch.candidate.place.leg();
        let (caller, callee) = match direction {
            Direction::ToCallee => (here, there),
            Direction::ToCaller => (there, here),
        };
        let index = dialog.map_or(branch.index, |dialog| dialog.token.branch);
        let passage = tx.map_or(0, |tx| tx.passage);
        super::seal::media_branch(message, direction, passage, index, caller, callee)
    }

    /// Seals the request and lets it go.
    fn send_branch(&mut self, id: BranchId) {
        if let Err(failure) = self.seal(id) {
            return self.drop_branch(id, Some(failure));
        }
        self.let_go(id);
    }

    /// Sends what is sealed, and starts what waits for its response.
    pub(super) fn let_go(&mut self, id: BranchId) {
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        branch.phase = BranchPhase::Sent;
        self.by_destination.insert(branch.candidate.place.to, id);
        let actions = branch.start();
        let (tx, is_invite, stage) = (branch.tx, branch.is_invite(), branch.candidate.stage);
        self.act_client(id, actions, None);
        let timeouts = self
            .servers
            .get(&tx)
            .and_then(|tx| tx.plan.timeouts.iter().find(|t| t.stage == stage));
        let first_response = timeouts
            .and_then(|t| t.first_response)
            .or(self.config.timers.first_response);
        if let Some(after) = first_response {
            self.start_odd(after, Timeout::FirstResponse(id));
        }
        if is_invite {
            self.put_off_timer_c(id);
            self.start(self.config.timers.timer_c, Timeout::C(id));
        }
        // It is out: the next one of its dialog may follow.
        self.release_server_gate(tx);
    }

    /// A branch that was never sent, and what it failed of, if it failed.
    pub(super) fn drop_branch(&mut self, id: BranchId, failure: Option<Failure>) {
        let Some(branch) = self.branches.get(&id) else {
            return;
        };
        let tx = branch.tx;
        if let (Some(failure), Some(tx)) = (failure, self.servers.get_mut(&tx)) {
            tx.best.offer(failure);
        }
        self.forget_branch(id);
        self.stage_may_be_over(tx);
    }
}

/// Does the message take part in an offer and answer (RFC 3264) that media must see?
pub(super) fn carries_session(message: &Message) -> bool {
    if message.body().is_empty() {
        return false;
    }
    let method = message
        .method()
        .or_else(|| message.cseq().map(|cseq| cseq.method));
    let is_session = matches!(
        method,
        Some(Method::Invite | Method::Ack | Method::Update | Method::Prack)
    );
    is_session && is_sdp(message)
}

fn is_sdp(message: &Message) -> bool {
    has_type(message, "application/sdp")
}

/// Does it say that a key was pressed?
fn is_key(message: &Message) -> bool {
    let types = ["application/dtmf-relay", "application/dtmf"];
    message.method() == Some(Method::Info) && types.iter().any(|known| has_type(message, known))
}

fn has_type(message: &Message, known: &str) -> bool {
    let media_type = message
        .raw(HeaderName::ContentType)
        .and_then(|value| TokenParams::parse(value).ok());
    media_type.is_some_and(|media_type| media_type.token.eq_ignore_ascii_case(known))
}

/// RFC 3261 §16.6 item 3.
pub(super) fn next_max_forwards(request: &Message) -> u8 {
    request
        .max_forwards()
        .map_or(MAX_FORWARDS, |hops| hops.saturating_sub(1))
}
