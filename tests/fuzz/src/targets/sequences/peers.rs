//! Who is there, and where.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hookswitch_sip::{
    flow::{
        Attachment, Destination, Flow, FlowId, ListenerId, Side, Transport, UpstreamId, WorkerId,
    },
    proxy::{
        ProxyConfig,
        config::{Announce, ListenerConfig, Oversize, UpstreamConfig, Way},
        trunk::TrunkConfig,
    },
    token::{Key, Keyring},
};

use crate::Choices;

pub(super) const PBX: &str = "192.0.2.10:5060";
pub(super) const PBX2: &str = "192.0.2.11:5060";
/// Over TCP.
pub(super) const CARRIER: &str = "192.0.2.20:5060";
const PHONE: &str = "198.51.100.9:5070";
const TCP_PHONE: &str = "198.51.100.10:40001";
const BROWSER: &str = "203.0.113.5:40000";
/// Where policies send, and nobody else says to.
pub(super) const CHOSEN: &str = "203.0.113.77:5062";
/// Where peers want things sent, and nothing may go.
pub(super) const VICTIM: &str = "198.51.100.66";

const WEB: ListenerId = ListenerId(0);
const UDP: ListenerId = ListenerId(1);
const TCP: ListenerId = ListenerId(2);

/// Somebody at the other end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Alice,
    Bob,
    Pbx,
    Pbx2,
    Carrier,
    Phone,
    TcpPhone,
}

const ALL: [Peer; 7] = [
    Peer::Alice,
    Peer::Pbx,
    Peer::Bob,
    Peer::Phone,
    Peer::Pbx2,
    Peer::Carrier,
    Peer::TcpPhone,
];

impl Peer {
    pub(super) fn choose(choices: &mut Choices<'_>) -> Self {
        ALL[choices.below(ALL.len())]
    }

    pub(super) fn flow(self) -> Arc<Flow> {
        let upstream = |id| Side::Upstream(UpstreamId(id));
        Arc::new(match self {
            Self::Alice => connection(1, Transport::Wss, BROWSER, Side::Web),
            Self::Bob => connection(2, Transport::Wss, BROWSER, Side::Web),
            Self::Pbx => datagram(PBX, upstream(0)),
            Self::Pbx2 => datagram(PBX2, upstream(0)),
            Self::Carrier => connection(3, Transport::Tcp, CARRIER, upstream(1)),
            Self::Phone => datagram(PHONE, Side::Stranger),
            Self::TcpPhone => connection(4, Transport::Tcp, TCP_PHONE, Side::Stranger),
        })
    }

    /// Who gets what is sent there.
    pub(super) fn at(to: Destination) -> Option<Self> {
        let is_there = |peer: &&Self| {
            let flow = peer.flow();
            to == Destination::Flow(flow.id) || to.peer() == Some(flow.peer)
        };
        ALL.iter().find(is_there).copied()
    }

    pub(super) fn via(self) -> &'static str {
        match self {
            Self::Alice => "SIP/2.0/WSS x.invalid",
            Self::Bob => "SIP/2.0/WSS y.invalid",
            Self::Pbx => "SIP/2.0/UDP 192.0.2.10:5060",
            Self::Pbx2 => "SIP/2.0/UDP 192.0.2.11:5060",
            Self::Carrier => "SIP/2.0/TCP 192.0.2.20:5060",
            Self::Phone => "SIP/2.0/UDP 198.51.100.9:5070;rport",
            Self::TcpPhone => "SIP/2.0/TCP 198.51.100.66:5070",
        }
    }
}

fn datagram(peer: &str, side: Side) -> Flow {
    let peer = address(peer);
    Flow {
        id: FlowId::Datagram {
            listener: UDP,
            peer,
        },
        transport: Transport::Udp,
        listener: UDP,
        peer,
        side,
        session: None,
        attachment: Attachment::default(),
    }
}

fn connection(serial: u64, transport: Transport, peer: &str, side: Side) -> Flow {
    Flow {
        id: FlowId::Connection {
            worker: WorkerId(0),
            serial,
        },
        transport,
        listener: if transport == Transport::Wss {
            WEB
        } else {
            TCP
        },
        peer: address(peer),
        side,
        session: None,
        attachment: Attachment::default(),
    }
}

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse()
        .unwrap_or_else(|_| unreachable!("{text} is an address"))
}

/// The way to the carrier where none is open.
pub(super) fn connect() -> Destination {
    Destination::Connect {
        transport: Transport::Tcp,
        listener: TCP,
        peer: address(CARRIER),
        lane: 0,
    }
}

/// How members of an upstream may come to be spoken to.
pub(super) fn way(choices: &mut Choices<'_>) -> Way {
    let (transport, listener) = match choices.below(2) {
        0 => (Transport::Udp, UDP),
        _ => (Transport::Tcp, TCP),
    };
    Way {
        transport,
        listener,
    }
}

/// May the proxy send there at all? To its peers on what they came on, to members of upstreams, and where a policy says.
pub(super) fn is_allowed(to: Destination) -> bool {
    let is_peer = |flow: &Flow| match to {
        Destination::Flow(FlowId::Datagram { peer, .. }) => peer.ip() == flow.peer.ip(),
        Destination::Flow(_) | Destination::Connect { .. } => to == Destination::Flow(flow.id),
    };
    let is_flow = ALL.iter().any(|peer| is_peer(&peer.flow()));
    let members = [PBX, PBX2, CARRIER, CHOSEN].map(address);
    is_flow || to.peer().is_some_and(|peer| members.contains(&peer))
}

/// Where answers may go, too: whose connection is gone gets them over another one, at the port of its Via (RFC 3261 §18.2.2).
pub(super) fn is_at_a_peer(to: Destination) -> bool {
    let hosts = ALL.map(|peer| peer.flow().peer.ip());
    to.peer().is_some_and(|peer| hosts.contains(&peer.ip()))
}

/// The keys of tokens before and after they were rotated.
pub(super) fn keys(current: u8) -> Keyring {
    let key = |id: u8| Key::new(id % 2, &[1 + id % 2; 32]);
    Keyring {
        current: key(current),
        previous: vec![key(current ^ 1)],
    }
}

fn config() -> ProxyConfig {
    let listener = |name: &str, transport, host: &str, port| ListenerConfig {
        name: name.to_owned(),
        transport,
        host: host.to_owned(),
        port,
        flow_timer: None,
    };
    let mut config = ProxyConfig::new(keys(0));
    config.listeners = vec![
        listener("web", Transport::Wss, "proxy.test", 443),
        listener("udp", Transport::Udp, "192.0.2.1", 5060),
        listener("tcp", Transport::Tcp, "192.0.2.1", 5060),
    ];
    let mut carrier = UpstreamConfig::new("carrier", TCP, vec![address(CARRIER)]);
    carrier.transport = Transport::Tcp;
    carrier.connections_max = 2;
    config.upstreams = vec![
        UpstreamConfig::new("pbx", UDP, vec![address(PBX), address(PBX2)]),
        carrier,
    ];
    config.default_upstream = Some(UpstreamId(0));
    config.domains = vec!["test".to_owned()];
    config.timers.call_idle = Duration::from_secs(300);
    config.timers.subscription_idle = Duration::from_secs(300);
    config
}

/// Four ways to be an upstream.
fn vary(config: &mut ProxyConfig, way: u8) {
    if let Some(pbx) = config.upstreams.first_mut() {
        (pbx.announce, pbx.oversize) = match way {
            0 => (Announce::Path, Oversize::Fragment),
            1 => (Announce::Contact, Oversize::Fragment),
            2 => (Announce::Path, Oversize::TcpThenUdp),
            _ => (Announce::Contact, Oversize::Refuse),
        };
        pbx.mtu_bytes_max = 700;
    }
}

/// We register at both upstreams.
pub(super) fn trunks() -> Vec<TrunkConfig> {
    let trunk = |id, user: &str| TrunkConfig {
        upstream: UpstreamId(id),
        aor: format!("sip:{user}@carrier.test"),
        user: user.to_owned(),
        expires: Duration::from_secs(600),
    };
    vec![trunk(1, "100"), trunk(0, "bob")]
}

/// All that an operator may choose and that changes what the proxy does.
pub(super) fn configuration(choices: &mut Choices<'_>) -> ProxyConfig {
    let mut config = config();
    let bits = choices.byte();
    if bits & 1 != 0 {
        config.domains = Vec::new();
    }
    if bits & 2 != 0 {
        config.default_upstream = None;
    }
    if bits & 4 != 0 {
        config.registrar.upstream = Some(UpstreamId(0));
    }
    if bits & 8 != 0 {
        config.timers.first_response = Some(Duration::from_secs(2));
        config.timers.no_answer = Some(Duration::from_secs(5));
    }
    if bits & 16 != 0 {
        config.limits.queued_max = 1;
        config.limits.branches_max = 3;
        config.limits.answers_per_branch_max = 1;
        config.limits.calls_max = 1;
        config.limits.attributes_max = 1;
    }
    if bits & 32 != 0 {
        config.limits.transactions_max = 2;
        config.limits.in_dialog_reserve_max = 1;
    }
    vary(&mut config, bits >> 6);
    config
}
