//! Responses of our own, and handing any response down to a server transaction.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Proxy, Timeout,
    ids::TxId,
    io::{Cause, DropCause, Ended, Origin, Output},
    server_tx::{Client, Phase, Plan, ServerEvent},
};
use crate::{
    flow::{Destination, Flow, UpstreamId},
    message::{HeaderName, Message},
    transaction::{Action, Timer},
};

/// A response that we write.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// The RFC's phrase if empty.
    pub(super) reason: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<(String, Bytes)>,
    pub(super) cause: Cause,
    pub(super) detail: String,
}

impl Reply {
    pub(super) fn new(status: u16, cause: Cause) -> Self {
        Self {
            status,
            reason: String::new(),
            headers: Vec::new(),
            body: None,
            cause,
            detail: String::new(),
        }
    }
    pub(super) fn refuse(status: u16, reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            ..Self::new(status, Cause::Refused)
        }
    }
    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name.as_str().to_owned(), value.into()));
        self
    }
    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

impl Proxy {
    /// Answers a transaction ourselves.
    pub(super) fn reply(&mut self, id: TxId, reply: Reply) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        let response = write_reply(&tx.request, &reply, tx.to_tag, &self.config.server_name);
        self.hand_down(id, reply.status, response.to_bytes());
        self.end(id, reply.status, reply.cause, reply.detail, None);
    }

    /// Answers without a transaction: the tables are full. An INVITE's ACK comes to nothing then.
    pub(super) fn reply_stateless(
        &mut self,
        flow: &Arc<Flow>,
        request: &Message,
        to: Destination,
        reply: &Reply,
    ) {
        let tag = self.chance.draw();
        let response = write_reply(request, reply, tag, &self.config.server_name);
        self.send(to, response.to_bytes());
        let ended = ended_of(
            &Arc::new(request.clone()),
            flow,
            reply.status,
            reply.cause,
            reply.detail.clone(),
        );
        self.outputs.push_back(Output::Ended(Box::new(ended)));
    }

    /// Hands a response down to the server's machine, which sends it or not.
    pub(super) fn hand_down(&mut self, id: TxId, status: u16, bytes: Bytes) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        let actions = tx.step(ServerEvent::Response(status));
        self.act_server(id, actions, Some(bytes));
    }

    /// Does what a server's table said.
    pub(super) fn act_server(&mut self, id: TxId, actions: &[Action], response: Option<Bytes>) {
        for action in actions {
            let Some(tx) = self.servers.get_mut(&id) else {
                return;
            };
            match action {
                Action::Send => {
                    tx.sent = response.clone();
                    self.resend(id);
                }
                Action::Resend => self.resend(id),
                Action::Start(timer) => {
                    let round = tx.retransmissions;
                    if *timer == Timer::G {
                        tx.retransmissions += 1;
                    }
                    let after = self.config.timing.duration(*timer, round);
                    self.start(after, Timeout::Server(id, *timer));
                }
                Action::Ack
                | Action::Pass
                | Action::Timeout
                | Action::Unreachable
                | Action::StartT2(_) => {
                    debug_assert!(false, "not an action of a server transaction");
                }
            }
        }
        self.forget_if_done(id);
    }

    fn resend(&mut self, id: TxId) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        match tx.client {
            Client::There => {}
            Client::Gone | Client::Ourselves => return,
        }
        if let Some(bytes) = tx.sent.clone() {
            self.send(tx.reply_to, bytes);
        }
    }

    /// The transaction has come to what it comes to: said once, whatever else may follow.
    pub(super) fn end(
        &mut self,
        id: TxId,
        status: u16,
        cause: Cause,
        detail: String,
        upstream: Option<UpstreamId>,
    ) {
        let now = self.now();
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        if tx.is_over() {
            return;
        }
        tx.phase = Phase::Over;
        // Nothing more goes out; what is left absorbs retransmissions for up to half a minute.
        tx.outgoing = None;
        tx.plan = Plan::default();
        if let Some(request) = Arc::get_mut(&mut tx.request) {
            request.shrink();
        }
        let mut ended = ended_of(&tx.request, &tx.flow, status, cause, detail);
        ended.origin = match tx.client {
            Client::There | Client::Gone => Origin::Client,
            Client::Ourselves => Origin::Proxy,
        };
        ended.in_dialog = tx.dialog.is_some();
        ended.upstream = upstream;
        ended.callee = tx.callee;
        ended.took = now.saturating_duration_since(tx.began);
        let ask = tx.ask.take();
        self.outputs.push_back(Output::Ended(Box::new(ended)));
        self.unanswered -= 1;
        self.withdraw(ask);
        self.release_server_gate(id);
        self.call_after(id, status);
        self.media_after(id, status);
        self.forget_if_done(id);
    }

    pub(super) fn dropped(&mut self, cause: DropCause) {
        self.outputs.push_back(Output::Dropped { cause });
    }
}

/// RFC 3261 §8.2.6.
pub(super) fn write_reply(
    request: &Message,
    reply: &Reply,
    to_tag: u64,
    server_name: &str,
) -> Message {
    let tag = format!("{to_tag:016x}");
    let mut response = Message::response_to(request, reply.status, &reply.reason, Some(&tag));
    // Names and values of a policy were checked when it gave them; what cannot be written is left out.
    for (name, value) in &reply.headers {
        let _ = response.append(name.as_str(), value);
    }
    if !server_name.is_empty() && !response.contains(HeaderName::Server) {
        let _ = response.append(HeaderName::Server, server_name);
    }
    if let Some((media_type, body)) = &reply.body {
        let _ = response.set_body(body.clone(), Some(media_type));
    }
    response
}

fn ended_of(
    request: &Arc<Message>,
    flow: &Arc<Flow>,
    status: u16,
    cause: Cause,
    detail: String,
) -> Ended {
    Ended {
        origin: Origin::Client,
        request: Arc::clone(request),
        flow: Arc::clone(flow),
        in_dialog: false,
        status,
        cause,
        detail,
        upstream: None,
        callee: None,
        took: Duration::ZERO,
    }
}
