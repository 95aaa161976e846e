//! Each library in the browser against each phone that knows no WebRTC, with something between them that makes each hear the other's
//! tone: the table is below, and what each pair goes through above it.

use hookswitch_e2e::{
    Baresip, Far, Library, Phone, Rtpengine, World,
    account::{Account, Transport, uri_of},
    configuration::{Nodes, Setup},
};

/// What is between the browser and the phone.
#[derive(Clone, Copy, Debug)]
enum Relay {
    /// A real rtpengine.
    Rtpengine,
}

/// A relay that runs.
enum Between {
    Rtpengine(Rtpengine),
}

/// A browser's page as alice, with a phone in reach.
struct Scene<'w> {
    between: &'w Between,
    alice: Phone<'w>,
    far: &'w dyn Far,
}

/// What each sends.
const ALICE_HZ: u32 = 440;
const FAR_HZ: u32 = 700;

type Scenario = fn(&Scene<'_>);

const SCENARIOS: [(&str, Scenario); 2] = [
    ("the browser calls", browser_calls),
    ("the phone calls", phone_calls),
];

impl Relay {
    fn start(self, name: &str) -> Between {
        match self {
            Self::Rtpengine => Between::Rtpengine(Rtpengine::start(&format!("{name}_rtpengine"))),
        }
    }
}

impl Between {
    fn setup(&self) -> Setup {
        match self {
            Self::Rtpengine(rtpengine) => Setup::Media(Nodes::Udp(rtpengine.udp)),
        }
    }

    /// Waits until it has a call.
    fn is_busy(&self) {
        match self {
            Self::Rtpengine(rtpengine) => rtpengine.is_busy(),
        }
    }

    /// Waits until it has none.
    fn is_idle(&self) {
        match self {
            Self::Rtpengine(rtpengine) => rtpengine.is_idle(),
        }
    }
}

impl Scene<'_> {
    fn browser_calls_phone(&self) {
        self.alice.call(self.far.address());
        self.far.answers();
        self.alice.talks();
    }

    fn both_hear(&self) {
        self.alice.hears(FAR_HZ);
        self.far.hears(ALICE_HZ);
    }

    fn browser_hangs_up(&self) {
        self.alice.hangs_up();
        self.far.ended();
        self.between.is_idle();
    }
}

fn browser_calls(scene: &Scene<'_>) {
    scene.browser_calls_phone();
    scene.both_hear();
    scene.between.is_busy();
    scene.browser_hangs_up();
}

fn phone_calls(scene: &Scene<'_>) {
    scene.far.calls(&uri_of("alice"));
    scene.alice.answers();
    scene.far.talks();
    scene.both_hear();
    scene.far.hangs_up();
    scene.alice.ended("hung up by the other side");
    scene.between.is_idle();
}

/// Starts everything, and gives the scene to `play`.
fn with<F: Far>(
    name: &str,
    (relay, library): (Relay, Library),
    start: impl Fn(&World, Account) -> F,
    play: impl Fn(&Scene<'_>),
) {
    let name = format!("media_{name}_{relay:?}_{library:?}");
    let between = relay.start(&name);
    let world = World::start_as(&name, between.setup());
    let account = Account {
        user: "desk",
        server: world.host.address(Transport::Udp),
        transport: Transport::Udp,
    };
    let far = start(&world, account);
    let scene = Scene {
        between: &between,
        alice: world.phone(library, "alice", ALICE_HZ),
        far: &far,
    };
    play(&scene);
}

fn go_through(scene: &Scene<'_>) {
    for (name, scenario) in SCENARIOS {
        println!("── {name}");
        scenario(scene);
    }
}

fn with_baresip(relay: Relay, library: Library) {
    let start = |world: &World, account| Baresip::start_plain(world.host.folder(), account, FAR_HZ);
    with("baresip", (relay, library), start, go_through);
}

/// A test of each line with each library.
macro_rules! table {
    ($($name:ident: $play:ident, $relay:expr;)*) => {
        $(fn $name(library: Library) {
            $play($relay, library);
        })*
        with_either_library! { $($name),* }
    };
}

table! {
    baresip_through_rtpengine: with_baresip, Relay::Rtpengine;
}
