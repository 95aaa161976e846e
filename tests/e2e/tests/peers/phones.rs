//! Each library in the browser against each kind of phone, by each way that there is between them: the table is below, and what each
//! pair goes through above it.

use hookswitch_e2e::{
    Baresip, Far, Kamailio, Library, Phone, Pjsua, World,
    account::{Account, Transport, uri_of},
    configuration::{Announce, Setup},
    kamailio::Place,
    phone::Media,
};

/// A browser's page as alice, with a phone in reach.
struct Scene<'w> {
    world: &'w World,
    library: Library,
    media: Media,
    alice: Phone<'w>,
    far: Box<dyn Far>,
}

type Scenario = fn(&Scene<'_>);

const SCENARIOS: [(&str, Scenario); 13] = [
    ("the browser calls and hangs up", browser_calls_and_hangs_up),
    (
        "the browser calls, the phone hangs up",
        browser_calls_phone_hangs_up,
    ),
    ("the phone calls and hangs up", phone_calls_and_hangs_up),
    (
        "the phone calls, the browser hangs up",
        phone_calls_browser_hangs_up,
    ),
    ("the browser cancels", browser_cancels),
    ("the phone cancels", phone_cancels),
    ("the phone is busy", phone_is_busy),
    ("the browser refuses", browser_refuses),
    ("each holds and resumes", each_holds_and_resumes),
    ("messages", messages),
    ("the browser transfers the phone", browser_transfers),
    ("the phone transfers the browser", phone_transfers),
    ("the page is loaded again", page_is_loaded_again),
];

fn browser_calls_and_hangs_up(Scene { alice, far, .. }: &Scene<'_>) {
    alice.call(far.address());
    far.answers();
    alice.talks();
    alice.hangs_up();
    alice.ended("hung up here");
    far.ended();
}

fn browser_calls_phone_hangs_up(Scene { alice, far, .. }: &Scene<'_>) {
    alice.call(far.address());
    far.answers();
    alice.talks();
    far.hangs_up();
    alice.ended("hung up by the other side");
    far.ended();
}

fn phone_calls_and_hangs_up(Scene { alice, far, .. }: &Scene<'_>) {
    far.calls(&uri_of("alice"));
    alice.answers();
    far.talks();
    far.hangs_up();
    alice.ended("hung up by the other side");
    far.ended();
}

fn phone_calls_browser_hangs_up(Scene { alice, far, .. }: &Scene<'_>) {
    far.calls(&uri_of("alice"));
    alice.answers();
    far.talks();
    alice.hangs_up();
    alice.ended("hung up here");
    far.ended();
}

fn browser_cancels(Scene { alice, far, .. }: &Scene<'_>) {
    alice.call(far.address());
    far.rings();
    alice.hears_ringing();
    alice.hangs_up();
    alice.ended_cancelled();
    far.ended();
}

fn phone_cancels(Scene { alice, far, .. }: &Scene<'_>) {
    far.calls(&uri_of("alice"));
    alice.rings();
    far.hears_ringing();
    far.hangs_up();
    alice.ended("cancelled by the other side");
    far.ended();
}

fn phone_is_busy(Scene { alice, far, .. }: &Scene<'_>) {
    alice.call(far.address());
    far.rings();
    far.hangs_up();
    alice.ended("486");
    far.ended();
}

fn browser_refuses(Scene { alice, far, .. }: &Scene<'_>) {
    far.calls(&uri_of("alice"));
    alice.rings();
    alice.hangs_up();
    far.ended();
}

fn each_holds_and_resumes(Scene { alice, far, .. }: &Scene<'_>) {
    alice.call(far.address());
    far.answers();
    alice.talks();
    alice.holds(true);
    alice.holds(false);
    far.holds(true);
    alice.until("phone.status().call.heldByPeer");
    far.holds(false);
    alice.until("!phone.status().call.heldByPeer");
    alice.hangs_up();
    far.ended();
}

fn messages(Scene { alice, far, .. }: &Scene<'_>) {
    alice.sends(far.address(), "from the browser");
    far.receives("from the browser");
    far.sends("from the phone");
    alice.receives("from the phone");
}

fn browser_transfers(scene: &Scene<'_>) {
    let Scene { alice, far, .. } = scene;
    let carol = scene
        .world
        .phone_with(scene.library, "carol", 900, scene.media);
    alice.call(far.address());
    far.answers();
    alice.talks();
    alice.transfers("carol");
    carol.answers();
    alice.ended("hung up");
    carol.hangs_up();
    carol.ended("hung up here");
    far.ended();
}

fn phone_transfers(scene: &Scene<'_>) {
    let Scene { alice, far, .. } = scene;
    let carol = scene
        .world
        .phone_with(scene.library, "carol", 900, scene.media);
    alice.call(far.address());
    far.answers();
    alice.talks();
    far.transfers(&uri_of("carol"));
    carol.answers();
    alice.talks();
    // baresip and pjsua2 do when they hear of the success; not every library tells it to them.
    far.hangs_up();
    far.ended();
    carol.hangs_up();
    alice.ended("hung up by the other side");
}

/// Its dialog is gone in the page, so the page says 481, and it is the page of now that says it.
fn page_is_loaded_again(Scene { alice, far, .. }: &Scene<'_>) {
    alice.call(far.address());
    far.answers();
    alice.talks();
    alice.reloads();
    far.hangs_up();
    alice.until("phone.log().some(({ text }) => text.startsWith('BYE '))");
    far.ended();
}

/// Neither the phone nor the PBX notices; the browser connects again.
fn hookswitch_crashes(
    Scene {
        world, alice, far, ..
    }: &Scene<'_>,
) {
    let crash = || {
        world.host.crashes_and_starts_again();
        world.host.until_reachable("alice");
    };
    alice.call(far.address());
    far.answers();
    alice.talks();
    crash();
    alice.hangs_up();
    far.ended();
    alice.call(far.address());
    far.answers();
    alice.talks();
    crash();
    far.hangs_up();
    alice.ended("hung up by the other side");
    far.ended();
}

/// What the browser's calls meet.
#[derive(Clone, Copy)]
enum Peer {
    /// Registered at hookswitch.
    Baresip(Transport),
    /// Registered at hookswitch; without WebRTC.
    Pjsua(Transport),
    /// With baresip registered at it, and this between it and hookswitch.
    Kamailio(Registrar, Transport),
}

/// Where the browser is registered.
#[derive(Clone, Copy)]
enum Registrar {
    Hookswitch,
    Kamailio(Announce),
}

impl Peer {
    fn media(self) -> Media {
        match self {
            Self::Baresip(_) | Self::Kamailio(..) => Media::WebRtc,
            Self::Pjsua(_) => Media::PlainRtp,
        }
    }

    /// Nobody reaches a phone whose connection went down with hookswitch until it registers again, when half of its time is over.
    fn outlives_connections(self) -> bool {
        match self {
            Self::Baresip(transport) | Self::Pjsua(transport) => transport == Transport::Udp,
            Self::Kamailio(..) => true,
        }
    }
}

fn go_through(name: &str, library: Library, peer: Peer) {
    let name = format!("{name}_{library:?}");
    let bob = |transport, server| Account {
        user: "bob",
        server,
        transport,
    };
    match peer {
        Peer::Baresip(transport) | Peer::Pjsua(transport) => {
            let world = World::start_as(&name, Setup::Registrar);
            let account = bob(transport, world.host.address(transport));
            let far: Box<dyn Far> = match peer.media() {
                Media::WebRtc | Media::OpusAlone => {
                    Box::new(Baresip::start(world.host.folder(), account, 700))
                }
                Media::PlainRtp => Box::new(Pjsua::start(world.host.folder(), account, 700)),
            };
            run(&world, library, peer, far);
        }
        Peer::Kamailio(registrar, transport) => {
            let place = Place::free();
            let setup = match registrar {
                Registrar::Hookswitch => Setup::Beside(place.upstream(transport)),
                Registrar::Kamailio(announce) => Setup::Relay(announce, place.upstream(transport)),
            };
            let world = World::start_as(&name, setup);
            let _kamailio = Kamailio::start(&world.host, place, setup);
            let account = bob(Transport::Udp, place.address(Transport::Udp));
            let far = Baresip::start(world.host.folder(), account, 700);
            run(&world, library, peer, Box::new(far));
        }
    }
}

fn run(world: &World, library: Library, peer: Peer, far: Box<dyn Far>) {
    let media = peer.media();
    let alice = world.phone_with(library, "alice", 440, media);
    let scene = Scene {
        world,
        library,
        media,
        alice,
        far,
    };
    for (name, scenario) in SCENARIOS {
        println!("── {name}");
        scenario(&scene);
    }
    if peer.outlives_connections() {
        println!("── hookswitch crashes");
        hookswitch_crashes(&scene);
    }
}

/// A test of each line with each library.
macro_rules! table {
    ($($name:ident: $peer:expr;)*) => {
        $(fn $name(library: Library) {
            go_through(stringify!($name), library, $peer);
        })*
        with_either_library! { $($name),* }
    };
}

table! {
    baresip_over_udp: Peer::Baresip(Transport::Udp);
    baresip_over_tcp: Peer::Baresip(Transport::Tcp);
    baresip_over_tls: Peer::Baresip(Transport::Tls);
    pjsua_over_udp: Peer::Pjsua(Transport::Udp);
    kamailio_is_the_registrar_by_path: Peer::Kamailio(Registrar::Kamailio(Announce::Path), Transport::Tcp);
    kamailio_is_the_registrar_by_contact: Peer::Kamailio(Registrar::Kamailio(Announce::Contact), Transport::Udp);
    kamailio_beside_our_registrar: Peer::Kamailio(Registrar::Hookswitch, Transport::Tls);
}
