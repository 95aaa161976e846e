//! Judge of the proxy core: whole networks of user agents around one proxy, on a virtual clock.
//!
//! [`check`] runs a script and compares the ladder of messages with a snapshot; [`random`] runs a network from a seed and checks what
//! must hold in every network. Nothing here opens a socket or waits, so a failure replays from its script or its seed.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

pub mod agent;
pub mod invariants;
pub mod ladder;
pub mod login;
pub mod node;
pub mod policy;
pub mod random;
pub mod rng;
pub mod script;
pub mod wire;
pub mod world;

pub use script::{check, check_with};
