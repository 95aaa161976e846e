//! Browsers that prove themselves with a token of an identity provider: in SIP (RFC 8898), or in the URL of their WebSocket.

use hookswitch_e2e::{Library, Phone, World, configuration::Setup};

with_both_libraries! {
    who_has_a_token_registers_and_calls,
    whose_token_is_somebody_elses_is_refused,
}

/// In REGISTER.
fn in_sip<'w>(world: &'w World, library: Library, account: &str, token_of: &str) -> Phone<'w> {
    let token = world.host.token(token_of);
    world.page(library, account, &format!("&tone=440&token={token}"))
}

/// Before any SIP.
fn at_the_upgrade<'w>(
    world: &'w World,
    library: Library,
    account: &str,
    token_of: &str,
) -> Phone<'w> {
    let (server, token) = (world.host.web, world.host.token(token_of));
    world.page(
        library,
        account,
        &format!("&tone=700&server=wss://{server}/?access_token={token}"),
    )
}

fn who_has_a_token_registers_and_calls(libraries: [Library; 2]) {
    let world = World::start_as(&format!("tokens_{libraries:?}"), Setup::Tokens);
    let alice = in_sip(&world, libraries[0], "alice", "alice");
    let bob = at_the_upgrade(&world, libraries[1], "bob", "bob");
    alice.is_registered();
    bob.is_registered();
    alice.call("bob");
    bob.answers();
    alice.talks();
    alice.hears(700);
    alice.hangs_up();
    bob.ended("hung up by the other side");
    bob.call("alice");
    alice.answers();
    bob.talks();
    bob.hangs_up();
    alice.ended("hung up by the other side");
    alice.sends("bob", "by token");
    bob.receives("by token");
}

fn whose_token_is_somebody_elses_is_refused(libraries: [Library; 2]) {
    let world = World::start_as(&format!("tokens_stolen_{libraries:?}"), Setup::Tokens);
    let phones = [
        in_sip(&world, libraries[0], "alice", "bob"),
        at_the_upgrade(&world, libraries[1], "carol", "bob"),
    ];
    for phone in phones {
        phone.until("phone.log().some(({ text }) => text.startsWith('SIP/2.0 403 '))");
        assert_eq!(phone.run("phone.status().registered"), false);
    }
}
