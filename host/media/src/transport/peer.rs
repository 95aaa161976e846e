//! Where a browser is: an address, and what leads there.

use std::net::SocketAddr;

use crate::sockets::SocketId;

/// One end of a path of ICE. Datagrams and a connection from the same address have nothing to do with each other: the source of a datagram
/// may be a lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// As we see it.
    pub address: SocketAddr,
    /// The connection that it comes by; `None` is UDP.
    pub connection: Option<SocketId>,
}

impl Peer {
    /// Who sent what came to this socket.
    #[must_use]
    pub fn at(socket: SocketId, address: SocketAddr) -> Peer {
        let connection = Some(socket).filter(|socket| socket.is_connection());
        Peer {
            address,
            connection,
        }
    }

    /// What leads there; `udp` is the port that all browsers share.
    #[must_use]
    pub fn way(self, udp: SocketId) -> (SocketId, SocketAddr) {
        (self.connection.unwrap_or(udp), self.address)
    }
}

/// By UDP.
impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        Peer {
            address,
            connection: None,
        }
    }
}
