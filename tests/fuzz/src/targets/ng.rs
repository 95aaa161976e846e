//! The client of rtpengines whose nodes say anything, late, twice or never: every ask is answered once, and nothing is left of calls that
//! are over.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hookswitch_media::{
    Ask, Direction, Leg, News, Role,
    ng::{AskId, Client, Config, Input, NodeConfig, NodeId, Output, Protocol, Wire},
};

use super::media::room::branch;
use crate::Choices;

const STEPS_MAX: usize = 100;
const CALLS: [&str; 4] = ["a", "b", "c", "d"];
const CALLS_MAX: usize = 3;
/// Commands whose replies may come late.
const SENT_MAX: usize = 32;
const OUTPUTS_PER_INPUT_MAX: usize = 200;
/// Longer than all commands of a queue wait, each for as many nodes as it is tried at; but not as long as a query.
const REST: Duration = Duration::from_secs(120);
const REPLIES: [&str; 10] = [
    "d6:result4:ponge",
    "d3:sdp5:v=0\r\n6:result2:oke",
    "d6:result2:oke",
    "d12:error-reason7:Unknown6:result5:errore",
    "d7:message6:Failed6:result10:load limite",
    "d6:result5:errore",
    "d6:result2:ok6:totalsd3:RTPd5:bytesi9e7:packetsi1e6:errorsi0eeee",
    "d3:sdp0:6:result2:oke",
    "d",
    "",
];

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
    client: Client,
    now: Instant,
    asked: u64,
    open: BTreeSet<AskId>,
    sent: Vec<(NodeId, Bytes)>,
}

impl<'d> Scene<'d> {
    fn new(data: &'d [u8]) -> Self {
        let mut choices = Choices::new(data);
        let wires = [Wire::Datagrams, Wire::Connection];
        let node = |number| NodeConfig {
            name: format!("udp:192.0.2.{number}:2223"),
            wire: wires[choices.below(2)],
        };
        let config = Config {
            nodes: (1..=3).map(node).collect(),
            plain: Protocol::Avp,
            upstreams: vec![Protocol::Savp],
            calls_max: CALLS_MAX,
            cookies: 7,
        };
        let now = Instant::now();
        let mut scene = Self {
            choices,
            client: Client::new(config, now),
            now,
            asked: 0,
            open: BTreeSet::new(),
            sent: Vec::new(),
        };
        scene.drain();
        scene
    }

    fn step(&mut self) {
        let node = NodeId(self.choices.below(4) as u16);
        match self.choices.below(10) {
            0..=2 => self.ask(),
            3..=5 => self.reply(),
            6 => {
                let news = self.news();
                self.input(Input::News(news));
            }
            7 => {
                let input = match self.choices.below(3) {
                    0 => Input::Connected { node },
                    1 => Input::Disconnected { node },
                    _ => Input::Withdraw {
                        id: AskId(self.choices.byte().into()),
                    },
                };
                self.input(input);
            }
            8 => {
                let length = self.choices.byte();
                let bytes = Bytes::copy_from_slice(self.choices.take(length.into()));
                self.input(Input::Received { node, bytes });
            }
            _ => {
                let ms = [20, 260, 1_600, 6_000, 310_000][self.choices.below(5)];
                self.pass(Duration::from_millis(ms));
            }
        }
    }

    fn branch(&mut self) -> hookswitch_media::Branch {
        let call: Arc<str> = self.choices.pick(&CALLS).into();
        let name = self.choices.pick(&["0", "1"]);
        let to_tag = self.choices.pick(&["", "a", "b"]);
        let ends =
            [[Leg::Web, Leg::Sip(None)], [Leg::Sip(Some(0)), Leg::Web]][self.choices.below(2)];
        branch(&call, name, to_tag, ends)
    }

    fn ask(&mut self) {
        let ask = Ask {
            branch: self.branch(),
            direction: [Direction::ToCallee, Direction::ToCaller][self.choices.below(2)],
            role: [Role::Offer, Role::Answer][self.choices.below(2)],
            sdp: Bytes::from_static(b"v=0\r\n"),
        };
        self.asked += 1;
        let id = AskId(self.asked);
        self.open.insert(id);
        self.input(Input::Ask { id, ask });
    }

    fn news(&mut self) -> News {
        let branch = self.branch();
        match self.choices.below(5) {
            0 => News::Answered(branch),
            1 => News::Rejected(branch),
            2 => News::Lost(branch),
            3 => News::Ended(branch),
            _ => News::Failed { call: branch.call },
        }
    }

    /// To one of the last commands, under its cookie, now and then from another node or with other bytes in it.
    fn reply(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let at = self.choices.below(self.sent.len());
        let (mut node, command) = self.sent[at].clone();
        let cookie = command
            .split(|byte| *byte == b' ')
            .next()
            .unwrap_or_default();
        let mut bytes = [cookie, b" ", self.choices.pick(&REPLIES).as_bytes()].concat();
        if self.choices.once_in(6) {
            let at = usize::from(self.choices.byte()) % bytes.len();
            bytes[at] = self.choices.byte();
        }
        if self.choices.once_in(12) {
            node = NodeId(self.choices.below(4) as u16);
        }
        self.input(Input::Received {
            node,
            bytes: bytes.into(),
        });
    }

    fn input(&mut self, input: Input) {
        self.client.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        let mut count = 0;
        while let Some(output) = self.client.poll_output() {
            count += 1;
            match output {
                Output::Answer { id, .. } => {
                    assert!(self.open.remove(&id), "{id:?} is answered twice")
                }
                Output::Send { node, bytes } => {
                    assert!(node.0 < 3);
                    if self.sent.len() == SENT_MAX {
                        self.sent.remove(0);
                    }
                    self.sent.push((node, bytes));
                }
                Output::Dead { call, .. } | Output::Over { call, .. } => {
                    assert!(CALLS.contains(&&*call));
                }
                Output::Health { .. } => {}
            }
        }
        assert!(
            count <= OUTPUTS_PER_INPUT_MAX,
            "{count} outputs of one input"
        );
        assert!(self.client.calls() <= CALLS_MAX);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.client.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.client.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// No node says anything more, and all calls end.
    fn rest(&mut self) {
        self.pass(REST);
        assert!(self.open.is_empty(), "{:?} are never answered", self.open);
        for call in CALLS {
            self.input(Input::News(News::Failed { call: call.into() }));
        }
        self.pass(REST);
        assert_eq!(self.client.calls(), 0);
    }
}
