//! The transactions of the test destinations, by the tables of RFC 3261 §17: a response is sent again with its request, and a failure of
//! an INVITE until its ACK comes; a request of our own until it is answered. Over UDP alone.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Instant,
};

use bytes::Bytes;
use hookswitch_sip::{
    message::{Message, Method},
    transaction::{Action, Reliability, Timer, Timing, client, invite_server, server},
};

const RELIABILITY: Reliability = Reliability::Unreliable;
/// Beyond this requests are not answered: whoever sent them sends them again.
const TRANSACTIONS_MAX: usize = 1_024;

/// RFC 3261 §17.2.3: branch, whose Via it is, and the method; ACK and CANCEL have that of their INVITE.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(String);

impl Key {
    pub(super) fn of(message: &Message) -> Option<Self> {
        let method = match message.method()? {
            Method::Ack | Method::Cancel => "INVITE",
            method => method.as_str(),
        };
        Self::named(message, method)
    }

    fn named(message: &Message, method: &str) -> Option<Self> {
        let via = message.top_via()?;
        let (branch, host) = (via.branch()?, via.sent_by.text);
        Some(Self(format!("{method} {branch} {host}")))
    }

    /// Of the CANCEL itself.
    pub(super) fn of_cancel(cancel: &Message) -> Option<Self> {
        Self::named(cancel, "CANCEL")
    }
}

/// All of them.
pub(super) struct Transactions {
    timing: Timing,
    all: BTreeMap<Key, Transaction>,
    timers: BTreeMap<(Instant, u64), (Key, Timer)>,
    started: u64,
    transmits: VecDeque<(SocketAddr, Bytes)>,
}

struct Transaction {
    machine: Machine,
    to: SocketAddr,
    /// The response, or the request of ours.
    sent: Bytes,
    /// How often its retransmission timer was started.
    round: u32,
}

#[derive(Clone, Copy)]
enum Machine {
    Invite(invite_server::State),
    Server(server::State),
    Client(client::State),
}

enum Event {
    Request,
    Ack,
    Response(u16),
    Fired(Timer),
}

impl Machine {
    fn step(self, event: &Event) -> (Self, &'static [Action]) {
        match self {
            Self::Invite(state) => {
                let event = match event {
                    Event::Request => invite_server::Event::Request,
                    Event::Ack => invite_server::Event::Ack,
                    Event::Response(..200) => invite_server::Event::Provisional,
                    Event::Response(200..300) => invite_server::Event::Success,
                    Event::Response(_) => invite_server::Event::Failure,
                    Event::Fired(timer) => invite_server::Event::Fired(*timer),
                };
                let (state, actions) = invite_server::step(state, event, RELIABILITY);
                (Self::Invite(state), actions)
            }
            Self::Server(state) => {
                let event = match event {
                    Event::Request | Event::Ack => server::Event::Request,
                    Event::Response(..200) => server::Event::Provisional,
                    Event::Response(_) => server::Event::Final,
                    Event::Fired(timer) => server::Event::Fired(*timer),
                };
                let (state, actions) = server::step(state, event, RELIABILITY);
                (Self::Server(state), actions)
            }
            Self::Client(state) => {
                let event = match event {
                    Event::Request | Event::Ack => return (self, &[]),
                    Event::Response(..200) => client::Event::Provisional,
                    Event::Response(_) => client::Event::Final,
                    Event::Fired(timer) => client::Event::Fired(*timer),
                };
                let (state, actions) = client::step(state, event, RELIABILITY);
                (Self::Client(state), actions)
            }
        }
    }

    fn is_over(self) -> bool {
        match self {
            Self::Invite(state) => state == invite_server::State::Terminated,
            Self::Server(state) => state == server::State::Terminated,
            Self::Client(state) => state == client::State::Terminated,
        }
    }
}

impl Transactions {
    pub(super) fn new(timing: Timing) -> Self {
        Self {
            timing,
            all: BTreeMap::new(),
            timers: BTreeMap::new(),
            started: 0,
            transmits: VecDeque::new(),
        }
    }

    /// Begins the transaction of a request. `false` if it has begun before, or if there are too many.
    pub(super) fn begin(&mut self, now: Instant, key: &Key, from: SocketAddr) -> bool {
        if self.all.contains_key(key) {
            self.step(now, key, &Event::Request, None);
            return false;
        }
        if self.all.len() >= TRANSACTIONS_MAX {
            return false;
        }
        let machine = match key.0.starts_with("INVITE ") {
            true => Machine::Invite(invite_server::start()),
            false => Machine::Server(server::start()),
        };
        let transaction = Transaction {
            machine,
            to: from,
            sent: Bytes::new(),
            round: 0,
        };
        self.all.insert(key.clone(), transaction);
        true
    }

    pub(super) fn knows(&self, key: &Key) -> bool {
        self.all.contains_key(key)
    }

    pub(super) fn respond(&mut self, now: Instant, key: &Key, response: &Message) {
        let status = response.status().unwrap_or_default();
        self.step(
            now,
            key,
            &Event::Response(status),
            Some(response.to_bytes()),
        );
    }

    /// The ACK of a failure; that of a 2xx has a branch of its own.
    pub(super) fn acknowledge(&mut self, now: Instant, key: &Key) {
        self.step(now, key, &Event::Ack, None);
    }

    /// A request of ours goes out. Nobody waits for its answer.
    pub(super) fn request(&mut self, now: Instant, request: &Message, to: SocketAddr) {
        let Some(key) = Key::of(request).filter(|_| self.all.len() < TRANSACTIONS_MAX) else {
            return;
        };
        let (state, actions) = client::start(RELIABILITY);
        let transaction = Transaction {
            machine: Machine::Client(state),
            to,
            sent: request.to_bytes(),
            round: 0,
        };
        self.all.insert(key.clone(), transaction);
        self.act(now, &key, actions);
    }

    /// To a request of ours, if it is to one.
    pub(super) fn answered(&mut self, now: Instant, response: &Message) {
        let method = response.cseq().map(|cseq| cseq.method.as_str());
        let key = method.and_then(|method| Key::named(response, method));
        if let (Some(key), Some(status)) = (key, response.status()) {
            self.step(now, &key, &Event::Response(status), None);
        }
    }

    /// What is sent without a transaction: a 2xx again.
    pub(super) fn send(&mut self, to: SocketAddr, bytes: Bytes) {
        self.transmits.push_back((to, bytes));
    }

    pub(super) fn poll_transmit(&mut self) -> Option<(SocketAddr, Bytes)> {
        self.transmits.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(first) = self.timers.first_entry() {
            if first.key().0 > now {
                return;
            }
            let (key, timer) = first.remove();
            self.step(now, &key, &Event::Fired(timer), None);
        }
    }

    fn step(&mut self, now: Instant, key: &Key, event: &Event, response: Option<Bytes>) {
        let Some(transaction) = self.all.get_mut(key) else {
            return;
        };
        let (machine, actions) = transaction.machine.step(event);
        transaction.machine = machine;
        if let Some(response) = response {
            transaction.sent = response;
        }
        self.act(now, key, actions);
        if machine.is_over() {
            self.all.remove(key);
        }
    }

    fn act(&mut self, now: Instant, key: &Key, actions: &[Action]) {
        let Some(transaction) = self.all.get_mut(key) else {
            return;
        };
        for action in actions {
            let (timer, after) = match action {
                Action::Send | Action::Resend => {
                    let is_answered = !transaction.sent.is_empty();
                    let again = (transaction.to, transaction.sent.clone());
                    self.transmits.extend(is_answered.then_some(again));
                    continue;
                }
                Action::Start(timer) => {
                    let after = self.timing.duration(*timer, transaction.round);
                    if matches!(timer, Timer::E | Timer::G) {
                        transaction.round += 1;
                    }
                    (*timer, after)
                }
                Action::StartT2(timer) => (*timer, self.timing.t2),
                // Nobody waits for what our BYE comes to.
                Action::Pass | Action::Timeout | Action::Unreachable | Action::Ack => continue,
            };
            self.started += 1;
            let at = (now + after, self.started);
            self.timers.insert(at, (key.clone(), timer));
        }
    }
}
