//! A browser that comes by TCP.

use super::{
    calls::{PCMA, PHONE},
    world::*,
};
use crate::{
    Direction::{ToCallee, ToCaller},
    Role,
    engine::Input,
    sockets::SocketId,
};

fn rtp(sequence: u8) -> Vec<u8> {
    let head = [0x80, 8, 0, sequence, 0, 0, 0, 0, 0, 0, 0, 5];
    [&head[..], b"sound"].concat()
}

#[test]
fn a_browser_is_heard_and_hears_by_its_connection_alone() {
    let mut world = World::web_calls();
    world.browser_by = SocketId::connection(7);
    let offer = world.by_browser(CHROMIUM);
    let told = world.tell("0", ToCallee, Role::Offer, &offer);
    let answer = world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 1, PCMA));
    let branch = world.branch("0", "a");
    world.handle(Input::Established { branch });
    world.browser_reads(&answer);
    world.run_ms(2000);
    assert!(world.browser.has_keys());

    let sealed = world.browser.rtp(&rtp(1));
    world.by_connection(sealed);
    let heard = world
        .phone_heard
        .pop()
        .expect("the phone hears the browser");
    assert_eq!(heard[12..], *b"sound");
    let from = PHONE.parse().unwrap();
    let ours = SocketId(port(&told, 0).into());
    assert_eq!(world.arrive(ours, from, &rtp(1)), None);
    let heard = world.heard.pop().expect("the browser hears the phone");
    assert_eq!(heard[12..], *b"sound");

    // Whoever writes the same address on a datagram is not the browser, and neither is another connection from there.
    let sealed = world.browser.rtp(&rtp(2));
    assert_eq!(world.arrive(WEB, world.browser_at, &sealed), None);
    let (connection, from) = (SocketId::connection(8), world.browser_at);
    let bytes = sealed.clone();
    world.handle(Input::Packet {
        connection,
        from,
        bytes,
    });
    assert!(world.phone_heard.is_empty());
    world.by_connection(sealed);
    assert_eq!(world.phone_heard.len(), 1);
}

#[test]
fn a_browser_goes_over_from_one_way_to_another() {
    let mut world = World::web_calls();
    let port = super::calls::connected(&mut world);
    world.browser_by = SocketId::connection(1);
    let nominated = world.browser.check();
    world.by_connection(nominated);
    let ours = SocketId(port.into());
    let from = PHONE.parse().unwrap();
    assert_eq!(world.arrive(ours, from, &rtp(9)), None);
    assert_eq!(world.heard.len(), 1, "by the connection");
}
