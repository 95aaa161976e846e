//! A load generator for a SIP proxy that has browsers on one side and a PBX on the other.
//!
//! It plays both sides: WebSocket clients that register, call and are called, and a UDP PBX that answers without state and originates
//! requests of its own. It keeps score: answered, refused, lost, and wrong (an answer that does not belong to its request). It never
//! retransmits and shares no SIP code with the proxy, so that it measures the proxy and not itself.
//!
//! Everything runs on one thread inside a [`tokio::task::LocalSet`]: the generator shares its cores with the proxy, and has to cost
//! less. Read in this order: [`load`] (connections and pace), [`uac`] and [`uas`] (the two roles), [`score`] (what was counted).

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod browser;
pub mod load;
pub mod process;
pub mod proxy;
pub mod score;
pub mod sip;
pub mod uac;
pub mod uas;
