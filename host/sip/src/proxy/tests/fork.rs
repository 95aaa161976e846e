//! Several targets: in parallel, in series, cancelled, given up.

use super::*;
use crate::{
    message::Method,
    proxy::io::{Cause, DropCause},
};

const B1: Peer = Peer::Web(11);
const B2: Peer = Peer::Web(12);

/// Bob's two browsers ring; gives what each got.
fn ring(net: &mut Net, q1: &str, q2: &str) {
    net.register(B1, "bob", "r1", &format!("<sip:1@y.invalid>{q1}"));
    net.register(B2, "bob", "r2", &format!("<sip:2@y.invalid>{q2}"));
    net.receive(
        Peer::Pbx,
        request(Peer::Pbx, "INVITE", "sip:bob@test", "i", "", ""),
    );
}

fn cancel(net: &mut Net, fields: &str) {
    net.receive(
        Peer::Pbx,
        request(Peer::Pbx, "CANCEL", "sip:bob@test", "i", fields, ""),
    );
}

#[test]
fn the_first_to_answer_wins_and_the_other_is_told_why() {
    let mut net = net();
    ring(&mut net, "", "");
    let (first, second) = (net.next_for(B1), net.next_for(B2));
    net.receive(B1, response(&first, 180, "1", "", ""));
    net.receive(B2, response(&second, 180, "2", "", ""));
    assert_eq!(net.ladder(), "Pbx ← 180 INVITE\nPbx ← 180 INVITE\n");
    net.receive(B2, response(&second, 200, "2", "", ""));
    assert_eq!(net.next_for(Peer::Pbx).status(), Some(200));
    let cancel = net.next_for(B1);
    assert_eq!(first_line(&cancel), "CANCEL sip:1@y.invalid");
    assert_eq!(
        field(&cancel, HeaderName::Reason),
        "SIP;cause=200;text=\"Call completed elsewhere\""
    );
    assert_eq!(
        field(&cancel, HeaderName::Via),
        text(first.values(HeaderName::Via).next().unwrap())
    );
    net.receive(B1, response(&cancel, 200, "1", "", ""));
    net.receive(B1, response(&first, 487, "1", "", ""));
    let ack = net.next_for(B1);
    assert_eq!(
        (first_line(&ack).as_str(), ack.to_tag()),
        ("ACK sip:1@y.invalid", Some("1"))
    );
    assert_eq!(net.ladder(), "");
    net.assert_empty();
}

#[test]
fn every_2xx_is_forwarded() {
    let mut net = net();
    ring(&mut net, "", "");
    let (first, second) = (net.next_for(B1), net.next_for(B2));
    net.receive(B1, response(&first, 200, "1", "", ""));
    net.receive(B2, response(&second, 200, "2", "", ""));
    assert_eq!(net.ladder(), "Pbx ← 200 INVITE\nPbx ← 200 INVITE\n");
    assert_eq!(net.ended.len(), 1);
    net.assert_empty();
}

#[test]
fn a_lower_q_is_tried_after_the_higher_failed() {
    let mut net = net();
    ring(&mut net, ";q=0.2", ";q=0.8");
    let second = net.next_for(B2);
    assert_eq!(net.ladder(), "");
    net.receive(B2, response(&second, 486, "2", "", ""));
    assert_eq!(first_line(&net.next_for(B2)), "ACK sip:2@y.invalid");
    let first = net.next_for(B1);
    net.receive(B1, response(&first, 404, "1", "", ""));
    assert_eq!(
        net.ladder(),
        "Web(11) ← ACK sip:1@y.invalid\nPbx ← 486 INVITE\n"
    );
    assert_eq!(
        (net.ended[0].status, net.ended[0].cause),
        (486, Cause::Forwarded)
    );
}

#[test]
fn a_6xx_ends_the_search() {
    let mut net = net();
    ring(&mut net, "", "");
    let (first, second) = (net.next_for(B1), net.next_for(B2));
    net.receive(B1, response(&first, 180, "1", "", ""));
    net.receive(B2, response(&second, 603, "2", "", ""));
    let expected =
        "Pbx ← 180 INVITE\nWeb(12) ← ACK sip:2@y.invalid\nWeb(11) ← CANCEL sip:1@y.invalid\n";
    assert_eq!(net.ladder(), expected);
    net.receive(B1, response(&first, 487, "1", "", ""));
    assert_eq!(
        net.ladder(),
        "Web(11) ← ACK sip:1@y.invalid\nPbx ← 603 INVITE\n"
    );
}

#[test]
fn cancel_is_answered_at_once_and_487_follows_the_branches() {
    let mut net = net();
    ring(&mut net, "", "");
    let (first, second) = (net.next_for(B1), net.next_for(B2));
    net.receive(B1, response(&first, 180, "1", "", ""));
    assert_eq!(net.ladder(), "Pbx ← 180 INVITE\n");
    cancel(&mut net, "Reason: Q.850;cause=16\n");
    assert_eq!(net.next_for(Peer::Pbx).status(), Some(200));
    let sent = net.next_for(B1);
    assert_eq!(
        (sent.method(), field(&sent, HeaderName::Reason)),
        (Some(Method::Cancel), "Q.850;cause=16".to_owned())
    );
    // The other has not said anything yet: its CANCEL waits for that (RFC 3261 §9.1).
    assert_eq!(net.ladder(), "");
    net.receive(B2, response(&second, 180, "2", "", ""));
    assert_eq!(net.ladder(), "Web(12) ← CANCEL sip:2@y.invalid\n");
    net.receive(B1, response(&first, 487, "1", "", ""));
    assert_eq!(net.ladder(), "Web(11) ← ACK sip:1@y.invalid\n");
    net.receive(B2, response(&second, 487, "2", "", ""));
    assert_eq!(
        net.ladder(),
        "Web(12) ← ACK sip:2@y.invalid\nPbx ← 487 INVITE\n"
    );
    assert_eq!(
        net.ended.iter().map(|e| e.cause).collect::<Vec<_>>(),
        [Cause::Cancelled]
    );
    cancel(&mut net, "");
    assert_eq!(net.ladder(), "Pbx ← 200 CANCEL\n");
    net.assert_empty();
    net.ladder();
    cancel(&mut net, "");
    assert_eq!(net.ladder(), "Pbx ← 481 CANCEL\n");
}

/// Both callees know the caller's Via; one of them, and a stranger, try to end the call for the other.
#[test]
fn a_cancel_or_ack_from_elsewhere_is_none_of_the_calls() {
    let mut net = net();
    ring(&mut net, "", "");
    let (first, second) = (net.next_for(B1), net.next_for(B2));
    let caller = text(first.values(HeaderName::Via).nth(1).unwrap());
    let forged = |method: &str| {
        let mut message = request(Peer::Pbx, method, "sip:bob@test", "i", "", "");
        message.set(HeaderName::Via, &caller).unwrap();
        message
    };
    for mallory in [B1, B2, Peer::Stranger] {
        net.receive(mallory, forged("CANCEL"));
        assert_eq!(net.ladder(), format!("{mallory:?} ← 481 CANCEL\n"));
    }
    // The other member of the upstream that calls speaks for it.
    net.receive(Peer::Pbx2, forged("CANCEL"));
    assert_eq!(net.ladder(), "Pbx2 ← 200 CANCEL\n");
    net.receive(B1, response(&first, 486, "b", "", ""));
    net.receive(B2, response(&second, 486, "b", "", ""));
    assert!(net.ladder().ends_with("Pbx ← 487 INVITE\n"));
    net.receive(B1, forged("ACK"));
    assert_eq!(net.dropped, [DropCause::StrayAck]);
    net.pass_ms(500);
    assert_eq!(net.ladder(), "Pbx ← 487 INVITE\n");
}

/// RFC 3581 §4: as to any other request.
#[test]
fn the_answer_to_cancel_says_where_it_came_from() {
    let mut net = net();
    net.receive(
        Peer::Stranger,
        request(Peer::Stranger, "CANCEL", "sip:bob@test", "i", "", ""),
    );
    let answer = net.next_for(Peer::Stranger);
    assert_eq!(
        field(&answer, HeaderName::Via),
        "SIP/2.0/UDP 198.51.100.9:5070;branch=z9hG4bKi;received=198.51.100.9;rport=5070"
    );
    assert_eq!(field(&answer, HeaderName::Server), "hookswitch");
}

#[test]
fn a_2xx_after_our_cancel_is_forwarded() {
    let mut net = net();
    ring(&mut net, "", "");
    let (first, _) = (net.next_for(B1), net.next_for(B2));
    net.receive(B1, response(&first, 180, "1", "", ""));
    cancel(&mut net, "");
    net.receive(B1, response(&first, 200, "1", "", ""));
    assert!(
        net.ladder()
            .ends_with("Web(11) ← CANCEL sip:1@y.invalid\nPbx ← 200 INVITE\n")
    );
    assert_eq!((net.ended.len(), net.ended[0].status), (1, 200));
    net.assert_empty();
}

#[test]
fn a_cancelled_branch_that_says_nothing_more_is_given_up() {
    let mut net = net();
    ring(&mut net, "", "");
    let (first, _) = (net.next_for(B1), net.next_for(B2));
    net.receive(B1, response(&first, 180, "1", "", ""));
    cancel(&mut net, "");
    net.pass_ms(33_000);
    assert!(net.ladder().contains("Pbx ← 487 INVITE\n"));
    net.assert_empty();
}

#[test]
fn nobody_answers() {
    let mut net = net();
    ring(&mut net, "", "");
    let (first, second) = (net.next_for(B1), net.next_for(B2));
    net.receive(B1, response(&first, 180, "1", "", ""));
    net.receive(B2, response(&second, 180, "2", "", ""));
    net.ladder();
    net.pass_ms(180_000);
    let expected = "Web(11) ← CANCEL sip:1@y.invalid\nWeb(12) ← CANCEL sip:2@y.invalid\n";
    assert_eq!(net.ladder(), expected);
    // The caller hears of no failure before both have ended: one picked up after all.
    net.receive(B1, response(&first, 200, "1", "", ""));
    assert_eq!(net.ladder(), "Pbx ← 200 INVITE\n");
    net.assert_empty();
}

#[test]
fn a_member_that_does_not_answer_is_followed_by_the_next() {
    let mut config = config();
    config.upstreams[0].members.push(PBX2.parse().unwrap());
    config.timers.first_response = Some(Duration::from_secs(2));
    let mut net = net_with(config);
    let alice = Peer::Web(1);
    net.receive(
        alice,
        request(alice, "INVITE", "sip:100@pbx.test.org", "i", "", ""),
    );
    let (first, _) = net.next();
    net.pass_ms(2000);
    let others: Vec<_> = std::mem::take(&mut net.sent)
        .into_iter()
        .filter(|(to, _)| *to != first && *to != alice)
        .collect();
    let [(second, invite)] = others.as_slice() else {
        panic!("{others:?}")
    };
    net.receive(*second, response(invite, 503, "b", "Retry-After: 60", ""));
    let ladder = net.ladder();
    assert!(
        ladder.ends_with("Web(1) ← 408 INVITE\n"),
        "a 408 says less than 5xx, but is of the lower class: {ladder}"
    );
    net.assert_empty();
}

/// It is the user who does not answer, and not the member at which he is called.
#[test]
fn a_member_that_rang_is_not_followed_by_the_next() {
    let mut config = config();
    config.upstreams[0].members.push(PBX2.parse().unwrap());
    config.timers.no_answer = None;
    let mut net = net_with(config);
    let alice = Peer::Web(1);
    net.receive(alice, request(alice, "INVITE", "sip:100@h", "i", "", ""));
    let (member, invite) = net.next();
    net.receive(member, response(&invite, 180, "b", "", ""));
    net.ladder();
    net.pass_ms(185_000);
    assert_eq!(net.ladder(), format!("{member:?} ← CANCEL sip:100@h\n"));
    net.receive(member, response(&invite, 487, "b", "", ""));
    assert_eq!(
        net.ladder(),
        format!("{member:?} ← ACK sip:100@h\nWeb(1) ← 408 INVITE\n")
    );
}

/// The PBX rings for one, has not answered another yet, and a third does not fit the network: that one alone fails.
#[test]
fn a_message_that_cannot_be_delivered_fails_alone() {
    let mut net = net();
    let call = |net: &mut Net, serial, branch| {
        let web = Peer::Web(serial);
        net.receive(web, request(web, "INVITE", "sip:100@h", branch, "", ""));
        net.next_for(Peer::Pbx)
    };
    let undelivered = |net: &mut Net, message: &Message| {
        net.input(Input::Undelivered {
            to: Destination::Flow(Peer::Pbx.flow().id),
            bytes: message.to_bytes(),
        });
    };
    let rings = call(&mut net, 1, "r");
    net.receive(Peer::Pbx, response(&rings, 180, "b", "", ""));
    net.next_for(Peer::Web(1));
    call(&mut net, 2, "w");
    let third = call(&mut net, 3, "t");
    undelivered(&mut net, &third);
    assert_eq!(net.ladder(), "Web(3) ← 500 INVITE\n");
    // A message of a call that rings is lost like any datagram, and so is one that was sent before, and a response.
    undelivered(&mut net, &rings);
    net.pass_ms(500);
    let (_, again) = net.sent.pop().unwrap();
    assert_eq!(first_line(&again), "INVITE sip:100@h");
    net.sent.clear();
    undelivered(&mut net, &again);
    net.receive(
        Peer::Web(1),
        request(Peer::Web(1), "CANCEL", "sip:100@h", "r", "", ""),
    );
    assert_eq!(net.next_for(Peer::Web(1)).status(), Some(200));
    let cancel = net.next_for(Peer::Pbx);
    undelivered(&mut net, &cancel);
    undelivered(&mut net, &response(&third, 200, "x", "", ""));
    assert_eq!(net.ladder(), "");
    net.receive(Peer::Pbx, response(&cancel, 200, "b", "", ""));
    net.receive(Peer::Pbx, response(&rings, 487, "b", "", ""));
    assert_eq!(net.ladder(), "Pbx ← ACK sip:100@h\nWeb(1) ← 487 INVITE\n");
}

#[test]
fn a_lone_503_is_500() {
    let mut net = net();
    let alice = Peer::Web(1);
    net.receive(
        alice,
        request(alice, "OPTIONS", "sip:100@pbx.test.org", "i", "", ""),
    );
    let options = net.next_for(Peer::Pbx);
    net.receive(
        Peer::Pbx,
        response(&options, 503, "b", "Retry-After: 600", ""),
    );
    let answer = net.next_for(alice);
    assert_eq!(
        (answer.status(), answer.contains(HeaderName::RetryAfter)),
        (Some(500), false)
    );
    net.assert_empty();
}

#[test]
fn a_caller_that_is_gone_takes_its_call_with_it() {
    let mut net = net();
    let alice = Peer::Web(1);
    net.receive(
        alice,
        request(alice, "INVITE", "sip:100@pbx.test.org", "i", "", ""),
    );
    let invite = net.next_for(Peer::Pbx);
    net.receive(Peer::Pbx, response(&invite, 180, "b", "", ""));
    net.ladder();
    net.input(Input::FlowClosed {
        flow: alice.flow().id,
    });
    assert_eq!(net.ladder(), "Pbx ← CANCEL sip:100@pbx.test.org\n");
    assert_eq!(
        (net.ended[0].status, net.ended[0].cause),
        (0, Cause::ClientGone)
    );
    net.receive(Peer::Pbx, response(&invite, 487, "b", "", ""));
    assert_eq!(net.ladder(), "Pbx ← ACK sip:100@pbx.test.org\n");
    net.assert_empty();
}
