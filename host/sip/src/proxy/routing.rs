//! Where a request goes (RFC 3261 §16.5): its token, what the policies say, a Route, the registrar, the default upstream; in this
//! order.

use std::collections::{BTreeMap, VecDeque};

use super::{
    Proxy,
    asks::Waiting,
    flows::candidates,
    ids::TxId,
    io::{Cause, StoreOp, StoreReply, Target},
    place::Place,
    reply::Reply,
    server_tx::{Candidate, Stage},
    targets::place_only,
};
use crate::{
    flow::{FlowId, Side, UpstreamId},
    header::NameAddr,
    message::{HeaderName, Message, Method},
    registrar::Binding,
    token::{End, Reach},
    uri::{SipUri, Uri, unescape},
};

impl Proxy {
    /// The policies have spoken: makes the plan.
    pub(super) fn route(&mut self, id: TxId, targets: Vec<Target>) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        if let Some(dialog) = tx.dialog {
            // Whatever a policy says: a dialog goes where it goes.
            return self.route_dialog(id, *dialog.token.to(dialog.direction));
        }
        if !targets.is_empty() {
            self.plan(id, targets);
            return self.next_stage(id);
        }
        if let Some(client) = tx.addressee {
            return self.route_client(id, client);
        }
        let Some(request) = &tx.outgoing else { return };
        let uri = request.request_uri().and_then(|uri| Uri::parse(uri).ok());
        let is_local = uri.is_some_and(|uri| self.names.is_local(&uri));
        let aor = uri.and_then(|uri| self.names.aor(&uri));
        let route = next_route(request).map(|uri| self.place_at_uri(&uri, tx.to_tag));
        let is_register = request.method() == Some(Method::Register);
        match (route, aor) {
            (Some(Some(place)), _) => self.go_to(id, vec![place_only(place)]),
            (Some(None), _) => self.reply(
                id,
                Reply::new(480, Cause::Unreachable).detail("Route to a host that is not known"),
            ),
            (None, _) if is_register && is_local => match self.config.registrar.upstream {
                Some(upstream) => self.relay_register(id, upstream),
                None => self.register(id),
            },
            // Who is the registrar knows best where its users are.
            (None, Some(aor)) if self.config.registrar.upstream.is_none() => {
                let ask = self.ask_store(Waiting::Location(id), StoreOp::Lookup { aor });
                self.wait(id, ask);
            }
            (None, _) => self.route_upstream(id),
        }
    }

    /// To the other end of the dialog: the session's flow of now, or the hop itself.
    fn route_dialog(&mut self, id: TxId, end: End) {
        match end.reach {
            Reach::Session {
                key,
                worker,
                serial,
                ..
            } => {
                let flow = FlowId::Connection { worker, serial };
                let ask = self.ask_store(Waiting::Session(id), StoreOp::Session { key, flow });
                self.wait(id, ask);
            }
            Reach::Hop { .. } => {
                let place = Place::at_end(&self.config, end);
                self.go_to(id, vec![place_only(place)]);
            }
        }
    }

    pub(super) fn on_session(&mut self, id: TxId, reply: StoreReply) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        tx.ask = None;
        let Some(dialog) = tx.dialog else { return };
        let (end, turn) = (*dialog.token.to(dialog.direction), tx.to_tag);
        let place = self.session_place(end, &reply);
        // An upstream whose connection is gone may be at home.
        let member = end.upstream.and_then(|id| self.place_at_upstream(id, turn));
        let candidate = Candidate {
            other_flows: member.map(place_only).into_iter().collect(),
            ..place_only(place)
        };
        self.go_to(id, vec![candidate]);
    }

    /// The flow that the store knows, or else the one that the token remembers: a client that never registered has no other. If that
    /// one is gone too, its transport says so.
    pub(super) fn session_place(&self, end: End, reply: &StoreReply) -> Place {
        match (reply, end.reach) {
            (StoreReply::Session(Some(flow)), Reach::Session { key, .. }) => {
                Place::on_flow(flow, key)
            }
            (
                StoreReply::Session(_)
                | StoreReply::Bindings(_)
                | StoreReply::Refused { .. }
                | StoreReply::Failed,
                Reach::Session { .. } | Reach::Hop { .. },
            ) => Place::at_end(&self.config, end),
        }
    }

    /// The called address of record has these contacts.
    pub(super) fn on_location(&mut self, id: TxId, reply: StoreReply) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        tx.ask = None;
        match reply {
            StoreReply::Bindings(bindings) if bindings.is_empty() => self.route_upstream(id),
            StoreReply::Bindings(bindings) => {
                let stages = by_preference(&bindings);
                if stages.is_empty() {
                    return self.reply(
                        id,
                        Reply::new(480, Cause::Unreachable).detail("no contact is reachable"),
                    );
                }
                tx.plan.stages = stages;
                self.next_stage(id);
            }
            StoreReply::Session(_) | StoreReply::Refused { .. } | StoreReply::Failed => {
                self.reply(
                    id,
                    Reply::new(500, Cause::Unreachable).detail("the location service failed"),
                );
            }
        }
    }

    /// To the upstream of the user who is called, or the default one, if there is one; for whom it is meant, and not back to where it
    /// came from.
    fn route_upstream(&mut self, id: TxId) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        let side = tx.flow.side;
        if side == Side::Stranger {
            return self.reply(
                id,
                Reply::new(403, Cause::Refused).detail("strangers reach registered users only"),
            );
        }
        let turn = tx.to_tag;
        let upstream = self
            .upstream_of_user(tx.outgoing.as_ref().unwrap_or(&tx.request))
            .or(self.config.default_upstream)
            .or(self.config.registrar.upstream)
            .filter(|upstream| side != Side::Upstream(*upstream));
        match upstream.and_then(|upstream| self.place_at_upstream(upstream, turn)) {
            Some(place) => self.go_to(id, vec![place_only(place)]),
            None => self.reply(id, Reply::new(404, Cause::Refused)),
        }
    }

    fn upstream_of_user(&self, request: &Message) -> Option<UpstreamId> {
        let uri = Uri::parse(request.request_uri()?).ok()?;
        let Uri::Sip(sip) = uri else { return None };
        let user = unescape(sip.user?);
        let mut users = self.config.users.iter();
        let (_, upstream) = users.find(|(name, _)| name.as_bytes() == &*user)?;
        self.names.is_local(&uri).then_some(*upstream)
    }

    pub(super) fn go_to(&mut self, id: TxId, candidates: Vec<Candidate>) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        tx.plan.stages = VecDeque::from([Stage {
            number: 0,
            targets: VecDeque::new(),
            candidates,
        }]);
        self.next_stage(id);
    }
}

/// The next hop that a Route which is not ours names; the checks let only an upstream's through.
fn next_route(request: &Message) -> Option<SipUri<'_>> {
    SipUri::from_text(
        NameAddr::parse(request.values(HeaderName::Route).next()?)
            .ok()?
            .uri,
    )
}

/// Contacts of equal q ring together, the others after them (RFC 3261 §16.6).
fn by_preference(bindings: &[Binding]) -> VecDeque<Stage> {
    let mut stages: BTreeMap<u16, Vec<Candidate>> = BTreeMap::new();
    for (q, candidate) in candidates(bindings) {
        stages.entry(q).or_default().push(candidate);
    }
    let by_q = (0..).zip(stages.into_values().rev());
    by_q.map(|(number, mut candidates)| {
        candidates
            .iter_mut()
            .for_each(|candidate| candidate.stage = number);
        Stage {
            number,
            targets: VecDeque::new(),
            candidates,
        }
    })
    .collect()
}
