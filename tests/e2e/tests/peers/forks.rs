//! A call of a browser's to an account with two phones, one of which is heard before the other takes the call.

use hookswitch_e2e::{
    Baresip, Far, Library, Phone, Pjsua, World,
    account::{Account, Transport},
    far::Rtp,
};

use crate::scene::{ALICE_HZ, FAR_HZ, Relay};

const OTHER_HZ: u32 = 1_000;

/// Both phones ring, pjsua2 is heard early, and then this one takes the call: each hears the other, and the browser's connection is the
/// one that it offered.
fn wins(
    alice: &Phone<'_>,
    library: Library,
    pjsua: &Pjsua,
    (winner, hz): (&dyn Far, u32),
    loser: &dyn Far,
) {
    let before = alice.connections();
    alice.call(pjsua.address());
    winner.rings();
    loser.rings();
    alice.hears_ringing();
    pjsua.takes_early();
    // SIP.js hears nobody early where several may answer.
    if library == Library::JsSip {
        alice.hears(FAR_HZ);
    }
    winner.takes();
    winner.talks();
    alice.talks();
    loser.ended();
    alice.hears(hz);
    winner.hears(ALICE_HZ);
    assert_eq!(alice.connections() - before, 1);
    alice.hangs_up();
    winner.ended();
}

fn fork(relay: Relay, library: Library) {
    let name = format!("forks_{relay:?}_{library:?}");
    let between = relay.start(&name);
    let world = World::start_as(&name, between.setup(Rtp::Plain));
    let desk = Account {
        user: "desk",
        server: world.host.address(Transport::Udp),
        transport: Transport::Udp,
    };
    let folder = world.host.folder();
    let pjsua = Pjsua::start_with(folder, desk, FAR_HZ, Rtp::Plain);
    let baresip = Baresip::start_with(folder, desk, OTHER_HZ, Rtp::Plain);
    let alice = world.phone(library, "alice", ALICE_HZ);
    println!("── the other one takes it");
    wins(&alice, library, &pjsua, (&baresip, OTHER_HZ), &pjsua);
    println!("── the one that was heard takes it");
    wins(&alice, library, &pjsua, (&pjsua, FAR_HZ), &baresip);
}

fn through_the_engine(library: Library) {
    fork(Relay::Engine, library);
}

fn through_rtpengine(library: Library) {
    fork(Relay::Rtpengine, library);
}

with_either_library! { through_the_engine, through_rtpengine }
