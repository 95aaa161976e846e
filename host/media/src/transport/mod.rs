//! Between datagrams and plain RTP and RTCP: what a browser speaks, and what a SIP end speaks.
//!
//! Without sockets and clocks: datagrams and instants are arguments, and what is to be sent is asked for.

mod class;
mod demux;
mod peer;
mod plain;
mod web;

pub use class::Class;
pub use demux::Demux;
pub use peer::Peer;
pub use plain::{Latch, PlainRemote, PlainTransport, Port, RemoteRtcp};
pub use web::{Event, Remote, WebTransport};

/// What came in a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Nothing to relay: it was consumed, or refused.
    Nothing,
    /// A check of ICE by one who knows our password: from where it came, packets of this transport may come.
    Check,
    /// The packet is plain RTP now.
    Rtp,
    /// The packet is plain, compound or reduced-size RTCP now.
    Rtcp,
}

/// To be sent, from where this transport receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where.
    pub to: Peer,
    /// What.
    pub bytes: Vec<u8>,
}
