//! From the PBX over UDP to a browser.

use hookswitch_e2e::{
    Library, World,
    scenario::{
        Media::{SendOnly, SendRecv},
        Step::{Answer, Expect, ExpectStatus, Pause, Perhaps, Send, SendSdp, SendText},
    },
};

with_either_library! {
    the_browser_hangs_up,
    the_pbx_hangs_up,
    the_pbx_cancels,
    the_browser_refuses,
    the_pbx_holds_and_resumes,
    a_message_reaches_the_browser,
}

fn the_browser_hangs_up(library: Library) {
    let world = World::start(&format!("from_pbx_browser_hangs_up_{library:?}"));
    let alice = world.phone(library, "alice", 440);
    let steps = [
        SendSdp("INVITE", SendRecv),
        Perhaps(100),
        ExpectStatus(180),
        ExpectStatus(200),
        Send("ACK"),
        Expect("BYE"),
        Answer(200),
    ];
    let mut pbx = world.pbx_calls("alice", &steps);
    alice.answers();
    alice.hangs_up();
    alice.ended("hung up here");
    pbx.succeeds();
}

fn the_pbx_hangs_up(library: Library) {
    let world = World::start(&format!("from_pbx_pbx_hangs_up_{library:?}"));
    let alice = world.phone(library, "alice", 440);
    let steps = [
        SendSdp("INVITE", SendRecv),
        Perhaps(100),
        ExpectStatus(180),
        ExpectStatus(200),
        Send("ACK"),
        Pause(300),
        Send("BYE"),
        ExpectStatus(200),
    ];
    let mut pbx = world.pbx_calls("alice", &steps);
    alice.answers();
    alice.ended("hung up by the other side");
    pbx.succeeds();
}

fn the_pbx_cancels(library: Library) {
    let world = World::start(&format!("from_pbx_cancels_{library:?}"));
    let alice = world.phone(library, "alice", 440);
    let steps = [
        SendSdp("INVITE", SendRecv),
        Perhaps(100),
        ExpectStatus(180),
        Send("CANCEL"),
        ExpectStatus(200),
        ExpectStatus(487),
        Send("ACK"),
    ];
    let mut pbx = world.pbx_calls("alice", &steps);
    alice.ended("cancelled by the other side");
    pbx.succeeds();
}

fn the_browser_refuses(library: Library) {
    let world = World::start(&format!("from_pbx_refused_{library:?}"));
    let alice = world.phone(library, "alice", 440);
    let steps = [
        SendSdp("INVITE", SendRecv),
        Perhaps(100),
        ExpectStatus(180),
        ExpectStatus(480),
        Send("ACK"),
    ];
    let mut pbx = world.pbx_calls("alice", &steps);
    alice.rings();
    alice.hangs_up();
    pbx.succeeds();
}

fn the_pbx_holds_and_resumes(library: Library) {
    let world = World::start(&format!("from_pbx_hold_{library:?}"));
    let alice = world.phone(library, "alice", 440);
    let steps = [
        SendSdp("INVITE", SendRecv),
        Perhaps(100),
        ExpectStatus(180),
        ExpectStatus(200),
        Send("ACK"),
        SendSdp("INVITE", SendOnly),
        Perhaps(100),
        ExpectStatus(200),
        Send("ACK"),
        Pause(300),
        SendSdp("INVITE", SendRecv),
        Perhaps(100),
        ExpectStatus(200),
        Send("ACK"),
        Send("BYE"),
        ExpectStatus(200),
    ];
    let mut pbx = world.pbx_calls("alice", &steps);
    alice.answers();
    alice.until("phone.status().call.heldByPeer");
    alice.until("!phone.status().call.heldByPeer");
    alice.ended("hung up by the other side");
    pbx.succeeds();
}

fn a_message_reaches_the_browser(library: Library) {
    let world = World::start(&format!("from_pbx_message_{library:?}"));
    let alice = world.phone(library, "alice", 440);
    let mut pbx = world.pbx_calls(
        "alice",
        &[
            SendText("from the exchange"),
            Perhaps(100),
            ExpectStatus(200),
        ],
    );
    assert_eq!(alice.receives("from the exchange")["X-Edge"], "one");
    pbx.succeeds();
}

#[test]
fn who_is_not_registered_is_not_found() {
    let world = World::start("from_pbx_not_found");
    world
        .pbx_calls(
            "nobody",
            &[
                SendSdp("INVITE", SendRecv),
                Perhaps(100),
                ExpectStatus(404),
                Send("ACK"),
            ],
        )
        .succeeds();
}
