//! The configuration, typed: one TOML file, a default for everything, all faults reported at once. Nothing here binds, creates or
//! resolves anything; relative paths are taken from the file's own folder.

mod auth;
mod check;
mod cidr;
mod fault;
mod listeners;
mod numbers;
mod policies;
mod raw;
mod upstreams;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

pub use auth::{Auth, Realm};
pub use cidr::Cidr;
pub use fault::{Fault, Faults};
use hookswitch_policy::PolicySpec;
use hookswitch_sip::flow::{ListenerId, UpstreamId};
pub use numbers::{Limits, Timers, length};

/// All that an operator can say.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Threads that handle messages, each with a proxy of its own.
    pub workers: u8,
    /// Where keys, the certificate and compiled policies are kept (0700).
    pub state_dir: PathBuf,
    /// Domains whose users register here, in lower case; empty: every domain, and all as one.
    pub domains: Vec<String>,
    /// How long running calls may go on once the process was told to stop.
    pub drain_max: Duration,
    /// How long a token key signs before a new one does.
    pub key_rotation: Duration,
    /// In the file's order: their index is their `ListenerId`.
    pub listeners: Vec<Listener>,
    /// In the file's order: their index is their `UpstreamId`.
    pub upstreams: Vec<Upstream>,
    /// Index of the upstream that gets what nobody else claims.
    pub default_upstream: Option<usize>,
    /// Of registrations.
    pub registrar: Registrar,
    /// In the file's order, which is the order of the chain within a place.
    pub policies: Vec<PolicySpec>,
    /// What credentials are checked against.
    pub auth: Auth,
    /// Where the admin endpoint listens, if at all.
    pub admin: Option<SocketAddr>,
    /// What is logged and how.
    pub log: Log,
    /// The capture, if one is made.
    pub capture: Option<Capture>,
    /// Of every queue and table.
    pub limits: Limits,
    /// Of transactions.
    pub timers: Timers,
}

/// Registrations: where they are kept and how long they last (RFC 3261 §10.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registrar {
    /// Index of the upstream that is the registrar; we are if `None`.
    pub upstream: Option<usize>,
    /// Where they are kept.
    pub store: Store,
    /// Shorter is answered 423.
    pub expires_min: Duration,
    /// When the client names none.
    pub expires_default: Duration,
    /// Longer is shortened.
    pub expires_max: Duration,
}

/// Where registrations are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// In memory: a restart forgets them.
    Memory,
    /// In memory and, within a tenth of a second, in a file of the state folder: a restart brings them back.
    Disk,
}

/// Where messages come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in policies, logs and metrics.
    pub name: String,
    /// What it is bound to; port 0 takes any free one.
    pub address: SocketAddr,
    /// The host and port that others reach it by; the bound address if `None`.
    pub advertised: Option<Advertised>,
    /// What is spoken.
    pub kind: ListenerKind,
}

/// Host and port as written in Via, Record-Route and Contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// A name or an address, an IPv6 one in brackets.
    pub host: String,
    /// The bound port if `None`.
    pub port: Option<u16>,
}

/// What a listener speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// Datagrams.
    Udp,
    /// WebSocket in the clear.
    Ws(Web),
    /// WebSocket in TLS.
    Wss(Web, Certificate),
}

/// The HTTP side of a WebSocket listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Whose pages may open a WebSocket.
    pub origins: Origins,
    /// A folder served to any GET that is not an upgrade.
    pub pages: Option<PathBuf>,
}

/// Whose pages may open a WebSocket (RFC 6455 §10.2). A client without an Origin is no browser and passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Pages of the same host as the WebSocket; the default.
    SameHost,
    /// Any page.
    Any,
    /// These, as `https://host[:port]` in lower case.
    Listed(Vec<String>),
}

/// Where a listener's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Made at the first start and kept in the state folder.
    SelfSigned,
    /// PEM files.
    Files {
        /// The chain, leaf first.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
}

/// A named group of next hops over UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name in policies, logs and metrics.
    pub name: String,
    /// Index of the UDP listener that it is spoken to from.
    pub listener: usize,
    /// Where it listens.
    pub members: Vec<SocketAddr>,
    /// Whose messages are taken as its own.
    pub sources: Vec<Cidr>,
    /// What happens to a request that is too long for one datagram.
    pub oversize: Oversize,
    /// How it learns the way to clients that register there.
    pub announce: Announce,
}

/// How an upstream that is the registrar learns that clients are reached through us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announce {
    /// By a Path (RFC 3327).
    Path,
    /// By a Contact of ours in the place of the client's.
    Contact,
}

/// What happens to a request within 200 bytes of the path's MTU (RFC 3261 §18.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// Sent all the same, in IP fragments.
    Fragment,
    /// Answered 513.
    Refuse,
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Of tracing: `info`, `hookswitch=debug`, `hookswitch::message=trace` …
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Messages written to a file that Wireshark reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The newer half; the older one has `.1` after its name.
    pub file: PathBuf,
    /// Of both halves together.
    pub capture_bytes_max: u64,
    /// What becomes of Authorization and its like.
    pub credentials: Credentials,
}

/// What becomes of credentials in a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Replaced; the default.
    Redacted,
    /// Kept.
    Kept,
}

impl Config {
    /// What policies may call them.
    #[must_use]
    pub fn upstream_names(&self) -> Vec<String> {
        let upstreams = self.upstreams.iter();
        upstreams.map(|upstream| upstream.name.clone()).collect()
    }

    /// The upstream that sends from this address to this listener.
    #[must_use]
    pub fn upstream_of(&self, listener: ListenerId, peer: IpAddr) -> Option<UpstreamId> {
        let found = self.upstreams.iter().position(|upstream| {
            upstream.listener == usize::from(listener.0)
                && upstream.sources.iter().any(|range| range.contains(peer))
        });
        found
            .and_then(|index| u16::try_from(index).ok())
            .map(UpstreamId)
    }

    /// What `hookswitch run` does without a file.
    #[must_use]
    pub fn standard() -> Self {
        Self::parse("", Path::new("."))
            .unwrap_or_else(|faults| unreachable!("an empty file has no faults: {faults}"))
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// Every fault that was found.
    pub fn load(file: &Path) -> Result<Self, Faults> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            let mut faults = Faults::default();
            faults.push(
                "",
                format!("{} cannot be read: {error}", file.display()),
                "name a TOML file that you can read",
            );
            faults
        })?;
        let folder = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        Self::parse(&text, folder)
    }

    /// Checks a configuration; `folder` is where relative paths start.
    ///
    /// # Errors
    /// Every fault that was found.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Faults> {
        check::check(text, folder)
    }

    /// The same but for the configurations of policies, which alone can change while the process runs?
    #[must_use]
    pub fn differs_in_policy_configs_alone(&self, other: &Self) -> bool {
        let mut like_us = other.clone();
        for (theirs, ours) in like_us.policies.iter_mut().zip(&self.policies) {
            theirs.config = ours.config.clone();
        }
        *self == like_us
    }
}

#[cfg(test)]
mod tests;
