//! The proxy of RFC 3261 §16, without IO.
//!
//! **The story of a request.** `request` looks at it as it comes: a retransmission meets its transaction, ACK and CANCEL go ways of
//! their own, everything else becomes a `ServerTx` (`admit`) after the checks of §16.3 and the Routes of §16.4 (`route`; a verified flow
//! token makes it part of a dialog). The policies are asked (`asks`), and `targets` turns what they say, or the default routing,
//! into a plan: stages of targets, resolved one stage at a time into candidates with a next hop (`place`). `forward` makes a
//! `Branch` of each candidate, asks about it, seals the bytes (§16.6) and sends them.
//!
//! **The story of a response.** `response` finds its branch by our Via, runs the client's table, and sends provisional responses
//! and every 2xx on through their own asks, in order. A failure is kept in `best`; when nothing of a stage is left, `stage`
//! goes on with the next one, asks `on-failure`, or sends the best. `reply` hands responses down to the server's table and says
//! what the transaction came to.
//!
//! **Who we are.** An upstream that asks is answered from here (`challenge`), with what `credentials` knows and the next `cseq`; and a registrar beyond
//! us knows us by REGISTERs of our own, which are no part of any server transaction (`registration`, of the `trunk`s).
//!
//! **What holds it together.** A `ServerTx` and its `Branch`es live in two maps and name each other by id; each asks at most one thing
//! at a time, and the ask knows who waits for it, so an answer that nobody waits for is nobody's. A transaction that is over keeps its
//! branches until they have nothing more to say. Calls have a record only while there is something to remember (`calls`): of those
//! whose media passes through us what it takes (`anchor`) to end them ourselves (`hang_up`).

pub mod config;
pub mod credentials;
pub mod io;
pub mod trunk;
pub(crate) mod via;

mod ack;
mod admit;
mod anchor;
mod asks;
mod believe;
mod best;
mod branch;
mod calls;
mod cancel;
mod challenge;
mod client;
mod contact;
mod cseq;
mod dialog;
mod ended;
mod flows;
mod forget;
mod forward;
mod gates;
mod hang_up;
mod ids;
mod index;
mod media;
mod members;
mod names;
mod place;
mod register;
mod register_tx;
mod registration;
mod relay;
mod relayed;
mod reply;
mod request;
mod response;
mod route;
mod routing;
mod seal;
mod server_tx;
mod stage;
mod targets;
mod timeouts;
mod timers;
mod trunk_news;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

use self::{
    asks::Waiting,
    branch::Branch,
    calls::Calls,
    challenge::Hop,
    credentials::Challenges,
    gates::Gates,
    ids::{BranchId, Chance, IdMap, IdSet, TxId, TxKey},
    index::Index,
    io::{AskId, Attributes, Input, Output, StoreOp},
    members::PassedOver,
    names::Names,
    server_tx::ServerTx,
    timeouts::Timeout,
    timers::Timers,
    trunk::Trunk,
};
use crate::flow::{Destination, FlowId};

pub use config::ProxyConfig;

/// One worker's proxy: one input, drain every output, then the next input.
#[derive(Debug)]
pub struct Proxy {
    config: ProxyConfig,
    names: Names,
    chance: Chance,
    /// Of the input that is being handled; every entry point sets it first.
    now: Option<Instant>,
    service: Service,
    /// Server transactions that have not come to their end.
    unanswered: usize,
    outputs: VecDeque<Output>,
    timers: Timers<Timeout>,
    servers: IdMap<TxId, Box<ServerTx>>,
    /// Finds the transaction of a retransmission, an ACK or a CANCEL.
    by_key: IdMap<TxKey, TxId>,
    branches: IdMap<BranchId, Box<Branch>>,
    /// Branches of which nothing is left but to absorb retransmitted responses until Timer K.
    absorbing: IdSet<BranchId>,
    /// Branches that wait for an answer, by where they went, for when that place is gone.
    by_destination: Index<Destination, BranchId>,
    /// Transactions by the connection that they came on, for when it is gone.
    by_client: Index<FlowId, TxId>,
    asks: IdMap<AskId, Waiting>,
    calls: Calls,
    gates: Gates,
    /// What most transactions and calls have; shared, or each would allocate its own.
    no_attributes: Attributes,
    passed_over: PassedOver,
    /// Of members that asked who we are: answered ahead of time from then on. No more than there are members.
    challenges: BTreeMap<Hop, Challenges>,
    /// Registrations of ours that this worker keeps.
    trunks: Vec<Trunk>,
    /// The last id that was given out.
    last_id: u64,
}

/// Are new transactions taken?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Open,
    Draining,
}

/// What a proxy holds now, for metrics and for tests that wait for it to be empty again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Server transactions.
    pub transactions: usize,
    /// Branches: client transactions in any state, and those that are still asked about.
    pub branches: usize,
    /// Records of calls.
    pub calls: usize,
    /// Asks without an answer.
    pub asks: usize,
    /// Timers that have not come up, those with nothing left to do included.
    pub timers: usize,
    /// Server transactions without a final response.
    pub unanswered: usize,
    /// Dialogs and directions in which requests wait for one before them.
    pub gates: usize,
    /// Entries by which transactions and branches are found.
    pub indexed: usize,
}

impl Proxy {
    /// An idle proxy. `seed` makes all that is random; two proxies that run at the same time must not share one.
    #[must_use]
    pub fn new(config: ProxyConfig, seed: [u8; 32]) -> Self {
        Self {
            names: Names::new(&config),
            trunks: Trunk::of(&config),
            config,
            chance: Chance::new(seed),
            now: None,
            service: Service::Open,
            unanswered: 0,
            outputs: VecDeque::new(),
            timers: Timers::new(),
            servers: IdMap::default(),
            by_key: IdMap::default(),
            branches: IdMap::default(),
            absorbing: IdSet::default(),
            by_destination: Index::new(),
            by_client: Index::new(),
            asks: IdMap::default(),
            calls: Calls::default(),
            gates: Gates::default(),
            no_attributes: Attributes::default(),
            passed_over: PassedOver::default(),
            challenges: BTreeMap::new(),
            last_id: 0,
        }
    }

    /// Takes one input; what comes of it waits in [`Proxy::poll_output`].
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.now = Some(now);
        match input {
            Input::Received {
                flow,
                message,
                policies,
            } if message.is_request() => {
                self.on_request(flow, message, policies);
            }
            Input::Received { message, .. } => self.on_response(message),
            Input::FlowClosed { flow } => self.on_flow_closed(flow),
            Input::SendFailed { to } => self.on_unreachable(to),
            Input::Undelivered { to, bytes } => self.on_undelivered(to, bytes),
            Input::Verdict { id, verdict } => self.on_verdict(id, verdict),
            Input::Stored { id, reply } => self.on_stored(id, reply),
            Input::MediaDone { id, verdict } => self.on_media(id, verdict),
            Input::Member { member, health } => self.on_member_health(member, health),
            Input::Members {
                upstream,
                way,
                members,
            } => self.on_members(upstream, way, members),
            Input::EndCall { call, reason } => self.end_call(&call, &reason),
            Input::Begin => self.register_trunks(),
            Input::Drain => {
                self.service = Service::Draining;
                self.unregister_trunks();
            }
        }
    }

    /// The next thing to be done, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Proxy::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = [self.timers.next_at(), self.calls.next_at()];
        due.into_iter().flatten().min()
    }

    /// Fires every timer that is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = Some(now);
        while let Some(timeout) = self.timers.pop_due(now) {
            self.on_timeout(timeout);
        }
        self.calls.drop_idle(now, &self.config.timers);
    }

    /// What it holds now.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges {
            transactions: self.servers.len(),
            branches: self.branches.len() + self.absorbing.len(),
            calls: self.calls.len(),
            asks: self.asks.len(),
            timers: self.timers.len(),
            unanswered: self.unanswered,
            gates: self.gates.len(),
            indexed: self.by_key.len() + self.by_client.len() + self.by_destination.len(),
        }
    }

    /// Server transactions without a final response: what a proxy that drains waits for. The others only absorb retransmissions.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// The keys of flow tokens were rotated.
    pub fn set_keys(&mut self, keys: crate::token::Keyring) {
        self.config.keys = keys;
    }

    fn now(&self) -> Instant {
        #[expect(clippy::expect_used, reason = "an invariant")]
        self.now
            .expect("every entry point sets the time before it does anything")
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn start(&mut self, after: Duration, timeout: Timeout) {
        let now = self.now();
        self.timers.start(now, after, timeout);
    }

    /// For a duration of a policy's choice.
    fn start_odd(&mut self, after: Duration, timeout: Timeout) {
        let at = self.now() + after;
        self.timers.start_at(at, timeout);
    }

    fn send(&mut self, to: Destination, bytes: Bytes) {
        self.outputs.push_back(Output::Send { to, bytes });
    }

    /// An ACK or CANCEL of a branch; one that could not be written is empty.
    fn send_own(&mut self, to: Destination, bytes: Bytes) {
        if !bytes.is_empty() {
            self.send(to, bytes);
        }
    }

    /// A connection is gone: what went out on it will not be answered, what came in on it cannot be.
    fn on_flow_closed(&mut self, flow: FlowId) {
        self.on_unreachable(Destination::Flow(flow));
        self.on_client_gone(flow);
        // Every worker that used the flow is told; the one it lived on tells the store.
        if let FlowId::Connection { worker, .. } = flow
            && worker == self.config.worker
        {
            let id = AskId(self.next_id());
            self.outputs.push_back(Output::Store {
                id,
                op: StoreOp::FlowClosed { flow },
            });
        }
    }
}

#[cfg(test)]
mod tests;
