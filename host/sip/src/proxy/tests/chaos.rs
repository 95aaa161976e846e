//! Peers, hooks and connections that do what they like, in any order: whatever they do, every request ends and nothing is left.

use super::{policy::go_on, *};
use crate::{
    message::Method,
    proxy::{ids::Chance, io::Hook},
};

const PEERS: [Peer; 4] = [Peer::Web(1), Peer::Web(2), Peer::Web(3), Peer::Pbx];
const METHODS: [&str; 4] = ["INVITE", "INVITE", "MESSAGE", "SUBSCRIBE"];
const STATUSES: [u16; 9] = [100, 180, 183, 200, 200, 404, 486, 503, 603];
const STEPS: u64 = 60;

struct Chaos {
    net: Net,
    chance: Chance,
    /// Requests that peers began.
    begun: Vec<(Peer, Message)>,
    /// What the proxy sent.
    seen: Vec<(Peer, Message)>,
}

impl Chaos {
    fn new(seed: u8) -> Self {
        let mut config = config();
        config.upstreams[0].members.push(PBX2.parse().unwrap());
        config.timers.first_response = Some(Duration::from_secs(3));
        config.timers.no_answer = Some(Duration::from_secs(5));
        config.limits.queued_max = 2;
        let mut chaos = Self {
            net: net_with(config),
            chance: Chance::new([seed; 32]),
            begun: Vec::new(),
            seen: Vec::new(),
        };
        chaos
            .net
            .register(PEERS[1], "bob", "r2", "<sip:2@y.invalid>");
        chaos
            .net
            .register(PEERS[2], "bob", "r3", "<sip:3@y.invalid>");
        let hooks = [Hook::Request, Hook::Branch, Hook::Response, Hook::Failure];
        for hook in hooks {
            if chaos.below(2) == 0 {
                chaos.net.hooks = chaos.net.hooks.with(hook);
            }
        }
        chaos
    }

    fn below(&mut self, end: usize) -> usize {
        self.chance.draw() as usize % end
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        let at = self.below(all.len().max(1));
        all.get(at).cloned()
    }

    fn step(&mut self, step: u64) {
        match self.below(12) {
            0 | 1 => self.begin(step),
            2..=5 => self.answer(),
            6 => self.repeat(),
            7 => self.refuse(),
            8 => {
                let peer = PEERS[self.below(3)];
                let flow = peer.flow().id;
                self.net.input(Input::FlowClosed { flow });
            }
            9 | 10 => self.decide(),
            _ => {
                let ms = self.below(3_000) as u64;
                self.net.pass_ms(ms);
            }
        }
        let sent = std::mem::take(&mut self.net.sent);
        self.seen.extend(sent);
    }

    fn begin(&mut self, step: u64) {
        let from = [PEERS[0], Peer::Pbx][self.below(2)];
        let method = METHODS[self.below(METHODS.len())];
        let uri = ["sip:bob@test", "sip:100@pbx.test.org"][self.below(2)];
        let message = request(from, method, uri, &step.to_string(), "", "");
        self.begun.push((from, message.clone()));
        self.net.receive(from, message);
    }

    /// What somebody was asked is answered, now and then twice, by somebody else, or without the Via of whoever asked.
    fn answer(&mut self) {
        let asked: Vec<_> = self
            .seen
            .iter()
            .filter(|(_, m)| m.is_request())
            .cloned()
            .collect();
        let Some((peer, asked)) = self.pick(&asked) else {
            return;
        };
        let status = STATUSES[self.below(STATUSES.len())];
        let tag = ["b", "c"][self.below(2)];
        let mut answer = response(&asked, status, tag, "", "");
        if self.below(8) == 0 {
            let via = text(answer.values(HeaderName::Via).next().unwrap());
            answer.set(HeaderName::Via, via).unwrap();
        }
        let from = if self.below(8) == 0 { Peer::Pbx2 } else { peer };
        self.net.receive(from, answer);
    }

    /// A request again, its CANCEL or its ACK; now and then from somebody else.
    fn repeat(&mut self) {
        let Some((mut from, mut message)) = self.pick(&self.begun.clone()) else {
            return;
        };
        let method = ["", "CANCEL", "ACK"][self.below(3)];
        if !method.is_empty() && message.method() == Some(Method::Invite) {
            let uri = message.request_uri().unwrap().to_owned();
            let via = text(message.raw(HeaderName::Via).unwrap());
            message = request(from, method, &uri, "", "", "");
            message.set(HeaderName::Via, via).unwrap();
        }
        if self.below(8) == 0 {
            from = PEERS[self.below(PEERS.len())];
        }
        self.net.receive(from, message);
    }

    /// Something that the proxy sent did not leave.
    fn refuse(&mut self) {
        if let Some((peer, message)) = self.pick(&self.seen.clone()) {
            let to = Destination::Flow(peer.flow().id);
            let input = match self.below(4) {
                0 => Input::SendFailed { to },
                _ => Input::Undelivered {
                    to,
                    bytes: message.to_bytes(),
                },
            };
            self.net.input(input);
        }
    }

    /// Any hook that is being asked says something.
    fn decide(&mut self) {
        if self.net.asks.is_empty() {
            return;
        }
        let at = self.below(self.net.asks.len());
        let ask = self.net.asks.remove(at);
        let verdict = match self.below(8) {
            0 => Verdict::Fault {
                reason: String::new(),
            },
            1 => Verdict::Skip,
            2 => Verdict::Discard,
            _ => go_on(&ask, |_| {}),
        };
        self.net.verdict(&ask, verdict);
    }

    /// Hooks answer, and nobody else says anything more.
    fn rest(&mut self) {
        for _ in 0..10 {
            while !self.net.asks.is_empty() {
                self.decide();
                self.net.pass_ms(500);
            }
            self.net.pass_ms(70_000);
        }
        self.net.sent.clear();
    }
}

#[test]
fn every_request_ends_and_nothing_is_left() {
    let (mut begun, mut ended) = (0, 0);
    for seed in 0..200 {
        let mut chaos = Chaos::new(seed);
        for step in 0..STEPS {
            chaos.step(step);
        }
        chaos.rest();
        begun += chaos.begun.len();
        ended += chaos.net.ended.len();
        assert_eq!(chaos.net.proxy.unanswered(), 0, "seed {seed}");
        chaos.net.assert_empty();
    }
    assert!(ended >= begun, "{begun} requests, {ended} ended");
}
