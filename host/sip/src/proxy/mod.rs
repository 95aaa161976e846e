//! The proxy of RFC 3261 §16, without IO.

pub mod config;
pub mod io;
pub(crate) mod via;

use std::{collections::VecDeque, time::Instant};

pub use config::ProxyConfig;
use io::{Input, Output};

/// One worker's proxy: one input, drain every output, then the next input.
#[derive(Debug)]
pub struct Proxy {
    config: ProxyConfig,
    outputs: VecDeque<Output>,
}

/// What a proxy holds now, for metrics and for tests that wait for it to be empty again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Server transactions.
    pub transactions: usize,
    /// Branches: client transactions, waiting ones included.
    pub branches: usize,
    /// Records of calls.
    pub calls: usize,
    /// Asks without an answer.
    pub asks: usize,
    /// Timers that have not come up, those with nothing left to do included.
    pub timers: usize,
}

impl Proxy {
    /// An idle proxy. `seed` makes all that is random; two proxies that run at the same time must not share one.
    #[must_use]
    pub fn new(config: ProxyConfig, seed: [u8; 32]) -> Self {
        let _ = seed;
        Self {
            config,
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input; what comes of it waits in [`Proxy::poll_output`].
    pub fn handle(&mut self, now: Instant, input: Input) {
        let _ = (now, input, &self.config);
    }

    /// The next thing to be done, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Proxy::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Fires every timer that is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// What it holds now.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges::default()
    }
}
