//! Calls from INVITE to BYE.

use expect_test::expect;

use super::*;
use crate::proxy::io::{Cause, DropCause};

const SDP: &str = "v=0\r\n";

/// A call from a browser to the PBX, up to the ACK; gives the Routes of caller and callee.
fn call_out(net: &mut Net) -> (String, String) {
    let alice = Peer::Web(1);
    net.receive(
        alice,
        request(
            alice,
            "INVITE",
            "sip:100@pbx.test.org",
            "i",
            "Contact: <sip:a@x.invalid>\n",
            SDP,
        ),
    );
    let invite = net.next_for(Peer::Pbx);
    net.receive(Peer::Pbx, response(&invite, 180, "b", "", ""));
    net.receive(
        Peer::Pbx,
        response(&invite, 200, "b", "Contact: <sip:100@192.0.2.10>", SDP),
    );
    assert_eq!(net.next_for(alice).status(), Some(180));
    let ok = net.next_for(alice);
    assert_eq!(ok.status(), Some(200));
    let (caller, callee) = (routes(&ok), routes(&invite));
    let ack = request(
        alice,
        "ACK",
        "sip:100@192.0.2.10",
        "k",
        &format!("{DIALOG}{caller}"),
        "",
    );
    net.receive(alice, ack);
    assert_eq!(net.next_for(Peer::Pbx).method().unwrap().as_str(), "ACK");
    (caller, callee)
}

pub(super) const DIALOG: &str = "From: <sip:alice@test>;tag=a\nTo: <sip:bob@test>;tag=b\n";
pub(super) const REVERSE: &str = "From: <sip:bob@test>;tag=b\nTo: <sip:alice@test>;tag=a\n";

#[test]
fn an_invite_leaves_as_rfc_3261_wants_it() {
    let mut net = net();
    let alice = Peer::Web(1);
    net.receive(
        alice,
        request(
            alice,
            "INVITE",
            "sip:100@pbx.test.org",
            "i",
            "X-Other: kept , as is\n",
            SDP,
        ),
    );
    let invite = net.next_for(Peer::Pbx);
    let sent = text(&invite.to_bytes());
    let token = sent
        .split("Record-Route: <sip:")
        .nth(1)
        .unwrap()
        .split('@')
        .next()
        .unwrap();
    let branch = sent
        .split("branch=")
        .nth(1)
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    let sent = sent
        .replace(token, "TOKEN")
        .replace(branch, "BRANCH")
        .replace('\r', "");
    expect![[r#"
        INVITE sip:100@pbx.test.org SIP/2.0
        Record-Route: <sip:TOKEN@192.0.2.1:5060;lr>
        Record-Route: <sip:TOKEN@proxy.test:443;transport=ws;lr>
        Via: SIP/2.0/UDP 192.0.2.1:5060;branch=BRANCH;rport
        Via: SIP/2.0/WSS x.invalid;branch=z9hG4bKi;received=203.0.113.5
        Max-Forwards: 69
        From: <sip:alice@test>;tag=a
        To: <sip:bob@test>
        Call-ID: call
        CSeq: 1 INVITE
        X-Other: kept , as is
        Content-Type: application/sdp
        Content-Length: 5

        v=0"#]]
    .assert_eq(&sent);
}

#[test]
fn a_call_and_the_caller_hangs_up() {
    let mut net = net();
    let alice = Peer::Web(1);
    let (caller, _) = call_out(&mut net);
    net.receive(
        alice,
        request(
            alice,
            "BYE",
            "sip:100@192.0.2.10",
            "y",
            &format!("{DIALOG}{caller}"),
            "",
        ),
    );
    let bye = net.next_for(Peer::Pbx);
    assert!(
        !bye.contains(HeaderName::Route),
        "both of our Routes are taken"
    );
    assert_eq!(bye.max_forwards(), Some(69));
    net.receive(Peer::Pbx, response(&bye, 200, "b", "", ""));
    assert_eq!(net.next_for(alice).status(), Some(200));
    let ends: Vec<_> = net
        .ended
        .iter()
        .map(|e| (e.method(), e.status, e.cause, e.in_dialog))
        .collect();
    assert_eq!(
        ends,
        [
            ("INVITE", 200, Cause::Forwarded, false),
            ("BYE", 200, Cause::Forwarded, true)
        ]
    );
    assert_eq!(net.ladder(), "");
    net.assert_empty();
}

#[test]
fn a_call_and_the_callee_hangs_up() {
    let mut net = net();
    let (_, callee) = call_out(&mut net);
    net.receive(
        Peer::Pbx,
        request(
            Peer::Pbx,
            "BYE",
            "sip:a@x.invalid",
            "y",
            &format!("{REVERSE}{callee}"),
            "",
        ),
    );
    let bye = net.next_for(Peer::Web(1));
    net.receive(Peer::Web(1), response(&bye, 200, "a", "", ""));
    assert_eq!(net.next_for(Peer::Pbx).status(), Some(200));
    net.assert_empty();
}

#[test]
fn a_call_in_to_a_registered_browser() {
    let mut net = net();
    let bob = Peer::Web(2);
    net.register(bob, "bob", "reg", "<sip:b@y.invalid;transport=ws>");
    net.receive(
        Peer::Pbx,
        request(Peer::Pbx, "INVITE", "sip:bob@test", "i", "", SDP),
    );
    let invite = net.next_for(bob);
    assert_eq!(invite.request_uri(), Some("sip:b@y.invalid;transport=ws"));
    net.receive(
        bob,
        response(&invite, 200, "b", "Contact: <sip:b@y.invalid>", SDP),
    );
    let ok = net.next_for(Peer::Pbx);
    assert_eq!(ok.values(HeaderName::Via).count(), 1);
    let ack = request(
        Peer::Pbx,
        "ACK",
        "sip:b@y.invalid",
        "k",
        &format!("{DIALOG}{}", routes(&ok)),
        "",
    );
    net.receive(Peer::Pbx, ack);
    assert_eq!(first_line(&net.next_for(bob)), "ACK sip:b@y.invalid");
    net.receive(
        bob,
        request(
            bob,
            "BYE",
            "sip:alice@192.0.2.10",
            "y",
            &format!("{REVERSE}{}", routes(&invite)),
            "",
        ),
    );
    let bye = net.next_for(Peer::Pbx);
    net.receive(Peer::Pbx, response(&bye, 200, "a", "", ""));
    assert_eq!(net.next_for(bob).status(), Some(200));
    net.pass_ms(0);
    assert_eq!(net.ladder(), "");
}

#[test]
fn a_dialog_follows_its_client_to_a_new_connection() {
    let mut net = net();
    net.register(
        Peer::Web(1),
        "alice",
        "reg",
        "<sip:a@x.invalid;transport=ws>",
    );
    let (_, callee) = call_out(&mut net);
    net.input(Input::FlowClosed {
        flow: Peer::Web(1).flow().id,
    });
    net.register(
        Peer::Web(7),
        "alice",
        "reg2",
        "<sip:a@x.invalid;transport=ws;ob>",
    );
    net.receive(
        Peer::Pbx,
        request(
            Peer::Pbx,
            "BYE",
            "sip:a@x.invalid",
            "y",
            &format!("{REVERSE}{callee}"),
            "",
        ),
    );
    assert_eq!(
        first_line(&net.next_for(Peer::Web(7))),
        "BYE sip:a@x.invalid"
    );
}

#[test]
fn a_token_outlives_a_restart() {
    let mut first = net();
    let (caller, _) = call_out(&mut first);
    let mut second = net();
    second.receive(
        Peer::Web(1),
        request(
            Peer::Web(1),
            "BYE",
            "sip:100@192.0.2.10",
            "y",
            &format!("{DIALOG}{caller}"),
            "",
        ),
    );
    assert_eq!(
        first_line(&second.next_for(Peer::Pbx)),
        "BYE sip:100@192.0.2.10"
    );
}

#[test]
fn a_token_outlives_a_change_of_the_listeners() {
    let (caller, _) = call_out(&mut net());
    let bye = |config: ProxyConfig| {
        let mut net = net_with(config);
        let fields = format!("{DIALOG}{caller}");
        let bye = request(Peer::Web(1), "BYE", "sip:100@h", "y", &fields, "");
        net.receive(Peer::Web(1), bye);
        net.next()
    };
    let mut turned = config();
    turned.listeners.reverse();
    turned.upstreams[0].listener = ListenerId(0);
    let (to, sent) = bye(turned);
    assert_eq!(to, Peer::Pbx);
    assert!(field(&sent, HeaderName::Via).starts_with("SIP/2.0/UDP 192.0.2.1:5060;"));

    let mut without = config();
    without.listeners.truncate(1);
    let (to, answer) = bye(without);
    assert_eq!((to, answer.status()), (Peer::Web(1), Some(430)));
}

/// Nobody answers an ACK, so nobody stops whoever sends too many.
#[test]
fn acks_that_wait_are_limited() {
    let mut config = config();
    config.limits.queued_max = 2;
    let mut net = net_with(config);
    let (_, callee) = call_out(&mut net);
    for branch in ["1", "2", "3"] {
        let fields = format!("{REVERSE}{callee}");
        let ack = request(Peer::Pbx, "ACK", "sip:a@x.invalid", branch, &fields, "");
        net.hand(Peer::Pbx, ack);
    }
    net.drain();
    assert_eq!(net.ladder(), "Web(1) ← ACK sip:a@x.invalid\n".repeat(2));
    assert_eq!(net.dropped, [DropCause::Overload]);
    assert_eq!(net.proxy.gauges().gates, 0);
}

#[test]
fn a_client_that_is_gone_is_430() {
    let mut net = net();
    let (_, callee) = call_out(&mut net);
    net.receive(
        Peer::Pbx,
        request(
            Peer::Pbx,
            "BYE",
            "sip:a@x.invalid",
            "y",
            &format!("{REVERSE}{callee}"),
            "",
        ),
    );
    net.next_for(Peer::Web(1));
    net.input(Input::SendFailed {
        to: Destination::Flow(Peer::Web(1).flow().id),
    });
    assert_eq!(net.ladder(), "Pbx ← 430 BYE\n");
}

#[test]
fn a_retransmitted_2xx_goes_again_as_it_went() {
    let mut net = net();
    let alice = Peer::Web(1);
    net.receive(
        alice,
        request(alice, "INVITE", "sip:100@pbx.test.org", "i", "", SDP),
    );
    let invite = net.next_for(Peer::Pbx);
    let ok = response(&invite, 200, "b", "", SDP);
    net.receive(Peer::Pbx, ok.clone());
    let first = net.next_for(alice).to_bytes();
    net.receive(Peer::Pbx, ok);
    assert_eq!(net.next_for(alice).to_bytes(), first);
    // Another one from further down is another dialog.
    net.receive(Peer::Pbx, response(&invite, 200, "c", "", SDP));
    assert_eq!(net.next_for(alice).to_tag(), Some("c"));
    assert_eq!(net.ended.len(), 1);
    net.assert_empty();
}

#[test]
fn trying_comes_after_200_ms_if_nothing_else_did() {
    let mut net = net();
    let alice = Peer::Web(1);
    net.receive(
        alice,
        request(alice, "INVITE", "sip:100@pbx.test.org", "i", "", ""),
    );
    net.next_for(Peer::Pbx);
    net.pass_ms(199);
    assert_eq!(net.ladder(), "");
    net.pass_ms(1);
    assert_eq!(net.ladder(), "Web(1) ← 100 INVITE\n");
}

#[test]
fn lost_messages_are_sent_again() {
    let mut net = net();
    net.receive(
        Peer::Stranger,
        request(Peer::Stranger, "INVITE", "sip:bob@test", "i", "", ""),
    );
    assert_eq!(net.ladder(), "Stranger ← 403 INVITE\n");
    net.pass_ms(500);
    assert_eq!(net.ladder(), "Stranger ← 403 INVITE\n");
    net.receive(
        Peer::Stranger,
        request(Peer::Stranger, "INVITE", "sip:bob@test", "i", "", ""),
    );
    assert_eq!(net.ladder(), "Stranger ← 403 INVITE\n");
    net.receive(
        Peer::Stranger,
        request(Peer::Stranger, "ACK", "sip:bob@test", "i", DIALOG, ""),
    );
    net.pass_ms(10_000);
    assert_eq!(net.ladder(), "");
    net.assert_empty();

    let alice = Peer::Web(1);
    net.receive(
        alice,
        request(alice, "OPTIONS", "sip:100@pbx.test.org", "o", "", ""),
    );
    net.pass_ms(33_000);
    let ladder = net.ladder();
    assert_eq!(
        ladder.matches("Pbx ← OPTIONS").count(),
        11,
        "RFC 3261 §17.1.2.2"
    );
    assert!(
        ladder.ends_with("Pbx ← OPTIONS sip:100@pbx.test.org\n"),
        "RFC 4320 §4.2: no 408"
    );
    net.assert_empty();
}
