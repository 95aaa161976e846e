//! One proxy of several workers, with the transports, the store, the policies and the media engine that a server would put around it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hookswitch_sip::{
    flow::{
        Attachment, Flow, FlowId, ListenerId, SessionKey, Side, Transport, UpstreamId, WorkerId,
    },
    proxy::{
        Gauges, Proxy, ProxyConfig,
        config::{ListenerConfig, UpstreamConfig},
        io::{Hooks, Policies, StoreOp, StoreReply},
    },
    registrar::{self, Aor, Binding},
    token::{Key, Keyring},
};

use crate::{ladder::PROXY_HOST, rng::Rng};

/// Workers of every simulated proxy.
pub const WORKERS: u8 = 4;
/// The listener of browsers.
pub const WSS: ListenerId = ListenerId(0);
/// The listener of phones and PBXs.
pub const UDP: ListenerId = ListenerId(1);
/// Upstreams in their order, each with its members.
pub const UPSTREAMS: [(&str, &[&str]); 3] = [
    ("pbx", &["203.0.113.10:5060"]),
    ("carrier", &["203.0.113.20:5060"]),
    ("small", &["203.0.113.30:5060"]),
];

/// The node: a set of proxies that share a store.
#[derive(Debug)]
pub struct Node {
    /// By worker.
    pub workers: Vec<Proxy>,
    /// Counts restarts: what was under way for an earlier life is lost.
    pub life: u32,
    /// Hooks that some policy exports.
    pub hooks: Hooks,
    config: ProxyConfig,
    /// Connections that are up, by serial.
    connections: BTreeMap<u64, Arc<Flow>>,
    bindings: BTreeMap<Aor, Vec<Binding>>,
    start: Instant,
}

impl Node {
    /// A node whose proxies have this configuration.
    #[must_use]
    pub fn new(config: ProxyConfig, rng: &mut Rng) -> Self {
        let mut node = Self {
            workers: Vec::new(),
            life: 0,
            hooks: Hooks::default(),
            config,
            connections: BTreeMap::new(),
            bindings: BTreeMap::new(),
            start: Instant::now(),
        };
        node.start_workers(rng);
        node
    }

    /// The configuration of the simulated node: both listeners, all upstreams, calls for nobody go to the first of these.
    #[must_use]
    pub fn default_config() -> ProxyConfig {
        let mut config = ProxyConfig::new(Keyring::new(Key::new(1, &[7; 32])));
        config.workers = WORKERS;
        let listener = |name: &str, transport, port| ListenerConfig {
            name: name.to_owned(),
            transport,
            host: PROXY_HOST.to_owned(),
            port,
            flow_timer: None,
        };
        config.listeners = vec![
            listener("wss", Transport::Wss, 443),
            listener("udp", Transport::Udp, 5060),
        ];
        let members = |list: &[&str]| {
            list.iter()
                .filter_map(|member| member.parse().ok())
                .collect()
        };
        config.upstreams = UPSTREAMS
            .iter()
            .map(|(name, list)| UpstreamConfig::new(name, UDP, members(list)))
            .collect();
        config.domains = vec!["example.com".to_owned()];
        config.default_upstream = Some(UpstreamId(0));
        config
    }

    /// The proxy's clock at this moment of the virtual one.
    #[must_use]
    pub fn instant(&self, now: Duration) -> Instant {
        self.start + now
    }

    /// When a proxy wants to be woken.
    #[must_use]
    pub fn next_timer(&self) -> Option<Duration> {
        let next = self.workers.iter().filter_map(Proxy::poll_timeout).min()?;
        Some(next.saturating_duration_since(self.start))
    }

    /// All of the workers together.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        self.workers
            .iter()
            .map(Proxy::gauges)
            .fold(Gauges::default(), |sum, one| Gauges {
                transactions: sum.transactions + one.transactions,
                branches: sum.branches + one.branches,
                calls: sum.calls + one.calls,
                asks: sum.asks + one.asks,
                timers: sum.timers + one.timers,
                unanswered: sum.unanswered + one.unanswered,
                gates: sum.gates + one.gates,
                indexed: sum.indexed + one.indexed,
            })
    }

    /// The process dies and comes back: connections, transactions and registrations are gone, keys stay.
    pub fn restart(&mut self, rng: &mut Rng) -> BTreeSet<u64> {
        self.life += 1;
        self.bindings.clear();
        self.start_workers(rng);
        std::mem::take(&mut self.connections).into_keys().collect()
    }

    /// A browser's connection is accepted.
    pub fn accept(
        &mut self,
        serial: u64,
        peer: SocketAddr,
        worker: WorkerId,
        session: Option<SessionKey>,
    ) {
        let id = FlowId::Connection { worker, serial };
        let flow = Flow {
            id,
            transport: Transport::Wss,
            listener: WSS,
            peer,
            side: Side::Web,
            session,
            attachment: Attachment::default(),
        };
        self.connections.insert(serial, Arc::new(flow));
    }

    /// A connection broke.
    pub fn close(&mut self, serial: u64) -> Option<Arc<Flow>> {
        self.connections.remove(&serial)
    }

    /// The flow of a connection, while it is up.
    #[must_use]
    pub fn connection(&self, serial: u64) -> Option<Arc<Flow>> {
        self.connections.get(&serial).cloned()
    }

    /// The flow that a datagram from `peer` comes on.
    #[must_use]
    pub fn datagram(&self, peer: SocketAddr) -> Arc<Flow> {
        let upstream = self
            .config
            .upstreams
            .iter()
            .zip(0..)
            .find(|(upstream, _)| upstream.members.iter().any(|member| member.address == peer));
        let side = upstream.map_or(Side::Stranger, |(_, index)| {
            Side::Upstream(UpstreamId(index))
        });
        let id = FlowId::Datagram {
            listener: UDP,
            peer,
        };
        Arc::new(Flow {
            id,
            transport: Transport::Udp,
            listener: UDP,
            peer,
            side,
            session: None,
            attachment: Attachment::default(),
        })
    }

    /// What a new transaction begins with.
    #[must_use]
    pub fn policies(&self) -> Policies {
        Policies {
            hooks: self.hooks,
            generation: Arc::new(self.life),
        }
    }

    /// The location service, as a server's memory would be.
    pub fn store(&mut self, now: Duration, op: &StoreOp) -> StoreReply {
        let now = self.instant(now);
        match op {
            StoreOp::Register { aor, update } => {
                let bindings = self.bindings.entry(aor.clone()).or_default();
                match registrar::apply(bindings, update, now) {
                    Ok(()) => StoreReply::Bindings(bindings.clone()),
                    Err(error) => StoreReply::Refused {
                        status: error.status(),
                        reason: error.to_string(),
                    },
                }
            }
            StoreOp::Lookup { aor } => {
                let bindings = self.bindings.entry(aor.clone()).or_default();
                bindings.retain(|binding| binding.expires_at > now);
                StoreReply::Bindings(bindings.clone())
            }
            StoreOp::Session { key, flow } => StoreReply::Session(self.session(*key, *flow, now)),
            StoreOp::Client { key } => {
                let all = self.bindings.values().flatten();
                let found = all.filter(|b| b.client == *key && b.expires_at > now);
                StoreReply::Bindings(found.cloned().collect())
            }
            StoreOp::FlowClosed { flow } => {
                self.bindings.values_mut().for_each(|bindings| {
                    registrar::flow_closed(bindings, *flow);
                });
                StoreReply::Bindings(Vec::new())
            }
        }
    }

    fn session(&self, key: SessionKey, hint: FlowId, now: Instant) -> Option<Arc<Flow>> {
        let named = || {
            self.connections
                .values()
                .filter(|flow| flow.session == Some(key))
        };
        let named = named()
            .find(|flow| flow.id == hint)
            .or_else(|| named().next_back());
        named.cloned().or_else(|| {
            let mut users = self.users_of(key);
            if users.is_empty() {
                let by_connection = hint.session().map(|serial| self.users_of(serial));
                users = by_connection.filter(|users| users.len() == 1)?;
            }
            let mut users = users.into_iter();
            users.find_map(|bindings| registrar::flow_of_session(bindings, key, hint, now))
        })
    }

    fn users_of(&self, session: SessionKey) -> Vec<&Vec<Binding>> {
        let users = self.bindings.values();
        users
            .filter(|bindings| registrar::is_of_session(bindings, session))
            .collect()
    }

    fn start_workers(&mut self, rng: &mut Rng) {
        let start = |worker| {
            let mut seed = [0u8; 32];
            seed.chunks_mut(8)
                .for_each(|chunk| chunk.copy_from_slice(&rng.next_u64().to_le_bytes()));
            Proxy::new(
                ProxyConfig {
                    worker: WorkerId(worker),
                    ..self.config.clone()
                },
                seed,
            )
        };
        self.workers = (0..WORKERS).map(start).collect();
    }
}
