//! What is told of calls that are up.

use super::{
    calls::{PCMA, PHONE, connected},
    world::*,
};
use crate::{
    Direction::{ToCallee, ToCaller},
    Role,
    engine::{Input, Stage},
    sdp::Kind,
};

#[test]
fn a_call_is_seen_with_what_each_end_sends() {
    let mut world = World::web_calls();
    let port = connected(&mut world);
    for _ in 0..3 {
        world.browser_sends(8, b"browser").unwrap();
    }
    world.phone_sends(PHONE, port, 8, b"phone").unwrap();
    let [call] = &world.look("call")[..] else {
        panic!("one call");
    };
    assert_eq!((&*call.call, call.stage), ("call", Stage::Answered));
    assert_eq!((call.duration.as_secs(), &call.died), (2, &None));
    let legs = call.legs.iter().map(|leg| {
        let sent = leg
            .sent
            .iter()
            .map(|each| (each.kind.clone(), each.stats.packets));
        (leg.web, sent.collect::<Vec<_>>(), leg.diagnosis.clone())
    });
    // One of each was sent to see that they are connected.
    let expected = [
        (true, vec![(Kind::Audio, 4)], None),
        (false, vec![(Kind::Audio, 2)], None),
    ];
    assert_eq!(legs.collect::<Vec<_>>(), expected);
    assert_eq!(world.look("").len(), 1);
    assert!(world.look("calls").is_empty());
    world.handle(Input::End {
        call: "call".into(),
    });
    assert!(world.look("").is_empty());
}

#[test]
fn a_call_without_media_says_why() {
    let mut world = World::web_calls();
    let offer = world.by_browser(CHROMIUM);
    world.tell("0", ToCallee, Role::Offer, &offer);
    world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 1, PCMA));
    world.run_ms(5000);
    let [call] = &world.look("")[..] else {
        panic!("one call");
    };
    assert_eq!(call.stage, Stage::Ringing);
    let diagnoses = call.legs.iter().map(|leg| leg.diagnosis.as_deref());
    let expected = [Some("no ICE check for 5 s"), Some("no RTP for 5 s")];
    assert_eq!(diagnoses.collect::<Vec<_>>(), expected);
}
