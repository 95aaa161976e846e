//! What an engine is told once: who we are for browsers, how upstreams are spoken to, and how much there may be.

use std::{sync::Arc, time::Duration};

use crate::{
    Leg,
    dtls::DtlsConfig,
    sdp::{Candidate, Protocol},
    sockets::{InterfaceId, SocketId},
    transport::Latch,
};

/// Of one engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our certificate.
    pub web: Arc<DtlsConfig>,
    /// The port of all web legs.
    pub web_socket: SocketId,
    /// Where browsers reach it, the preferred one first.
    pub web_candidates: Vec<Candidate>,
    /// For SIP ends that are no upstream.
    pub plain: PlainProfile,
    /// By the number in [`Leg::Sip`]; one that is missing has the profile `plain`.
    pub upstreams: Vec<PlainProfile>,
    /// Beyond them calls are refused or ended.
    pub limits: Limits,
}

/// How a SIP end is spoken to.
#[derive(Clone, Debug)]
pub struct PlainProfile {
    /// Where our ports for it are.
    pub interface: InterfaceId,
    /// What it is offered; what it offers itself is answered in kind.
    pub protocol: Protocol,
    /// The codecs that it is offered at most, by name; empty: all that the other end has.
    pub codecs: Vec<String>,
    /// Whose packets are taken.
    pub latch: Latch,
}

/// Named limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls at once.
    pub calls_max: usize,
    /// Of them, those whose ends share no codec.
    pub transcoded_calls_max: usize,
    /// Branches of one call at once.
    pub branches_max: usize,
    /// To tags of one branch.
    pub dialogs_max: usize,
    /// A call in which nothing is heard for so long from an end that should be heard is dead.
    pub silence_ms_max: u64,
    /// A call that nobody answered is forgotten after so long, if signalling does not end it.
    pub ringing_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 2000,
            transcoded_calls_max: 40,
            branches_max: 16,
            dialogs_max: 16,
            silence_ms_max: 60_000,
            ringing_ms_max: 600_000,
        }
    }
}

impl Limits {
    pub(crate) fn silence(&self) -> Duration {
        Duration::from_millis(self.silence_ms_max)
    }

    pub(crate) fn ringing(&self) -> Duration {
        Duration::from_millis(self.ringing_ms_max)
    }
}

impl Config {
    /// Of a SIP end.
    pub(crate) fn profile(&self, leg: Leg) -> Option<&PlainProfile> {
        match leg {
            Leg::Web => None,
            Leg::Sip(None) => Some(&self.plain),
            Leg::Sip(Some(number)) => {
                let upstream = self.upstreams.get(usize::from(number));
                Some(upstream.unwrap_or(&self.plain))
            }
        }
    }
}
