//! Hooks: their order, their verdicts, and the races with them.

use super::{calls::DIALOG, *};
use crate::proxy::io::{Cause, Continue, Hook, Target, TargetKind};

const WEB: Peer = Peer::Web(1);

fn hooks(hooks: &[Hook]) -> Net {
    let mut net = net();
    net.hooks = hooks
        .iter()
        .fold(Hooks::default(), |all, hook| all.with(*hook));
    net
}

pub(super) fn go_on(ask: &Ask, edit: impl FnOnce(&mut Continue)) -> Verdict {
    let mut next = Continue {
        message: ask.message.clone(),
        targets: Vec::new(),
        timeouts: Vec::new(),
        status: None,
        transaction: Vec::new(),
        call: Vec::new(),
    };
    edit(&mut next);
    Verdict::Continue(Box::new(next))
}

fn target(stage: u32, kind: TargetKind) -> Target {
    Target {
        stage,
        kind,
        uri: None,
        next_hop: None,
        headers: Vec::new(),
        media: None,
    }
}

impl Net {
    /// The oldest ask, which must be of this hook.
    pub(super) fn ask(&mut self, hook: Hook) -> Ask {
        assert!(!self.asks.is_empty(), "{hook:?} is not asked");
        let ask = self.asks.remove(0);
        assert_eq!(ask.hook, hook);
        ask
    }
    fn pass(&mut self, hook: Hook) {
        let ask = self.ask(hook);
        self.verdict(&ask, go_on(&ask, |_| {}));
    }
}

fn invite() -> Message {
    request(WEB, "INVITE", "sip:100@pbx.test.org", "i", "", "")
}

fn cancel(net: &mut Net) {
    net.receive(
        WEB,
        request(WEB, "CANCEL", "sip:100@pbx.test.org", "i", "", ""),
    );
}

#[test]
fn hooks_in_their_order() {
    let mut net = hooks(&[Hook::Request, Hook::Branch, Hook::Response, Hook::Failure]);
    net.receive(WEB, invite());
    let ask = net.ask(Hook::Request);
    net.verdict(
        &ask,
        go_on(&ask, |next| {
            next.message.set("X-Request", "1").unwrap();
            next.transaction
                .push(("key".to_owned(), Some("value".to_owned())));
            next.call.push(("who".to_owned(), Some("alice".to_owned())));
        }),
    );
    let ask = net.ask(Hook::Branch);
    let branch = ask.branch.clone().unwrap();
    assert_eq!(
        (branch.uri.as_str(), branch.upstream, branch.stage),
        ("sip:100@pbx.test.org", Some(UpstreamId(0)), 0)
    );
    assert_eq!(
        ask.transaction.0.get("key").map(String::as_str),
        Some("value")
    );
    assert_eq!(ask.call.0.get("who").map(String::as_str), Some("alice"));
    net.verdict(
        &ask,
        go_on(&ask, |next| next.message.set("X-Branch", "1").unwrap()),
    );
    let sent = net.next_for(Peer::Pbx);
    assert!(sent.contains("X-Request") && sent.contains("X-Branch"));
    net.receive(Peer::Pbx, response(&sent, 180, "b", "", ""));
    let ask = net.ask(Hook::Response);
    assert_eq!(
        (
            ask.status,
            ask.request.as_ref().unwrap().contains("X-Branch")
        ),
        (180, true)
    );
    net.verdict(&ask, Verdict::Skip);
    net.receive(Peer::Pbx, response(&sent, 486, "b", "", ""));
    assert_eq!(net.ladder(), "Pbx ← ACK sip:100@pbx.test.org\n");
    let ask = net.ask(Hook::Failure);
    assert_eq!((ask.status, ask.message.is_request()), (486, true));
    net.verdict(&ask, go_on(&ask, |_| {}));
    let ask = net.ask(Hook::Response);
    net.verdict(&ask, go_on(&ask, |next| next.status = Some(480)));
    assert_eq!(net.ladder(), "Web(1) ← 480 INVITE\n");
    assert_eq!(
        net.proxy.gauges().calls,
        0,
        "a call that came to nothing has no record"
    );
    net.receive(
        WEB,
        request(WEB, "ACK", "sip:100@pbx.test.org", "i", DIALOG, ""),
    );
    net.assert_empty();
}

#[test]
fn verdicts_on_a_request() {
    let mut net = hooks(&[Hook::Request]);
    net.receive(WEB, invite());
    let ask = net.ask(Hook::Request);
    net.receive(WEB, invite());
    assert!(net.asks.is_empty(), "a retransmission asks nobody");
    net.verdict(
        &ask,
        Verdict::Fault {
            reason: "trap".to_owned(),
        },
    );
    assert_eq!(net.ladder(), "Web(1) ← 500 INVITE\n");
    assert_eq!(
        (net.ended[0].cause, net.ended[0].detail.as_str()),
        (Cause::PolicyFault, "trap")
    );

    net.receive(WEB, request(WEB, "MESSAGE", "sip:1@h", "m", "", ""));
    let ask = net.ask(Hook::Request);
    let headers = vec![("X-Why".to_owned(), "no".to_owned())];
    net.verdict(
        &ask,
        Verdict::Reply {
            status: 603,
            reason: Some("Not Today".to_owned()),
            headers,
            body: None,
        },
    );
    let answer = net.next_for(WEB);
    assert_eq!(
        (answer.status(), text(answer.reason().unwrap()).as_str()),
        (Some(603), "Not Today")
    );
    assert_eq!(text(answer.raw("X-Why").unwrap()), "no");

    net.receive(WEB, request(WEB, "MESSAGE", "sip:1@h", "d", "", ""));
    let ask = net.ask(Hook::Request);
    net.verdict(&ask, Verdict::Discard);
    net.receive(WEB, request(WEB, "MESSAGE", "sip:1@h", "d", "", ""));
    assert_eq!(
        (net.ladder().as_str(), net.asks.len(), net.ended.len()),
        ("", 0, 3)
    );
    net.receive(
        WEB,
        request(WEB, "ACK", "sip:100@pbx.test.org", "i", DIALOG, ""),
    );
    net.assert_empty();
}

#[test]
fn targets_in_stages_and_once_more_on_failure() {
    let mut net = hooks(&[Hook::Request, Hook::Failure]);
    let (b1, b2) = (Peer::Web(11), Peer::Web(12));
    net.hooks = Hooks::default();
    net.register(b1, "bob", "r1", "<sip:1@y.invalid>");
    net.register(b2, "carol", "r2", "<sip:2@y.invalid>");
    net.hooks = Hooks::default().with(Hook::Request).with(Hook::Failure);
    net.receive(WEB, invite());
    let ask = net.ask(Hook::Request);
    net.verdict(
        &ask,
        go_on(&ask, |next| {
            next.targets = vec![
                target(0, TargetKind::Registered("sip:bob@test".to_owned())),
                Target {
                    headers: vec![("X-Stage".to_owned(), "1".to_owned())],
                    ..target(1, TargetKind::Uri("sip:9@198.51.100.9:5070".to_owned()))
                },
            ];
        }),
    );
    let first = net.next_for(b1);
    net.receive(b1, response(&first, 486, "1", "", ""));
    net.next_for(b1);
    let second = net.next_for(Peer::Stranger);
    assert_eq!(
        (first_line(&second).as_str(), second.contains("X-Stage")),
        ("INVITE sip:9@198.51.100.9:5070", true)
    );
    net.receive(Peer::Stranger, response(&second, 404, "2", "", ""));
    net.next_for(Peer::Stranger);
    let ask = net.ask(Hook::Failure);
    assert_eq!(ask.status, 486);
    net.verdict(
        &ask,
        go_on(&ask, |next| {
            next.targets = vec![target(
                0,
                TargetKind::Registered("sip:carol@test".to_owned()),
            )]
        }),
    );
    let third = net.next_for(b2);
    net.receive(b2, response(&third, 200, "3", "", ""));
    assert_eq!(net.ladder(), "Web(1) ← 200 INVITE\n");
    net.assert_empty();
}

#[test]
fn a_member_that_stands_in_has_no_more_time_than_its_stage() {
    let mut config = config();
    config.upstreams[0].members.push(PBX2.parse().unwrap());
    config.timers.no_answer = Some(Duration::from_secs(10));
    let mut net = net_with(config);
    let bob = Peer::Web(11);
    net.register(bob, "bob", "r1", "<sip:1@y.invalid>");
    net.hooks = Hooks::default().with(Hook::Request);
    net.receive(WEB, invite());
    let ask = net.ask(Hook::Request);
    net.verdict(
        &ask,
        go_on(&ask, |next| {
            next.targets = vec![
                target(0, TargetKind::Registered("sip:bob@test".to_owned())),
                target(0, TargetKind::Upstream(UpstreamId(0))),
            ];
        }),
    );
    let rings = net.next_for(bob);
    net.receive(bob, response(&rings, 180, "1", "", ""));
    let (member, invite) = net.next();
    net.pass_ms(300);
    net.receive(member, response(&invite, 503, "2", "", ""));
    net.ladder();
    net.pass_ms(400);
    assert_eq!(net.ladder(), "");
    net.pass_ms(9_300);
    assert!(net.ladder().contains("Web(11) ← CANCEL sip:1@y.invalid"));
}

#[test]
fn cancel_during_an_ask_is_487_at_once_and_the_verdict_is_nobodys() {
    for hook in [Hook::Request, Hook::Branch] {
        let mut net = hooks(&[hook]);
        net.receive(WEB, invite());
        let ask = net.ask(hook);
        cancel(&mut net);
        assert_eq!(net.ladder(), "Web(1) ← 200 CANCEL\nWeb(1) ← 487 INVITE\n");
        assert_eq!(net.withdrawn, [ask.id]);
        net.verdict(&ask, go_on(&ask, |_| {}));
        assert_eq!(net.ladder(), "");
        net.receive(
            WEB,
            request(WEB, "ACK", "sip:100@pbx.test.org", "i", DIALOG, ""),
        );
        net.assert_empty();
    }
}

#[test]
fn cancel_while_a_2xx_is_asked_about_comes_too_late() {
    let mut net = hooks(&[Hook::Response]);
    net.receive(WEB, invite());
    let sent = net.next_for(Peer::Pbx);
    net.receive(Peer::Pbx, response(&sent, 200, "b", "", ""));
    let ask = net.ask(Hook::Response);
    cancel(&mut net);
    assert_eq!(net.ladder(), "Web(1) ← 200 CANCEL\n");
    net.receive(Peer::Pbx, response(&sent, 200, "b", "", ""));
    net.verdict(
        &ask,
        go_on(&ask, |next| next.message.set("X-Edit", "1").unwrap()),
    );
    let ok = net.next_for(WEB);
    assert_eq!((ok.status(), ok.contains("X-Edit")), (Some(200), true));
    net.receive(Peer::Pbx, response(&sent, 200, "b", "", ""));
    assert!(
        net.next_for(WEB).contains("X-Edit"),
        "the same edits, and no hook"
    );
    assert!(net.asks.is_empty());
    net.assert_empty();
}

#[test]
fn responses_of_a_branch_stay_in_order() {
    let mut net = hooks(&[Hook::Response]);
    net.receive(WEB, invite());
    let sent = net.next_for(Peer::Pbx);
    for (status, tag) in [(180, "b"), (183, "b"), (200, "b")] {
        net.receive(Peer::Pbx, response(&sent, status, tag, "", ""));
    }
    assert_eq!(net.asks.len(), 1, "one after the other");
    net.pass(Hook::Response);
    let ask = net.ask(Hook::Response);
    // A fault lets a response pass as it is.
    net.verdict(
        &ask,
        Verdict::Fault {
            reason: "trap".to_owned(),
        },
    );
    net.pass(Hook::Response);
    assert_eq!(
        net.ladder(),
        "Web(1) ← 180 INVITE\nWeb(1) ← 183 INVITE\nWeb(1) ← 200 INVITE\n"
    );
}

#[test]
fn requests_of_a_dialog_stay_in_order() {
    let mut net = hooks(&[Hook::Response]);
    net.receive(WEB, invite());
    let sent = net.next_for(Peer::Pbx);
    let pbx = |method: &str, branch: &str| {
        let fields = format!("{}{}", super::calls::REVERSE, routes(&sent));
        request(Peer::Pbx, method, "sip:a@x.invalid", branch, &fields, "")
    };
    net.receive(Peer::Pbx, response(&sent, 200, "b", "", ""));
    let ask = net.ask(Hook::Response);
    // Whoever answers and hangs up at once: the BYE must not overtake the 200.
    net.hooks = net.hooks.with(Hook::Request);
    net.receive(Peer::Pbx, pbx("INFO", "1"));
    net.receive(Peer::Pbx, pbx("BYE", "2"));
    assert!(net.asks.is_empty());
    net.verdict(&ask, go_on(&ask, |_| {}));
    assert_eq!(net.ladder(), "Web(1) ← 200 INVITE\n");
    let ask = net.ask(Hook::Request);
    assert!(ask.in_dialog && net.asks.is_empty());
    // Targets do nothing in a dialog.
    net.verdict(
        &ask,
        go_on(&ask, |next| {
            next.targets = vec![target(0, TargetKind::Upstream(UpstreamId(0)))]
        }),
    );
    assert_eq!(net.ladder(), "Web(1) ← INFO sip:a@x.invalid\n");
    net.pass(Hook::Request);
    assert_eq!(net.ladder(), "Web(1) ← BYE sip:a@x.invalid\n");
}
