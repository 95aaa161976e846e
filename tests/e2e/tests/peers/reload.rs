//! What an operator does while people talk: edit a policy, break one, stop the process.

use hookswitch_e2e::World;

#[test]
fn an_edited_configuration_shows_in_the_next_message() {
    let world = World::start("reload_configuration");
    let (alice, bob) = (world.phone("alice", 440), world.phone("bob", 700));
    alice.call("bob");
    bob.answers();
    alice.sends("bob", "before");
    assert_eq!(bob.receives("before")["X-Edge"], "one");
    world.host.set_edge("two");
    world
        .host
        .until_policy("header-rules", |policy| policy["counters"]["reloads"] == 1);
    alice.sends("bob", "after");
    assert_eq!(bob.receives("after")["X-Edge"], "two");
    alice.hears(700);
    alice.hangs_up();
    bob.ended("hung up by the other side");
}

#[test]
fn a_broken_component_changes_nothing() {
    let world = World::start("reload_broken");
    let (alice, bob) = (world.phone("alice", 440), world.phone("bob", 700));
    world.host.set_component("header-rules", b"not a component");
    world.host.until_policy("header-rules", |policy| {
        policy["state"] == "quarantined" && policy["load_error"]["text"].is_string()
    });
    alice.sends("bob", "still here");
    assert_eq!(bob.receives("still here")["X-Edge"], "one");
}

#[test]
fn a_registered_browser_calls_through_a_drain() {
    let mut world = World::start("drain");
    {
        let (alice, bob) = (world.phone("alice", 440), world.phone("bob", 700));
        alice.call("bob");
        bob.answers();
        alice.talks();
        world.host.tell_to_stop();
        bob.hears(440);
        alice.hangs_up();
        bob.ended("hung up by the other side");
    }
    assert!(
        world.host.has_ended_well(),
        "hookswitch did not end with success"
    );
}
