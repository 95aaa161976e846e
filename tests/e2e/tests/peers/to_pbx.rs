//! From a browser to the PBX over UDP. Numbers that begin with 9 are the PBX's, and lose the 9 on the way.

use hookswitch_e2e::{
    Library, World,
    scenario::{
        Media::{RecvOnly, SendRecv},
        Step::{Answer, AnswerInvite, AnswerSdp, Expect, ExpectLike, ExpectStatus, Pause, Send},
    },
};

with_either_library! {
    both_policies_act_and_the_browser_hangs_up,
    the_pbx_hangs_up,
    the_browser_cancels,
    the_pbx_is_busy,
    the_browser_holds_and_resumes,
    a_message_reaches_the_pbx,
}

fn both_policies_act_and_the_browser_hangs_up(library: Library) {
    let world = World::start(&format!("to_pbx_browser_hangs_up_{library:?}"));
    let both = "^INVITE sip:100@(.|[[:space:]])*X-Edge: one";
    let steps = [
        ExpectLike("INVITE", both),
        Answer(180),
        AnswerSdp(200, SendRecv),
        Expect("ACK"),
        Expect("BYE"),
        Answer(200),
    ];
    let mut pbx = world.pbx_answers(&steps);
    let alice = world.phone(library, "alice", 440);
    alice.call("9100");
    alice.talks();
    alice.hangs_up();
    alice.ended("hung up here");
    pbx.succeeds();
}

fn the_pbx_hangs_up(library: Library) {
    let world = World::start(&format!("to_pbx_pbx_hangs_up_{library:?}"));
    let steps = [
        Expect("INVITE"),
        Answer(180),
        AnswerSdp(200, SendRecv),
        Expect("ACK"),
        Pause(300),
        Send("BYE"),
        ExpectStatus(200),
    ];
    let mut pbx = world.pbx_answers(&steps);
    let alice = world.phone(library, "alice", 440);
    alice.call("9100");
    alice.talks();
    alice.ended("hung up by the other side");
    pbx.succeeds();
}

fn the_browser_cancels(library: Library) {
    let world = World::start(&format!("to_pbx_browser_cancels_{library:?}"));
    let steps = [
        Expect("INVITE"),
        Answer(180),
        Expect("CANCEL"),
        Answer(200),
        AnswerInvite(487),
        Expect("ACK"),
    ];
    let mut pbx = world.pbx_answers(&steps);
    let alice = world.phone(library, "alice", 440);
    alice.call("9100");
    alice.hears_ringing();
    alice.hangs_up();
    alice.ended_cancelled();
    pbx.succeeds();
}

fn the_pbx_is_busy(library: Library) {
    let world = World::start(&format!("to_pbx_busy_{library:?}"));
    let mut pbx = world.pbx_answers(&[Expect("INVITE"), Answer(486), Expect("ACK")]);
    let alice = world.phone(library, "alice", 440);
    alice.call("9100");
    alice.ended("486");
    pbx.succeeds();
}

fn the_browser_holds_and_resumes(library: Library) {
    let world = World::start(&format!("to_pbx_hold_{library:?}"));
    let steps = [
        Expect("INVITE"),
        AnswerSdp(200, SendRecv),
        Expect("ACK"),
        ExpectLike("INVITE", "a=sendonly"),
        AnswerSdp(200, RecvOnly),
        Expect("ACK"),
        ExpectLike("INVITE", "a=sendrecv"),
        AnswerSdp(200, SendRecv),
        Expect("ACK"),
        Expect("BYE"),
        Answer(200),
    ];
    let mut pbx = world.pbx_answers(&steps);
    let alice = world.phone(library, "alice", 440);
    alice.call("9100");
    alice.talks();
    alice.holds(true);
    alice.holds(false);
    alice.hangs_up();
    pbx.succeeds();
}

fn a_message_reaches_the_pbx(library: Library) {
    let world = World::start(&format!("to_pbx_message_{library:?}"));
    let mut pbx = world.pbx_answers(&[ExpectLike("MESSAGE", "good morning"), Answer(200)]);
    world
        .phone(library, "alice", 440)
        .sends("9100", "good morning");
    pbx.succeeds();
}
