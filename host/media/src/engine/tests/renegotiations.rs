//! What offers within a call must not break, however many and odd they are.

use super::{calls::*, world::*};
use crate::{
    Direction::{ToCallee, ToCaller},
    Role,
};

/// Each one has new credentials, of which those of now and those in use are known.
#[test]
fn a_browser_that_restarts_ice_again_and_again_fills_no_table() {
    let mut world = World::web_calls();
    let port = connected(&mut world);
    for restart in 10..60 {
        world.browser.ours = crate::ice::IceCredentials::from_entropy([restart; 32]);
        let offer = world.by_browser(CHROMIUM);
        world.tell("0 a", ToCallee, Role::Offer, &offer);
        let told = world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 1, PCMA));
        assert!(world.engine.gauges().ufrags <= 2, "{restart}");
        if restart % 3 == 0 {
            world.browser_reads(&told);
            world.run_ms(500);
            assert_hear(&mut world, port);
        }
    }
}

/// A browser may call its first section what we would call the next one.
#[test]
fn a_section_that_a_phone_adds_has_a_tag_of_its_own() {
    let mut world = World::web_calls();
    let offer = world.by_browser(CHROMIUM).replace("BUNDLE 0", "BUNDLE 1");
    let offer = offer.replace("a=mid:0", "a=mid:1");
    world.tell("0", ToCallee, Role::Offer, &offer);
    world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 1, PCMA));
    let two = format!("{PCMA}m=video 5000 RTP/AVP 96\na=rtpmap:96 VP8/90000\n");
    let told = world.tell("0 a", ToCaller, Role::Offer, &phone(PHONE, 2, &two));
    assert!(told.contains("a=group:BUNDLE 1 s1\n"), "{told}");
}
