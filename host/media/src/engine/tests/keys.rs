//! Keys that one end presses in signalling, and the other one hears.

use super::{
    calls::{PHONE, connected},
    world::*,
};
use crate::{
    Answer, Direction,
    Direction::{ToCallee, ToCaller},
    Press,
    engine::Input,
};

fn press(world: &mut World, direction: Direction, body: &'static str) -> Answer {
    let press = Press {
        branch: world.branch("0", "a"),
        direction,
        body: body.into(),
    };
    world.asks += 1;
    let id = world.asks;
    world.handle(Input::Press { id, press }).expect("an answer")
}

/// Payload type and payload of each packet.
fn heard(packets: &mut Vec<Vec<u8>>) -> Vec<(u8, Vec<u8>)> {
    let packets = packets
        .drain(..)
        .filter(|packet| packet[1] & 127 < 72 || packet[1] & 127 > 95);
    packets
        .map(|packet| (packet[1] & 127, packet[12..].to_vec()))
        .collect()
}

#[test]
fn a_key_in_signalling_is_an_event_for_the_other_end() {
    let mut world = World::web_calls();
    let port = connected(&mut world);
    world.phone_heard.clear();
    let body = "Signal=5\r\nDuration=100\r\n";
    assert_eq!(press(&mut world, ToCallee, body), Answer::Taken);
    world.run_ms(500);
    let told = heard(&mut world.phone_heard);
    assert_eq!(told.len(), 7, "{told:?}");
    assert!(
        told.iter()
            .all(|(payload_type, payload)| *payload_type == 101 && payload[0] == 5)
    );
    assert_eq!(told[0].1[1..], [10, 0, 160]);
    assert_eq!(told[6].1[1..], [0x8a, 3, 32]);
    // Sound goes on.
    let (_, sound) = world.browser_sends(8, b"browser").unwrap();
    assert_eq!(sound.payload, b"browser");
    world.heard.clear();
    assert_eq!(press(&mut world, ToCaller, "9"), Answer::Taken);
    world.run_ms(500);
    let told = heard(&mut world.heard);
    assert!(
        told.len() > 3
            && told
                .iter()
                .all(|(number, event)| *number == 126 && event[0] == 9)
    );
    world.phone_sends(PHONE, port, 8, b"phone").unwrap();
}

#[test]
fn a_key_goes_on_in_signalling_where_it_cannot_be_told() {
    let mut world = World::web_calls();
    assert_eq!(
        press(&mut world, ToCallee, "5"),
        Answer::Unchanged,
        "no call"
    );
    connected(&mut world);
    assert_eq!(
        press(&mut world, ToCallee, "Signal=flash"),
        Answer::Unchanged
    );
    let offer = world.by_browser(CHROMIUM).replace(" 2 IN", " 3 IN");
    world.tell("0 a", ToCallee, crate::Role::Offer, &offer);
    let without = phone(PHONE, 2, "m=audio PORT RTP/AVP 8\n");
    world.tell("0 a", ToCaller, crate::Role::Answer, &without);
    assert_eq!(press(&mut world, ToCallee, "5"), Answer::Unchanged);
}
