//! Puts a server together from its configuration, and takes it down again without losing a call.

use std::{
    collections::BTreeMap,
    hash::RandomState,
    net::{IpAddr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hookswitch_auth::Auth;
use hookswitch_policy::{Engine, EngineConfig, FileWatch, Policies, pool::instances_needed};
use hookswitch_sip::{
    flow::{Flow, ListenerId, Transport, UpstreamId, WorkerId},
    limits::Limits,
    token::Keyring,
};
use rustls::pki_types::ServerName;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;

use crate::{
    admin, auth,
    capture::Capture,
    carriers::Carriers,
    config::{Config, Store, Upstream, length},
    destinations::Destinations,
    health::Pings,
    location::{Locations, disk::Disk},
    media::{Late, Media},
    metrics::{Gauge, Metrics},
    names, proxy_config, reload,
    source::Source,
    state::{self, State},
    transport::{self, Bound, Sockets, crowd::Crowd, tls, udp},
    turn::Turn,
    upstreams::Directory,
    worker::{self, Mail, Seat, message::Names},
};

/// How often a draining server looks whether its calls have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// A running server.
pub struct Server {
    addresses: Addresses,
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    workers: Vec<JoinHandle<()>>,
    capture: Option<JoinHandle<()>>,
    destinations: Option<Destinations>,
    _reload: Option<FileWatch>,
    _credentials: Vec<FileWatch>,
}

/// Where it listens, with real ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// By the name of the listener.
    pub listeners: BTreeMap<String, SocketAddr>,
    /// The admin endpoint.
    pub admin: Option<SocketAddr>,
}

/// How far the server has come.
#[derive(Clone)]
pub(crate) enum Phase {
    /// Policies are compiled, listeners bound.
    Starting,
    /// New calls are taken.
    Serving(Arc<Shared>),
    /// Running calls go on.
    Draining(Arc<Shared>),
}

/// What all threads see.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) message_limits: Limits,
    pub(crate) listeners: Vec<ListenerInfo>,
    pub(crate) locations: Locations,
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) directory: Directory,
    pub(crate) pings: Pings,
    /// Of the upstreams, in their order; `None` where it does not speak TLS.
    connectors: Vec<Option<TlsConnector>>,
    pub(crate) engine: Engine,
    pub(crate) auth: Arc<Auth>,
    pub(crate) carriers: Carriers,
    pub(crate) media: Media,
    pub(crate) turn: Option<Arc<Turn>>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) names: Arc<Names>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) capture: Option<Capture>,
    pub(crate) started: Instant,
    /// Keys the placement of messages.
    pub(crate) placement: RandomState,
    /// A worker has lost a task that it cannot do without.
    pub(crate) is_broken: AtomicBool,
    pub(crate) mailboxes: Vec<mpsc::Sender<Mail>>,
}

/// What is worth knowing of a listener once it is bound.
pub(crate) struct ListenerInfo {
    pub(crate) name: Arc<str>,
    pub(crate) transport: Transport,
    /// Ours, for the capture.
    pub(crate) address: SocketAddr,
    /// What it is bound to, where connections leave from.
    pub(crate) bound_ip: IpAddr,
    /// Host and port as others reach it.
    pub(crate) advertised: Box<str>,
}

impl Server {
    /// Loads the policies, binds every listener and starts the workers. `file` is watched for changes of the policies.
    ///
    /// # Errors
    /// What stands in the way, with the key that is to be changed. Nothing serves then.
    pub fn start(mut config: Config, file: Option<PathBuf>) -> Result<Self> {
        let written = config.clone();
        let state = State::open(&config.state_dir)?;
        let keys = state.token_keys(config.key_rotation)?;
        // First of all: whoever supervises us is to see that we are starting, which policies can make long.
        let (phase, seen) = watch::channel(Phase::Starting);
        let admin = config.admin.map(bind_admin).transpose()?;
        let admin_address = admin.as_ref().map(TcpListener::local_addr).transpose()?;
        admin::spawn(admin, state.clone(), seen.clone())?;
        let auth = auth::start(&config.auth, &state)?;
        let first_fetch = auth::keys::fetch_all(&config.auth, &auth, seen.clone())?;
        let (engine, policies) = load_policies(&config, &state, &auth)?;
        let destinations = Destinations::of(&mut config)?;
        let connectors = connectors(&config)?;
        let carriers = Carriers::new(&config)?;
        let turn = config
            .turn
            .as_ref()
            .map(Turn::new)
            .transpose()?
            .map(Arc::new);
        let directory = Directory::new(&config.upstreams);
        let bound = bind(&config)?;
        let (capture, capture_thread) = config
            .capture
            .as_ref()
            .map(Capture::start)
            .transpose()?
            .unzip();
        let addresses = Addresses {
            listeners: bound
                .iter()
                .map(|bound| (bound.name.clone(), bound.address))
                .collect(),
            admin: admin_address,
        };
        let (mailboxes, letters) = mailboxes(&config);
        let (media, answers) = Media::start(&config)?;
        let shared = Arc::new(Shared {
            message_limits: proxy_config::message_limits(&config.limits),
            listeners: bound.iter().map(ListenerInfo::of).collect(),
            crowd: Crowd::new(config.limits.connections_per_address_max),
            locations: locations(&config, &bound, &directory, &state)?,
            directory,
            pings: Pings::default(),
            connectors,
            engine,
            auth,
            carriers,
            turn,
            media,
            policies,
            names: Arc::new(Names {
                upstreams: config
                    .upstreams
                    .iter()
                    .map(|upstream| upstream.name.clone())
                    .collect(),
                local_hosts: local_hosts(&config, &bound),
                limits: proxy_config::message_limits(&config.limits),
                media: config.media.clone(),
            }),
            metrics: Metrics::new(config.workers),
            capture,
            started: Instant::now(),
            placement: RandomState::new(),
            is_broken: AtomicBool::new(false),
            mailboxes,
            config,
        });
        // Nobody is to be turned away for a token that the issuer's keys would have verified.
        first_fetch.wait();
        let letters = letters.into_iter().zip(answers).collect();
        let workers = start_workers(&shared, bound, &keys, &state, letters, &seen)?;
        names::spawn(&shared)?;
        let reload = file
            .map(|file| reload::watch(file, written, state))
            .transpose()?;
        let credentials = auth::watch(&shared.config.auth, &shared.auth)?;
        phase.send_replace(Phase::Serving(Arc::clone(&shared)));
        tracing::info!(listeners = ?addresses.listeners, admin = ?addresses.admin, "ready");
        Ok(Self {
            addresses,
            shared,
            phase,
            workers,
            capture: capture_thread,
            destinations,
            _reload: reload,
            _credentials: credentials,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Takes nothing new, and waits until what runs has ended or `drain_s_max` is over.
    pub async fn drained(&self) {
        self.stop_accepting().await;
        let deadline = Instant::now() + self.shared.config.drain_max;
        while self.shared.is_busy() && Instant::now() < deadline {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }

    /// Closes every connection with 1001 (RFC 6455 §7.4.1) and ends the workers.
    pub async fn stop(self) {
        self.stop_accepting().await;
        self.shared.tell_all(|| Mail::Close).await;
        let Self {
            workers,
            capture,
            destinations,
            shared,
            phase,
            ..
        } = self;
        // The threads of policies, admin and capture end with what they hold of this.
        let joined = tokio::task::spawn_blocking(move || {
            workers.into_iter().for_each(|worker| drop(worker.join()));
            destinations.into_iter().for_each(Destinations::stop);
            shared.locations.close();
            drop((shared, phase));
            capture.map(JoinHandle::join);
        });
        let _ = joined.await;
    }

    async fn stop_accepting(&self) {
        let draining = Phase::Draining(Arc::clone(&self.shared));
        if let Phase::Draining(_) = self.phase.send_replace(draining) {
            return;
        }
        tracing::info!("draining");
        self.shared.tell_all(|| Mail::Drain).await;
    }
}

impl Phase {
    /// There once it serves.
    pub(crate) fn shared(&self) -> Option<&Arc<Shared>> {
        match self {
            Self::Starting => None,
            Self::Serving(shared) | Self::Draining(shared) => Some(shared),
        }
    }
}

impl Shared {
    pub(crate) fn upstream(&self, id: UpstreamId) -> Option<&Upstream> {
        self.config.upstreams.get(usize::from(id.0))
    }

    /// How TLS is spoken to an address of an upstream, and whom its certificate must name.
    pub(crate) fn tls_to(
        &self,
        id: UpstreamId,
        peer: SocketAddr,
    ) -> Option<(TlsConnector, ServerName<'static>)> {
        let connector = self.connectors.get(usize::from(id.0))?.clone()?;
        let tls = self.upstream(id)?.tls.as_ref()?;
        let configured = tls.server_name.as_deref().map(Into::into);
        let name: Option<Box<str>> = configured.or_else(|| self.directory.name_of(id, peer));
        let name = match name {
            Some(name) => ServerName::try_from(name.into_string()).ok()?,
            None => ServerName::from(peer.ip()),
        };
        Some((connector, name))
    }

    pub(crate) fn listener(&self, id: ListenerId) -> &ListenerInfo {
        &self.listeners[usize::from(id.0)]
    }

    /// To every worker.
    pub(crate) async fn tell_all(&self, mail: impl Fn() -> Mail) {
        for mailbox in &self.mailboxes {
            // An error says that the worker has ended.
            let _ = mailbox.send(mail()).await;
        }
    }

    /// Only a new process mends this: whoever supervises it is told by `/healthz`.
    pub(crate) fn broke(&self, why: &str) {
        tracing::error!("{why}; restart hookswitch, and please report what stands above");
        self.is_broken.store(true, Relaxed);
    }

    fn is_busy(&self) -> bool {
        let runs = [Gauge::Unanswered, Gauge::CallsOpen].into_iter();
        runs.map(|gauge| self.metrics.total(gauge)).sum::<u64>() > 0
            || self.carriers.is_registered()
    }
}

impl ListenerInfo {
    fn of(bound: &Bound) -> Self {
        let advertised = bound.advertised.0.trim_matches(['[', ']']).parse();
        let ip = match advertised {
            Ok(ip) if bound.address.ip().is_unspecified() => ip,
            Ok(_) | Err(_) => bound.address.ip(),
        };
        Self {
            name: bound.name.as_str().into(),
            transport: bound.transport,
            address: SocketAddr::new(ip, bound.address.port()),
            bound_ip: bound.address.ip(),
            advertised: format!("{}:{}", bound.advertised.0, bound.advertised.1).into(),
        }
    }
}

fn connectors(config: &Config) -> Result<Vec<Option<TlsConnector>>> {
    let upstreams = config.upstreams.iter().enumerate();
    upstreams
        .map(|(index, upstream)| {
            tls::connector_to(upstream).with_context(|| format!("upstream[{index}]"))
        })
        .collect()
}

fn locations(
    config: &Config,
    bound: &[Bound],
    directory: &Directory,
    state: &State,
) -> Result<Locations> {
    let registrations_max = length(config.limits.registrations_max);
    match config.registrar.store {
        Store::Memory => Ok(Locations::new(registrations_max)),
        Store::Disk => {
            let names = bound.iter().map(|bound| bound.name.as_str().into());
            let datagram_flow =
                |listener: &str, peer: SocketAddr| datagram_flow(directory, bound, listener, peer);
            let (disk, restored) =
                Disk::open(&state.registrations(), names.collect(), &datagram_flow)?;
            Ok(Locations::on_disk(registrations_max, disk, restored))
        }
    }
}

fn datagram_flow(
    directory: &Directory,
    bound: &[Bound],
    name: &str,
    peer: SocketAddr,
) -> Option<Arc<Flow>> {
    let is_it = |bound: &Bound| bound.name == name && bound.transport == Transport::Udp;
    let listener = ListenerId(u8::try_from(bound.iter().position(is_it)?).ok()?);
    let source = Source::address(Transport::Udp, peer, name.into());
    let upstream = directory.upstream_from(peer.ip(), listener, Transport::Udp, &[]);
    Some(Arc::new(udp::flow(
        listener,
        peer,
        upstream,
        Arc::new(source),
    )))
}

fn load_policies(
    config: &Config,
    state: &State,
    auth: &Arc<Auth>,
) -> Result<(Engine, Arc<Policies>)> {
    let workers = config.workers.into();
    let engine = Engine::new(EngineConfig {
        workers,
        instances_max: instances_needed(workers, &config.policies)?,
        compile_cache: Some(state.compiled_policies()),
        auth: Arc::clone(auth),
    })?;
    let specs = reload::with_config_files(&config.policies, state)?;
    let policies = Policies::start(&engine, specs, config.upstream_names())?;
    Ok((engine, policies))
}

/// Whoever registers at one of these is known here; empty: at whatever host.
fn local_hosts(config: &Config, bound: &[Bound]) -> Vec<String> {
    if config.domains.is_empty() {
        return Vec::new();
    }
    let ours = bound
        .iter()
        .map(|bound| bound.advertised.0.to_ascii_lowercase());
    config.domains.iter().cloned().chain(ours).collect()
}

fn bind(config: &Config) -> Result<Vec<Bound>> {
    let listeners = config.listeners.iter().enumerate();
    listeners
        .map(|(index, listener)| transport::bind(index, listener, config.workers))
        .collect()
}

fn bind_admin(address: SocketAddr) -> Result<TcpListener> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok::<_, std::io::Error>(listener)
    };
    bind().with_context(|| {
        format!("admin.address: cannot bind {address}; choose another address or port, or stop what uses it")
    })
}

/// What a worker reads.
type Letters = Vec<(mpsc::Receiver<Mail>, mpsc::UnboundedReceiver<Late>)>;

fn mailboxes(config: &Config) -> (Vec<mpsc::Sender<Mail>>, Vec<mpsc::Receiver<Mail>>) {
    let room = length(config.limits.mailbox_messages_max);
    (0..config.workers).map(|_| mpsc::channel(room)).unzip()
}

fn start_workers(
    shared: &Arc<Shared>,
    bound: Vec<Bound>,
    keys: &Keyring,
    state: &State,
    letters: Letters,
    phase: &watch::Receiver<Phase>,
) -> Result<Vec<JoinHandle<()>>> {
    let proxies = (0..shared.config.workers)
        .map(|id| proxy_config::of(&shared.config, &bound, keys, &shared.carriers, WorkerId(id)));
    let proxies: Vec<_> = proxies.collect();
    let seats = seats(shared, bound, state)?;
    let mut workers = Vec::new();
    let each = (0..).zip(letters).zip(proxies).zip(seats);
    for (((id, (mailbox, answers)), proxy), seats) in each {
        let start = worker::Start {
            id: WorkerId(id),
            shared: Arc::clone(shared),
            proxy,
            seed: state::random()?,
            metrics: shared.metrics.of(id),
            seats,
            mailbox,
            answers,
            phase: phase.clone(),
        };
        workers.push(worker::spawn(start)?);
    }
    Ok(workers)
}

/// For each worker, in their order, its socket of each listener.
fn seats(shared: &Shared, bound: Vec<Bound>, state: &State) -> Result<Vec<Vec<Seat>>> {
    let mut seats: Vec<Vec<Seat>> = std::iter::repeat_with(Vec::new)
        .take(shared.config.workers.into())
        .collect();
    for (listener, bound) in shared.config.listeners.iter().zip(bound) {
        let tls = tls::acceptor_of(&listener.kind, &bound.advertised.0, state)?;
        match bound.sockets {
            Sockets::Udp(sockets) => seats
                .iter_mut()
                .zip(sockets)
                .for_each(|(seat, socket)| seat.push(Seat::Udp(socket))),
            Sockets::Tcp(sockets) => {
                seats
                    .iter_mut()
                    .zip(sockets)
                    .for_each(|(seat, socket)| seat.push(Seat::Tcp(socket, tls.clone())));
            }
        }
    }
    Ok(seats)
}
