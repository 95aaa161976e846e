//! hookswitch, the server: joins `sip`, `policy` and `media` over real sockets.
//!
//! Read in this order: [`config`] (what an operator can say), [`server`] (how it is put together), `transport` (bytes to messages),
//! `worker` (the one place where the three crates meet).

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod admin;
pub mod args;
mod auth;
mod capture;
mod carriers;
pub mod check;
pub mod config;
mod destinations;
pub mod fuzz;
mod health;
mod location;
pub mod log;
mod media;
mod metrics;
mod names;
mod observe;
pub mod open_files;
mod policy_metrics;
mod proxy_config;
mod reload;
pub mod server;
mod source;
pub mod state;
mod transport;
mod turn;
mod upstreams;
mod worker;
