//! Members of upstreams: in which order they are tried (RFC 2782, RFC 3263 §4.3), which of them are passed over since they did not
//! answer, and by how many connections they are reached. A member that is passed over is tried after the others, never left out.

use std::{collections::BTreeMap, hash::Hasher, net::SocketAddr, time::Instant};

use super::{
    Proxy,
    config::{Member, MemberHealth, MemberName, UpstreamConfig, Way},
    place::{Place, Wanted},
};
use crate::{
    flow::{Destination, Flow, FlowId, UpstreamId},
    message::Message,
    token::{End, Reach},
    uri::{Host, SipUri},
};

/// Until when members are passed over. No larger than the upstreams.
#[derive(Debug, Default)]
pub(super) struct PassedOver(BTreeMap<SocketAddr, Instant>);

impl PassedOver {
    fn is_in(&self, member: SocketAddr, now: Instant) -> bool {
        self.0.get(&member).is_some_and(|until| *until > now)
    }
}

impl Proxy {
    /// A member of an upstream, the others after it. `turn` decides among equals.
    pub(super) fn place_at_upstream(&self, id: UpstreamId, turn: u64) -> Option<Place> {
        let upstream = self.config.upstreams.get(usize::from(id.0))?;
        let now = self.now();
        let is_passed_over = |member: SocketAddr| self.passed_over.is_in(member, now);
        let members = in_order(&upstream.members, is_passed_over, turn);
        Place::at_members(upstream, id, members)
    }

    /// A member did not answer, or cannot be reached.
    pub(super) fn pass_over(&mut self, member: SocketAddr) {
        let upstreams = &self.config.upstreams;
        let mut members = upstreams.iter().flat_map(|upstream| &upstream.members);
        if members.any(|known| known.address == member) {
            let until = self.now() + self.config.timers.passed_over;
            self.passed_over.0.insert(member, until);
        }
    }

    /// A member answered.
    pub(super) fn is_back(&mut self, member: SocketAddr) {
        if !self.passed_over.0.is_empty() {
            self.passed_over.0.remove(&member);
        }
    }

    /// Where a URI leads as a next hop: to an address, or to the upstream that has its name. `turn` decides among members.
    pub(super) fn place_at_uri(&self, uri: &SipUri<'_>, turn: u64) -> Option<Place> {
        match uri.host.address() {
            Some(_) => Place::at_uri(&self.config, uri),
            None => self.place_at_upstream(self.upstream_named(uri)?, turn),
        }
    }

    /// Does the host of a URI name an upstream?
    pub(super) fn is_named(&self, uri: &SipUri<'_>) -> bool {
        self.upstream_named(uri).is_some()
    }

    /// The upstream whose members the host of a URI leads to, over a transport that the URI allows.
    fn upstream_named(&self, uri: &SipUri<'_>) -> Option<UpstreamId> {
        let wanted = Wanted::by(uri)?;
        let leads_to = |upstream: &UpstreamConfig, name: &MemberName| {
            let is_at = |port| upstream.members.iter().any(|at| at.address.port() == port);
            uri.host.is_same(Host::Name(&name.host))
                && (uri
                    .port
                    .is_none_or(|port| name.port == Some(port) || is_at(port)))
        };
        let at = self.config.upstreams.iter().position(|upstream| {
            wanted.is_met_by(upstream.transport)
                && upstream.names.iter().any(|name| leads_to(upstream, name))
        });
        u16::try_from(at?).ok().map(UpstreamId)
    }

    /// What whoever looks after the members has found out.
    pub(super) fn on_member_health(&mut self, member: SocketAddr, health: MemberHealth) {
        let was_passed_over = self.passed_over.is_in(member, self.now());
        match health {
            MemberHealth::Answers => self.is_back(member),
            MemberHealth::Silent => self.pass_over(member),
        }
        if was_passed_over == (health == MemberHealth::Answers) {
            self.trunk_member_health(member, health);
        }
    }

    /// The names of an upstream are elsewhere now. What is under way goes on where it is, and so do its dialogs.
    pub(super) fn on_members(&mut self, id: UpstreamId, way: Way, members: Vec<Member>) {
        let Some(upstream) = self.config.upstreams.get_mut(usize::from(id.0)) else {
            return;
        };
        (upstream.transport, upstream.listener) = (way.transport, way.listener);
        upstream.members = members;
        let upstreams = &self.config.upstreams;
        self.passed_over.0.retain(|address, _| {
            let mut members = upstreams.iter().flat_map(|upstream| &upstream.members);
            members.any(|member| member.address == *address)
        });
        self.challenges.retain(|(of, address), _| {
            let upstream = upstreams.get(usize::from(of.0));
            let members = upstream.into_iter().flat_map(|upstream| &upstream.members);
            let mut addresses = members.map(|member| Some(member.address));
            address.is_none() || addresses.any(|member| member == *address)
        });
        self.trunk_members_changed(id);
    }

    /// The connection that a message goes by, of those to its next hop.
    pub(super) fn lane(&self, place: &Place, message: &Message) -> Destination {
        let upstream = place
            .upstream()
            .and_then(|id| self.config.upstreams.get(usize::from(id.0)));
        let lanes = upstream.map_or(1, |upstream| upstream.connections_max);
        if lanes <= 1 {
            return place.to;
        }
        let mut hasher = self.chance.hasher(b'n');
        hasher.write(message.call_id().unwrap_or_default().as_bytes());
        let lane = hasher.finish().checked_rem(u64::from(lanes)).unwrap_or(0);
        place.to.in_lane(u8::try_from(lane).unwrap_or(0))
    }

    /// Where an upstream that sent something on a connection is reached later. Connections come and go; the member stays.
    pub(super) fn member_end(&self, flow: &Flow) -> Option<End> {
        let (Some(id), FlowId::Connection { .. }) = (flow.side.upstream(), flow.id) else {
            return None;
        };
        let upstream = self.config.upstreams.get(usize::from(id.0))?;
        let mut members = upstream.members.iter().map(|member| member.address);
        let peer = members
            .clone()
            .find(|member| *member == flow.peer)
            .or_else(|| members.find(|member| member.ip() == flow.peer.ip()))?;
        let reach = Reach::Hop {
            listener: upstream.listener,
            transport: upstream.transport,
            peer,
        };
        Some(End {
            reach,
            upstream: Some(id),
        })
    }
}

/// By priority, those that are passed over last; by weight among equals.
fn in_order(
    members: &[Member],
    is_passed_over: impl Fn(SocketAddr) -> bool,
    turn: u64,
) -> Vec<SocketAddr> {
    if let [only] = members {
        return vec![only.address];
    }
    let rank = |member: &Member| (is_passed_over(member.address), member.priority);
    let mut left: Vec<Member> = members.to_vec();
    left.sort_by_key(rank);
    let mut ordered = Vec::with_capacity(left.len());
    let mut turn = turn;
    for group in left.chunk_by_mut(|a, b| rank(a) == rank(b)) {
        if group.iter().all(|member| member.weight == 0) {
            let first = usize::try_from(turn.checked_rem(group.len() as u64).unwrap_or(0));
            group.rotate_left(first.unwrap_or(0));
            ordered.extend(group.iter().map(|member| member.address));
            continue;
        }
        let mut group = group.to_vec();
        while !group.is_empty() {
            let next = group.remove(weighted(&group, turn));
            ordered.push(next.address);
            // Another number for the next choice (Knuth's multiplier).
            turn = turn.wrapping_mul(6_364_136_223_846_793_005).rotate_left(32);
        }
    }
    ordered
}

/// The running sum of RFC 2782; a member without a weight has its small chance. Drawn from 0 to the sum, the number would favour the first
/// one where weights are small (1 and 3 would get 40 and 60 in a hundred), so it is drawn in finer steps.
fn weighted(members: &[Member], turn: u64) -> usize {
    const STEPS: u64 = 256;
    let steps = |member: &Member| u64::from(member.weight) * STEPS;
    let sum: u64 = members.iter().map(steps).sum();
    let mut left = turn % (sum + 1);
    let reached = members.iter().position(|member| {
        let weight = steps(member);
        let is_reached = left <= weight;
        left = left.saturating_sub(weight);
        is_reached
    });
    reached.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(last: u8, priority: u16, weight: u16) -> Member {
        Member {
            address: ([192, 0, 2, last], 5060).into(),
            priority,
            weight,
        }
    }

    fn order(members: &[Member], down: &[u8], turn: u64) -> Vec<u8> {
        let last = |address: SocketAddr| match address.ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[3],
            std::net::IpAddr::V6(_) => 0,
        };
        let ordered = in_order(members, |address| down.contains(&last(address)), turn);
        ordered.into_iter().map(last).collect()
    }

    #[test]
    fn equals_take_turns() {
        let members = [member(1, 0, 0), member(2, 0, 0), member(3, 0, 0)];
        assert_eq!(order(&members, &[], 0), [1, 2, 3]);
        assert_eq!(order(&members, &[], 4), [2, 3, 1]);
        assert_eq!(order(&members, &[2], 4), [1, 3, 2]);
        assert_eq!(order(&members, &[2], 5), [3, 1, 2]);
        assert_eq!(order(&members, &[1, 2, 3], 4), [2, 3, 1]);
        assert!(order(&[], &[], 4).is_empty());
    }

    #[test]
    fn priority_comes_before_weight() {
        let members = [member(1, 20, 100), member(2, 10, 1), member(3, 10, 3)];
        let mut first = [0_u32; 4];
        for turn in 0..=1_024 {
            let ordered = order(&members, &[], turn);
            assert_eq!(ordered[2], 1);
            first[usize::from(ordered[0])] += 1;
        }
        assert_eq!(first, [0, 0, 257, 768]);
        assert_eq!(order(&members, &[2, 3], 1)[0], 1);
    }
}
