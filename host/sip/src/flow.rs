//! What a message came on and where one is sent to: the names that `sip` and the transports share.

use std::{any::Any, fmt, net::SocketAddr, sync::Arc};

use sha2::{Digest, Sha256};

/// A worker: one core, one `Proxy`. Connections, transactions and calls have one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u8);

/// Index of a listener in `ProxyConfig::listeners`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u8);

impl ListenerId {
    /// One that the configuration no longer has.
    pub const GONE: Self = Self(u8::MAX);
}

/// Listeners and upstreams by hashes of their names: what a flow token says of them, since it outlives the order of a configuration.
#[derive(Clone, Debug, Default)]
pub struct NameTags {
    listeners: Vec<u32>,
    upstreams: Vec<u32>,
}

impl NameTags {
    /// Of the names in their order.
    pub fn new<'n>(
        listeners: impl IntoIterator<Item = &'n str>,
        upstreams: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        let tag = |name: &str| {
            let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(name));
            u32::from_be_bytes([a, b, c, d])
        };
        Self {
            listeners: listeners.into_iter().map(tag).collect(),
            upstreams: upstreams.into_iter().map(tag).collect(),
        }
    }

    /// Zero for one that is not there.
    #[must_use]
    pub fn listener(&self, id: ListenerId) -> u32 {
        let tag = self.listeners.get(usize::from(id.0));
        tag.copied().unwrap_or_default()
    }

    /// Zero for one that is not there.
    #[must_use]
    pub fn upstream(&self, id: UpstreamId) -> u32 {
        let tag = self.upstreams.get(usize::from(id.0));
        tag.copied().unwrap_or_default()
    }

    /// [`ListenerId::GONE`] if none has this tag.
    #[must_use]
    pub fn find_listener(&self, tag: u32) -> ListenerId {
        let at = self.listeners.iter().position(|known| *known == tag);
        at.and_then(|at| u8::try_from(at).ok())
            .map_or(ListenerId::GONE, ListenerId)
    }

    /// `None` if none has this tag.
    #[must_use]
    pub fn find_upstream(&self, tag: u32) -> Option<UpstreamId> {
        let at = self.upstreams.iter().position(|known| *known == tag)?;
        u16::try_from(at).ok().map(UpstreamId)
    }
}

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

    /// Inside TLS: good enough for `sips:` (RFC 3261 §26.2.2).
    #[must_use]
    pub fn is_secure(self) -> bool {
        match self {
            Self::Tls | Self::Wss => true,
            Self::Udp | Self::Tcp | Self::Ws => false,
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

/// What flow tokens call a client that comes by connections: the same for those that follow one another (RFC 5626 §2 has instances,
/// of which only REGISTER speaks).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(pub u64);

impl SessionKey {
    /// Of a session that a client names when it connects. Who else names it has another `identity`, and so another key.
    #[must_use]
    pub fn named(identity: &str, session: &str) -> Self {
        Self::hash("named", identity, session.as_bytes())
    }

    /// Of a Contact's `user@host:port`, which is in REGISTER and in all that makes a dialog. Who else registers it does so for another
    /// address of record.
    #[must_use]
    pub fn registered(aor: &str, contact: &[u8]) -> Self {
        Self::hash("registered", aor, contact)
    }

    fn hash(kind: &str, whose: &str, what: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in [kind.as_bytes(), whose.as_bytes(), what] {
            hash.update(part);
            hash.update([0]);
        }
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// Which side of the proxy a flow belongs to: the border of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// A browser, over WS or WSS.
    Web,
    /// A configured upstream, recognised by its address or its certificate.
    Upstream(UpstreamId),
    /// Anybody else.
    Stranger,
}

impl Side {
    /// Which upstream it is, if it is one.
    #[must_use]
    pub fn upstream(self) -> Option<UpstreamId> {
        match self {
            Self::Upstream(id) => Some(id),
            Self::Web | Self::Stranger => None,
        }
    }
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
    /// That its client named: its next connection has the same.
    pub session: Option<SessionKey>,
    /// What its transport wants to find again with each message; the proxy only carries it.
    pub attachment: Attachment,
}

impl FlowId {
    /// What a connection is called by whoever knows no more of it; `None` for datagrams, where the address is all there is.
    #[must_use]
    pub fn session(self) -> Option<SessionKey> {
        match self {
            Self::Connection { serial, .. } => Some(SessionKey(serial)),
            Self::Datagram { .. } => None,
        }
    }
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
        /// Which of the connections to there: what belongs to one call goes by one of them, in order.
        lane: u8,
    },
}

impl Destination {
    /// Its address, where a connection does not stand for it.
    #[must_use]
    pub fn peer(self) -> Option<SocketAddr> {
        match self {
            Self::Flow(FlowId::Datagram { peer, .. }) | Self::Connect { peer, .. } => Some(peer),
            Self::Flow(FlowId::Connection { .. }) => None,
        }
    }

    /// The same place, by this one of the connections to there.
    #[must_use]
    pub fn in_lane(self, lane: u8) -> Self {
        match self {
            Self::Flow(_) => self,
            Self::Connect {
                transport,
                listener,
                peer,
                lane: _,
            } => Self::Connect {
                transport,
                listener,
                peer,
                lane,
            },
        }
    }
}
