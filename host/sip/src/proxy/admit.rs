//! A request that no transaction has had before: whether there is room for it, and the transaction that it gets.

use std::sync::Arc;

use super::{
    Proxy, Timeout, believe,
    best::Best,
    dialog::{call_key, makes_dialog},
    ids::{CallKey, TxId, TxKey},
    io::{Cause, Direction, Policies},
    request::{Checked, Kind, stamp_via},
    route::Aim,
    server_tx::{Client, Phase, Plan, ServerMachine, ServerTx},
};
use crate::{
    flow::{Destination, Flow, FlowId},
    message::Message,
    transaction::{invite_server, server},
};

/// As it came.
pub(super) struct Newcomer {
    pub(super) key: TxKey,
    pub(super) kind: Kind,
    pub(super) flow: Arc<Flow>,
    /// Where its responses go.
    pub(super) reply_to: Destination,
    pub(super) client: Client,
    pub(super) request: Message,
    pub(super) policies: Policies,
}

/// For whom there is room among the transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    All,
    /// For a request of a dialog alone.
    InDialog,
    Nobody,
}

impl Proxy {
    /// Checks it, and begins its transaction.
    pub(super) fn admit(&mut self, mut new: Newcomer) {
        stamp_via(&mut new.request, new.flow.peer);
        believe::disbelieve(&mut new.request, new.flow.side);
        let room = self.room(&new.request);
        if room == Room::Nobody {
            return self.reply_full(&new);
        }
        let loop_hash = self.loop_hash(&new.request, &new.flow);
        let checked = self.check(&mut new.request, &new.flow, loop_hash);
        let aim = match &checked {
            Checked::Request(aim) => *aim,
            Checked::Reply(_) => Aim::Open,
        };
        if room == Room::InDialog && aim.dialog().is_none() {
            return self.reply_full(&new);
        }
        let id = self.begin(new, aim, loop_hash);
        match checked {
            Checked::Reply(reply) => self.reply(id, reply),
            Checked::Request(Aim::Dialog(dialog)) => {
                self.note_cseq(id);
                self.enter_gate(id, dialog.direction);
            }
            Checked::Request(Aim::Client(_) | Aim::Open) => self.ask_request(id),
        }
    }

    /// A To tag is a hint only: whether a request is in a dialog is for its token to say.
    pub(super) fn room(&self, request: &Message) -> Room {
        let limits = &self.config.limits;
        let beyond = self.servers.len().checked_sub(limits.transactions_max);
        match beyond {
            None => Room::All,
            Some(beyond) if beyond < limits.in_dialog_reserve_max && request.to_tag().is_some() => {
                Room::InDialog
            }
            Some(_) => Room::Nobody,
        }
    }

    fn reply_full(&mut self, new: &Newcomer) {
        let reply = self.unavailable(Cause::Overload).detail("transactions_max");
        self.reply_stateless(&new.flow, &new.request, new.reply_to, &reply);
    }

    /// Its transaction, found by what it has in common with its retransmissions, its ACK and its CANCEL.
    pub(super) fn begin(&mut self, new: Newcomer, aim: Aim, loop_hash: u32) -> TxId {
        let id = TxId(self.next_id());
        let (key, kind) = (new.key, new.kind);
        let tx = self.transaction(new, aim, loop_hash);
        if let (FlowId::Connection { .. }, Client::There) = (tx.flow.id, tx.client) {
            self.by_client.insert(tx.flow.id, id);
        }
        self.by_key.insert(key, id);
        self.servers.insert(id, Box::new(tx));
        self.unanswered += 1;
        if kind == Kind::Invite {
            self.start(self.config.timers.trying, Timeout::Trying(id));
        }
        id
    }

    fn transaction(&mut self, new: Newcomer, aim: Aim, loop_hash: u32) -> ServerTx {
        let (passage, call) = self.call_of(&new.request, aim);
        let machine = match new.kind {
            Kind::Invite => ServerMachine::Invite(invite_server::start()),
            Kind::Ack | Kind::Cancel | Kind::Other => ServerMachine::Other(server::start()),
        };
        ServerTx {
            key: new.key,
            machine,
            reply_to: new.reply_to,
            client: new.client,
            outgoing: None,
            policies: new.policies,
            began: self.now(),
            dialog: aim.dialog(),
            addressee: aim.client(),
            passage,
            call,
            to_tag: self.chance.draw(),
            loop_hash,
            attributes: self.no_attributes.clone(),
            phase: Phase::Working,
            ask: None,
            gate: None,
            plan: Plan::default(),
            branches: Vec::new(),
            callee: None,
            best: Best::default(),
            media_call: None,
            sent: None,
            retransmissions: 0,
            request: Arc::new(new.request),
            flow: new.flow,
        }
    }

    /// The passage and the call that a request is of, or that it makes.
    fn call_of(&mut self, request: &Message, aim: Aim) -> (u32, CallKey) {
        let drawn = self.chance.draw();
        let dialog = aim.dialog();
        let passage = dialog.map_or((drawn >> 32) as u32, |dialog| dialog.token.passage);
        let direction = dialog.map_or(Direction::ToCallee, |dialog| dialog.direction);
        let call = if dialog.is_some() || makes_dialog(request) {
            call_key(&self.chance, request, direction, passage)
        } else {
            // No later message can belong to it.
            CallKey(drawn)
        };
        (passage, call)
    }
}
