//! Keys that an end presses in signalling. Media takes `Signal=5`, and no other.

use super::*;

/// What the PBX said that it is, and the Route to it.
fn call(net: &mut Net, media: MediaVerdict) -> (String, String) {
    net.media = media;
    let fields = "Contact: <sip:alice@x.invalid>\n";
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
    let answer = response(&invite, 200, "p", "Contact: <sip:1@192.0.2.10>", "v=0");
    net.receive(Peer::Pbx, answer);
    let answer = net.next_for(Peer::Web(1));
    assert_eq!(answer.status(), Some(200));
    let route = answer.values(HeaderName::RecordRoute).next().unwrap();
    let route = String::from_utf8(route.to_vec()).unwrap();
    let target = answer.header(HeaderName::Contact).unwrap();
    let target = String::from_utf8(target.to_vec()).unwrap();
    (target.trim_matches(['<', '>']).to_owned(), route)
}

fn info((target, route): &(String, String), cseq: u32, kind: &str, body: &str) -> Message {
    parse(&format!(
        "INFO {target} SIP/2.0\nVia: {};branch=z9hG4bKinfo{cseq}\nMax-Forwards: 70\nRoute: {route}\n\
         From: <sip:alice@test>;tag=a\nTo: <sip:bob@test>;tag=p\nCall-ID: call\nCSeq: {cseq} INFO\n\
         Content-Type: {kind}\nContent-Length: {}\n\n{body}",
        Peer::Web(1).via(),
        body.len()
    ))
}

#[test]
fn what_media_says_in_its_own_way_is_answered_here() {
    let mut net = net();
    let replaced = MediaVerdict::Replace(Bytes::from_static(b"v=0"));
    let dialog = call(&mut net, replaced);
    for (cseq, kind) in [(2, "application/dtmf-relay"), (3, "application/dtmf")] {
        net.receive(Peer::Web(1), info(&dialog, cseq, kind, "Signal=5"));
        assert_eq!(net.next_for(Peer::Web(1)).status(), Some(200), "{kind}");
        assert_eq!(net.ladder(), "");
    }
    for (cseq, kind, body) in [
        (4, "application/dtmf-relay", "Signal=6"),
        (5, "application/media_control+xml", "Signal=5"),
    ] {
        net.receive(Peer::Web(1), info(&dialog, cseq, kind, body));
        let passed = net.next_for(Peer::Pbx);
        assert_eq!(passed.body(), body);
        net.receive(Peer::Pbx, response(&passed, 200, "p", "", ""));
        assert_eq!(net.next_for(Peer::Web(1)).status(), Some(200));
    }
    dies(&mut net);
}

fn dies(net: &mut Net) {
    let call = net.media_call.clone().unwrap();
    let reason = "silence".to_owned();
    net.input(Input::EndCall { call, reason });
    for peer in [Peer::Pbx, Peer::Web(1)] {
        let bye = net.next_for(peer);
        net.receive(peer, response(&bye, 200, "", "", ""));
    }
    net.assert_empty();
}

#[test]
fn nobody_is_asked_about_a_call_whose_media_is_not_ours() {
    let mut net = net();
    let dialog = call(&mut net, MediaVerdict::Unchanged);
    let info = info(&dialog, 2, "application/dtmf-relay", "Signal=5");
    net.receive(Peer::Web(1), info);
    assert_eq!(net.next_for(Peer::Pbx).body(), "Signal=5");
}
