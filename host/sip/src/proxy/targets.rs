//! Targets of policies: into stages, and each with its next hop.

use std::collections::VecDeque;

use super::{
    Proxy,
    asks::Waiting,
    flows::candidates,
    ids::TxId,
    io::{StoreOp, StoreReply, Target, TargetKind},
    place::Place,
    server_tx::{Candidate, Plan, Stage},
};
use crate::{
    registrar::Aor,
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
    /// Stages of a policy's targets, by their number.
    pub(super) fn plan(&mut self, id: TxId, targets: Vec<Target>) {
        let targets = (0..).zip(targets).take(self.config.limits.branches_max);
        let mut targets: Vec<(u32, Target)> = targets.collect();
        targets.sort_by_key(|(_, target)| target.stage);
        let mut stages: VecDeque<Stage> = VecDeque::new();
        for (index, target) in targets {
            match stages.back_mut().filter(|last| last.number == target.stage) {
                Some(last) => last.targets.push_back((index, target)),
                None => stages.push_back(Stage {
                    number: target.stage,
                    targets: VecDeque::from([(index, target)]),
                    candidates: Vec::new(),
                }),
            }
        }
        if let Some(tx) = self.servers.get_mut(&id) {
            tx.plan.stages = stages;
        }
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
                    let candidate = Candidate {
                        uri: own_uri(&target),
                        ..place_only(*place)
                    };
                    self.add_candidate(id, with_target(candidate, index, &target));
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
        let at_text =
            |text: &str| at(SipUri::from_text(text).and_then(|uri| self.place_at_uri(&uri, turn)));
        if let Some(next_hop) = &target.next_hop {
            return at_text(next_hop);
        }
        match &target.kind {
            TargetKind::Upstream(upstream) => at(self.place_at_upstream(*upstream, turn)),
            TargetKind::Registered(uri) => self
                .aor_of(uri)
                .map_or(Resolved::Nowhere, Resolved::Registered),
            TargetKind::Uri(uri) => match self.aor_of(uri) {
                // Where every domain is ours, an upstream and an address that is none of our listeners' are still what they are.
                Some(aor) if !self.config.domains.is_empty() || !self.is_elsewhere(uri) => {
                    Resolved::Registered(aor)
                }
                Some(_) | None => at_text(uri),
            },
        }
    }

    fn is_elsewhere(&self, uri: &str) -> bool {
        SipUri::from_text(uri).is_some_and(|uri| match uri.host.address() {
            Some(_) => !self.names.is_ours(&uri),
            None => self.is_named(&uri),
        })
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
            for (_, candidate) in candidates(&bindings) {
                self.add_candidate(id, with_target(candidate, index, &target));
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

/// A policy's `add-uri` names the Request-URI too.
fn own_uri(target: &Target) -> Option<String> {
    match &target.kind {
        TargetKind::Uri(uri) => Some(uri.clone()),
        TargetKind::Upstream(_) | TargetKind::Registered(_) => None,
    }
}

pub(super) fn place_only(place: Place) -> Candidate {
    Candidate {
        target: 0,
        stage: 0,
        place,
        other_flows: Vec::new(),
        uri: None,
        path: Vec::new(),
        headers: Vec::new(),
        media: None,
    }
}

fn with_target(candidate: Candidate, index: u32, target: &Target) -> Candidate {
    let flows = candidate.other_flows.into_iter();
    Candidate {
        target: index,
        stage: target.stage,
        uri: target.uri.clone().or(candidate.uri),
        headers: target.headers.clone(),
        media: target.media,
        other_flows: flows.map(|flow| with_target(flow, index, target)).collect(),
        ..candidate
    }
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
