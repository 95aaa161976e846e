//! A next hop: where bytes go, which of our addresses they leave by, and what a flow token will say of it.

use std::net::{IpAddr, SocketAddr};

use super::{
    config::{Member, ProxyConfig, UpstreamConfig},
    names::default_port,
};
use crate::{
    flow::{Destination, Flow, ListenerId, SessionKey, Side, Transport, UpstreamId},
    proxy::io::Leg,
    token::{End, Reach},
    uri::{Scheme, SipUri},
};

/// What a URI says of the transport to its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Any,
    This(Transport),
}

/// Where a branch is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) to: Destination,
    pub(super) listener: ListenerId,
    pub(super) transport: Transport,
    /// For the flow token.
    pub(super) end: End,
    pub(super) side: Side,
    /// Members of the upstream that are still to be tried if this one does not answer.
    pub(super) others: Vec<SocketAddr>,
}

impl Wanted {
    /// `sips:` goes by TLS or not at all (RFC 3261 §26.2.2). `None` for what next hops do not speak.
    pub(super) fn by(uri: &SipUri<'_>) -> Option<Self> {
        let named = uri.transport().map(str::to_ascii_lowercase);
        match (uri.scheme, named.as_deref()) {
            (Scheme::Sip, None) => Some(Self::Any),
            (Scheme::Sip, Some("udp")) => Some(Self::This(Transport::Udp)),
            (Scheme::Sip, Some("tcp")) => Some(Self::This(Transport::Tcp)),
            (Scheme::Sip, Some("tls")) | (Scheme::Sips, None | Some("tcp" | "tls")) => {
                Some(Self::This(Transport::Tls))
            }
            (Scheme::Sip | Scheme::Sips, Some(_)) => None,
        }
    }

    pub(super) fn is_met_by(self, transport: Transport) -> bool {
        match self {
            Self::Any => true,
            Self::This(wanted) => wanted == transport,
        }
    }
}

impl Place {
    /// On a flow that is up.
    pub(super) fn on_flow(flow: &Flow, key: SessionKey) -> Self {
        Self {
            to: Destination::Flow(flow.id),
            listener: flow.listener,
            transport: flow.transport,
            end: End::of_flow(flow, key),
            side: flow.side,
            others: Vec::new(),
        }
    }

    /// At the end that a token names, as far as the token knows.
    pub(super) fn at_end(config: &ProxyConfig, end: End) -> Self {
        let transport = match end.reach {
            Reach::Session { listener, .. } => transport_of(config, listener),
            Reach::Hop { transport, .. } => transport,
        };
        let side = match (end.upstream, transport) {
            (Some(id), _) => Side::Upstream(id),
            (None, Transport::Ws | Transport::Wss) => Side::Web,
            (None, Transport::Udp | Transport::Tcp | Transport::Tls) => Side::Stranger,
        };
        Self {
            to: end.destination(),
            listener: end.listener(),
            transport,
            end,
            side,
            others: Vec::new(),
        }
    }

    /// At an address, over `transport`; `None` if we have no listener for it.
    pub(super) fn at_address(
        config: &ProxyConfig,
        transport: Transport,
        peer: SocketAddr,
    ) -> Option<Self> {
        let side = side_of(config, peer);
        let upstream = side.upstream();
        let upstream = upstream.and_then(|id| config.upstreams.get(usize::from(id.0)));
        let its_own = upstream.filter(|upstream| upstream.transport == transport);
        let listener = its_own.map(|upstream| upstream.listener);
        let listener = listener.or_else(|| listener_for(config, transport, peer))?;
        Some(Self::at_hop(listener, transport, peer, side))
    }

    /// Where a URI points, if its host is an address.
    pub(super) fn at_uri(config: &ProxyConfig, uri: &SipUri<'_>) -> Option<Self> {
        let ip = uri.host.address()?;
        let at = |transport| SocketAddr::new(ip, uri.port.unwrap_or(default_port(transport)));
        let transport = match Wanted::by(uri)? {
            Wanted::Any => member_transport(config, ip, uri.port),
            Wanted::This(transport) => transport,
        };
        Self::at_address(config, transport, at(transport))
    }

    /// At the first of these members of an upstream, with the rest after it.
    pub(super) fn at_members(
        upstream: &UpstreamConfig,
        id: UpstreamId,
        members: Vec<SocketAddr>,
    ) -> Option<Self> {
        let mut members = members.into_iter();
        let first = members.next()?;
        let side = Side::Upstream(id);
        Some(Self {
            others: members.collect(),
            ..Self::at_hop(upstream.listener, upstream.transport, first, side)
        })
    }

    /// The next member of the same upstream.
    pub(super) fn next_member(&self) -> Option<Self> {
        let (&peer, others) = self.others.split_first()?;
        Some(Self {
            others: others.to_vec(),
            ..Self::at_hop(self.listener, self.transport, peer, self.side)
        })
    }

    /// The same hop over another transport.
    pub(super) fn over(&self, transport: Transport) -> Option<Self> {
        let peer = self.peer()?;
        Some(Self {
            others: self.others.clone(),
            ..Self::at_hop(self.listener, transport, peer, self.side)
        })
    }

    fn at_hop(listener: ListenerId, transport: Transport, peer: SocketAddr, side: Side) -> Self {
        let end = End {
            reach: Reach::Hop {
                listener,
                transport,
                peer,
            },
            upstream: side.upstream(),
        };
        Self {
            to: end.destination(),
            listener,
            transport,
            end,
            side,
            others: Vec::new(),
        }
    }

    pub(super) fn upstream(&self) -> Option<UpstreamId> {
        self.side.upstream()
    }

    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.to.peer()
    }

    pub(super) fn leg(&self) -> Leg {
        leg_of(self.side)
    }
}

/// How media sees a side.
pub(super) fn leg_of(side: Side) -> Leg {
    match side {
        Side::Web => Leg::Web,
        Side::Upstream(id) => Leg::Sip(Some(id)),
        Side::Stranger => Leg::Sip(None),
    }
}

fn transport_of(config: &ProxyConfig, listener: ListenerId) -> Transport {
    config
        .listeners
        .get(usize::from(listener.0))
        .map_or(Transport::Udp, |listener| listener.transport)
}

fn side_of(config: &ProxyConfig, peer: SocketAddr) -> Side {
    let is_member =
        |upstream: &UpstreamConfig| upstream.members.iter().any(|member| member.address == peer);
    let at = config.upstreams.iter().position(is_member);
    at.and_then(|at| u16::try_from(at).ok())
        .map_or(Side::Stranger, |at| Side::Upstream(UpstreamId(at)))
}

/// What is spoken at an address of which a URI does not say: as its upstream does, else UDP (RFC 3263 §4.1).
fn member_transport(config: &ProxyConfig, ip: IpAddr, port: Option<u16>) -> Transport {
    let found = config.upstreams.iter().find(|upstream| {
        let port = port.unwrap_or(default_port(upstream.transport));
        let is_there = |member: &Member| member.address == SocketAddr::new(ip, port);
        upstream.members.iter().any(is_there)
    });
    found.map_or(Transport::Udp, |upstream| upstream.transport)
}

/// The first listener of this transport, of the peer's address family if there is one.
fn listener_for(
    config: &ProxyConfig,
    transport: Transport,
    peer: SocketAddr,
) -> Option<ListenerId> {
    let of_transport = || {
        config
            .listeners
            .iter()
            .enumerate()
            .filter(|(_, listener)| listener.transport == transport)
    };
    let same_family =
        of_transport().find(|(_, listener)| listener.host.contains(':') == peer.is_ipv6());
    let (at, _) = same_family.or_else(|| of_transport().next())?;
    u8::try_from(at).ok().map(ListenerId)
}
