//! Asks and their answers: who waits for which, and what becomes of an answer.
//!
//! Policy, store and media share one shape. An answer that comes late finds nobody, since whoever stopped waiting took its entry out
//! with a `Withdraw`.

use std::sync::Arc;

use super::{
    Proxy,
    ack::PendingAck,
    best::Failure,
    branch::BranchPhase,
    ids::{BranchId, TxId},
    io::{
        Ask, AskId, AttributeEdit, Attributes, Cause, Continue, Hook, MediaVerdict, Output,
        StoreOp, StoreReply, Verdict,
    },
    reply::Reply,
    server_tx::Phase,
};
use crate::message::{Message, Method};

/// Who waits for an answer, and for what.
#[derive(Debug)]
pub(super) enum Waiting {
    /// [`Hook::Register`] or [`Hook::Request`].
    Request(TxId),
    /// The registrar's answer to a REGISTER.
    Register(TxId),
    /// The contacts of the called address of record, by default routing.
    Location(TxId),
    /// The contacts of a target that a policy named.
    Target(TxId),
    /// The flow of the other end of a dialog.
    Session(TxId),
    /// The binding of the client that a PBX means.
    Client(TxId),
    /// [`Hook::Failure`].
    Failure(TxId),
    /// [`Hook::Response`] on the best response.
    Best(TxId, Box<Failure>),
    /// [`Hook::Branch`].
    Branch(BranchId),
    /// The session description of a branch's request.
    BranchMedia(BranchId),
    /// [`Hook::Response`] on a response that is forwarded as it comes.
    Response(BranchId),
    /// Its session description.
    ResponseMedia(BranchId),
    /// The flow that an ACK goes to.
    AckSession(Box<PendingAck>),
    /// The session description of an ACK.
    AckMedia(Box<PendingAck>),
}

impl Proxy {
    pub(super) fn ask_id(&mut self, waiting: Waiting) -> AskId {
        let id = AskId(self.next_id());
        self.asks.insert(id, waiting);
        id
    }

    pub(super) fn ask_store(&mut self, waiting: Waiting, op: StoreOp) -> AskId {
        let id = self.ask_id(waiting);
        self.outputs.push_back(Output::Store { id, op });
        id
    }

    /// Stops waiting; the answer will be nobody's.
    pub(super) fn withdraw(&mut self, ask: Option<AskId>) {
        if let Some(id) = ask
            && self.asks.remove(&id).is_some()
        {
            self.outputs.push_back(Output::Withdraw { id });
        }
    }

    /// The transaction waits for this and nothing else.
    pub(super) fn wait(&mut self, id: TxId, ask: AskId) {
        if let Some(tx) = self.servers.get_mut(&id) {
            tx.ask = Some(ask);
        }
        self.hold_server_gate(id);
    }

    /// Asks `on-register` or `on-request` if there is one to ask.
    pub(super) fn ask_request(&mut self, id: TxId) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        tx.phase = Phase::Working;
        let is_register = tx.request.method() == Some(Method::Register);
        let hook = if is_register {
            Hook::Register
        } else {
            Hook::Request
        };
        if !tx.policies.hooks.has(hook) {
            tx.outgoing = Some(Arc::clone(&tx.request));
            return self.route(id, Vec::new());
        }
        let message = (*tx.request).clone();
        let ask = self.ask_id(Waiting::Request(id));
        self.push_ask(id, ask, hook, message, |_| {});
        self.wait(id, ask);
    }

    /// Emits an ask with what all have in common.
    pub(super) fn push_ask(
        &mut self,
        id: TxId,
        ask: AskId,
        hook: Hook,
        message: Message,
        more: impl FnOnce(&mut Ask),
    ) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        let call = self.calls.peek(tx.call);
        let call = call.map_or(&self.no_attributes, |call| &call.attributes);
        let mut ask = Ask {
            id: ask,
            hook,
            policies: tx.policies.clone(),
            flow: Arc::clone(&tx.flow),
            message,
            request: None,
            status: 0,
            branch: None,
            in_dialog: tx.dialog.is_some(),
            transaction: tx.attributes.clone(),
            call: call.clone(),
        };
        more(&mut ask);
        self.outputs.push_back(Output::Ask(Box::new(ask)));
    }

    pub(super) fn on_verdict(&mut self, ask: AskId, verdict: Verdict) {
        match self.asks.remove(&ask) {
            Some(Waiting::Request(id)) => self.on_request_verdict(id, verdict),
            Some(Waiting::Failure(id)) => self.on_failure_verdict(id, verdict),
            Some(Waiting::Best(id, failure)) => self.on_best_verdict(id, *failure, verdict),
            Some(Waiting::Branch(id)) => self.on_branch_verdict(id, verdict),
            Some(Waiting::Response(id)) => self.on_response_verdict(id, verdict),
            Some(other) => self.not_answered(ask, other),
            None => {}
        }
    }

    pub(super) fn on_stored(&mut self, ask: AskId, reply: StoreReply) {
        match self.asks.remove(&ask) {
            Some(Waiting::Register(id)) => self.on_registered(id, reply),
            Some(Waiting::Location(id)) => self.on_location(id, reply),
            Some(Waiting::Target(id)) => self.on_target_location(id, reply),
            Some(Waiting::Session(id)) => self.on_session(id, reply),
            Some(Waiting::Client(id)) => self.on_client(id, reply),
            Some(Waiting::AckSession(ack)) => self.on_ack_session(*ack, reply),
            Some(other) => self.not_answered(ask, other),
            None => {}
        }
    }

    pub(super) fn on_media(&mut self, ask: AskId, verdict: MediaVerdict) {
        match self.asks.remove(&ask) {
            Some(Waiting::BranchMedia(id)) => self.on_branch_media(id, verdict),
            Some(Waiting::ResponseMedia(id)) => self.on_response_media(id, verdict),
            Some(Waiting::AckMedia(ack)) => self.on_ack_media(*ack, verdict),
            Some(other) => self.not_answered(ask, other),
            None => {}
        }
    }

    /// The answer was to another kind of ask: its own is still to come.
    fn not_answered(&mut self, ask: AskId, waiting: Waiting) {
        debug_assert!(
            false,
            "an ask was answered by the wrong kind of input: {waiting:?}"
        );
        self.asks.insert(ask, waiting);
    }

    fn on_request_verdict(&mut self, id: TxId, verdict: Verdict) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        tx.ask = None;
        match verdict {
            Verdict::Continue(next) => {
                let targets = self.apply(id, *next);
                self.route(id, targets);
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
            Verdict::Discard => {
                self.end_silently(id, Cause::Discarded, String::new());
            }
            Verdict::Fault { reason } => {
                self.reply(id, Reply::new(500, Cause::PolicyFault).detail(reason))
            }
            Verdict::Skip => {
                self.reply(
                    id,
                    Reply::new(500, Cause::PolicyFault)
                        .detail("skip is not an answer to a request"),
                );
            }
        }
    }

    /// Keeps what a policy changed, and gives back its targets.
    pub(super) fn apply(&mut self, id: TxId, next: Continue) -> Vec<super::io::Target> {
        let Continue {
            message,
            targets,
            timeouts,
            status: _,
            transaction,
            call,
        } = next;
        self.apply_attributes(id, transaction, call);
        if let Some(tx) = self.servers.get_mut(&id) {
            tx.outgoing = Some(Arc::new(message));
            tx.plan.timeouts = timeouts;
        }
        targets
    }

    /// Attributes of the transaction, and of its call if it is of one.
    pub(super) fn apply_attributes(
        &mut self,
        id: TxId,
        transaction: Vec<AttributeEdit>,
        call: Vec<AttributeEdit>,
    ) {
        let attributes_max = self.config.limits.attributes_max;
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        edit_attributes(&mut tx.attributes, transaction, attributes_max);
        if call.is_empty() || (tx.dialog.is_none() && !tx.is_invite()) {
            return;
        }
        if let Some(record) = self.call_record(id) {
            edit_attributes(&mut record.attributes, call, attributes_max);
        }
    }

    /// What a branch or its response waited for is there: is the branch still waiting? Frees it for the next.
    pub(super) fn answered(&mut self, id: BranchId) -> Option<BranchPhase> {
        let branch = self.branches.get_mut(&id)?;
        branch.ask = None;
        Some(branch.phase)
    }
}

fn edit_attributes(attributes: &mut Attributes, edits: Vec<AttributeEdit>, attributes_max: usize) {
    if edits.is_empty() {
        return;
    }
    let map = Arc::make_mut(&mut attributes.0);
    for (key, value) in edits {
        match value {
            Some(value) if map.len() < attributes_max || map.contains_key(&key) => {
                drop(map.insert(key, value))
            }
            // The policy was refused it when it asked; this is the limit over several policies.
            Some(_) => {}
            None => drop(map.remove(&key)),
        }
    }
}
