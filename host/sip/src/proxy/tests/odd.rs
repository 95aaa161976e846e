//! Whatever parses may come: nothing of it stops the proxy, and all of it is over some day.

use super::{calls::DIALOG, *};
use crate::proxy::{
    ids::Chance,
    io::{DropCause, Hook},
};

/// One message of each kind; the answers to what the proxy sent are made from what it sent.
fn corpus(net: &mut Net) -> Vec<(Peer, Message)> {
    let alice = Peer::Web(1);
    let invite = request(
        alice,
        "INVITE",
        "sip:100@pbx.test.org",
        "i",
        "Contact: <sip:a@x.invalid>\n",
        "v=0\r\n",
    );
    net.receive(alice, invite.clone());
    let sent = net.next_for(Peer::Pbx);
    let dialog = format!("{DIALOG}{}", routes(&response(&sent, 200, "b", "", "")));
    let register = "Contact: \"B\" <sip:b@y.invalid;transport=ws>;q=0.5;+sip.instance=\"<urn:uuid:1>\";reg-id=1\n";
    vec![
        (alice, invite),
        (
            alice,
            request(
                alice,
                "CANCEL",
                "sip:100@pbx.test.org",
                "i",
                "Reason: SIP;cause=487\n",
                "",
            ),
        ),
        (
            alice,
            request(alice, "ACK", "sip:100@192.0.2.10", "k", &dialog, "v=0\r\n"),
        ),
        (
            alice,
            request(alice, "INFO", "sip:100@192.0.2.10", "n", &dialog, ""),
        ),
        (
            alice,
            request(alice, "REGISTER", "sip:test", "r", register, ""),
        ),
        (
            Peer::Pbx,
            request(
                Peer::Pbx,
                "MESSAGE",
                "sip:bob@test",
                "m",
                "Route: <sip:192.0.2.1;lr>\n",
                "",
            ),
        ),
        (
            Peer::Stranger,
            request(
                Peer::Stranger,
                "OPTIONS",
                "sip:192.0.2.1",
                "o",
                "Proxy-Require: x\n",
                "",
            ),
        ),
        (Peer::Pbx, response(&sent, 180, "b", "", "")),
        (
            Peer::Pbx,
            response(&sent, 200, "b", "Contact: <sip:100@192.0.2.10>", "v=0\r\n"),
        ),
        (
            Peer::Pbx,
            response(
                &sent,
                407,
                "b",
                "Proxy-Authenticate: Digest realm=\"x\"",
                "",
            ),
        ),
    ]
}

/// Bytes that mean something to SIP, and some that nobody sends.
const TELLING: &[u8] = b"\0\r\n \t<>;:,@\"%[]?=/*0a\xff";

/// Changes, doubles or drops a few bytes.
fn mutate(bytes: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + chance.draw() % 4 {
        let at = chance.draw() as usize % bytes.len();
        let value = TELLING[chance.draw() as usize % TELLING.len()];
        match chance.draw() % 4 {
            0 => bytes[at] = value,
            1 => bytes.insert(at, value),
            2 => drop(bytes.remove(at)),
            _ => {
                let end = (at + 1 + chance.draw() as usize % 40).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

#[test]
fn what_parses_does_no_harm() {
    let mut chance = Chance::new([9; 32]);
    let mut taken = 0;
    for round in 0..200 {
        let mut net = net();
        let corpus = corpus(&mut net);
        if round % 2 == 0 {
            let all = [
                Hook::Register,
                Hook::Request,
                Hook::Branch,
                Hook::Response,
                Hook::Failure,
            ];
            net.hooks = all
                .into_iter()
                .fold(Hooks::default(), |hooks, hook| hooks.with(hook));
        }
        for _ in 0..40 {
            let (from, message): &(Peer, Message) = &corpus[chance.draw() as usize % corpus.len()];
            let bytes = Bytes::from(mutate(&message.to_bytes(), &mut chance));
            if let Ok(message) = Message::parse(bytes, &Limits::default()) {
                taken += 1;
                net.receive(*from, message);
            }
            if chance.draw().is_multiple_of(8) {
                net.input(Input::FlowClosed {
                    flow: Peer::Web(1).flow().id,
                });
            }
            for ask in std::mem::take(&mut net.asks) {
                let verdict = match chance.draw() % 8 {
                    0 => Verdict::Fault {
                        reason: String::new(),
                    },
                    1 => Verdict::Skip,
                    2 => Verdict::Discard,
                    _ => super::policy::go_on(&ask, |_| {}),
                };
                net.verdict(&ask, verdict);
            }
        }
        for ask in std::mem::take(&mut net.asks) {
            net.verdict(&ask, Verdict::Skip);
        }
        net.sent.clear();
        net.pass_ms(700_000);
        for ask in std::mem::take(&mut net.asks) {
            net.verdict(&ask, Verdict::Skip);
        }
        net.unreadable = 0;
        net.assert_empty();
    }
    assert!(taken > 2_000, "{taken} messages parsed");
}

/// RFC 3261 §16.7 item 3: it must not be forwarded, and the request that it seems to answer still ends.
#[test]
fn a_response_without_the_clients_via_answers_nothing() {
    for (method, end) in [("MESSAGE", 0), ("INVITE", 408)] {
        let mut net = net();
        net.register(Peer::Web(2), "bob", "rb", "<sip:b@y.invalid>");
        net.receive(
            Peer::Web(1),
            request(Peer::Web(1), method, "sip:bob@test", "m", "", ""),
        );
        let asked = net.next_for(Peer::Web(2));
        for status in [180, 200, 486] {
            let mut answer = response(&asked, status, "b", "", "");
            let via = text(answer.values(HeaderName::Via).next().unwrap());
            answer.set(HeaderName::Via, via).unwrap();
            net.receive(Peer::Web(2), answer);
        }
        assert_eq!(net.dropped, [DropCause::StrayResponse; 3]);
        assert_eq!(net.ladder(), "");
        net.pass_ms(64_000);
        let ends: Vec<_> = net.ended.iter().map(|ended| ended.status).collect();
        assert_eq!((ends, net.proxy.unanswered()), (vec![end], 0), "{method}");
        net.assert_empty();
    }
}
