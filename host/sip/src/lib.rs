//! SIP without IO: messages, transactions, flow tokens, the registrar's rules and the proxy.
//!
//! Nothing here opens a socket, reads a clock, spawns a task or knows of WebAssembly. Bytes, time and chance are arguments, and what
//! is to be done comes back as values, so a test drives whole networks of proxies on a virtual clock and every failure replays from a
//! seed.
//!
//! Read in this order: [`message`] (lossless bytes and an index into them) with [`header`] and [`uri`] (views), [`transaction`] (the
//! tables of RFC 3261 §17), [`proxy`] (RFC 3261 §16 on top of both), [`token`] (what outlives a connection).

// Its order differs between runs: clippy.toml bans the methods, this the loops.
#![warn(clippy::iter_over_hash_type)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)
)]

pub mod edit;
pub mod flow;
pub mod framing;
pub mod header;
pub mod limits;
pub mod message;
pub mod placement;
pub mod proxy;
pub mod redact;
pub mod registrar;
pub mod token;
pub mod transaction;
pub mod uri;
