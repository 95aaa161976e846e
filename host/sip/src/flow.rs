//! What a message came on and where one is sent to: the names that `sip` and the transports share.

use std::net::SocketAddr;

/// A worker: one core, one `Proxy`. Connections, transactions and calls have one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u8);

/// Index of a listener in `ProxyConfig::listeners`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u8);

/// Index of an upstream (a named group of next hops) in `ProxyConfig::upstreams`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(pub u16);

/// Transport protocols of RFC 3261 §18 and RFC 7118.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// One datagram, one message.
    Udp,
    /// A stream framed by Content-Length.
    Tcp,
    /// TCP inside TLS.
    Tls,
    /// WebSocket, one frame, one message (RFC 7118).
    Ws,
    /// WebSocket inside TLS.
    Wss,
}

impl Transport {
    /// RFC 3261 §17: an unreliable transport makes transactions retransmit.
    #[must_use]
    pub fn is_reliable(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp | Self::Tls | Self::Ws | Self::Wss => true,
        }
    }
}

/// Names one flow (RFC 5626 §2) in this process, over all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FlowId {
    /// A connection that lives on `worker`; `serial` is never used twice in one process and unlikely to be so in two.
    Connection {
        /// Where the connection's socket is read and written.
        worker: WorkerId,
        /// Chosen at random by the transport.
        serial: u64,
    },
    /// Datagrams between a listener's socket and a peer. Any worker can send them.
    Datagram {
        /// The listener whose address they leave from.
        listener: ListenerId,
        /// The other end.
        peer: SocketAddr,
    },
}

/// Which side of the proxy a flow belongs to: the border of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// A browser, over WS or WSS.
    Web,
    /// A configured upstream, recognised by its address.
    Upstream(UpstreamId),
    /// Anybody else.
    Stranger,
}

/// What the proxy must know of a flow; shared by all messages that come on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its name.
    pub id: FlowId,
    /// How it carries messages.
    pub transport: Transport,
    /// Where it was accepted.
    pub listener: ListenerId,
    /// The peer's address as we see it (`received` and `rport`, RFC 3581).
    pub peer: SocketAddr,
    /// Who is at its other end.
    pub side: Side,
}

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// Onto a flow that is up (a datagram flow always is).
    Flow(FlowId),
    /// Onto a connection to `peer` over a reliable transport, which is opened if none is up.
    Connect {
        /// `Tcp` or `Tls`.
        transport: Transport,
        /// The listener whose address and name we go by.
        listener: ListenerId,
        /// The next hop.
        peer: SocketAddr,
    },
}
