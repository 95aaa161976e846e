//! REGISTER to a PBX that is the registrar, and the PBX's calls to the clients that it knows by it.

use super::*;
use crate::proxy::config::Announce;

const WEB: Peer = Peer::Web(1);

fn relaying(announce: Announce) -> Net {
    let mut config = config();
    config.registrar.upstream = Some(UpstreamId(0));
    config.upstreams[0].announce = announce;
    net_with(config)
}

fn register(cseq: u32, fields: &str) -> Message {
    parse(&format!(
        "REGISTER sip:test SIP/2.0\nVia: SIP/2.0/WSS x.invalid;branch=z9hG4bKr{cseq}\nFrom: <sip:bob@test>;tag=r\n\
         To: <sip:bob@test>\nCall-ID: reg\nCSeq: {cseq} REGISTER\n{fields}Content-Length: 0\n\n"
    ))
}

/// Registers bob at the PBX, which answers with `granted` where its own list of Contacts stands for `%`; gives what the PBX and bob got.
fn registered(net: &mut Net, cseq: u32, contact: &str, granted: &str) -> (Message, Message) {
    net.receive(WEB, register(cseq, &format!("Contact: {contact}\n")));
    let asked = net.next_for(Peer::Pbx);
    let list = granted.replace('%', &uri_of(&field(&asked, HeaderName::Contact)));
    let answer = response(&asked, 200, "p", &list, "");
    net.receive(Peer::Pbx, answer);
    (asked, net.next_for(WEB))
}

fn uri_of(contact: &str) -> String {
    let (_, rest) = contact.split_once('<').unwrap();
    rest.split_once('>').unwrap().0.to_owned()
}

#[test]
fn by_path_the_pbx_finds_a_client() {
    let mut net = relaying(Announce::Path);
    let contact = "<sip:b@y.invalid;transport=ws>";
    let (asked, answer) = registered(&mut net, 1, contact, "Contact: <%>;expires=90");
    assert_eq!(field(&asked, HeaderName::Contact), contact);
    assert_eq!(field(&asked, HeaderName::Supported), "path");
    assert_eq!(
        field(&answer, HeaderName::Contact),
        "<sip:b@y.invalid;transport=ws>;expires=90"
    );
    let path = field(&asked, HeaderName::Path);
    assert!(
        path.starts_with("<sip:c.") && path.ends_with("@192.0.2.1:5060;lr>"),
        "{path}"
    );

    let route = format!("Route: {path}\n");
    let to_client = "sip:b@y.invalid;transport=ws";
    net.receive(
        Peer::Pbx,
        request(Peer::Pbx, "MESSAGE", to_client, "1", &route, ""),
    );
    let message = net.next_for(WEB);
    assert_eq!(message.request_uri(), Some(to_client));
    assert!(!message.contains(HeaderName::Route));
    net.receive(WEB, response(&message, 200, "b", "", ""));
    assert_eq!(net.ladder(), "Pbx ← 200 MESSAGE\n");

    // The registration is over as the PBX said, and so is the way.
    net.pass_ms(91_000);
    net.receive(
        Peer::Pbx,
        request(Peer::Pbx, "MESSAGE", to_client, "2", &route, ""),
    );
    assert_eq!(net.ladder(), "Pbx ← 430 MESSAGE\n");
    net.assert_empty();
}

#[test]
fn by_contact_the_pbx_finds_a_client_and_the_client_sees_its_own() {
    let mut net = relaying(Announce::Contact);
    let contact = "\"B\" <sip:b@y.invalid;transport=ws>;+sip.instance=\"<urn:uuid:1>\";expires=600";
    let granted = "Contact: <sip:desk@198.51.100.1>;expires=30\nContact: <%>;expires=90";
    let (asked, answer) = registered(&mut net, 1, contact, granted);
    assert!(!asked.contains(HeaderName::Path));
    let alias = field(&asked, HeaderName::Contact);
    let uri = uri_of(&alias);
    assert_eq!(
        alias,
        format!("\"B\" <{uri}>;+sip.instance=\"<urn:uuid:1>\";expires=600")
    );
    assert!(
        uri.starts_with("sip:c.") && uri.ends_with("@192.0.2.1:5060"),
        "{uri}"
    );
    let listed: Vec<_> = answer.values(HeaderName::Contact).map(text).collect();
    assert_eq!(
        listed,
        [
            "<sip:desk@198.51.100.1>;expires=30",
            "<sip:b@y.invalid;transport=ws>;expires=90"
        ]
    );

    net.receive(Peer::Pbx, request(Peer::Pbx, "MESSAGE", &uri, "1", "", ""));
    let message = net.next_for(WEB);
    assert_eq!(message.request_uri(), Some("sip:b@y.invalid;transport=ws"));
    net.receive(WEB, response(&message, 200, "b", "", ""));
    assert_eq!(net.ladder(), "Pbx ← 200 MESSAGE\n");
}

#[test]
fn a_client_that_reconnects_is_found_by_the_same_token() {
    let mut net = relaying(Announce::Contact);
    let contact = "<sip:b@y.invalid;transport=ws>";
    let (asked, _) = registered(&mut net, 1, contact, "Contact: <%>;expires=90");
    let uri = uri_of(&field(&asked, HeaderName::Contact));
    net.input(Input::FlowClosed {
        flow: WEB.flow().id,
    });
    net.receive(Peer::Pbx, request(Peer::Pbx, "MESSAGE", &uri, "1", "", ""));
    assert_eq!(net.ladder(), "Pbx ← 430 MESSAGE\n");
    let again = Peer::Web(2);
    net.receive(again, register(2, &format!("Contact: {contact}\n")));
    let asked = net.next_for(Peer::Pbx);
    assert_eq!(uri_of(&field(&asked, HeaderName::Contact)), uri);
    let list = format!("Contact: <{uri}>;expires=90");
    net.receive(Peer::Pbx, response(&asked, 200, "p", &list, ""));
    net.receive(Peer::Pbx, request(Peer::Pbx, "MESSAGE", &uri, "2", "", ""));
    assert_eq!(
        net.ladder(),
        "Web(2) ← 200 REGISTER\nWeb(2) ← MESSAGE sip:b@y.invalid;transport=ws\n"
    );
}

#[test]
fn a_challenge_and_a_removal_pass() {
    let mut net = relaying(Announce::Contact);
    let contact = "<sip:b@y.invalid;transport=ws>";
    net.receive(WEB, register(1, &format!("Contact: {contact}\n")));
    let asked = net.next_for(Peer::Pbx);
    let challenge = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"1\"";
    net.receive(Peer::Pbx, response(&asked, 401, "p", challenge, ""));
    let answer = net.next_for(WEB);
    assert_eq!(answer.status(), Some(401));
    assert!(answer.contains(HeaderName::WwwAuthenticate));
    let uri = uri_of(&field(&asked, HeaderName::Contact));
    // Nothing was granted.
    net.receive(Peer::Pbx, request(Peer::Pbx, "MESSAGE", &uri, "1", "", ""));
    assert_eq!(net.ladder(), "Pbx ← 430 MESSAGE\n");
    registered(&mut net, 2, contact, "Contact: <%>;expires=90");
    registered(&mut net, 3, &format!("{contact};expires=0"), "Expires: 0");
    net.receive(Peer::Pbx, request(Peer::Pbx, "MESSAGE", &uri, "2", "", ""));
    assert_eq!(net.ladder(), "Pbx ← 430 MESSAGE\n");
    registered(&mut net, 4, contact, "Contact: <%>;expires=90");
    net.receive(WEB, register(5, "Contact: *\nExpires: 0\n"));
    let asked = net.next_for(Peer::Pbx);
    assert_eq!(field(&asked, HeaderName::Contact), "*");
    net.receive(Peer::Pbx, response(&asked, 200, "p", "", ""));
    net.receive(Peer::Pbx, request(Peer::Pbx, "MESSAGE", &uri, "3", "", ""));
    assert_eq!(net.ladder(), "Web(1) ← 200 REGISTER\nPbx ← 430 MESSAGE\n");
}

#[test]
fn a_token_is_worth_nothing_to_others_or_forged() {
    let mut net = relaying(Announce::Contact);
    let contact = "<sip:b@y.invalid;transport=ws>";
    let (asked, _) = registered(&mut net, 1, contact, "Contact: <%>;expires=90");
    let uri = uri_of(&field(&asked, HeaderName::Contact));
    for stranger in [Peer::Stranger, Peer::Web(2)] {
        net.receive(stranger, request(stranger, "MESSAGE", &uri, "1", "", ""));
        assert_eq!(net.ladder(), format!("{stranger:?} ← 403 MESSAGE\n"));
    }
    let forged = uri.replacen("c.AP", "c.AQ", 1);
    let forged = if forged == uri {
        uri.replacen("c.", "c.A", 1)
    } else {
        forged
    };
    net.receive(
        Peer::Pbx,
        request(Peer::Pbx, "MESSAGE", &forged, "2", "", ""),
    );
    let (_, answer) = net.next();
    assert!(matches!(answer.status(), Some(403 | 404)), "{answer:?}");
    let to_tag = "From: <sip:alice@test>;tag=a\nTo: <sip:bob@test>;tag=b\n";
    net.receive(
        Peer::Pbx,
        request(Peer::Pbx, "MESSAGE", &uri, "3", to_tag, ""),
    );
    assert_eq!(net.ladder(), "Pbx ← 481 MESSAGE\n");
}

#[test]
fn clients_reach_each_other_by_way_of_the_pbx() {
    let mut net = relaying(Announce::Path);
    registered(
        &mut net,
        1,
        "<sip:b@y.invalid;transport=ws>",
        "Contact: <%>;expires=90",
    );
    let alice = Peer::Web(2);
    net.receive(
        alice,
        request(alice, "MESSAGE", "sip:bob@test", "1", "", ""),
    );
    assert_eq!(net.ladder(), "Pbx ← MESSAGE sip:bob@test\n");
}
