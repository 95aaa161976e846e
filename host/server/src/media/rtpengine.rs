//! The thread that speaks to the rtpengines: their sockets, the clock, and the client of `media` between them and the workers.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use bytes::Bytes;
use hookswitch_media::{
    self as media,
    ng::{
        Client, Config as ClientConfig, Health, Input, NodeConfig, NodeId, Output, Protocol, Wire,
        message::Totals,
    },
};
use hookswitch_sip::{flow::WorkerId, proxy::io::AskId};
use tokio::{
    net::UdpSocket,
    runtime::{Builder, LocalOptions},
    sync::mpsc,
    task::spawn_local,
};

use super::{Order, askers::Askers, connection};
use crate::{
    config::{Config, Rtpengine, RtpengineAt, Srtp, length},
    observe::printable,
    state,
};

/// Asks of all workers that wait for an answer.
const ASKS_MAX: usize = 8_192;
/// Whatever a datagram may hold.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// What `[log] filter` names for a line for each call that went through rtpengine.
const CALLS: &str = "hookswitch::media";

/// What the workers have of the thread.
pub(super) struct Rtpengines {
    orders: mpsc::UnboundedSender<(WorkerId, Order)>,
    state: Arc<Common>,
}

/// What both see.
struct Common {
    asks: AtomicUsize,
    nodes: Vec<(String, AtomicBool)>,
}

/// What the sockets' tasks tell.
#[derive(Debug)]
pub(super) enum Event {
    Received(NodeId, Bytes),
    Connected(NodeId),
    Disconnected(NodeId),
}

impl Rtpengines {
    pub(super) fn start(config: &Config, askers: Askers) -> io::Result<Self> {
        let nodes = config.media.rtpengines.clone();
        let (orders, orders_in) = mpsc::unbounded_channel();
        let names = nodes.iter().map(|node| node.name.clone());
        let state = Arc::new(Common {
            asks: AtomicUsize::new(0),
            nodes: names.map(|name| (name, AtomicBool::new(false))).collect(),
        });
        let [a, b, c, d, e, f, g, h, ..] = state::random()?;
        let upstreams = config.upstreams.iter();
        let client = ClientConfig {
            nodes: nodes.iter().map(node).collect(),
            plain: protocol(config.media.srtp),
            upstreams: upstreams.map(|each| protocol(each.media.srtp)).collect(),
            calls_max: length(config.limits.calls_max),
            cookies: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        };
        let common = Arc::clone(&state);
        thread::Builder::new()
            .name("rtpengine".to_owned())
            .spawn(move || {
                let runtime = Builder::new_current_thread()
                    .enable_all()
                    .build_local(LocalOptions::default());
                match runtime {
                    Ok(runtime) => {
                        runtime.block_on(run(&nodes, client, orders_in, askers, &common))
                    }
                    Err(error) => tracing::error!(%error, "nobody speaks to the rtpengines"),
                }
            })?;
        Ok(Self { orders, state })
    }

    pub(super) fn ask(
        &self,
        from: WorkerId,
        id: AskId,
        ask: media::Ask,
    ) -> Result<(), media::Answer> {
        if self.state.asks.fetch_add(1, Relaxed) >= ASKS_MAX {
            self.state.asks.fetch_sub(1, Relaxed);
            return Err(refusal("too many session descriptions wait for rtpengine"));
        }
        let sent = self.orders.send((from, Order::Ask { id, ask }));
        sent.map_err(|_| refusal("nobody speaks to the rtpengines"))
    }

    pub(super) fn tell(&self, from: WorkerId, order: Order) {
        // An error says that the thread has ended.
        let _ = self.orders.send((from, order));
    }

    pub(super) fn health(&self) -> impl Iterator<Item = (&str, bool)> {
        let nodes = self.state.nodes.iter();
        nodes.map(|(name, is_up)| (name.as_str(), is_up.load(Relaxed)))
    }
}

fn refusal(reason: &str) -> media::Answer {
    media::Answer::Refuse {
        status: 500,
        reason: reason.to_owned(),
    }
}

fn protocol(srtp: Srtp) -> Protocol {
    match srtp {
        Srtp::Off => Protocol::Avp,
        Srtp::Sdes => Protocol::Savp,
    }
}

fn node(node: &Rtpengine) -> NodeConfig {
    NodeConfig {
        name: node.name.clone(),
        wire: match node.at {
            RtpengineAt::Udp(_) => Wire::Datagrams,
            RtpengineAt::WebSocket(_) => Wire::Connection,
        },
    }
}

/// The way to one node.
enum Way {
    Udp(Arc<UdpSocket>),
    WebSocket(mpsc::Sender<Bytes>),
}

/// Until the last worker is gone.
async fn run(
    nodes: &[Rtpengine],
    config: ClientConfig,
    mut orders: mpsc::UnboundedReceiver<(WorkerId, Order)>,
    askers: Askers,
    common: &Common,
) {
    let (events, mut happened) = mpsc::channel(EVENTS_MAX);
    let mut ways = Vec::new();
    for (id, node) in (0..).map(NodeId).zip(nodes) {
        ways.push(open(id, node.at, &events).await);
    }
    let mut thread = Thread {
        client: Client::new(config, Instant::now()),
        ways,
        askers,
        common,
    };
    loop {
        thread.drain();
        let due = thread.client.poll_timeout();
        let sleep = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = orders.recv() => match order {
                Some((from, order)) => thread.order(from, order),
                None => return,
            },
            Some(event) = happened.recv() => thread.event(event),
            () = sleep => thread.client.handle_timeout(Instant::now()),
        }
    }
}

/// What the sockets have read and nobody has looked at.
const EVENTS_MAX: usize = 256;

/// `None` where the kernel has no socket.
async fn open(id: NodeId, at: RtpengineAt, events: &mpsc::Sender<Event>) -> Option<Way> {
    match at {
        RtpengineAt::WebSocket(address) => {
            let (sender, outgoing) = mpsc::channel(connection::QUEUED_MAX);
            spawn_local(connection::keep(id, address, outgoing, events.clone()));
            Some(Way::WebSocket(sender))
        }
        RtpengineAt::Udp(address) => {
            let socket = connected(address).await;
            let socket = socket
                .map_err(|error| tracing::error!(%address, %error, "no socket for rtpengine"))
                .ok()?;
            let socket = Arc::new(socket);
            spawn_local(receive(id, Arc::clone(&socket), events.clone()));
            Some(Way::Udp(socket))
        }
    }
}

async fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}

/// From a node's datagrams to events. An error says that nobody listens there (ICMP).
async fn receive(node: NodeId, socket: Arc<UdpSocket>, events: mpsc::Sender<Event>) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let event = match socket.recv(&mut buffer).await {
            Ok(length) => {
                let bytes = buffer.get(..length).unwrap_or_default();
                Event::Received(node, Bytes::copy_from_slice(bytes))
            }
            Err(_) => Event::Disconnected(node),
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

struct Thread<'c> {
    client: Client,
    ways: Vec<Option<Way>>,
    askers: Askers,
    common: &'c Common,
}

impl Thread<'_> {
    fn order(&mut self, from: WorkerId, order: Order) {
        let input = match order {
            Order::Ask { id, ask } => Input::Ask {
                id: media::ng::AskId(Askers::number(from, id)),
                ask,
            },
            Order::Withdraw { id } => Input::Withdraw {
                id: media::ng::AskId(Askers::number(from, id)),
            },
            Order::News(news) => Input::News(news),
        };
        self.client.handle(Instant::now(), input);
    }

    fn event(&mut self, event: Event) {
        let input = match event {
            Event::Received(node, bytes) => Input::Received { node, bytes },
            Event::Connected(node) => Input::Connected { node },
            Event::Disconnected(node) => Input::Disconnected { node },
        };
        self.client.handle(Instant::now(), input);
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Send { node, bytes } => self.send(node, bytes),
                Output::Answer { id, answer } => self.answer(id, answer),
                Output::Health { node, health } => self.health(node, health),
                Output::Dead { call, reason } => self.askers.dead(&call, &reason),
                Output::Over { call, totals } => over(&call, totals),
            }
        }
    }

    /// What does not fit is lost like any datagram: the client sends it again, or finds the node silent.
    fn send(&self, NodeId(node): NodeId, bytes: Bytes) {
        match self.ways.get(usize::from(node)) {
            Some(Some(Way::Udp(socket))) => drop(socket.try_send(&bytes)),
            Some(Some(Way::WebSocket(queue))) => drop(queue.try_send(bytes)),
            Some(None) | None => {}
        }
    }

    fn answer(&self, id: media::ng::AskId, answer: media::Answer) {
        self.common.asks.fetch_sub(1, Relaxed);
        self.askers.answer(id.0, answer);
    }

    fn health(&self, NodeId(node): NodeId, health: Health) {
        let Some((name, is_up)) = self.common.nodes.get(usize::from(node)) else {
            return;
        };
        is_up.store(health == Health::Up, Relaxed);
        match health {
            Health::Up => tracing::info!(name, "rtpengine is there"),
            Health::Down | Health::Unknown => {
                tracing::warn!(name, "rtpengine does not answer; new calls go elsewhere");
            }
        }
    }
}

/// One line for each call.
fn over(call: &str, totals: Option<Totals>) {
    let Totals {
        packets,
        bytes,
        errors,
    } = totals.unwrap_or_default();
    tracing::info!(target: CALLS, call = %printable(call), packets, bytes, errors, "media is over");
}
