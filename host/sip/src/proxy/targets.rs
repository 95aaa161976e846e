//! Where a request goes (RFC 3261 §16.5): its token, what the policies say, a Route, the registrar, the default upstream; in this order.

use std::collections::{BTreeMap, VecDeque};

use super::{
    Proxy,
    asks::Waiting,
    ids::TxId,
    io::{Cause, StoreOp, StoreReply, Target, TargetKind},
    place::Place,
    reply::Reply,
    server_tx::{Candidate, Plan, Stage},
};
use crate::{
    flow::Side,
    header::NameAddr,
    message::{HeaderName, Message, Method},
    registrar::{Aor, Binding},
    token::{End, SessionKey},
    uri::{SipUri, Uri},
};

/// How a policy's target is reached.
enum Resolved {
    At(Box<Place>),
    /// The location service knows.
    Registered(Aor),
    Nowhere,
}

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
        let Some(request) = &tx.outgoing else { return };
        let uri = request.request_uri().and_then(|uri| Uri::parse(uri).ok());
        let is_local = uri.is_some_and(|uri| self.names.is_local(&uri));
        let aor = uri.and_then(|uri| self.names.aor(&uri));
        let route = next_route(request).map(|uri| Place::at_uri(&self.config, &uri));
        let is_register = request.method() == Some(Method::Register);
        match (route, aor) {
            (Some(Some(place)), _) => self.go_to(id, vec![place_only(place)]),
            (Some(None), _) => self.reply(
                id,
                Reply::new(480, Cause::Unreachable).detail("Route without an address"),
            ),
            (None, _) if is_register && is_local => self.register(id),
            (None, Some(aor)) => {
                let ask = self.ask_store(Waiting::Location(id), StoreOp::Lookup { aor });
                self.wait(id, ask);
            }
            (None, None) => self.route_upstream(id),
        }
    }

    /// To the other end of the dialog: the session's flow of now, or the hop itself.
    fn route_dialog(&mut self, id: TxId, end: End) {
        match end {
            End::Session { key, .. } => {
                let ask = self.ask_store(Waiting::Session(id), StoreOp::Session { key });
                self.wait(id, ask);
            }
            End::Hop { .. } => {
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
        let place = self.session_place(*dialog.token.to(dialog.direction), &reply);
        self.go_to(id, vec![place_only(place)]);
    }

    /// The flow that the store knows, or else the one that the token remembers: a client that never registered has no other. If that
    /// one is gone too, its transport says so.
    pub(super) fn session_place(&self, end: End, reply: &StoreReply) -> Place {
        match (reply, end) {
            (StoreReply::Session(Some(flow)), End::Session { key, .. }) => {
                Place::on_flow(flow, key)
            }
            (
                StoreReply::Session(_)
                | StoreReply::Bindings(_)
                | StoreReply::Refused { .. }
                | StoreReply::Failed,
                End::Session { .. } | End::Hop { .. },
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

    /// To the default upstream, if there is one, for whom it is meant, and not back to where it came from.
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
            .config
            .default_upstream
            .filter(|upstream| side != Side::Upstream(*upstream));
        match upstream.and_then(|upstream| Place::at_upstream(&self.config, upstream, turn)) {
            Some(place) => self.go_to(id, vec![place_only(place)]),
            None => self.reply(id, Reply::new(404, Cause::Refused)),
        }
    }

    fn go_to(&mut self, id: TxId, candidates: Vec<Candidate>) {
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

    /// Stages of a policy's targets, by their number.
    pub(super) fn plan(&mut self, id: TxId, targets: Vec<Target>) {
        let mut stages: BTreeMap<u32, VecDeque<(u32, Target)>> = BTreeMap::new();
        for (index, target) in (0..).zip(targets).take(self.config.limits.branches_max) {
            stages
                .entry(target.stage)
                .or_default()
                .push_back((index, target));
        }
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        let stage = |(number, targets)| Stage {
            number,
            targets,
            candidates: Vec::new(),
        };
        tx.plan.stages = stages.into_iter().map(stage).collect();
    }

    /// Finds next hops for the targets of the stage that is being prepared, one lookup after the other, and launches it.
    pub(super) fn resolve(&mut self, id: TxId) {
        loop {
            let Some(tx) = self.servers.get_mut(&id) else {
                return;
            };
            let Some((index, target)) = tx.plan.resolving.pop_front() else {
                return self.launch(id);
            };
            let turn = tx.to_tag;
            match self.resolve_target(&target, turn) {
                Resolved::At(place) => {
                    let uri = target.uri.clone().or_else(|| own_uri(&target));
                    self.add_candidate(
                        id,
                        Candidate {
                            uri,
                            ..with_target(place_only(*place), index, &target)
                        },
                    );
                }
                Resolved::Registered(aor) => {
                    if let Some(tx) = self.servers.get_mut(&id) {
                        tx.plan.resolving.push_front((index, target));
                    }
                    let ask = self.ask_store(Waiting::Target(id), StoreOp::Lookup { aor });
                    return self.wait(id, ask);
                }
                Resolved::Nowhere => {}
            }
        }
    }

    fn resolve_target(&self, target: &Target, turn: u64) -> Resolved {
        let at = |place: Option<Place>| {
            place.map_or(Resolved::Nowhere, |place| Resolved::At(Box::new(place)))
        };
        let at_text = |text: &str| {
            at(SipUri::from_text(text).and_then(|uri| Place::at_uri(&self.config, &uri)))
        };
        if let Some(next_hop) = &target.next_hop {
            return at_text(next_hop);
        }
        match &target.kind {
            TargetKind::Upstream(upstream) => at(Place::at_upstream(&self.config, *upstream, turn)),
            TargetKind::Registered(uri) => self
                .aor_of(uri)
                .map_or(Resolved::Nowhere, Resolved::Registered),
            TargetKind::Uri(uri) => match self.aor_of(uri) {
                // Where every domain is ours, an address that is none of our listeners' is still an address.
                Some(aor) if !self.config.domains.is_empty() || !is_elsewhere(uri, &self.names) => {
                    Resolved::Registered(aor)
                }
                Some(_) | None => at_text(uri),
            },
        }
    }

    fn aor_of(&self, uri: &str) -> Option<Aor> {
        self.names.aor(&Uri::parse(uri).ok()?)
    }

    /// The target at the head of the queue has these contacts.
    pub(super) fn on_target_location(&mut self, id: TxId, reply: StoreReply) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        tx.ask = None;
        let Some((index, target)) = tx.plan.resolving.pop_front() else {
            return;
        };
        if let StoreReply::Bindings(bindings) = reply {
            for candidate in bindings.iter().filter_map(at_binding) {
                let uri = target.uri.clone().or(candidate.uri.clone());
                self.add_candidate(
                    id,
                    Candidate {
                        uri,
                        ..with_target(candidate, index, &target)
                    },
                );
            }
        }
        self.resolve(id);
    }

    fn add_candidate(&mut self, id: TxId, candidate: Candidate) {
        if let Some(tx) = self.servers.get_mut(&id) {
            tx.plan.candidates.push(candidate);
        }
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

/// A policy's `add-uri` names the Request-URI too.
fn own_uri(target: &Target) -> Option<String> {
    match &target.kind {
        TargetKind::Uri(uri) => Some(uri.clone()),
        TargetKind::Upstream(_) | TargetKind::Registered(_) => None,
    }
}

/// A literal address that is not ours.
fn is_elsewhere(uri: &str, names: &super::names::Names) -> bool {
    SipUri::from_text(uri).is_some_and(|uri| uri.host.address().is_some() && !names.is_ours(&uri))
}

fn place_only(place: Place) -> Candidate {
    Candidate {
        target: 0,
        stage: 0,
        place,
        uri: None,
        path: Vec::new(),
        headers: Vec::new(),
    }
}

fn with_target(candidate: Candidate, index: u32, target: &Target) -> Candidate {
    Candidate {
        target: index,
        stage: target.stage,
        headers: target.headers.clone(),
        ..candidate
    }
}

/// `None` while its flow is gone.
fn at_binding(binding: &Binding) -> Option<Candidate> {
    let place = Place::on_flow(binding.flow.as_deref()?, binding.session);
    Some(Candidate {
        uri: Some(binding.contact.clone()),
        path: binding.path.clone(),
        ..place_only(place)
    })
}

/// Contacts of equal q ring together, the others after them (RFC 3261 §16.6).
fn by_preference(bindings: &[Binding]) -> VecDeque<Stage> {
    let mut stages: BTreeMap<u16, Vec<Candidate>> = BTreeMap::new();
    for binding in bindings {
        if let Some(candidate) = at_binding(binding) {
            stages.entry(binding.q).or_default().push(candidate);
        }
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

/// The session that a message on this flow speaks for.
pub(super) fn session_of(
    names: &super::names::Names,
    message: &Message,
    party: HeaderName,
) -> SessionKey {
    let uri = |name| {
        message
            .raw(name)
            .and_then(|value| NameAddr::parse(value).ok())
            .map(|address| address.uri)
    };
    let aor = uri(party).and_then(|uri| names.aor(&Uri::parse(uri).ok()?));
    let contact = message
        .values(HeaderName::Contact)
        .next()
        .and_then(|value| NameAddr::parse(value).ok());
    session_key(aor.as_ref(), contact.map_or("", |contact| contact.uri))
}

/// Of an address of record and a Contact URI, whose parameters differ between methods.
pub(super) fn session_key(aor: Option<&Aor>, contact: &str) -> SessionKey {
    let address = SipUri::from_text(contact).map(|uri| {
        let port = uri.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!(
            "{}@{}{port}",
            uri.user.unwrap_or_default(),
            uri.host.to_string().to_ascii_lowercase()
        )
    });
    SessionKey::new(
        aor.map_or("", Aor::as_str),
        address.as_deref().unwrap_or(contact).as_bytes(),
    )
}

impl Plan {
    /// Takes the next stage out to be prepared.
    pub(super) fn begin_stage(&mut self) -> Option<u32> {
        let stage = self.stages.pop_front()?;
        self.resolving = stage.targets;
        self.candidates = stage.candidates;
        Some(stage.number)
    }
}
