//! What a real rtpengine between browsers and phones is good for beside being a relay, which is in `media`.

use hookswitch_e2e::{
    Baresip, Far, Library, Phone, Rtpengine, World,
    account::{Account, Transport},
    configuration::{Nodes, Setup},
    far::Rtp,
};

with_either_library! {
    by_websocket,
    a_node_is_lost,
}

/// What each sends.
const ALICE_HZ: u32 = 440;
const DESK_HZ: u32 = 700;

fn account(world: &World) -> Account {
    Account {
        user: "desk",
        server: world.host.address(Transport::Udp),
        transport: Transport::Udp,
    }
}

fn desk(world: &World) -> Baresip {
    Baresip::start_with(world.host.folder(), account(world), DESK_HZ, Rtp::Plain)
}

fn world(name: &str, library: Library, nodes: Nodes) -> World {
    World::start_as(
        &format!("rtpengine_{name}_{library:?}"),
        Setup::Media(nodes, Rtp::Plain),
    )
}

fn rtpengine(name: &str, library: Library) -> Rtpengine {
    Rtpengine::start(&format!("rtpengine_{name}_{library:?}"))
}

fn both_hear(alice: &Phone<'_>, desk: &dyn Far) {
    alice.hears(DESK_HZ);
    desk.hears(ALICE_HZ);
}

fn by_websocket(library: Library) {
    let rtpengine = rtpengine("websocket", library);
    let world = world("websocket", library, Nodes::WebSocket(rtpengine.websocket));
    let desk = desk(&world);
    let alice = world.phone(library, "alice", ALICE_HZ);
    alice.call(desk.address());
    desk.answers();
    both_hear(&alice, &desk);
    alice.hangs_up();
    desk.ended();
    rtpengine.is_idle();
}

/// Whichever the first call is on, the next ones go to the other.
fn a_node_is_lost(library: Library) {
    let mut nodes = ["lost_a", "lost_b"].map(|name| rtpengine(name, library));
    let world = world("lost", library, Nodes::Two(nodes[0].udp, nodes[1].udp));
    let desk = desk(&world);
    let alice = world.phone(library, "alice", ALICE_HZ);
    for lost in 0..2 {
        alice.call(desk.address());
        desk.answers();
        both_hear(&alice, &desk);
        alice.hangs_up();
        desk.ended();
        if lost == 0 {
            nodes[0].crashes();
        }
    }
    nodes[1].is_idle();
}
