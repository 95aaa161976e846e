//! A page that presses keys by SIP INFO, and a phone that hears them in its media (RFC 4733).

use hookswitch_e2e::{
    Baresip, Far, Library, World,
    account::{Account, Transport},
    configuration::Setup,
    far::Rtp,
};

#[test]
fn a_key_by_info_is_heard_as_an_event() {
    let world = World::start_as("keys_by_info", Setup::Engine(Rtp::Plain));
    let account = Account {
        user: "desk",
        server: world.host.address(Transport::Udp),
        transport: Transport::Udp,
    };
    let far = Baresip::start_with(world.host.folder(), account, 700, Rtp::Plain);
    let alice = world.phone(Library::JsSip, "alice", 440);
    alice.call(far.address());
    far.answers();
    alice.talks();
    alice.hears(700);
    for key in ['9', '#'] {
        alice.presses_by_info(key);
        far.hears_key(key);
    }
    alice.hears(700);
    far.hears(440);
    alice.hangs_up();
    far.ended();
}
