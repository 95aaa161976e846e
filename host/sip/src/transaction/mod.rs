//! The four transaction machines of RFC 3261 §17 with the Accepted states of RFC 6026, as pure tables.
//!
//! Each machine is one function `step(state, event, reliability)`: the state after it and what is to be done, in this order. A table
//! never sends, never reads a clock and holds no message; the proxy does what it says. A timer that fires too late finds a state in
//! which its row is empty, so nothing needs to be stopped.

pub mod client;
pub mod invite_client;
pub mod invite_server;
pub mod server;

use std::time::Duration;

use crate::flow::Transport;

/// Does the transport lose messages? Then transactions retransmit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reliability {
    /// TCP, TLS, WS, WSS.
    Reliable,
    /// UDP.
    Unreliable,
}

impl From<Transport> for Reliability {
    fn from(transport: Transport) -> Self {
        if transport.is_reliable() {
            Self::Reliable
        } else {
            Self::Unreliable
        }
    }
}

/// The timers of RFC 3261 §17 (table 4) and RFC 6026 §7 that a table starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// INVITE request retransmission.
    A,
    /// INVITE client time-out.
    B,
    /// Wait for retransmissions of the failure response.
    D,
    /// Non-INVITE request retransmission.
    E,
    /// Non-INVITE client time-out.
    F,
    /// Failure response retransmission.
    G,
    /// Wait for ACK.
    H,
    /// Wait for retransmitted ACKs.
    I,
    /// Wait for retransmitted non-INVITE requests.
    J,
    /// Wait for retransmitted responses.
    K,
    /// Wait for retransmitted INVITEs after a 2xx.
    L,
    /// Wait for retransmitted 2xx.
    M,
}

/// What a table wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the message of this event: the request, or the response that was handed down.
    Send,
    /// Send the last one again.
    Resend,
    /// Send the ACK of a failure response (RFC 3261 §17.1.1.3).
    Ack,
    /// Hand the response up.
    Pass,
    /// Tell that no final response came in time.
    Timeout,
    /// Tell that the next hop is unreachable.
    Unreachable,
    /// Start this timer; one that is started again after it fired doubles as [`Timing`] says.
    Start(Timer),
    /// Start this timer with T2, however often it fired.
    StartT2(Timer),
}

/// The base values of RFC 3261 §17.1.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Estimated round trip.
    pub t1: Duration,
    /// Longest interval between retransmissions of non-INVITE requests and INVITE responses.
    pub t2: Duration,
    /// Longest time that a message lives in the network.
    pub t4: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
        }
    }
}

impl Timing {
    /// How long `timer` runs when it is started for the `round`-th time, from 0.
    #[must_use]
    pub fn duration(&self, timer: Timer, round: u32) -> Duration {
        let doubled = self
            .t1
            .saturating_mul(1u32.checked_shl(round.min(16)).unwrap_or(u32::MAX));
        match timer {
            Timer::A => doubled,
            Timer::E | Timer::G => doubled.min(self.t2),
            Timer::B | Timer::F | Timer::H | Timer::J | Timer::L | Timer::M => self.t1 * 64,
            // At least 32 s (RFC 3261 §17.1.1.2), however small T1 is.
            Timer::D => (self.t1 * 64).max(Duration::from_secs(32)),
            Timer::I | Timer::K => self.t4,
        }
    }
}

#[cfg(test)]
mod tests;
