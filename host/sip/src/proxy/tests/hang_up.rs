//! What a BYE of ours has in it. The ladders of it are in `tests/simulator`.

use super::*;

fn dies(net: &mut Net) {
    let call = net.media_call.clone().unwrap();
    let reason = "silence".to_owned();
    net.input(Input::EndCall { call, reason });
}

fn routes(message: &Message) -> Vec<String> {
    message.values(HeaderName::Route).map(text).collect()
}

fn text(value: &[u8]) -> String {
    String::from_utf8(value.to_vec()).unwrap()
}

/// A call from a browser by way of a proxy of its own, to a PBX behind two.
fn call(net: &mut Net) {
    net.media = MediaVerdict::Replace(Bytes::from_static(b"v=0"));
    let fields = "Contact: <sip:alice@x.invalid>\nRecord-Route: <sip:before.test;lr>\n";
    let invite = request(
        Peer::Web(1),
        "INVITE",
        "sip:1@pbx.test.org",
        "i",
        fields,
        "v=0",
    );
    net.receive(Peer::Web(1), invite);
    let invite = net.next_for(Peer::Pbx);
    let mut answer = response(&invite, 200, "p", "Contact: <sip:1@192.0.2.10>", "v=0");
    let ours = answer.values(HeaderName::RecordRoute).map(text);
    let beyond = ["<sip:far.test;lr>", "<sip:near.test;lr>"].map(str::to_owned);
    let all: Vec<String> = beyond.into_iter().chain(ours).collect();
    answer.set_values(HeaderName::RecordRoute, &all).unwrap();
    net.receive(Peer::Pbx, answer);
    assert_eq!(net.next_for(Peer::Web(1)).status(), Some(200));
}

#[test]
fn the_routes_beyond_us_are_those_of_the_end_that_it_goes_to() {
    let mut net = net();
    call(&mut net);
    dies(&mut net);
    let (to_pbx, to_web) = (net.next_for(Peer::Pbx), net.next_for(Peer::Web(1)));
    assert_eq!(routes(&to_pbx), ["<sip:near.test;lr>", "<sip:far.test;lr>"]);
    assert_eq!(routes(&to_web), ["<sip:before.test;lr>"]);
    assert_eq!(to_web.request_uri(), Some("sip:alice@x.invalid"));
    for (peer, bye) in [(Peer::Pbx, to_pbx), (Peer::Web(1), to_web)] {
        net.receive(peer, response(&bye, 200, "", "", ""));
    }
    assert_eq!(net.ladder(), "", "the answers are for us");
    net.assert_empty();
}

#[test]
fn a_call_is_ended_once_and_no_other_with_it() {
    let mut net = net();
    call(&mut net);
    for call in ["", "call", "call;a", "call;a;xyz", "other;a;00000000"] {
        let (call, reason) = (call.into(), String::new());
        net.input(Input::EndCall { call, reason });
    }
    assert_eq!(net.ladder(), "");
    dies(&mut net);
    dies(&mut net);
    assert_eq!(net.ladder().lines().count(), 2);
}

/// RFC 4320 §4.2 has no answer for anybody, and there is nobody.
#[test]
fn nobody_need_answer() {
    let mut net = net();
    call(&mut net);
    dies(&mut net);
    net.assert_empty();
    let ends: Vec<_> = net.ended.iter().map(|ended| ended.origin).collect();
    use super::super::io::Origin::{Client, Proxy};
    assert_eq!(ends, [Client, Proxy, Proxy]);
}

#[test]
fn no_timer_waits_for_a_call_that_has_ended() {
    let mut net = net();
    call(&mut net);
    dies(&mut net);
    net.assert_empty();
    assert_eq!(net.proxy.poll_timeout(), None);
}

#[test]
fn a_call_of_which_nothing_passes_is_forgotten() {
    let mut net = net();
    call(&mut net);
    net.pass_ms(6 * 3_600_000);
    assert_eq!(net.proxy.gauges().calls, 1);
    net.pass_ms(6 * 3_600_000 + 300_000);
    assert_eq!(net.proxy.gauges().calls, 0);
    assert_eq!(net.proxy.poll_timeout(), None);
}
