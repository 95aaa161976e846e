//! The demo as it is shipped: its configuration, its page, and the buttons that a newcomer presses.

use hookswitch_e2e::{Library, Phone, World, configuration::Setup};

const ALICE_HZ: u32 = 440;
const BOB_HZ: u32 = 660;

/// A tab that sends its tone in place of the microphone.
fn tab<'w>(world: &'w World, account: &str) -> Phone<'w> {
    let tab = world.page(Library::SipJs, account, "");
    tab.is_registered();
    press(&tab, "tone");
    tab
}

fn press(tab: &Phone<'_>, button: &str) {
    tab.until(&format!("!document.getElementById('{button}').disabled"));
    tab.run(&format!("document.getElementById('{button}').click()"));
}

fn dial(tab: &Phone<'_>, target: &str) {
    tab.run(&format!(
        "document.getElementById('target').value = '{target}'"
    ));
    press(tab, "call");
}

/// As the page itself says.
fn hears(tab: &Phone<'_>, hz: u32) {
    tab.until(&format!(
        "Math.abs(parseInt(document.getElementById('heard').textContent) - {hz}) <= 15"
    ));
}

#[test]
fn two_tabs_talk() {
    let world = World::start_as("demo_two_tabs", Setup::Demo);
    let [alice, bob] = ["alice", "bob"].map(|account| tab(&world, account));
    dial(&alice, "bob");
    press(&bob, "answer");
    hears(&alice, BOB_HZ);
    hears(&bob, ALICE_HZ);
    press(&bob, "hangup");
    alice.ended("hung up by the other side");
}

#[test]
fn a_tab_that_calls_echo_hears_itself() {
    let world = World::start_as("demo_echo", Setup::Demo);
    let alice = tab(&world, "alice");
    dial(&alice, "echo");
    hears(&alice, ALICE_HZ);
    press(&alice, "hangup");
    alice.ended("hung up here");
}
