//! What is answered at once, and with what.

use super::{calls::DIALOG, *};
use crate::proxy::io::DropCause;

fn answer(net: &mut Net, from: Peer, request: Message) -> Message {
    net.receive(from, request);
    net.next_for(from)
}

fn status(from: Peer, request: Message) -> u16 {
    answer(&mut net(), from, request).status().unwrap()
}

const WEB: Peer = Peer::Web(1);

#[test]
fn the_checks_of_rfc_3261_16_3() {
    assert_eq!(
        status(WEB, request(WEB, "INVITE", "http://h/", "i", "", "")),
        416
    );
    let last_hop = parse(
        &request(WEB, "INVITE", "sip:1@h", "i", "", "")
            .to_bytes()
            .escape_ascii()
            .to_string()
            .replace("\\r\\n", "\n")
            .replace("Forwards: 70", "Forwards: 0"),
    );
    assert_eq!(status(WEB, last_hop), 483);
    let mut net = net();
    let refused = answer(
        &mut net,
        WEB,
        request(WEB, "INVITE", "sip:1@h", "i", "Proxy-Require: a, b\n", ""),
    );
    assert_eq!(
        (refused.status(), field(&refused, HeaderName::Unsupported)),
        (Some(420), "a, b".to_owned())
    );
    assert_eq!(
        status(
            WEB,
            request(
                WEB,
                "INVITE",
                "sip:1@h",
                "i",
                "Route: <sip:evil.test;lr>\n",
                ""
            )
        ),
        403
    );
    assert_eq!(
        status(
            Peer::Stranger,
            request(Peer::Stranger, "INVITE", "sip:1@h", "i", "", "")
        ),
        403
    );
    assert_eq!(
        status(
            Peer::Pbx,
            request(Peer::Pbx, "INVITE", "sip:1@h", "i", "", "")
        ),
        404
    );
}

#[test]
fn options_to_us_is_answered() {
    for uri in ["sip:proxy.test", "sip:192.0.2.1:5060"] {
        assert_eq!(status(WEB, request(WEB, "OPTIONS", uri, "o", "", "")), 200);
    }
}

#[test]
fn a_route_of_ours_without_a_token_is_taken() {
    let mut net = net();
    let route = "Route: <sip:proxy.test:443;transport=ws;lr>\n";
    net.receive(
        WEB,
        request(WEB, "MESSAGE", "sip:1@elsewhere.test", "m", route, ""),
    );
    let message = net.next_for(Peer::Pbx);
    assert!(!message.contains(HeaderName::Route) && !message.contains(HeaderName::RecordRoute));
}

#[test]
fn an_upstream_may_say_where_its_requests_go() {
    let mut net = net();
    let route = "Route: <sip:192.0.2.1;lr>, <sip:198.51.100.9:5070;lr>\n";
    net.receive(
        Peer::Pbx,
        request(Peer::Pbx, "MESSAGE", "sip:1@elsewhere.test", "m", route, ""),
    );
    assert_eq!(
        field(&net.next_for(Peer::Stranger), HeaderName::Route),
        "<sip:198.51.100.9:5070;lr>"
    );
}

#[test]
fn a_to_tag_without_a_token_is_481() {
    for method in ["INVITE", "BYE", "OPTIONS", "MESSAGE"] {
        assert_eq!(
            status(WEB, request(WEB, method, "sip:1@h", "i", DIALOG, "")),
            481,
            "{method}"
        );
    }
}

/// Rings the PBX for alice; gives her Route set.
fn early(net: &mut Net) -> String {
    net.receive(
        WEB,
        request(WEB, "INVITE", "sip:100@pbx.test.org", "i", "", ""),
    );
    let invite = net.next_for(Peer::Pbx);
    net.receive(Peer::Pbx, response(&invite, 183, "b", "", ""));
    routes(&net.next_for(WEB))
}

#[test]
fn a_token_of_another_dialog_is_403_before_any_hook() {
    let mut net = net();
    let routes = early(&mut net);
    net.hooks = Hooks::default().with(super::super::io::Hook::Request);
    let in_dialog = |from: &str| {
        format!("From: <sip:alice@test>;tag={from}\nTo: <sip:bob@test>;tag=b\n{routes}")
    };
    assert_eq!(
        answer(
            &mut net,
            WEB,
            request(WEB, "BYE", "sip:1@h", "x", &in_dialog("z"), "")
        )
        .status(),
        Some(403)
    );
    let other_call = text(&request(WEB, "BYE", "sip:1@h", "y", &in_dialog("a"), "").to_bytes());
    let other_call = parse(
        &other_call
            .replace('\r', "")
            .replace("Call-ID: call", "Call-ID: other"),
    );
    assert_eq!(answer(&mut net, WEB, other_call).status(), Some(403));
    // Without a To tag it would be a new call that no policy routes.
    let fresh = format!("From: <sip:alice@test>;tag=a\nTo: <sip:bob@test>\n{routes}");
    assert_eq!(
        answer(
            &mut net,
            WEB,
            request(WEB, "INVITE", "sip:1@h", "w", &fresh, "")
        )
        .status(),
        Some(403)
    );
    assert!(net.asks.is_empty());
    // A forged ACK goes nowhere.
    net.receive(
        WEB,
        request(WEB, "ACK", "sip:1@h", "v", &in_dialog("z"), ""),
    );
    assert_eq!(
        (net.ladder().as_str(), net.dropped.as_slice()),
        ("", &[DropCause::StrayAck][..])
    );
}

#[test]
fn a_loop_is_482_and_a_spiral_is_not() {
    let mut net = net();
    net.register(Peer::Web(2), "bob", "r", "<sip:b@y.invalid>");
    net.receive(
        WEB,
        request(WEB, "MESSAGE", "sip:bob@elsewhere.test", "m", "", ""),
    );
    let mut message = net.next_for(Peer::Pbx);
    // The PBX knows that bob is here, and sends it back to another Request-URI.
    message
        .prepend(HeaderName::Via, "SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKp1")
        .unwrap();
    let mut spiral = message.clone();
    spiral.set_request_uri("sip:bob@test").unwrap();
    net.receive(Peer::Pbx, spiral);
    assert_eq!(
        first_line(&net.next_for(Peer::Web(2))),
        "MESSAGE sip:b@y.invalid"
    );
    // It sends it back as it was: not a loop yet, since it comes from somewhere else, but nowhere to go.
    message
        .replace_first_value(HeaderName::Via, "SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKp3")
        .unwrap();
    net.receive(Peer::Pbx, message);
    assert_eq!(net.ladder(), "Pbx ← 404 MESSAGE\n");

    // A policy sends to a host that sends it back for ever.
    let mut looping = request(Peer::Pbx, "MESSAGE", "sip:bob@test", "l", "", "");
    net.receive(Peer::Pbx, looping.clone());
    let sent = net.next_for(Peer::Web(2));
    looping
        .set_values(
            HeaderName::Via,
            &sent.values(HeaderName::Via).collect::<Vec<_>>(),
        )
        .unwrap();
    looping
        .prepend(HeaderName::Via, "SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKp2")
        .unwrap();
    net.receive(Peer::Pbx, looping);
    assert_eq!(net.ladder(), "Pbx ← 482 MESSAGE\n");
}

#[test]
fn draining_refuses_what_is_new_and_nothing_else() {
    let mut net = net();
    let routes = early(&mut net);
    net.input(Input::Drain);
    let refused = answer(
        &mut net,
        WEB,
        request(WEB, "INVITE", "sip:1@h", "n", "", ""),
    );
    assert_eq!(
        (refused.status(), field(&refused, HeaderName::RetryAfter)),
        (Some(503), "5".to_owned())
    );
    net.receive(
        WEB,
        request(WEB, "BYE", "sip:1@h", "y", &format!("{DIALOG}{routes}"), ""),
    );
    assert_eq!(first_line(&net.next_for(Peer::Pbx)), "BYE sip:1@h");
}

#[test]
fn a_full_table_is_503() {
    let mut config = config();
    config.limits.transactions_max = 1;
    let mut net = net_with(config);
    net.receive(
        WEB,
        request(WEB, "OPTIONS", "sip:1@elsewhere.test", "1", "", ""),
    );
    net.next_for(Peer::Pbx);
    assert_eq!(
        answer(
            &mut net,
            WEB,
            request(WEB, "OPTIONS", "sip:1@elsewhere.test", "2", "", "")
        )
        .status(),
        Some(503)
    );
    assert_eq!(net.ended[0].cause, super::super::io::Cause::Overload);
}

#[test]
fn stray_responses_are_dropped() {
    let mut net = net();
    net.receive(
        WEB,
        request(WEB, "OPTIONS", "sip:1@elsewhere.test", "1", "", ""),
    );
    let options = net.next_for(Peer::Pbx);
    let stranger = request(Peer::Pbx, "OPTIONS", "sip:1@h", "x", "", "");
    net.receive(Peer::Pbx, response(&stranger, 200, "b", "", ""));
    let mut wrong_method = response(&options, 200, "b", "", "");
    wrong_method.set(HeaderName::CSeq, "1 INVITE").unwrap();
    net.receive(Peer::Pbx, wrong_method);
    assert_eq!(
        net.dropped,
        [DropCause::ForeignVia, DropCause::StrayResponse]
    );
    assert_eq!(net.ladder(), "");
}

#[test]
fn strict_routers_are_understood() {
    let mut net = net();
    let routes = early(&mut net);
    let all: Vec<_> = routes
        .lines()
        .map(|line| line.trim_start_matches("Route: ").to_owned())
        .collect();
    let uri = all[0]
        .trim_start_matches('<')
        .trim_end_matches('>')
        .to_owned();
    let fields = format!("{DIALOG}Route: {}, <sip:100@192.0.2.10>\n", all[1]);
    net.receive(WEB, request(WEB, "BYE", &uri, "y", &fields, ""));
    let bye = net.next_for(Peer::Pbx);
    assert_eq!(
        (first_line(&bye).as_str(), bye.contains(HeaderName::Route)),
        ("BYE sip:100@192.0.2.10", false)
    );
}

#[test]
fn what_fits_no_datagram_is_513() {
    for (bytes, expected) in [
        (64_000, "Pbx ← INVITE sip:1@h\n"),
        (65_500, "Web(1) ← 513 INVITE\n"),
    ] {
        let mut net = net();
        let mut invite = request(WEB, "INVITE", "sip:1@h", "i", "", "");
        invite
            .set_body("x".repeat(bytes).into(), Some("text/plain"))
            .unwrap();
        net.receive(WEB, invite);
        assert_eq!(net.ladder(), expected);
    }
}

#[test]
fn oversize_goes_as_the_upstream_wants_it() {
    use crate::proxy::config::Oversize;
    let large = "x".repeat(1400);
    for (oversize, expected) in [
        (Oversize::Fragment, "Pbx ← MESSAGE sip:1@h\n"),
        (Oversize::Refuse, "Web(1) ← 513 MESSAGE\n"),
        (Oversize::TcpThenUdp, "Pbx ← MESSAGE sip:1@h\n"),
    ] {
        let mut config = config();
        config.upstreams[0].oversize = oversize;
        let mut net = net_with(config);
        net.hand(WEB, request(WEB, "MESSAGE", "sip:1@h", "m", "", &large));
        let Some(Output::Send { to, bytes }) = net.proxy.poll_output() else {
            panic!()
        };
        let is_tcp = matches!(to, Destination::Connect { .. });
        assert_eq!(is_tcp, oversize == Oversize::TcpThenUdp);
        assert_eq!(
            text(&bytes).contains("Via: SIP/2.0/TCP 192.0.2.1:5060;"),
            is_tcp
        );
        if is_tcp {
            net.input(Input::SendFailed { to });
            let sent = net.next_for(Peer::Pbx);
            assert!(field(&sent, HeaderName::Via).starts_with("SIP/2.0/UDP"));
        } else {
            net.sent.push((
                Peer::at(to),
                Message::parse(bytes, &Limits::default()).unwrap(),
            ));
            assert_eq!(net.ladder(), expected);
        }
    }
}
