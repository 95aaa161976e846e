//! A browser alone with the proxy: echo and tone.

use hookswitch_e2e::{Library, World, configuration::Setup};

with_either_library! {
    echo_sends_back_what_it_hears,
    echo_is_heard_over_tcp,
    the_tone_is_heard,
    the_tone_is_silent_on_hold,
}

fn echo_sends_back_what_it_hears(library: Library) {
    let world = World::start(&format!("echo_{library:?}"));
    let carol = world.phone(library, "carol", 900);
    carol.call("echo");
    carol.talks();
    carol.hears(900);
    carol.hangs_up();
    carol.ended("hung up here");
}

fn echo_is_heard_over_tcp(library: Library) {
    let world = World::start_as(&format!("echo_over_tcp_{library:?}"), Setup::OverTcp);
    let carol = world.phone(library, "carol", 900);
    carol.call("echo");
    carol.talks();
    carol.hears(900);
    carol.hangs_up();
    carol.ended("hung up here");
}

fn the_tone_is_heard(library: Library) {
    let world = World::start(&format!("tone_{library:?}"));
    let carol = world.phone(library, "carol", 900);
    carol.call("tone");
    carol.talks();
    carol.hears(440);
    carol.hangs_up();
    carol.ended("hung up here");
}

fn the_tone_is_silent_on_hold(library: Library) {
    let world = World::start(&format!("tone_on_hold_{library:?}"));
    let carol = world.phone(library, "carol", 900);
    carol.call("tone");
    carol.talks();
    carol.hears(440);
    carol.holds(true);
    carol.hears_nothing();
    carol.holds(false);
    carol.hears(440);
}
