//! Whoever has no key, no password and no call of his own, or a call of his own alone: nobody else's is touched, and no table grows.

use std::net::SocketAddr;

use super::{calls::*, world::*};
use crate::{
    Answer, Ask, Branch, Direction, Leg, Role,
    engine::{Gauges, Input},
    ice::IceCredentials,
    sdp::Session,
    sockets::SocketId,
    stun::{Builder, Kind, attribute},
    testing::packet,
};

const SOURCES: u16 = 5000;

fn stranger(number: u16) -> SocketAddr {
    ([198, 18, 7, 7], 1024 + number).into()
}

/// As [`World::arrive`], from anybody: whether it is passed on, and how much is said because of it.
fn arrives(world: &mut World, socket: SocketId, from: SocketAddr, bytes: &[u8]) -> (bool, usize) {
    let mut buffer = vec![0; 2048];
    let mut packet = packet(&mut buffer, bytes);
    let passed = world.engine.packet(world.now, socket, from, &mut packet);
    let said = std::iter::from_fn(|| world.engine.poll_output()).count();
    (passed.is_some(), said)
}

fn check(theirs: &IceCredentials) -> Vec<u8> {
    Builder::new(Kind::Request, [3; 12])
        .attribute(
            attribute::USERNAME,
            format!("{}:evil", theirs.ufrag).as_bytes(),
        )
        .attribute(attribute::USE_CANDIDATE, b"")
        .integrity(&theirs.password)
        .finish()
}

fn client_hello() -> Vec<u8> {
    let mut hello = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 112];
    hello.extend([1, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, 100, 254, 253]);
    hello.extend([0x5a; 98]);
    hello
}

/// Of every protocol that shares a port, from nobody that is known.
fn of_nobody() -> Vec<Vec<u8>> {
    let unknown = IceCredentials::from_entropy([77; 32]);
    vec![
        check(&unknown),
        client_hello(),
        [&[0x80, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5][..], &[0xd5; 170]].concat(),
        vec![0x80, 201, 0, 1, 0, 0, 0, 5],
        vec![0xff; 300],
        Vec::new(),
    ]
}

#[test]
fn a_flood_from_thousands_of_sources_leaves_nothing_behind() {
    let mut world = World::web_calls();
    let port = connected(&mut world);
    let before = world.engine.gauges();
    for number in 0..SOURCES {
        for bytes in of_nobody() {
            for socket in [WEB, SocketId(port.into()), SocketId(u32::from(port) + 1)] {
                let came = arrives(&mut world, socket, stranger(number), &bytes);
                assert_eq!(came, (false, 0), "{bytes:?}");
            }
        }
    }
    assert_eq!(world.engine.gauges(), before);
    assert_hear(&mut world, port);
}

/// With the addresses of the ends, but neither password nor keys.
#[test]
fn whoever_spoofs_the_ends_of_a_call_is_not_heard() {
    let mut world = World::web_calls();
    let port = connected(&mut world);
    let (browser_at, before) = (world.browser_at, world.engine.gauges());
    let guessed = IceCredentials {
        ufrag: world.browser.theirs.ufrag.clone(),
        password: "guessed".to_owned(),
    };
    for bytes in of_nobody() {
        assert!(!arrives(&mut world, WEB, browser_at, &bytes).0, "{bytes:?}");
    }
    for number in 0..SOURCES {
        // It is told no, with fewer bytes than it has sent.
        let bytes = check(&guessed);
        assert_eq!(
            arrives(&mut world, WEB, stranger(number), &bytes),
            (false, 1)
        );
    }
    // Its RTCP in the clear comes from where its RTP comes from.
    let report = [0x80, 201, 0, 1, 0, 0, 0, 5];
    let rtcp = SocketId(u32::from(port) + 1);
    assert_eq!(arrives(&mut world, rtcp, stranger(1), &report), (false, 0));
    assert_eq!(world.engine.gauges(), before);
    assert_hear(&mut world, port);
}

/// He knows his own password, and says that he is everywhere.
#[test]
fn a_call_of_ones_own_fills_no_table() {
    let mut world = World::web_calls();
    let port = connected(&mut world);
    let before = world.engine.gauges();
    let branch = Branch {
        call: "his".into(),
        caller: Leg::Sip(None),
        callee: Leg::Web,
        ..world.branch("0", "")
    };
    let sdp = phone("192.0.2.66:7000", 1, PCMA).replace('\n', "\r\n");
    let ask = Ask {
        branch,
        direction: Direction::ToCallee,
        role: Role::Offer,
        sdp: sdp.into(),
    };
    world.asks += 1;
    let id = world.asks;
    let Some(Answer::Replace(told)) = world.handle(Input::Ask { id, ask }) else {
        panic!("refused");
    };
    let told = Session::parse(&told).unwrap();
    let theirs = told.sections[0].web.clone().unwrap().ice;
    for number in 0..SOURCES {
        arrives(&mut world, WEB, stranger(number), &check(&theirs));
        arrives(&mut world, WEB, stranger(number), &client_hello());
    }
    let after = world.engine.gauges();
    let more = Gauges {
        calls: before.calls + 1,
        timers: before.timers + 1,
        web_legs: before.web_legs + 1,
        ufrags: before.ufrags + 1,
        ports: before.ports + 2,
        addresses: after.addresses,
        ..before
    };
    assert_eq!(after, more);
    assert!(after.addresses <= 8 + before.addresses);
    assert_hear(&mut world, port);
}
