//! Ports as an engine sees them: names of sockets that somebody else has, who reads, writes and closes them.

use std::net::{IpAddr, SocketAddr};

/// Names a socket. Those of the worker are dense, so that a table can be indexed by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u32);

impl SocketId {
    /// The n-th connection of a browser's (RFC 6544): none of the worker's own sockets, and none like those before it.
    #[must_use]
    pub fn connection(n: u32) -> SocketId {
        SocketId(n | CONNECTIONS)
    }

    /// Whether it is a connection of a browser's.
    #[must_use]
    pub fn is_connection(self) -> bool {
        self.0 & CONNECTIONS != 0
    }
}

/// In the numbers of connections.
const CONNECTIONS: u32 = 1 << 31;

/// Names an interface of the worker: where it binds, from which range, and what its public address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceId(pub u16);

/// Two neighbouring ports, the even one for RTP (RFC 3550 §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Of RTP.
    pub rtp: SocketId,
    /// Of RTCP.
    pub rtcp: SocketId,
    /// Where the far end reaches the first; the second is one port above.
    pub public: SocketAddr,
}

/// Why no ports were opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The range has none left.
    #[error("no port is free for media on interface {0}")]
    Exhausted(String),
    /// The interface has no address of the family that the far end has.
    #[error("interface {0} has no {1} address for media")]
    Family(String, &'static str),
}

/// Opens and closes ports.
pub trait Sockets {
    /// A pair on the interface. `remote` is whom it must reach, if that is known: its family counts.
    ///
    /// # Errors
    /// [`OpenError`]
    fn open(&mut self, on: InterfaceId, remote: Option<IpAddr>) -> Result<Pair, OpenError>;

    /// Both ports are free again.
    fn close(&mut self, pair: Pair);
}
