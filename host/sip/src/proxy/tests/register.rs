//! REGISTER and where it leads.

use super::*;
use crate::proxy::io::Cause;

const WEB: Peer = Peer::Web(1);

fn register(fields: &str, cseq: u32) -> Message {
    parse(&format!(
        "REGISTER sip:test SIP/2.0\nVia: SIP/2.0/WSS x.invalid;branch=z9hG4bKr{cseq}\nFrom: <sip:bob@test>;tag=r\n\
         To: <sip:bob@test>\nCall-ID: reg\nCSeq: {cseq} REGISTER\n{fields}Content-Length: 0\n\n"
    ))
}

fn answer(net: &mut Net, fields: &str, cseq: u32) -> Message {
    net.receive(WEB, register(fields, cseq));
    net.next_for(WEB)
}

#[test]
fn bindings_come_back_with_what_is_left_of_them() {
    let mut net = net();
    let contact = "Contact: <sip:b@y.invalid;transport=ws>;+sip.instance=\"<urn:uuid:1>\";reg-id=1;expires=9999\n";
    let ok = answer(
        &mut net,
        &format!("{contact}Supported: path, outbound\n"),
        1,
    );
    assert_eq!(
        field(&ok, HeaderName::Contact),
        "<sip:b@y.invalid;transport=ws>;expires=3600;+sip.instance=\"<urn:uuid:1>\";reg-id=1"
    );
    assert_eq!(field(&ok, HeaderName::Require), "outbound");
    assert_eq!(
        (net.ended[0].status, net.ended[0].cause),
        (200, Cause::Registrar)
    );
    net.pass_ms(600_000);
    let ok = answer(&mut net, "", 2);
    assert!(field(&ok, HeaderName::Contact).contains(";expires=3000;"));
    let ok = answer(&mut net, "Contact: *\nExpires: 0\n", 3);
    assert_eq!(
        (ok.status(), ok.contains(HeaderName::Contact)),
        (Some(200), false)
    );
    net.assert_empty();
}

#[test]
fn what_the_registrar_refuses() {
    let mut net = net();
    let brief = answer(&mut net, "Contact: <sip:b@y.invalid>;expires=59\n", 1);
    assert_eq!(
        (brief.status(), field(&brief, HeaderName::MinExpires)),
        (Some(423), "60".to_owned())
    );
    for (cseq, fields, reason) in [
        (2, "Contact: *\n", "Wildcard Contact Without Expires 0"),
        (
            3,
            "Contact: *, <sip:b@y.invalid>\nExpires: 0\n",
            "Wildcard Contact With Others",
        ),
        (4, "Contact: <tel:+49>\n", "Contact Must Be A SIP URI"),
        (5, "Contact: <sip:b@y.invalid\n", "Malformed Contact"),
    ] {
        let refused = answer(&mut net, fields, cseq);
        assert_eq!(refused.status(), Some(400), "{fields}");
        let start = text(&refused.to_bytes());
        assert!(
            start.starts_with(&format!("SIP/2.0 400 {reason}\r\n")),
            "{start}"
        );
    }
    assert_eq!(
        answer(&mut net, "Contact: <sip:b@y.invalid>\n", 9).status(),
        Some(200)
    );
    assert_eq!(
        answer(&mut net, "Contact: <sip:b@y.invalid>\n", 8).status(),
        Some(500)
    );
}

#[test]
fn a_user_without_a_connection_is_480_and_nobody_is_404() {
    let mut net = net();
    net.register(WEB, "bob", "r", "<sip:b@y.invalid>");
    net.input(Input::FlowClosed {
        flow: WEB.flow().id,
    });
    net.receive(
        Peer::Pbx,
        request(Peer::Pbx, "INVITE", "sip:bob@test", "1", "", ""),
    );
    net.receive(
        Peer::Pbx,
        request(Peer::Pbx, "INVITE", "sip:carol@test", "2", "", ""),
    );
    assert_eq!(net.ladder(), "Pbx ← 480 INVITE\nPbx ← 404 INVITE\n");
}

#[test]
fn strangers_reach_who_is_registered() {
    let mut net = net();
    net.register(WEB, "bob", "r", "<sip:b@y.invalid>");
    net.receive(
        Peer::Stranger,
        request(Peer::Stranger, "MESSAGE", "sip:bob@test", "1", "", ""),
    );
    let message = net.next_for(WEB);
    net.receive(WEB, response(&message, 200, "b", "", ""));
    net.receive(
        Peer::Stranger,
        request(Peer::Stranger, "MESSAGE", "sip:carol@test", "2", "", ""),
    );
    assert_eq!(
        net.ladder(),
        "Stranger ← 200 MESSAGE\nStranger ← 403 MESSAGE\n"
    );
}

#[test]
fn a_phone_is_reached_where_it_registered_from() {
    let mut net = net();
    net.register(Peer::Stranger, "phone", "r", "<sip:phone@10.0.0.7>");
    net.receive(WEB, request(WEB, "INVITE", "sip:phone@test", "1", "", ""));
    assert_eq!(
        first_line(&net.next_for(Peer::Stranger)),
        "INVITE sip:phone@10.0.0.7"
    );
}

#[test]
fn a_path_becomes_the_route() {
    let mut net = net();
    let path = "Path: <sip:edge1.test;lr>, <sip:edge2.test;lr>\nContact: <sip:b@y.invalid>\n";
    let ok = answer(&mut net, path, 1);
    assert_eq!(ok.values(HeaderName::Path).count(), 2);
    net.receive(
        Peer::Pbx,
        request(Peer::Pbx, "MESSAGE", "sip:bob@test", "1", "", ""),
    );
    let message = net.next_for(WEB);
    let routes: Vec<_> = message.values(HeaderName::Route).map(text).collect();
    assert_eq!(routes, ["<sip:edge1.test;lr>", "<sip:edge2.test;lr>"]);
}
