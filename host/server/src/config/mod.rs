//! The configuration, typed: one TOML file, a default for everything, all faults reported at once. Nothing here binds, creates or
//! resolves anything; relative paths are taken from the file's own folder.

mod auth;
mod check;
mod cidr;
mod destinations;
mod fault;
mod interfaces;
mod issuers;
mod listeners;
mod media;
mod numbers;
mod policies;
mod raw;
mod registrations;
mod turn;
mod upstreams;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

pub use auth::{Auth, Realm};
pub use cidr::Cidr;
pub use destinations::TestDestinations;
pub use fault::{Fault, Faults};
use hookswitch_policy::PolicySpec;
use hookswitch_sip::{flow::Transport, proxy::config::Way};
pub use interfaces::{Interface, MediaAddress, PORTS as MEDIA_PORTS};
pub use issuers::{Issuer, KeySource, KeyUrl};
pub use media::{
    Ice, Media, MediaSource, Relay, Rtpengine, RtpengineAt, Speech, Srtp, UpstreamMedia,
};
pub use numbers::{Limits, Timers, length};
pub use registrations::{Login, Password, Registration, Secret};
pub use turn::{Turn, TurnUsers};

/// In place of a file. Whoever writes one says himself what is to be there.
const STANDARD: &str = "[test_destinations]\nenabled = true";

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
    /// Of ours at upstreams, in the file's order: their index is their `TrunkId`.
    pub registrations: Vec<Registration>,
    /// What becomes of media.
    pub media: Media,
    /// TURN servers for pages.
    pub turn: Option<Turn>,
    /// Index of the upstream that gets what nobody else claims.
    pub default_upstream: Option<usize>,
    /// Echo and tone, if they are to be there.
    pub test_destinations: Option<TestDestinations>,
    /// Of registrations.
    pub registrar: Registrar,
    /// In the file's order, which is the order of the chain within a place.
    pub policies: Vec<PolicySpec>,
    /// What credentials are checked against.
    pub auth: Auth,
    /// Who is asked for names.
    pub dns: Dns,
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

/// Who is asked for the names of upstreams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Resolvers; those of the system if there are none.
    pub servers: Vec<SocketAddr>,
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
    /// Told to who registers a flow, which is closed if it is silent for longer, with some grace (RFC 5626 §5.4).
    pub flow_timer: Option<Duration>,
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
    /// SIP over TCP (RFC 3261 §18).
    Tcp,
    /// SIP over TLS (RFC 3261 §26.2.1).
    Tls(Certificate, ClientCertificates),
    /// WebSocket in the clear.
    Ws(Web),
    /// WebSocket in TLS.
    Wss(Web, Certificate),
}

impl ListenerKind {
    /// As SIP names it.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self {
            Self::Udp => Transport::Udp,
            Self::Tcp => Transport::Tcp,
            Self::Tls(..) => Transport::Tls,
            Self::Ws(_) => Transport::Ws,
            Self::Wss(..) => Transport::Wss,
        }
    }
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

/// Whether whoever connects over TLS must prove who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Nobody is asked.
    NotAsked,
    /// One that this CA (a PEM file) signed is taken note of; none is good, too.
    Optional(PathBuf),
    /// Only who has one that this CA (a PEM file) signed.
    Required(PathBuf),
}

/// A named group of next hops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name in policies, logs and metrics.
    pub name: String,
    /// What it speaks, and the listener of the same transport that it is spoken to from and can answer to. Several if DNS chooses
    /// (RFC 3263 §4.1): the first until it did. Never none.
    pub ways: Vec<Way>,
    /// How TLS is spoken to it, if ever.
    pub tls: Option<UpstreamTls>,
    /// Where it listens.
    pub members: Vec<MemberAt>,
    /// Whose messages are taken as its own; its members' if `None`, but over TLS nobody's if there are certificates.
    pub sources: Option<Vec<Cidr>>,
    /// Names of certificates by which it is known on connections over TLS, whatever its address (RFC 5922 §7.1).
    pub certificates: Vec<String>,
    /// What happens to a request that is too long for one datagram.
    pub oversize: Oversize,
    /// How it learns the way to clients that register there.
    pub announce: Announce,
    /// Connections to one member, from one worker.
    pub connections_max: u8,
    /// Until a connection stands, with its TLS.
    pub connect_max: Duration,
    /// A connection on which nothing was heard for this long is closed.
    pub idle_max: Duration,
    /// How it is looked after, if it is.
    pub keepalive: Option<Keepalive>,
    /// Who we are, if it asks.
    pub login: Option<Login>,
    /// Its media.
    pub media: UpstreamMedia,
}

/// How an upstream that is the registrar learns that clients are reached through us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announce {
    /// By a Path (RFC 3327).
    Path,
    /// By a Contact of ours in the place of the client's.
    Contact,
}

/// A member of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberAt {
    /// By address.
    Address(SocketAddr),
    /// Wherever the name leads, now and later.
    Name {
        /// Of a host.
        host: String,
        /// The transport's own if `None`.
        port: Option<u16>,
    },
}

impl MemberAt {
    /// If it is one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name { .. } => None,
        }
    }
}

impl Upstream {
    /// How it is spoken to until DNS says more.
    #[must_use]
    pub fn way(&self) -> Way {
        let [way, ..] = self.ways.as_slice() else {
            unreachable!("the configuration has a way to each upstream")
        };
        *way
    }
}

/// How TLS is spoken to an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM file of the CA that its certificates are from; the system's CAs if `None`.
    pub ca: Option<PathBuf>,
    /// What its certificates must name; the member's name or address if `None`.
    pub server_name: Option<String>,
    /// PEM files of our own chain and key, shown if it asks.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// How the members of an upstream are looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// How often.
    pub every: Duration,
    /// With what.
    pub by: KeepaliveBy,
}

/// What is sent to keep a way open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepaliveBy {
    /// Empty lines (RFC 5626 §3.5.1).
    Crlf,
    /// OPTIONS; a member that does not answer is passed over.
    Options,
}

/// What happens to a request within 200 bytes of the path's MTU (RFC 3261 §18.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// Sent all the same, in IP fragments.
    Fragment,
    /// Over TCP to the same address and port; over UDP if that cannot be had.
    TcpThenUdp,
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

    /// What `hookswitch run` does without a file.
    #[must_use]
    pub fn standard() -> Self {
        Self::parse(STANDARD, Path::new("."))
            .unwrap_or_else(|faults| unreachable!("it has no faults: {faults}"))
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
