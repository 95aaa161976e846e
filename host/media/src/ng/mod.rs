//! A cluster of rtpengines over their control protocol, without IO.
//!
//! `client` is the story: asks in, commands out, replies in, answers out. A call stays with its node; `nodes` says which one a new call
//! goes to, and who is there. `message` writes commands and reads replies, in `bencode`; `flags` is what rtpengine is told of each leg.
//!
//! What it never does: send, sleep or read a clock.

pub mod bencode;
mod call;
mod client;
mod flags;
mod io;
pub mod message;
mod nodes;
mod session;

use std::time::Duration;

pub use client::Client;
pub use flags::Protocol;
pub use io::{AskId, Input, Output};
pub use nodes::{Health, NodeConfig, NodeId, Wire};

/// A datagram without a reply is sent again after this long, then after twice as long …
pub const RETRANSMIT_AFTER: Duration = Duration::from_millis(250);
/// Then the node is not there.
pub const REPLY_MAX: Duration = Duration::from_millis(1_500);
/// An offer is tried at so many nodes.
pub const NODES_TRIED_MAX: usize = 3;
/// How often a node is asked whether it is there.
pub const PING_EVERY: Duration = Duration::from_secs(5);
/// The same while it is not.
pub const PING_DOWN_EVERY: Duration = Duration::from_secs(1);
/// How often a node is asked about each of its calls: rtpengine forgets those whose media has died.
pub const QUERY_EVERY: Duration = Duration::from_secs(60);
/// Commands of one call that wait for the one before them.
pub const QUEUED_MAX: usize = 16;
/// Dialogs of one call that are up at a time.
pub const DIALOGS_MAX: usize = 16;

/// What the client is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Their index is their [`NodeId`].
    pub nodes: Vec<NodeConfig>,
    /// What SIP ends are offered that are no upstream.
    pub plain: Protocol,
    /// What upstreams are offered, by the number in [`crate::Leg::Sip`]; one that is missing has `plain`.
    pub upstreams: Vec<Protocol>,
    /// Calls at a time.
    pub calls_max: usize,
    /// Makes cookies differ from those of any other process, and of this one before it was restarted.
    pub cookies: u64,
}
