//! Browser to browser: over WSS on both sides, media between them.

use hookswitch_e2e::World;

#[test]
fn each_hears_the_other_and_the_callee_hangs_up() {
    let world = World::start("each_hears_the_other");
    let (alice, bob) = (world.phone("alice", 440), world.phone("bob", 700));
    alice.call("bob");
    bob.answers();
    alice.talks();
    alice.hears(700);
    bob.hears(440);
    bob.hangs_up();
    alice.ended("hung up by the other side");
    bob.ended("hung up here");
}

#[test]
fn the_caller_hangs_up() {
    let world = World::start("the_caller_hangs_up");
    let (alice, bob) = (world.phone("alice", 440), world.phone("bob", 700));
    alice.call("bob");
    bob.answers();
    alice.talks();
    alice.hangs_up();
    bob.ended("hung up by the other side");
}

#[test]
fn the_caller_cancels() {
    let world = World::start("the_caller_cancels");
    let (alice, bob) = (world.phone("alice", 440), world.phone("bob", 700));
    alice.call("bob");
    bob.rings();
    alice.hears_ringing();
    alice.hangs_up();
    bob.ended("cancelled by the other side");
    alice.ended("487");
}

#[test]
fn the_callee_refuses() {
    let world = World::start("the_callee_refuses");
    let (alice, bob) = (world.phone("alice", 440), world.phone("bob", 700));
    alice.call("bob");
    bob.rings();
    bob.hangs_up();
    alice.ended("480");
}

#[test]
fn a_third_finds_the_callee_busy() {
    let world = World::start("a_third_finds_the_callee_busy");
    let (alice, bob) = (world.phone("alice", 440), world.phone("bob", 700));
    alice.call("bob");
    bob.answers();
    alice.talks();
    let carol = world.phone("carol", 900);
    carol.call("bob");
    carol.ended("486");
    alice.hears(700);
}

#[test]
fn hold_is_silent_and_resume_is_heard() {
    let world = World::start("hold_is_silent");
    let (alice, bob) = (world.phone("alice", 440), world.phone("bob", 700));
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

#[test]
fn messages_go_both_ways_and_carry_what_the_policy_adds() {
    let world = World::start("messages_go_both_ways");
    let (alice, bob) = (world.phone("alice", 440), world.phone("bob", 700));
    alice.sends("bob", "are you there?");
    assert_eq!(bob.receives("are you there?")["X-Edge"], "one");
    bob.sends("alice", "I am");
    assert_eq!(alice.receives("I am")["X-Edge"], "one");
}

#[test]
fn nobody_is_not_found() {
    let world = World::start("nobody_is_not_found");
    let alice = world.phone("alice", 440);
    alice.call("nobody");
    alice.ended("404");
    let refused = alice
        .attempt("phone.message('nobody', 'hello')")
        .unwrap_err();
    assert!(refused.contains("404"), "{refused}");
}
