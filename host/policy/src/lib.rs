//! Policies without SIP sockets: the wasmtime engine, capabilities, chains, generations and hot reload.
//!
//! A message is a trait object here ([`context::Message`]): this crate knows the contract in `wit/hookswitch.wit`, not SIP.
//!
//! ```no_run
//! # use hookswitch_policy::{Engine, EngineConfig, Policies, PolicySpec, Progress, Runner, context::Run};
//! # fn handle(run: Run) -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::new(EngineConfig::default())?;
//! let policies = Policies::start(&engine, vec![PolicySpec::new("rules", "rules.wasm")], Vec::new())?;
//! let runner = Runner::new(engine.clone(), 0);
//! match runner.run(&policies.current(), run) {
//!     Progress::Done(finished) => drop(finished),
//!     Progress::Pending(pending) => engine.slow_lane().spawn(pending, |finished| drop(finished)),
//! }
//! # Ok(()) }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod bindings;
mod breaker;
mod budget;
mod cache;
mod chain;
pub mod context;
mod contract;
mod decision;
mod digest;
mod engine;
mod fault;
mod flight;
mod generation;
mod imports;
mod instance;
mod journal;
mod load;
mod loader;
mod policies;
mod policy;
pub mod pool;
mod runner;
mod shelf;
mod slow_lane;
mod sources;
pub mod spec;
pub mod status;
mod ticker;
mod version;
mod watch;

pub use engine::{Engine, EngineConfig, EngineError};
pub use generation::Generation;
pub use policies::{Policies, StartError};
pub use runner::{HookSet, Progress, Runner};
pub use slow_lane::{PendingRun, SlowLane};
pub use spec::PolicySpec;
pub use watch::FileWatch;
