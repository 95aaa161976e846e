//! A proxy among browsers, phones and PBXs that say and do what the bytes tell: any message from anybody, any answer to any ask, late,
//! wrong or never, connections that go, time that passes. [`judge`] says what must hold all the same.

mod answers;
mod judge;
mod login;
mod peers;
mod say;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hookswitch_sip::{
    flow::{Destination, UpstreamId},
    limits::Limits,
    message::Message,
    proxy::{
        Proxy,
        config::{Member, MemberHealth},
        io::{Ask, AskId, Hook, Hooks, Input, Output, Policies, StoreOp, StoreReply, Verdict},
    },
    registrar::{self, Aor, Binding},
};

use self::{judge::Judge, peers::Peer};
use crate::Choices;

/// More steps tell nothing more.
const STEPS_MAX: usize = 120;
/// Messages that can be answered or said again.
const SEEN_MAX: usize = 64;
/// Calls whose media may die.
const CALLS_MAX: usize = 16;

pub(crate) fn run(data: &[u8]) {
    let mut scene = Scene::new(data);
    for _ in 0..STEPS_MAX {
        if scene.choices.is_empty() {
            break;
        }
        scene.step();
    }
    scene.rest();
}

struct Scene<'d> {
    choices: Choices<'d>,
    proxy: Proxy,
    now: Instant,
    hooks: Hooks,
    bindings: BTreeMap<Aor, Vec<Binding>>,
    asks: Vec<Ask>,
    stores: Vec<(AskId, StoreOp)>,
    media: Vec<AskId>,
    /// That media was asked about.
    calls: BTreeSet<Arc<str>>,
    /// What peers sent and got.
    seen: Vec<(Peer, Message)>,
    judge: Judge,
    /// Has it not begun to register at upstreams?
    begins: bool,
}

impl<'d> Scene<'d> {
    fn new(data: &'d [u8]) -> Self {
        let mut choices = Choices::new(data);
        let mut config = peers::configuration(&mut choices);
        let hooks = [
            Hook::Register,
            Hook::Request,
            Hook::Branch,
            Hook::Response,
            Hook::Failure,
        ];
        let bits = choices.byte();
        if bits & 32 != 0 {
            config.trunks = peers::trunks();
        }
        if bits & 64 != 0 {
            config
                .upstreams
                .iter_mut()
                .for_each(|upstream| upstream.login = Some(login::ours()));
        }
        let asked = (0..).zip(hooks).filter(|(bit, _)| bits & 1 << bit != 0);
        Self {
            hooks: asked.fold(Hooks::default(), |all, (_, hook)| all.with(hook)),
            choices,
            judge: Judge::new(&config),
            begins: bits & 128 == 0,
            proxy: Proxy::new(config, [3; 32]),
            now: Instant::now(),
            bindings: BTreeMap::new(),
            asks: Vec::new(),
            stores: Vec::new(),
            media: Vec::new(),
            calls: BTreeSet::new(),
            seen: Vec::new(),
        }
    }

    fn step(&mut self) {
        match self.choices.below(16) {
            0..=2 => self.begin(),
            3..=5 => self.answer(),
            6 => self.in_dialog(),
            7 => self.again(),
            8 => self.raw(),
            9 => self.transport_fails(),
            10 | 11 => self.decide(),
            12 => self.store(),
            13 if self.choices.once_in(5) => self.media_dies(),
            13 => self.media(),
            14 => self.operator(),
            _ => {
                let ms = [1, 30, 250, 600, 4_000, 33_000, 200_000][self.choices.below(7)];
                self.pass(Duration::from_millis(ms));
            }
        }
    }

    fn begin(&mut self) {
        let from = Peer::choose(&mut self.choices);
        let request = say::request(&mut self.choices, from, &self.seen);
        self.receive(from, request);
    }

    fn answer(&mut self) {
        let Some((peer, asked)) = self.choose_seen(Message::is_request) else {
            return;
        };
        let response = say::response(&mut self.choices, &asked);
        let from = self.almost(peer);
        self.receive(from, response);
    }

    fn in_dialog(&mut self) {
        let Some((peer, of)) = self.choose_seen(|_| true) else {
            return;
        };
        let request = say::in_dialog(&mut self.choices, peer, &of);
        let from = self.almost(peer);
        self.receive(from, request);
    }

    /// What was said is said again, and now and then by somebody else.
    fn again(&mut self) {
        if let Some((peer, message)) = self.choose_seen(|_| true) {
            let from = self.almost(peer);
            self.receive(from, Some(message));
        }
    }

    fn raw(&mut self) {
        let from = Peer::choose(&mut self.choices);
        let length = usize::from(self.choices.number() % 600);
        let bytes = Bytes::copy_from_slice(self.choices.take(length));
        self.receive(from, Message::parse(bytes, &Limits::default()).ok());
    }

    fn transport_fails(&mut self) {
        let Some((peer, message)) = self.choose_seen(|_| true) else {
            return;
        };
        let (flow, to) = (peer.flow().id, Destination::Flow(peer.flow().id));
        let input = match self.choices.below(4) {
            0 => Input::SendFailed { to },
            1 => Input::SendFailed {
                to: peers::connect(),
            },
            2 => {
                for bindings in self.bindings.values_mut() {
                    registrar::flow_closed(bindings, flow);
                }
                Input::FlowClosed { flow }
            }
            _ => Input::Undelivered {
                to,
                bytes: message.to_bytes(),
            },
        };
        self.input(input);
    }

    /// What went through us goes nowhere any more, or so somebody says.
    fn media_dies(&mut self) {
        let at = self.choices.below(CALLS_MAX);
        let call = match self.calls.iter().nth(at % self.calls.len().max(1)) {
            Some(call) => Arc::clone(call),
            None => "call;a;00000000".into(),
        };
        let reason = ["no media", "quoted \" and \\"][self.choices.below(2)].to_owned();
        self.input(Input::EndCall { call, reason });
    }

    fn operator(&mut self) {
        let members = [peers::PBX, peers::PBX2, peers::CARRIER].map(peers::address);
        let member = members[self.choices.below(3)];
        let input = match self.choices.below(8) {
            0 | 1 => Input::Member {
                member,
                health: MemberHealth::Silent,
            },
            2 => Input::Member {
                member,
                health: MemberHealth::Answers,
            },
            3..=5 => Input::Members {
                upstream: UpstreamId(self.choices.below(3) as u16),
                way: peers::way(&mut self.choices),
                members: self.members(&members),
            },
            6 if self.begins => {
                self.begins = false;
                Input::Begin
            }
            6 => return self.proxy.set_keys(peers::keys(self.choices.byte())),
            _ => {
                self.begins = false;
                self.judge.drains();
                Input::Drain
            }
        };
        self.input(input);
    }

    fn members(&mut self, all: &[SocketAddr]) -> Vec<Member> {
        let count = self.choices.below(3);
        let member = |address: &SocketAddr| Member {
            address: *address,
            priority: self.choices.below(3) as u16,
            weight: self.choices.below(3) as u16,
        };
        all.iter().take(count).map(member).collect()
    }

    fn choose_seen(&mut self, which: impl Fn(&Message) -> bool) -> Option<(Peer, Message)> {
        let at = self.choices.below(SEEN_MAX);
        // The latest are the likeliest to be waited for.
        let mut those = self.seen.iter().rev().filter(|(_, message)| which(message));
        those.nth(at % self.seen.len().max(1)).cloned()
    }

    fn almost(&mut self, peer: Peer) -> Peer {
        match self.choices.once_in(8) {
            true => Peer::choose(&mut self.choices),
            false => peer,
        }
    }

    fn receive(&mut self, from: Peer, message: Option<Message>) {
        let Some(message) = message else {
            return;
        };
        self.see(from, &message);
        self.judge.received(&from.flow(), &message);
        let policies = Policies {
            hooks: self.hooks,
            generation: Arc::new(()),
        };
        self.input(Input::Received {
            flow: from.flow(),
            message,
            policies,
        });
    }

    fn see(&mut self, peer: Peer, message: &Message) {
        if self.seen.len() == SEEN_MAX {
            self.seen.remove(0);
        }
        self.seen.push((peer, message.clone()));
    }

    fn input(&mut self, input: Input) {
        self.proxy.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.proxy.poll_output() {
            outputs += 1;
            match output {
                Output::Send { to, bytes } => {
                    let read = self.judge.sent(to, &bytes);
                    if let (Some(peer), Some(message)) = (Peer::at(to), read) {
                        self.see(peer, &message);
                    }
                }
                Output::Ask(ask) => self.asks.push(*ask),
                Output::Store { id, op } => self.stores.push((id, op)),
                Output::Media { id, branch, .. } => {
                    self.media.push(id);
                    if self.calls.len() < CALLS_MAX {
                        self.calls.insert(branch.call);
                    }
                }
                Output::Key { id, .. } => self.media.push(id),
                Output::Withdraw { id } => {
                    self.asks.retain(|ask| ask.id != id);
                    self.stores.retain(|(other, _)| *other != id);
                    self.media.retain(|other| *other != id);
                }
                Output::Ended(ended) => self.judge.ended(&ended),
                Output::Trunk { state, .. } => self.judge.trunk_is(&state, self.now),
                Output::Dropped { .. }
                | Output::MediaNews(_)
                | Output::Challenged { .. }
                | Output::FlowTimer { .. } => {}
            }
        }
        self.judge.drained(outputs);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut fired = 0;
        while let Some(at) = self.proxy.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.proxy.handle_timeout(self.now);
            self.drain();
            fired += 1;
            self.judge.fired(fired);
        }
        self.now = end;
    }

    /// Whatever was asked is answered, nobody says anything more, and the clock runs until nothing is left to happen.
    fn rest(&mut self) {
        self.choices = Choices::new(&[]);
        for _ in 0..12 {
            for _ in 0..400 {
                if self.asks.is_empty() && self.stores.is_empty() && self.media.is_empty() {
                    break;
                }
                while !self.asks.is_empty() {
                    let ask = self.asks.remove(0);
                    let verdict = Verdict::Fault {
                        reason: "over".to_owned(),
                    };
                    self.input(Input::Verdict {
                        id: ask.id,
                        verdict,
                    });
                }
                while !self.stores.is_empty() {
                    let (id, _) = self.stores.remove(0);
                    self.input(Input::Stored {
                        id,
                        reply: StoreReply::Failed,
                    });
                }
                while !self.media.is_empty() {
                    self.media();
                }
            }
            self.pass(Duration::from_secs(70));
        }
        self.judge.at_rest(&self.proxy);
    }
}
