//! What happens to the members of upstreams, and what it means to our registrations there.

use std::net::SocketAddr;

use super::{
    Proxy,
    config::MemberHealth,
    ids::BranchId,
    trunk::{Aim, Trunk},
};
use crate::{
    flow::{Destination, UpstreamId},
    transaction::client,
};

impl Proxy {
    /// What went there is lost; who is registered by a connection is no longer, since an upstream may call us by it (RFC 5626 §4.4).
    pub(super) fn trunks_unreachable(&mut self, to: Destination) {
        for at in 0..self.trunks.len() {
            let Some(trunk) = self.trunks.get(at) else {
                return;
            };
            match &trunk.transaction {
                Some(transaction) if transaction.place.to == to => {
                    self.step_trunk(at, client::Event::TransportError, None);
                }
                None if trunk.bound_to() == Some(to) && trunk.failures == 0 => {
                    self.begin_round_again(at);
                }
                Some(_) | None => {}
            }
        }
    }

    pub(super) fn trunk_undelivered(&mut self, id: BranchId) {
        if let Some(at) = self.trunk_of(id) {
            self.step_trunk(at, client::Event::TransportError, None);
        }
    }

    /// News of a member: where we were registered, or could not register.
    pub(super) fn trunk_member_health(&mut self, member: SocketAddr, health: MemberHealth) {
        for at in 0..self.trunks.len() {
            let Some(trunk) = self.trunks.get(at) else {
                return;
            };
            let concerns = match health {
                MemberHealth::Silent => {
                    let bound = trunk.bound_to().and_then(Destination::peer);
                    trunk.failures == 0 && bound == Some(member)
                }
                MemberHealth::Answers => {
                    trunk.failures > 0 && self.has_member(trunk.config.upstream, member)
                }
            };
            if concerns && trunk.transaction.is_none() {
                self.begin_round_again(at);
            }
        }
    }

    pub(super) fn trunk_members_changed(&mut self, upstream: UpstreamId) {
        for at in 0..self.trunks.len() {
            let Some(trunk) = self.trunks.get(at) else {
                return;
            };
            let bound = trunk.bound_to().and_then(Destination::peer);
            let is_gone = bound.is_some_and(|member| !self.has_member(upstream, member));
            if trunk.config.upstream == upstream
                && trunk.transaction.is_none()
                && (trunk.failures > 0 || is_gone)
            {
                self.begin_round_again(at);
            }
        }
    }

    /// Earlier than it was due.
    fn begin_round_again(&mut self, at: usize) {
        let begun = |trunk: &Trunk| trunk.aim == Aim::Registered && trunk.due > 0;
        if self.trunks.get(at).is_some_and(begun) {
            self.begin_round(at);
        }
    }

    fn has_member(&self, id: UpstreamId, address: SocketAddr) -> bool {
        let upstream = self.config.upstreams.get(usize::from(id.0));
        let mut members = upstream.into_iter().flat_map(|upstream| &upstream.members);
        members.any(|member| member.address == address)
    }
}
