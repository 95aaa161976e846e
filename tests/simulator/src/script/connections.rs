//! What becomes of a browser's connection: broken, opened again, by another page, under the name of a session.

use hookswitch_sip::flow::SessionKey;

use crate::world::World;

pub(super) fn run(world: &mut World, agent: usize, what: &str, how: &[&str]) {
    let name = world.agents[agent].name.clone();
    let note = |world: &mut World, what: &str| {
        world.ladder.note(world.now, &format!("{name} {what}"));
    };
    match (what, how) {
        ("close", []) => {
            note(world, "is gone");
            world.disconnect(agent);
        }
        ("reconnect", []) => {
            world.connect(agent);
            world.ladder.mute();
            world.agents[agent].register(world.now, &[]);
            world.settle();
            world.ladder.speak();
            note(world, "is back and registered");
        }
        ("reload", how) => {
            note(world, "is loaded again");
            if how == ["afresh"] {
                world.agents[agent].instance.push('x');
            }
            world.disconnect(agent);
            world.settle();
            world.agents[agent].reload();
            world.connect(agent);
        }
        ("session", [key]) => {
            let key = key.parse().expect("a number");
            world.agents[agent].session = Some(SessionKey(key));
            world.disconnect(agent);
            world.settle();
            world.connect(agent);
        }
        (what, how) => panic!("{what} {how:?}?"),
    }
}
