//! Agents, the proxy, the network between them and one virtual clock: the next thing that is due happens, and nothing else.

mod media;
mod network;
mod service;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use bytes::Bytes;
use hookswitch_sip::{
    flow::WorkerId,
    proxy::{
        ProxyConfig,
        config::MemberHealth,
        io::{AskId, Ended, Input, StoreOp},
    },
};

pub use media::MediaBook;

use crate::{
    agent::{Agent, Kind},
    ladder::Ladder,
    node::{Node, WORKERS},
    policy::{MediaAct, Rule, When},
    rng::Rng,
    wire::Msg,
};

/// How the network treats packets.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The shortest way of a packet.
    pub latency: Duration,
    /// It may take so much longer; datagrams overtake one another then, what goes on a connection does not.
    pub jitter: Duration,
    /// Datagrams that vanish, of 100.
    pub loss_percent: u64,
    /// Datagrams that come twice, of 100.
    pub twice_percent: u64,
    /// Datagrams of the proxy that its own network does not take, of 100.
    pub refused_percent: u64,
    /// From worker to worker.
    pub between_workers: Duration,
}

impl Default for Weather {
    fn default() -> Self {
        let zero = Duration::ZERO;
        Self {
            latency: Duration::from_millis(10),
            jitter: zero,
            loss_percent: 0,
            twice_percent: 0,
            refused_percent: 0,
            between_workers: zero,
        }
    }
}

/// What answers an ask of the proxy, and when.
#[derive(Debug)]
pub struct Oracles {
    /// For hooks; the first that fits.
    pub rules: Vec<Rule>,
    /// For the store.
    pub store: When,
    /// For media.
    pub media: When,
    /// What media decides.
    pub media_act: MediaAct,
    /// Upper bound of a random delay that is added to each answer.
    pub delay_max: Duration,
}

/// Something on its way, by whom it reaches.
#[derive(Debug)]
enum Event {
    Proxy {
        from: SocketAddr,
        serial: Option<u64>,
        bytes: Bytes,
    },
    Worker {
        worker: usize,
        life: u32,
        input: Box<Input>,
    },
    Store {
        worker: usize,
        life: u32,
        id: AskId,
        op: StoreOp,
    },
    Agent {
        agent: usize,
        serial: Option<u64>,
        bytes: Bytes,
    },
}

/// An INVITE that the proxy sent.
#[derive(Clone, Copy, Debug)]
pub struct Invite {
    /// When it left, the first time.
    pub sent_at: Duration,
    /// When the first response to it reached the proxy.
    pub heard_at: Option<Duration>,
}

/// Everything that there is.
#[derive(Debug)]
pub struct World {
    /// Since the beginning.
    pub now: Duration,
    /// The agents, in the order of their coming.
    pub agents: Vec<Agent>,
    /// Each browser's connection.
    pub serials: Vec<Option<u64>>,
    /// The proxy.
    pub node: Node,
    /// The picture.
    pub ladder: Ladder,
    /// The network.
    pub weather: Weather,
    /// The answers.
    pub oracles: Oracles,
    /// Packets that will be lost: from, to, how many.
    pub doomed: Vec<(String, String, u32)>,
    /// All ends of server transactions, with the life of the proxy in which each was told.
    pub ended: Vec<(u32, Ended)>,
    /// Requests but ACK that reached the proxy: its life then, Call-ID, method, branch.
    pub arrived: BTreeSet<(u32, String, String, String)>,
    /// INVITEs of the proxy, by the branch in their Via.
    pub invites: BTreeMap<String, Invite>,
    /// What media knows.
    pub media: MediaBook,
    /// What the proxy dropped.
    pub dropped: BTreeMap<&'static str, u32>,
    /// Messages that the proxy sent.
    pub sent: u64,
    /// Chance.
    pub rng: Rng,
    queue: BTreeMap<(Duration, u64), Event>,
    held: Vec<Event>,
    count: u64,
    serial: u64,
    /// Latest arrival on each connection and direction: order is kept.
    arrivals: BTreeMap<(u64, bool), Duration>,
}

impl World {
    /// An empty world but for a proxy.
    #[must_use]
    pub fn new(config: ProxyConfig, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            now: Duration::ZERO,
            agents: Vec::new(),
            serials: Vec::new(),
            node: Node::new(config, &mut rng),
            ladder: Ladder::default(),
            weather: Weather::default(),
            oracles: Oracles {
                rules: Vec::new(),
                store: When::Now,
                media: When::Now,
                media_act: MediaAct::Unchanged,
                delay_max: Duration::ZERO,
            },
            doomed: Vec::new(),
            ended: Vec::new(),
            arrived: BTreeSet::new(),
            invites: BTreeMap::new(),
            media: MediaBook::default(),
            dropped: BTreeMap::new(),
            sent: 0,
            rng,
            queue: BTreeMap::new(),
            held: Vec::new(),
            count: 0,
            serial: 0,
            arrivals: BTreeMap::new(),
        }
    }

    /// A new agent; a browser is connected at once.
    pub fn join(&mut self, agent: Agent) -> usize {
        self.agents.push(agent);
        self.serials.push(None);
        let index = self.agents.len() - 1;
        self.connect(index);
        index
    }

    /// Opens a browser's connection, on the workers in turn.
    pub fn connect(&mut self, agent: usize) {
        if self.agents[agent].kind == Kind::Browser && self.serials[agent].is_none() {
            self.serial += 1;
            let worker = WorkerId(u8::try_from(self.serial % u64::from(WORKERS)).unwrap_or(0));
            let Agent { addr, session, .. } = self.agents[agent];
            self.node.accept(self.serial, addr, worker, session);
            self.serials[agent] = Some(self.serial);
        }
    }

    /// Breaks a browser's connection: both ends know at once, what is under way on it is lost.
    pub fn disconnect(&mut self, agent: usize) {
        let Some(serial) = self.serials[agent].take() else {
            return;
        };
        self.agents[agent].connection_lost(self.now);
        let Some(flow) = self.node.close(serial) else {
            return;
        };
        for worker in 0..self.node.workers.len() {
            self.tell_worker(
                self.weather.between_workers,
                worker,
                Input::FlowClosed { flow: flow.id },
            );
        }
    }

    /// The proxy dies and comes back.
    pub fn restart(&mut self) {
        for serial in self.node.restart(&mut self.rng) {
            if let Some(agent) = self.serials.iter().position(|s| *s == Some(serial)) {
                self.serials[agent] = None;
                self.agents[agent].connection_lost(self.now);
            }
        }
        self.held.clear();
    }

    /// Everything is up: trunks register.
    pub fn begin(&mut self) {
        for worker in 0..self.node.workers.len() {
            self.tell_worker(Duration::ZERO, worker, Input::Begin);
        }
    }

    /// Whoever looks after a member found this.
    pub fn member_is(&mut self, member: SocketAddr, health: MemberHealth) {
        for worker in 0..self.node.workers.len() {
            self.tell_worker(Duration::ZERO, worker, Input::Member { member, health });
        }
    }

    /// Every worker stops taking new work.
    pub fn drain(&mut self) {
        for worker in 0..self.node.workers.len() {
            self.tell_worker(Duration::ZERO, worker, Input::Drain);
        }
    }

    /// Lets go of what is held: verdicts, answers of the store and of media.
    pub fn release(&mut self) {
        for event in std::mem::take(&mut self.held) {
            self.schedule(Duration::ZERO, event);
        }
    }

    /// Puts what the agents want to say onto the network.
    pub fn flush(&mut self) {
        for agent in 0..self.agents.len() {
            for (hop, msg) in std::mem::take(&mut self.agents[agent].out) {
                self.send_from(agent, hop, Bytes::from(msg.to_bytes()));
            }
        }
    }

    /// Runs until nothing is under way; timers are waited for only as long as something else is.
    pub fn settle(&mut self) {
        self.flush();
        while let Some(at) = self.queue.keys().next().map(|(at, _)| *at) {
            self.step(at);
        }
    }

    /// Runs for so long.
    pub fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        self.flush();
        while let Some(at) = self.next_event().filter(|at| *at <= until) {
            self.step(at);
        }
        self.now = until;
    }

    /// When something happens next.
    #[must_use]
    pub fn next_event(&self) -> Option<Duration> {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let agents = self.agents.iter().filter_map(Agent::next_timer).min();
        [queued, agents, self.node.next_timer()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Everything that is due until `until` happens, the earliest first.
    pub fn step(&mut self, until: Duration) {
        let at = self.next_event().unwrap_or(until).min(until);
        self.now = self.now.max(at);
        let first = self
            .queue
            .first_key_value()
            .map(|(key, _)| *key)
            .filter(|(at, _)| *at <= self.now);
        if let Some(event) = first.and_then(|key| self.queue.remove(&key)) {
            self.happen(event);
        } else {
            for agent in &mut self.agents {
                agent.run_timers(self.now);
            }
            self.flush();
            for worker in 0..self.node.workers.len() {
                let now = self.node.instant(self.now);
                if self.node.workers[worker]
                    .poll_timeout()
                    .is_some_and(|at| at <= now)
                {
                    self.node.workers[worker].handle_timeout(now);
                    self.drain_outputs(worker);
                }
            }
        }
        self.flush();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Proxy {
                from,
                serial,
                bytes,
            } => self.arrive(from, serial, bytes),
            Event::Worker {
                worker,
                life,
                input,
            } if life == self.node.life => {
                let now = self.node.instant(self.now);
                self.node.workers[worker].handle(now, *input);
                self.drain_outputs(worker);
            }
            Event::Store {
                worker,
                life,
                id,
                op,
            } if life == self.node.life => {
                let reply = self.node.store(self.now, &op);
                self.tell_worker(Duration::ZERO, worker, Input::Stored { id, reply });
            }
            Event::Worker { .. } | Event::Store { .. } => {}
            Event::Agent {
                agent,
                serial,
                bytes,
            } => {
                let up = serial.is_none() || serial == self.serials[agent];
                if let Some(msg) = Msg::parse(&bytes).filter(|_| up) {
                    let proxy = self.agents[agent].outbound;
                    self.agents[agent].receive(self.now, proxy, msg);
                    self.flush();
                }
            }
        }
    }

    fn tell_worker(&mut self, after: Duration, worker: usize, input: Input) {
        let life = self.node.life;
        self.schedule(
            after,
            Event::Worker {
                worker,
                life,
                input: Box::new(input),
            },
        );
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.count += 1;
        self.queue.insert((self.now + after, self.count), event);
    }
}
