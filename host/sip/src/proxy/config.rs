//! What a proxy is told once, as plain typed values: the server's configuration makes them.

use std::{
    net::{AddrParseError, SocketAddr},
    str::FromStr,
    time::Duration,
};

use super::{credentials::Login, trunk::TrunkConfig};
use crate::{
    flow::{ListenerId, Transport, UpstreamId, WorkerId},
    token::Keyring,
    transaction::Timing,
};

/// Everything that one worker's proxy must know. All workers have the same but for `worker`.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// This proxy's worker.
    pub worker: WorkerId,
    /// How many workers there are.
    pub workers: u8,
    /// Timers of RFC 3261 §17.
    pub timing: Timing,
    /// Timers of the proxy.
    pub timers: ProxyTimers,
    /// What it holds at most.
    pub limits: ProxyLimits,
    /// Named by [`ListenerId`].
    pub listeners: Vec<ListenerConfig>,
    /// Named by [`UpstreamId`].
    pub upstreams: Vec<UpstreamConfig>,
    /// Registrations of ours, named by [`TrunkId`](super::trunk::TrunkId).
    pub trunks: Vec<TrunkConfig>,
    /// Domains that the registrar serves, each with users of its own. Empty: every domain is served, and all as one, so that a user
    /// is found whatever name or address of ours is called.
    pub domains: Vec<String>,
    /// Users of these domains that are at an upstream, unless somebody has registered as one of them.
    pub users: Vec<(String, UpstreamId)>,
    /// Where a request goes that nothing else has a place for.
    pub default_upstream: Option<UpstreamId>,
    /// Who the registrar is, and its limits.
    pub registrar: RegistrarConfig,
    /// Seals and opens flow tokens.
    pub keys: Keyring,
    /// The Server header field of our own responses; none if empty.
    pub server_name: String,
}

impl ProxyConfig {
    /// With one worker, no listener, no upstream, and defaults for the rest.
    #[must_use]
    pub fn new(keys: Keyring) -> Self {
        Self {
            worker: WorkerId(0),
            workers: 1,
            timing: Timing::default(),
            timers: ProxyTimers::default(),
            limits: ProxyLimits::default(),
            listeners: Vec::new(),
            upstreams: Vec::new(),
            trunks: Vec::new(),
            domains: Vec::new(),
            users: Vec::new(),
            default_upstream: None,
            registrar: RegistrarConfig::default(),
            keys,
            server_name: "hookswitch".to_owned(),
        }
    }
}

/// Where messages come in, and under which name we go there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// As in the configuration.
    pub name: String,
    /// What it speaks.
    pub transport: Transport,
    /// The advertised host, an IPv6 address in brackets: written to Via and Record-Route.
    pub host: String,
    /// The advertised port.
    pub port: u16,
    /// Within which a client is to send keep-alives on a flow that it registers (RFC 5626 §5.4).
    pub flow_timer: Option<Duration>,
}

/// A named group of next hops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// As in the configuration.
    pub name: String,
    /// `Udp`, `Tcp` or `Tls`.
    pub transport: Transport,
    /// What it is reached from.
    pub listener: ListenerId,
    /// Where its members are.
    pub members: Vec<Member>,
    /// The names in its configuration: a URI with one of these as its host leads to it.
    pub names: Vec<MemberName>,
    /// Connections to one member, from one worker; over UDP there are none.
    pub connections_max: u8,
    /// What to do with a message that is too large for one UDP packet.
    pub oversize: Oversize,
    /// From this size on a message is oversize; RFC 3261 §18.1.1 says 1300 where the path's MTU is unknown.
    pub mtu_bytes_max: usize,
    /// How it learns where clients are whose REGISTER goes to it.
    pub announce: Announce,
    /// Who we are, if it asks.
    pub login: Option<Login>,
}

impl UpstreamConfig {
    /// Over UDP, with equal members and defaults for the rest.
    #[must_use]
    pub fn new(name: &str, listener: ListenerId, members: Vec<SocketAddr>) -> Self {
        Self {
            name: name.to_owned(),
            transport: Transport::Udp,
            listener,
            members: members.into_iter().map(Member::from).collect(),
            names: Vec::new(),
            connections_max: 1,
            oversize: Oversize::Fragment,
            mtu_bytes_max: 1300,
            announce: Announce::default(),
            login: None,
        }
    }
}

/// How an upstream that is the registrar learns that clients are reached through us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announce {
    /// By a Path (RFC 3327).
    #[default]
    Path,
    /// By a Contact of ours in the place of the client's, for those that do not know of Path.
    Contact,
}

/// How an upstream is spoken to: DNS may prefer another way tomorrow (RFC 3263 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// `Udp`, `Tcp` or `Tls`.
    pub transport: Transport,
    /// What it is reached from.
    pub listener: ListenerId,
}

/// A name that leads to members of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberName {
    /// Of a host or a domain.
    pub host: String,
    /// `None` leaves it to DNS (RFC 3263 §4.2).
    pub port: Option<u16>,
}

/// One next hop of an upstream, as a record of SRV says it (RFC 2782).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it is.
    pub address: SocketAddr,
    /// The lowest is tried first.
    pub priority: u16,
    /// Its share among those of one priority. Where nobody has a weight, all take turns.
    pub weight: u16,
}

impl From<SocketAddr> for Member {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            priority: 0,
            weight: 0,
        }
    }
}

impl FromStr for Member {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        text.parse().map(|address: SocketAddr| address.into())
    }
}

/// Does a member of an upstream do its work?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberHealth {
    /// It answered.
    Answers,
    /// It did not, and is passed over for a time.
    Silent,
}

/// What becomes of a request that is too large for one UDP packet (RFC 3261 §18.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oversize {
    /// Left to IP: what a PBX in the same network takes best.
    #[default]
    Fragment,
    /// Over TCP to the same address and port; over UDP if that cannot be had.
    TcpThenUdp,
    /// 513.
    Refuse,
}

/// Timers of the proxy, apart from those of the transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyTimers {
    /// An INVITE without a response gets its 100 after this (RFC 3261 §17.2.1: 200 ms).
    pub trying: Duration,
    /// An INVITE branch that rings longer is cancelled (RFC 3261 §16.6 item 11: more than 3 min).
    pub timer_c: Duration,
    /// A branch without any response fails after this; `None` leaves it to Timer B or F.
    pub first_response: Option<Duration>,
    /// A stage of an INVITE without a final response fails after this; `None` leaves it to Timer C.
    pub no_answer: Option<Duration>,
    /// A member of an upstream that did not answer is tried after the others for this long.
    pub passed_over: Duration,
    /// A call's record is dropped when nothing of the call passed for this long.
    pub call_idle: Duration,
    /// That of a subscription, which its subscriber refreshes (RFC 6665 §4.1.2.2) before it is over.
    pub subscription_idle: Duration,
    /// What Retry-After says when we drain or are full.
    pub retry_after: Duration,
}

impl Default for ProxyTimers {
    fn default() -> Self {
        Self {
            trying: Duration::from_millis(200),
            timer_c: Duration::from_secs(185),
            first_response: None,
            no_answer: Some(Duration::from_secs(180)),
            passed_over: Duration::from_secs(30),
            call_idle: Duration::from_secs(12 * 3600),
            subscription_idle: Duration::from_secs(2 * 3600),
            retry_after: Duration::from_secs(5),
        }
    }
}

/// What one worker's proxy holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyLimits {
    /// Server transactions; 503 beyond.
    pub transactions_max: usize,
    /// Beyond those, so many for requests of dialogs alone: calls must end while none may begin.
    pub in_dialog_reserve_max: usize,
    /// Records of calls; a call beyond goes on without attributes, and is not ended when its media dies.
    pub calls_max: usize,
    /// Branches of one request over all stages.
    pub branches_max: usize,
    /// Responses of one branch, requests of one dialog and direction, or ACKs of one, that wait for one before them or for an ask.
    pub queued_max: usize,
    /// How often the failure hook of one request may set new targets.
    pub failure_rounds_max: u32,
    /// Different 2xx of one branch (a fork further down) that are told apart from retransmissions.
    pub answers_per_branch_max: usize,
    /// Keys that policies may set on one transaction or call.
    pub attributes_max: usize,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self {
            transactions_max: 100_000,
            in_dialog_reserve_max: 25_000,
            calls_max: 100_000,
            branches_max: 32,
            queued_max: 32,
            failure_rounds_max: 4,
            answers_per_branch_max: 16,
            attributes_max: 64,
        }
    }
}

/// Who the registrar is, and our limits as one (RFC 3261 §10.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrarConfig {
    /// The upstream that is it; `None` if we are.
    pub upstream: Option<UpstreamId>,
    /// Shorter is answered 423.
    pub expires_min: Duration,
    /// When the client names none.
    pub expires_default: Duration,
    /// Longer is shortened.
    pub expires_max: Duration,
    /// Bindings of one address of record.
    pub contacts_max: usize,
}

impl Default for RegistrarConfig {
    fn default() -> Self {
        Self {
            upstream: None,
            expires_min: Duration::from_secs(60),
            expires_default: Duration::from_secs(600),
            expires_max: Duration::from_secs(3600),
            contacts_max: 10,
        }
    }
}
