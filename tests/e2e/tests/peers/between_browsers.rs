//! Browser to browser: over WSS on both sides, media between them.

use hookswitch_e2e::{Library, World};

with_both_libraries! {
    each_hears_the_other_and_the_callee_hangs_up,
    the_caller_hangs_up,
    the_caller_cancels,
    the_callee_refuses,
    a_third_finds_the_callee_busy,
    hold_is_silent_and_resume_is_heard,
    messages_go_both_ways_and_carry_what_the_policy_adds,
    nobody_is_not_found,
}

fn each_hears_the_other_and_the_callee_hangs_up(libraries: [Library; 2]) {
    let world = World::start(&format!("each_hears_the_other_{libraries:?}"));
    let [alice, bob] = world.phones(libraries);
    alice.call("bob");
    bob.answers();
    alice.talks();
    alice.hears(700);
    bob.hears(440);
    bob.hangs_up();
    alice.ended("hung up by the other side");
    bob.ended("hung up here");
}

fn the_caller_hangs_up(libraries: [Library; 2]) {
    let world = World::start(&format!("the_caller_hangs_up_{libraries:?}"));
    let [alice, bob] = world.phones(libraries);
    alice.call("bob");
    bob.answers();
    alice.talks();
    alice.hangs_up();
    bob.ended("hung up by the other side");
}

fn the_caller_cancels(libraries: [Library; 2]) {
    let world = World::start(&format!("the_caller_cancels_{libraries:?}"));
    let [alice, bob] = world.phones(libraries);
    alice.call("bob");
    bob.rings();
    alice.hears_ringing();
    alice.hangs_up();
    bob.ended("cancelled by the other side");
    alice.ended_cancelled();
}

fn the_callee_refuses(libraries: [Library; 2]) {
    let world = World::start(&format!("the_callee_refuses_{libraries:?}"));
    let [alice, bob] = world.phones(libraries);
    alice.call("bob");
    bob.rings();
    bob.hangs_up();
    alice.ended("480");
}

fn a_third_finds_the_callee_busy(libraries: [Library; 2]) {
    let world = World::start(&format!("a_third_finds_the_callee_busy_{libraries:?}"));
    let [alice, bob] = world.phones(libraries);
    alice.call("bob");
    bob.answers();
    alice.talks();
    let carol = world.phone(libraries[1], "carol", 900);
    carol.call("bob");
    carol.ended("486");
    alice.hears(700);
}

fn hold_is_silent_and_resume_is_heard(libraries: [Library; 2]) {
    let world = World::start(&format!("hold_is_silent_{libraries:?}"));
    let [alice, bob] = world.phones(libraries);
    alice.call("bob");
    bob.answers();
    alice.talks();
    bob.hears(440);
    alice.holds(true);
    bob.until("phone.status().call.heldByPeer");
    bob.hears_nothing();
    alice.holds(false);
    bob.hears(440);
    alice.hears(700);
}

fn messages_go_both_ways_and_carry_what_the_policy_adds(libraries: [Library; 2]) {
    let world = World::start(&format!("messages_go_both_ways_{libraries:?}"));
    let [alice, bob] = world.phones(libraries);
    alice.sends("bob", "are you there?");
    assert_eq!(bob.receives("are you there?")["X-Edge"], "one");
    bob.sends("alice", "I am");
    assert_eq!(alice.receives("I am")["X-Edge"], "one");
}

fn nobody_is_not_found(libraries: [Library; 2]) {
    let world = World::start(&format!("nobody_is_not_found_{libraries:?}"));
    let alice = world.phone(libraries[0], "alice", 440);
    alice.call("nobody");
    alice.ended("404");
    let refused = alice
        .attempt("phone.message('nobody', 'hello')")
        .unwrap_err();
    assert!(refused.contains("404"), "{refused}");
}
