//! How full an engine is.

use super::Engine;

/// How much there is in an engine's tables: nothing where there are no calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Calls.
    pub calls: usize,
    /// Of them, those that are transcoded.
    pub transcoded_calls: usize,
    /// Calls that are to be looked at some time.
    pub timers: usize,
    /// Legs towards browsers.
    pub web_legs: usize,
    /// Names that checks may call those by.
    pub ufrags: usize,
    /// Where those were checked from.
    pub addresses: usize,
    /// Sockets of legs towards SIP ends.
    pub ports: usize,
}

impl Engine {
    /// How much there is in its tables.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let [web_legs, ufrags, addresses] = self.demux.sizes();
        Gauges {
            calls: self.names.len(),
            transcoded_calls: self.transcoded_calls,
            timers: self.due.len(),
            web_legs,
            ufrags,
            addresses,
            ports: self.places.count(),
        }
    }
}
