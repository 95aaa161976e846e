//! Policies without SIP sockets: the wasmtime engine, capabilities, chains, generations and hot reload.
//!
//! A message is a trait object here ([`context::Message`]): this crate knows the contract in `wit/hookswitch.wit`, not SIP.

pub mod context;
