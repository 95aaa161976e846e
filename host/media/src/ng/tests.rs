//! Ladders against nodes that a script makes silent, full or unwilling, on a virtual clock.

use expect_test::{Expect, expect};

use super::{
    super::{NodeConfig, bencode::Value},
    *,
};
use crate::Direction;

/// What a node does with a command.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    Answers,
    Silent,
    Full,
    Fails(&'static str),
}

struct Scene {
    began: Instant,
    now: Instant,
    client: Client,
    habits: Vec<Habit>,
    last_ask: u64,
    ladder: String,
}

impl Scene {
    fn new(nodes: &[(&str, Wire)]) -> Self {
        let config = Config {
            nodes: nodes
                .iter()
                .map(|(name, wire)| NodeConfig {
                    name: (*name).to_owned(),
                    wire: *wire,
                })
                .collect(),
            plain: Protocol::Avp,
            upstreams: vec![Protocol::Avp, Protocol::Savp],
            calls_max: 2,
            cookies: 0xc0de,
        };
        let now = Instant::now();
        let mut scene = Self {
            began: now,
            now,
            client: Client::new(config, now),
            habits: vec![Habit::Answers; nodes.len()],
            last_ask: 0,
            ladder: String::new(),
        };
        scene.pass(Duration::ZERO);
        scene.ladder.clear();
        scene
    }

    fn datagrams(count: usize) -> Self {
        let nodes = [("a", Wire::Datagrams), ("b", Wire::Datagrams)];
        Self::new(&nodes[..count])
    }

    fn note(&mut self, text: &str) {
        let at = self.now.duration_since(self.began).as_millis();
        self.ladder.push_str(&format!("{at}ms {text}\n"));
    }

    fn input(&mut self, input: Input) {
        self.client.handle(self.now, input);
        self.settle();
    }

    /// Everything that is due in this time.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.client.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.client.handle_timeout(self.now);
            self.settle();
        }
        self.now = until;
    }

    fn settle(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Send { node, bytes } => self.sent(node, &bytes),
                Output::Answer { id, answer } => {
                    let what = match answer {
                        Answer::Replace(sdp) => String::from_utf8(sdp.to_vec()).unwrap(),
                        Answer::Refuse { status, reason } => format!("{status} {reason}"),
                        Answer::Unchanged | Answer::Taken => "unchanged".to_owned(),
                    };
                    self.note(&format!("ask {} is answered: {}", id.0, what.trim_end()));
                }
                Output::Health { node, health } => {
                    self.note(&format!("node {} is {health:?}", node.0));
                }
                Output::Dead { call, reason } => self.note(&format!("{call} is dead: {reason}")),
                Output::Over { call, .. } => self.note(&format!("{call} is over")),
            }
        }
    }

    fn sent(&mut self, node: NodeId, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let (cookie, _) = text.split_once(' ').unwrap();
        let command = Value::decode(&bytes[cookie.len() + 1..]).unwrap();
        let text = |key| {
            let text = command.get(key).and_then(Value::text);
            String::from_utf8_lossy(text.unwrap_or(b"-")).into_owned()
        };
        let name = text("command");
        if name == "ping" && self.habits[usize::from(node.0)] != Habit::Silent {
            return self.reply(node, cookie, "d6:result4:ponge");
        }
        let mut tags = match name.as_str() {
            "offer" | "answer" => format!(" {} → {}", text("from-tag"), text("to-tag")),
            _ => String::new(),
        };
        if text("transport-protocol") == "RTP/SAVP" {
            tags.push_str(" by SRTP");
        }
        self.note(&format!(
            "→ node {} {name} {}{tags}",
            node.0,
            text("call-id")
        ));
        match self.habits[usize::from(node.0)] {
            Habit::Answers => self.reply(node, cookie, "d6:result2:ok3:sdp5:v=1\r\ne"),
            Habit::Silent => {}
            Habit::Full => self.reply(node, cookie, "d6:result10:load limite"),
            Habit::Fails(why) => {
                let reply = format!("d6:result5:error12:error-reason{}:{why}e", why.len());
                self.reply(node, cookie, &reply);
            }
        }
    }

    fn reply(&mut self, node: NodeId, cookie: &str, reply: &str) {
        let bytes = Bytes::from(format!("{cookie} {reply}"));
        self.client
            .handle(self.now, Input::Received { node, bytes });
    }

    fn ask(&mut self, direction: Direction, role: Role, branch: Branch) {
        self.say(direction, role, branch, "v=0\r\n");
    }

    fn say(&mut self, direction: Direction, role: Role, branch: Branch, sdp: &'static str) {
        self.last_ask += 1;
        let ask = Ask {
            branch,
            direction,
            role,
            sdp: sdp.into(),
        };
        let id = AskId(self.last_ask);
        self.input(Input::Ask { id, ask });
    }

    fn offer(&mut self, call: &str) {
        self.ask(Direction::ToCallee, Role::Offer, branch(call, None));
    }

    fn answer(&mut self, call: &str, tag: &str) {
        self.ask(Direction::ToCaller, Role::Answer, branch(call, Some(tag)));
    }

    fn shows(&self, expected: Expect) {
        expected.assert_eq(&self.ladder);
    }
}

fn branch(call: &str, to_tag: Option<&str>) -> Branch {
    Branch {
        call: call.into(),
        branch: "0".into(),
        to_tag: to_tag.map(Into::into),
        caller: Leg::Web,
        callee: Leg::Sip(Some(0)),
    }
}

fn answered(call: &str, tag: &str) -> Input {
    Input::News(News::Answered(branch(call, Some(tag))))
}

fn ended(call: &str, tag: &str) -> Input {
    Input::News(News::Ended(branch(call, Some(tag))))
}

#[test]
fn a_call_from_its_offer_to_its_end() {
    let mut scene = Scene::datagrams(1);
    scene.offer("x");
    scene.answer("x", "t");
    scene.input(answered("x", "t"));
    // The callee holds.
    scene.ask(Direction::ToCaller, Role::Offer, branch("x", Some("t")));
    scene.ask(Direction::ToCallee, Role::Answer, branch("x", Some("t")));
    scene.input(ended("x", "t"));
    assert_eq!(scene.client.calls(), 0);
    scene.shows(expect![[r#"
        0ms → node 0 offer x caller → -
        0ms ask 1 is answered: v=1
        0ms → node 0 answer x caller → callee;0;t
        0ms ask 2 is answered: v=1
        0ms → node 0 offer x callee;0;t → caller
        0ms ask 3 is answered: v=1
        0ms → node 0 answer x callee;0;t → caller
        0ms ask 4 is answered: v=1
        0ms → node 0 delete x
        0ms x is over
    "#]]);
}

#[test]
fn whoever_speaks_srtp_is_spoken_to_in_it() {
    const SRTP: &str = "v=0\r\nm=audio 4000 RTP/SAVP 0\r\n";
    let mut scene = Scene::datagrams(1);
    // The caller does, as it says itself.
    let called = |tag| Branch {
        caller: Leg::Sip(None),
        callee: Leg::Web,
        ..branch("x", tag)
    };
    scene.say(Direction::ToCallee, Role::Offer, called(None), SRTP);
    scene.ask(Direction::ToCaller, Role::Answer, called(Some("t")));
    scene.ask(Direction::ToCaller, Role::Offer, called(Some("t")));
    // The callee does, as is known of this upstream.
    let upstream = Branch {
        callee: Leg::Sip(Some(1)),
        ..branch("y", None)
    };
    scene.ask(Direction::ToCallee, Role::Offer, upstream);
    scene.shows(expect![[r#"
        0ms → node 0 offer x caller → -
        0ms ask 1 is answered: v=1
        0ms → node 0 answer x caller → callee;0;t by SRTP
        0ms ask 2 is answered: v=1
        0ms → node 0 offer x callee;0;t → caller by SRTP
        0ms ask 3 is answered: v=1
        0ms → node 0 offer y caller → - by SRTP
        0ms ask 4 is answered: v=1
    "#]]);
}

#[test]
fn two_answers_are_two_dialogs() {
    let mut scene = Scene::datagrams(1);
    scene.offer("x");
    for tag in ["t", "u"] {
        scene.answer("x", tag);
        scene.input(answered("x", tag));
    }
    scene.input(ended("x", "t"));
    assert_eq!(scene.client.calls(), 1);
    scene.input(ended("x", "u"));
    scene.shows(expect![[r#"
        0ms → node 0 offer x caller → -
        0ms ask 1 is answered: v=1
        0ms → node 0 answer x caller → callee;0;t
        0ms ask 2 is answered: v=1
        0ms → node 0 answer x caller → callee;0;u
        0ms ask 3 is answered: v=1
        0ms → node 0 delete x
        0ms x is over
    "#]]);
}

#[test]
fn a_call_that_fails_is_deleted_and_may_come_again() {
    let mut scene = Scene::datagrams(1);
    let failed = || Input::News(News::Failed { call: "x".into() });
    scene.offer("x");
    scene.input(failed());
    scene.input(failed());
    scene.offer("x");
    scene.shows(expect![[r#"
        0ms → node 0 offer x caller → -
        0ms ask 1 is answered: v=1
        0ms → node 0 delete x
        0ms x is over
        0ms → node 0 offer x caller → -
        0ms ask 2 is answered: v=1
    "#]]);
}

#[test]
fn what_is_lost_is_sent_again() {
    let mut scene = Scene::datagrams(1);
    scene.habits[0] = Habit::Silent;
    scene.offer("x");
    scene.pass(RETRANSMIT_AFTER);
    scene.habits[0] = Habit::Answers;
    scene.pass(RETRANSMIT_AFTER * 4);
    scene.shows(expect![[r#"
        0ms → node 0 offer x caller → -
        250ms → node 0 offer x caller → -
        750ms → node 0 offer x caller → -
        750ms ask 1 is answered: v=1
    "#]]);
}

/// Calls of a node that is gone go elsewhere with their next offer, new ones at once; an answer cannot.
#[test]
fn a_node_that_is_gone_is_replaced() {
    let mut scene = Scene::datagrams(2);
    scene.offer("x");
    scene.answer("x", "t");
    scene.habits[0] = Habit::Silent;
    scene.habits[1] = Habit::Silent;
    scene.answer("x", "t");
    scene.pass(REPLY_MAX);
    scene.habits[1] = Habit::Answers;
    scene.habits[0] = Habit::Answers;
    let lost = scene.client.calls[&Arc::from("x")].node.unwrap();
    scene.habits[usize::from(lost.0)] = Habit::Silent;
    scene.offer("x");
    scene.offer("y");
    scene.habits[usize::from(lost.0)] = Habit::Answers;
    scene.pass(PING_DOWN_EVERY);
    scene.shows(expect![[r#"
        0ms → node 1 offer x caller → -
        0ms ask 1 is answered: v=1
        0ms → node 1 answer x caller → callee;0;t
        0ms ask 2 is answered: v=1
        0ms → node 1 answer x caller → callee;0;t
        250ms → node 1 answer x caller → callee;0;t
        750ms → node 1 answer x caller → callee;0;t
        1500ms node 1 is Down
        1500ms ask 3 is answered: 500 rtpengine does not answer
        1500ms → node 0 offer x caller → -
        1500ms ask 4 is answered: v=1
        1500ms → node 0 offer y caller → -
        1500ms ask 5 is answered: v=1
        2500ms node 1 is Up
    "#]]);
}

#[test]
fn an_offer_that_a_node_does_not_take_goes_to_another() {
    let mut scene = Scene::datagrams(2);
    scene.habits = vec![Habit::Full, Habit::Answers];
    scene.offer("x");
    scene.offer("y");
    scene.habits = vec![Habit::Full; 2];
    scene.input(ended("x", "t"));
    scene.offer("z");
    scene.shows(expect![[r#"
        0ms → node 1 offer x caller → -
        0ms ask 1 is answered: v=1
        0ms → node 1 offer y caller → -
        0ms ask 2 is answered: v=1
        0ms → node 1 delete x
        0ms x is over
        0ms → node 1 offer z caller → -
        0ms → node 0 offer z caller → -
        0ms ask 3 is answered: 500 rtpengine takes no more calls
    "#]]);
}

#[test]
fn what_a_node_says_is_told() {
    let mut scene = Scene::datagrams(1);
    for why in ["Failed to parse SDP", "Unknown call-id"] {
        scene.habits[0] = Habit::Fails(why);
        scene.offer("x");
    }
    scene.shows(expect![[r#"
        0ms → node 0 offer x caller → -
        0ms ask 1 is answered: 488 rtpengine: Failed to parse SDP
        0ms → node 0 offer x caller → -
        0ms ask 2 is answered: 500 rtpengine: Unknown call-id
    "#]]);
}

#[test]
fn calls_are_limited() {
    let mut scene = Scene::datagrams(1);
    ["x", "y", "z"]
        .into_iter()
        .for_each(|call| scene.offer(call));
    scene.habits[0] = Habit::Silent;
    (0..=QUEUED_MAX + 1).for_each(|_| scene.offer("x"));
    assert_eq!(scene.client.calls(), 2);
    let last = scene.ladder.lines().rev().take(2).collect::<Vec<_>>();
    assert!(
        last[0].contains("too many session descriptions"),
        "{last:?}"
    );
    assert!(
        scene
            .ladder
            .contains("ask 3 is answered: 500 too many calls")
    );
}

/// One command of a call at a time; what nobody waits for any more is not sent.
#[test]
fn a_withdrawn_ask_is_not_answered() {
    let mut scene = Scene::datagrams(1);
    scene.habits[0] = Habit::Silent;
    scene.offer("x");
    scene.offer("x");
    scene.input(Input::Withdraw { id: AskId(1) });
    scene.input(Input::Withdraw { id: AskId(2) });
    scene.input(Input::News(News::Failed { call: "x".into() }));
    scene.habits[0] = Habit::Answers;
    scene.pass(RETRANSMIT_AFTER);
    scene.shows(expect![[r#"
        0ms → node 0 offer x caller → -
        0ms ask 1 is answered: 487 withdrawn
        0ms ask 2 is answered: 487 withdrawn
        250ms → node 0 offer x caller → -
        250ms → node 0 delete x
        250ms x is over
    "#]]);
}

#[test]
fn a_call_that_its_node_has_forgotten_is_forgotten() {
    let mut scene = Scene::datagrams(1);
    scene.offer("x");
    scene.habits[0] = Habit::Fails("Unknown call-id");
    scene.pass(QUERY_EVERY);
    assert_eq!(scene.client.calls(), 0);
    scene.shows(expect![[r#"
        0ms → node 0 offer x caller → -
        0ms ask 1 is answered: v=1
        60000ms → node 0 query x
        60000ms x is over
    "#]]);
}

#[test]
fn a_call_that_was_answered_and_that_its_node_has_forgotten_is_dead() {
    let mut scene = Scene::datagrams(1);
    scene.offer("x");
    scene.input(answered("x", "b"));
    scene.pass(QUERY_EVERY);
    scene.habits[0] = Habit::Fails("Unknown call-id");
    scene.pass(QUERY_EVERY);
    assert_eq!(scene.client.calls(), 0);
    scene.shows(expect![[r#"
        0ms → node 0 offer x caller → -
        0ms ask 1 is answered: v=1
        60000ms → node 0 query x
        120000ms → node 0 query x
        120000ms x is dead: rtpengine has ended it: Unknown call-id
        120000ms x is over
    "#]]);
}

/// Nothing is sent twice on a connection; when it breaks, what was asked on it goes elsewhere at once.
#[test]
fn a_connection_breaks() {
    let mut scene = Scene::new(&[("a", Wire::Connection), ("b", Wire::Datagrams)]);
    scene.habits[0] = Habit::Silent;
    let on_the_first = |n: &u32| {
        let name = format!("x{n}");
        scene.client.nodes.choose(&name, &[]) == Some(NodeId(0))
    };
    let call = format!("x{}", (0..99).find(on_the_first).unwrap());
    scene.offer(&call);
    scene.pass(RETRANSMIT_AFTER * 2);
    scene.input(Input::Disconnected { node: NodeId(0) });
    scene.habits[0] = Habit::Answers;
    scene.input(Input::Connected { node: NodeId(0) });
    scene.shows(expect![[r#"
        0ms → node 0 offer x0 caller → -
        500ms node 0 is Down
        500ms → node 1 offer x0 caller → -
        500ms ask 1 is answered: v=1
        500ms node 0 is Up
    "#]]);
}

#[test]
fn foreign_and_late_replies_are_nobodys() {
    let mut scene = Scene::datagrams(2);
    scene.habits = vec![Habit::Silent; 2];
    scene.offer("x");
    let node = scene.client.calls[&Arc::from("x")].node.unwrap();
    let other = NodeId(1 - node.0);
    let cookie = format!("{}_{}", scene.client.cookies, scene.client.last_cookie);
    let done = "d6:result2:ok3:sdp5:v=1\r\ne";
    for (from, cookie) in [
        (other, cookie.as_str()),
        (node, "0000000000000000_3"),
        (node, "x"),
        (node, &cookie),
        (node, &cookie),
    ] {
        scene.reply(from, cookie, done);
        scene.settle();
    }
    assert_eq!(scene.ladder.matches("is answered").count(), 1);
}
