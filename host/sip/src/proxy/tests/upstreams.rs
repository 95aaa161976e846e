//! Upstreams by connections, members that do not answer, and `sips:`.

use super::*;
use crate::proxy::config::{MemberHealth, MemberName, Way};

const ALICE: Peer = Peer::Web(1);

/// Two members, reached over `transport` from a listener for it.
fn net_over(transport: Transport) -> Net {
    let mut config = config();
    config.listeners.push(ListenerConfig {
        name: "stream".to_owned(),
        transport,
        host: "192.0.2.1".to_owned(),
        port: 5060,
        flow_timer: None,
    });
    let members = [PBX, PBX2].map(|member| member.parse().unwrap());
    config.upstreams = vec![UpstreamConfig {
        transport,
        ..UpstreamConfig::new("pbx", ListenerId(2), members.into())
    }];
    net_with(config)
}

impl Net {
    /// What comes of it first, and where that goes.
    fn first_of(&mut self, flow: Arc<Flow>, message: Message) -> (Destination, Message) {
        let policies = Policies {
            hooks: self.hooks,
            generation: Arc::new(()),
        };
        self.first_after(Input::Received {
            flow,
            message,
            policies,
        })
    }

    fn first_after(&mut self, input: Input) -> (Destination, Message) {
        self.sent.clear();
        let before = self.went.len();
        self.input(input);
        (self.went[before], self.next().1)
    }
}

fn options(branch: &str) -> Message {
    request(ALICE, "OPTIONS", "sip:100@pbx.test.org", branch, "", "")
}

fn peer_of(to: Destination) -> String {
    to.peer().unwrap().to_string()
}

#[test]
fn a_connection_that_fails_is_followed_by_the_next_member() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut net = net_over(transport);
        let (first, sent) = net.first_of(ALICE.flow(), options("o"));
        let via = if transport == Transport::Tls {
            "TLS"
        } else {
            "TCP"
        };
        assert!(
            field(&sent, HeaderName::Via).starts_with(&format!("SIP/2.0/{via} 192.0.2.1:5060;"))
        );
        assert!(matches!(first, Destination::Connect { transport: over, .. } if over == transport));
        let (second, sent) = net.first_after(Input::SendFailed { to: first });
        assert_ne!(first.peer(), second.peer());
        net.receive(Peer::Pbx, response(&sent, 200, "p", "", ""));
        assert_eq!(net.ladder(), "Web(1) ← 200 OPTIONS\n");
        net.assert_empty();
    }
}

#[test]
fn calls_are_spread_over_connections_and_each_stays_on_its_own() {
    let mut config = net_over(Transport::Tcp).proxy.config.clone();
    config.upstreams[0].connections_max = 4;
    config.upstreams[0].members.truncate(1);
    let mut net = net_with(config);
    let mut lanes = std::collections::BTreeSet::new();
    for number in 0..40 {
        let call = |method: &str| {
            let fields = format!(
                "From: <sip:a@test>;tag=a\nTo: <sip:b@test>\nCall-ID: {number}\nCSeq: 1 {method}\n"
            );
            let via = "Via: SIP/2.0/WSS x.invalid;branch=z9hG4bK";
            parse(&format!(
                "{method} sip:1@h SIP/2.0\n{via}{number}\nMax-Forwards: 70\n{fields}Content-Length: 0\n\n"
            ))
        };
        let (invited, invite) = net.first_of(ALICE.flow(), call("INVITE"));
        net.receive(Peer::Pbx, response(&invite, 180, "p", "", ""));
        net.receive(ALICE, call("CANCEL"));
        assert_eq!(
            net.went.last(),
            Some(&invited),
            "CANCEL goes after its INVITE"
        );
        net.receive(Peer::Pbx, response(&invite, 487, "p", "", ""));
        lanes.insert(invited);
    }
    assert_eq!(lanes.len(), 4);
}

#[test]
fn a_silent_member_is_passed_over_for_a_time() {
    let mut config = config();
    config.upstreams[0].members.push(PBX2.parse().unwrap());
    let mut net = net_with(config);
    let member = PBX.parse().unwrap();
    let firsts = |net: &mut Net, from: u32| {
        let firsts = (from..from + 16).map(|number| {
            let (to, sent) = net.first_of(ALICE.flow(), options(&format!("m{number}")));
            net.receive(Peer::Pbx, response(&sent, 200, "p", "", ""));
            peer_of(to)
        });
        firsts.collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(firsts(&mut net, 0), 2);
    net.input(Input::Member {
        member,
        health: MemberHealth::Silent,
    });
    assert_eq!(firsts(&mut net, 16), 1);
    net.pass_ms(30_000);
    assert_eq!(firsts(&mut net, 32), 2);
    // It did not answer a request, and then another one.
    let is_silent = |number: u32| {
        let (to, sent) = net.first_of(ALICE.flow(), options(&format!("s{number}")));
        if peer_of(to) != PBX {
            net.receive(Peer::Pbx2, response(&sent, 200, "p", "", ""));
        }
        peer_of(to) == PBX
    };
    assert!((0..64).any(is_silent));
    net.pass_ms(33_000);
    assert_eq!(firsts(&mut net, 48), 1);
    net.input(Input::Member {
        member,
        health: MemberHealth::Answers,
    });
    assert_eq!(firsts(&mut net, 64), 2);
}

#[test]
fn sips_goes_by_tls_or_not_at_all() {
    let call = || request(ALICE, "INVITE", "sips:100@pbx.test.org", "s", "", "");
    let mut clear = net_over(Transport::Tcp);
    clear.receive(ALICE, call());
    assert_eq!(clear.ladder(), "Web(1) ← 480 INVITE\n");
    let mut secure = net_over(Transport::Tls);
    let (to, sent) = secure.first_of(ALICE.flow(), call());
    assert!(matches!(
        to,
        Destination::Connect {
            transport: Transport::Tls,
            ..
        }
    ));
    let routes: Vec<_> = sent.values(HeaderName::RecordRoute).map(text).collect();
    assert!(
        routes.iter().all(|route| route.starts_with("<sips:")),
        "{routes:?}"
    );
    assert_eq!(routes.len(), 2);
}

#[test]
fn a_route_says_by_its_scheme_and_port_how_it_is_followed() {
    let follow = |route: &str, net: &mut Net| {
        let flow = Arc::new(Flow {
            side: Side::Upstream(UpstreamId(0)),
            ..(*Peer::Pbx.flow()).clone()
        });
        let message = request(
            Peer::Pbx,
            "OPTIONS",
            "sip:x@elsewhere.org",
            "r",
            &format!("Route: <{route};lr>\n"),
            "",
        );
        net.first_of(flow, message)
    };
    for (route, expected) in [
        ("sips:198.51.100.9", "198.51.100.9:5061"),
        ("sip:198.51.100.9;transport=tls", "198.51.100.9:5061"),
        ("sips:198.51.100.9:7000;transport=tcp", "198.51.100.9:7000"),
    ] {
        let (to, _) = follow(route, &mut net_over(Transport::Tls));
        assert!(matches!(
            to,
            Destination::Connect {
                transport: Transport::Tls,
                ..
            }
        ));
        assert_eq!(peer_of(to), expected);
    }
    let (_, refused) = follow(
        "sips:198.51.100.9;transport=udp",
        &mut net_over(Transport::Tls),
    );
    assert_eq!(refused.status(), Some(480));
}

/// A connection that the upstream opened from there.
fn connected(peer: &str) -> Arc<Flow> {
    Arc::new(Flow {
        id: FlowId::Connection {
            worker: WorkerId(0),
            serial: 77,
        },
        transport: Transport::Tcp,
        listener: ListenerId(2),
        peer: peer.parse().unwrap(),
        side: Side::Upstream(UpstreamId(0)),
        session: None,
        attachment: Attachment::default(),
    })
}

impl Net {
    /// Whoever is on `flow` calls alice; what she gets.
    fn alice_is_called(&mut self, flow: &Arc<Flow>) -> Message {
        self.register(ALICE, "alice", "r", "<sip:alice@x.invalid;transport=ws>");
        let invite = parse(
            "INVITE sip:alice@test SIP/2.0\nVia: SIP/2.0/TCP 192.0.2.11:5062;branch=z9hG4bKi\nMax-Forwards: 70\nFrom: <sip:p@pbx>;tag=a\n\
             To: <sip:alice@test>\nCall-ID: c\nCSeq: 1 INVITE\nContact: <sip:p@192.0.2.11>\nContent-Length: 0\n\n",
        );
        self.first_of(Arc::clone(flow), invite).1
    }

    /// And later she hangs up; where that goes first.
    fn alice_hangs_up(&mut self, invite: &Message) -> (Destination, Message) {
        let bye = parse(&format!(
            "BYE sip:p@192.0.2.11 SIP/2.0\nVia: SIP/2.0/WSS x.invalid;branch=z9hG4bKb\nMax-Forwards: 70\n{}From: <sip:alice@test>;tag=b\n\
             To: <sip:p@pbx>;tag=a\nCall-ID: c\nCSeq: 1 BYE\nContent-Length: 0\n\n",
            routes(invite)
        ));
        self.first_of(ALICE.flow(), bye)
    }
}

#[test]
fn an_upstream_is_reached_at_its_member_whatever_connection_it_opened() {
    let mut net = net_over(Transport::Tcp);
    let connected = connected("192.0.2.11:43210");
    let invite = net.alice_is_called(&connected);
    // It closes the connection while alice's phone rings: it is answered where its Via says that it listens.
    net.input(Input::FlowClosed { flow: connected.id });
    assert!(net.ended.is_empty(), "{:?}", net.ended);
    net.sent.clear();
    let accepted = response(&invite, 200, "b", "Contact: <sip:alice@x.invalid>\n", "");
    let (to, _) = net.first_of(ALICE.flow(), accepted);
    assert_eq!(peer_of(to), "192.0.2.11:5062");
    // And later it is called where its member is.
    let (to, _) = net.alice_hangs_up(&invite);
    assert_eq!(peer_of(to), PBX2);
    assert!(matches!(
        to,
        Destination::Connect {
            transport: Transport::Tcp,
            ..
        }
    ));
}

/// Its `sources` or its certificate say who it is, and no member is there.
#[test]
fn an_upstream_that_is_not_known_by_its_members_is_one_in_its_dialogs() {
    let datagrams = Arc::new(Flow {
        side: Side::Upstream(UpstreamId(0)),
        ..(*Peer::Stranger.flow()).clone()
    });
    for flow in [datagrams, connected(STRANGER)] {
        let mut net = net_over(Transport::Tcp);
        let invite = net.alice_is_called(&flow);
        net.receive(ALICE, response(&invite, 200, "b", "", ""));
        let (_, bye) = net.alice_hangs_up(&invite);
        net.receive(Peer::Pbx, response(&bye, 200, "", "", ""));
        let upstreams: Vec<_> = net.ended.iter().map(|ended| ended.upstream).collect();
        assert_eq!(upstreams, [None, Some(UpstreamId(0))], "{:?}", flow.id);
    }
}

/// Its datagrams only say that they come from a member: by connections alone it is spoken to.
#[test]
fn a_stranger_at_the_address_of_a_member_is_one_in_its_dialogs() {
    let mut net = net_over(Transport::Tcp);
    let spoofed = Arc::new(Flow {
        side: Side::Stranger,
        ..(*Peer::Pbx2.flow()).clone()
    });
    let invite = net.alice_is_called(&spoofed);
    net.receive(ALICE, response(&invite, 200, "b", "", ""));
    let (_, bye) = net.alice_hangs_up(&invite);
    net.receive(Peer::Pbx2, response(&bye, 200, "", "", ""));
    let upstreams: Vec<_> = net.ended.iter().map(|ended| ended.upstream).collect();
    assert_eq!(upstreams, [None, None]);
}

/// And its connection is gone: it may have opened another, and a member knows.
#[test]
fn an_upstream_whose_connection_is_gone_is_reached_at_a_member() {
    let mut net = net_over(Transport::Tcp);
    let flow = connected(STRANGER);
    let invite = net.alice_is_called(&flow);
    net.receive(ALICE, response(&invite, 200, "b", "", ""));
    let (to, _) = net.alice_hangs_up(&invite);
    assert_eq!(to, Destination::Flow(flow.id));
    let (to, bye) = net.first_after(Input::SendFailed { to });
    assert!(matches!(to, Destination::Connect { .. }), "{to:?}");
    assert!([PBX, PBX2].contains(&peer_of(to).as_str()));
    assert_eq!(first_line(&bye), "BYE sip:p@192.0.2.11");
}

/// As `net`, with an upstream of this name and transport beside the PBX.
fn net_with_trunk(name: &str, port: Option<u16>, transport: Transport) -> Net {
    let mut config = config();
    config.listeners.push(ListenerConfig {
        name: "stream".to_owned(),
        transport,
        host: "192.0.2.1".to_owned(),
        port: 5061,
        flow_timer: None,
    });
    let listener = ListenerId(if transport == Transport::Udp { 1 } else { 2 });
    let name = MemberName {
        host: name.to_owned(),
        port,
    };
    config.upstreams.push(UpstreamConfig {
        transport,
        names: vec![name],
        ..UpstreamConfig::new("trunk", listener, vec![TRUNK.parse().unwrap()])
    });
    net_with(config)
}

const TRUNK: &str = "192.0.2.30:5062";

#[test]
fn the_name_of_an_upstream_is_a_next_hop() {
    let reaches = |transport, port, uri: &str| {
        let mut net = net_with_trunk("trunk.example", port, transport);
        let route = format!("Route: <{uri}>\n");
        let asked = request(Peer::Pbx, "OPTIONS", "sip:1@x.test", "o", &route, "");
        let (to, sent) = net.first_of(Peer::Pbx.flow(), asked);
        sent.is_request().then(|| peer_of(to)).as_deref() == Some(TRUNK)
    };
    use Transport::{Tls, Udp};
    assert!(reaches(Udp, None, "sip:Trunk.Example;lr"));
    assert!(reaches(Udp, None, "sip:trunk.example;transport=udp;lr"));
    // The port is that to which the name leads, or is configured with it.
    assert!(reaches(Udp, None, "sip:trunk.example:5062;lr"));
    assert!(reaches(Udp, Some(5070), "sip:trunk.example:5070;lr"));
    assert!(reaches(Tls, None, "sips:trunk.example;lr"));
    assert!(reaches(Tls, None, "sip:trunk.example;transport=tls;lr"));

    assert!(!reaches(Udp, None, "sip:trunk.example:5060;lr"));
    assert!(!reaches(Udp, None, "sip:trunk.example;transport=tcp;lr"));
    assert!(!reaches(Udp, None, "sips:trunk.example;lr"));
    assert!(!reaches(Udp, None, "sip:sub.trunk.example;lr"));
    assert!(!reaches(Udp, None, "sip:trunk.example;transport=ws;lr"));
}

#[test]
fn an_upstream_that_moved_is_spoken_to_in_its_new_way() {
    let mut net = net_with_trunk("trunk.example", None, Transport::Tcp);
    let route = "Route: <sip:trunk.example;lr>\n";
    let asks = |net: &mut Net, branch: &str| {
        let asked = request(Peer::Pbx, "OPTIONS", "sip:1@x.test", branch, route, "");
        net.first_of(Peer::Pbx.flow(), asked)
    };
    let (to, _) = asks(&mut net, "a");
    assert!(matches!(to, Destination::Connect { .. }));
    net.input(Input::Members {
        upstream: UpstreamId(1),
        way: Way {
            transport: Transport::Udp,
            listener: ListenerId(1),
        },
        members: vec!["192.0.2.31:5060".parse().unwrap()],
    });
    let (to, sent) = asks(&mut net, "b");
    assert_eq!(peer_of(to), "192.0.2.31:5060");
    let via = String::from_utf8_lossy(sent.values(HeaderName::Via).next().unwrap()).into_owned();
    assert!(via.starts_with("SIP/2.0/UDP "), "{via}");
}
