//! SIPp's own scenarios at both ends, over UDP that loses messages.

use hookswitch_e2e::{Sipp, World};

const CALLS: u32 = 200;
const LOST_PERCENT: u32 = 5;

#[test]
fn every_call_succeeds_with_five_percent_lost_at_each_end() {
    let world = World::start("losses");
    let mut uas = Sipp::own_uas(&world.host, CALLS, LOST_PERCENT);
    let mut uac = Sipp::own_uac(&world.host, CALLS, LOST_PERCENT);
    uac.succeeds();
    uas.succeeds();
}
