//! What an operator does while people talk: edit a policy, break one, stop the process.

use hookswitch_e2e::{Host, Library, World};

use crate::wire::{call_id, invite, receive, socket};

#[test]
fn an_edited_configuration_shows_in_the_next_message() {
    let world = World::start("reload_configuration");
    let [alice, bob] = world.phones([Library::SipJs, Library::JsSip]);
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
fn an_edited_line_of_the_main_file_shows_in_the_next_message() {
    let host = Host::start_inline("reload_inline");
    let pbx = socket(&host.pbx.to_string());
    let passes = |edge: &str| {
        let caller = socket("127.0.0.1:0");
        caller
            .send_to(invite(&caller).as_bytes(), host.udp)
            .unwrap();
        let call = format!("{}\r\n", call_id(&caller));
        // What was not answered is sent again, and may come between.
        let mut routed = receive(&pbx);
        while !routed.contains(&call) {
            routed = receive(&pbx);
        }
        assert!(routed.contains(&format!("X-Edge: {edge}\r\n")), "{routed}");
    };
    passes("one");
    host.set_edge_inline("two");
    host.until_policy("header-rules", |policy| policy["counters"]["reloads"] == 1);
    passes("two");
}

#[test]
fn a_broken_component_changes_nothing() {
    let world = World::start("reload_broken");
    let [alice, bob] = world.phones([Library::SipJs, Library::JsSip]);
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
        let [alice, bob] = world.phones([Library::SipJs, Library::JsSip]);
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
