//! From the bindings of an address of record to candidates: a client that is reached by several flows gets one request, by the others
//! only if that flow has failed (RFC 5626 §7).

use std::cmp::Reverse;

use super::{place::Place, server_tx::Candidate, targets::place_only};
use crate::registrar::Binding;

/// Each client that is reached, with the `q` of its flow: of several the most wanted one, and of equals the oldest.
pub(super) fn candidates(bindings: &[Binding]) -> Vec<(u16, Candidate)> {
    let mut by_q: Vec<&Binding> = bindings.iter().collect();
    by_q.sort_by_key(|binding| Reverse(binding.q));
    let mut clients: Vec<(Option<&str>, u16, Candidate)> = Vec::new();
    for binding in by_q {
        let Some(candidate) = at_binding(binding) else {
            continue;
        };
        let instance = binding.instance.as_deref();
        let same = clients
            .iter_mut()
            .find(|(other, ..)| instance.is_some() && *other == instance);
        match same {
            Some((.., first)) => first.other_flows.push(candidate),
            None => clients.push((instance, binding.q, candidate)),
        }
    }
    let clients = clients.into_iter();
    clients.map(|(_, q, candidate)| (q, candidate)).collect()
}

/// `None` while its flow is gone.
pub(super) fn at_binding(binding: &Binding) -> Option<Candidate> {
    let place = Place::on_flow(binding.flow.as_deref()?, binding.session());
    Some(Candidate {
        uri: Some(binding.contact.clone()),
        path: binding.path.clone(),
        ..place_only(place)
    })
}

impl Candidate {
    /// The same client by its next flow.
    pub(super) fn next_flow(&self) -> Option<Self> {
        let (next, others) = self.other_flows.split_first()?;
        Some(Self {
            target: self.target,
            stage: self.stage,
            other_flows: others.to_vec(),
            ..next.clone()
        })
    }

    /// The same target by the next member of its upstream.
    pub(super) fn next_member(&self) -> Option<Self> {
        Some(Self {
            place: self.place.next_member()?,
            ..self.clone()
        })
    }
}
