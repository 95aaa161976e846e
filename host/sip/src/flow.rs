//! What a message came on and where one is sent to: the names that `sip` and the transports share.

use std::{any::Any, fmt, net::SocketAddr, sync::Arc};

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
    /// What its transport wants to find again with each message; the proxy only carries it.
    pub attachment: Attachment,
}

/// Anything of a flow that is none of the proxy's business. It names nothing: two flows that differ in it alone are equal.
#[derive(Clone, Default)]
pub struct Attachment(Option<Arc<dyn Any + Send + Sync>>);

impl Attachment {
    /// Shared by all messages of the flow.
    #[must_use]
    pub fn new<T: Any + Send + Sync>(what: Arc<T>) -> Self {
        Self(Some(what))
    }

    /// What was attached, if it is a `T`.
    #[must_use]
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::downcast(Arc::clone(self.0.as_ref()?)).ok()
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment").finish_non_exhaustive()
    }
}

impl PartialEq for Attachment {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Attachment {}

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
