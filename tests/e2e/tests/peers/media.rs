//! Each library in the browser against each phone that knows no WebRTC, with something between them that makes each hear the other's
//! tone: the table is below, and what each pair goes through above it.

use std::{
    thread,
    time::{Duration, Instant},
};

use hookswitch_e2e::{
    Baresip, Far, Host, Library, PATIENCE_MS, Phone, Pjsua, Rtpengine, World,
    account::{Account, Transport, uri_of},
    configuration::{Nodes, Setup},
    far::Rtp,
};

/// What is between the browser and the phone.
#[derive(Clone, Copy, Debug)]
enum Relay {
    /// A real rtpengine.
    Rtpengine,
    /// hookswitch itself.
    Engine,
}

/// A relay that runs.
enum Between {
    Rtpengine(Rtpengine),
    Engine,
}

/// A browser's page as alice, with a phone in reach.
struct Scene<'w> {
    caller: Caller,
    host: &'w Host,
    between: &'w Between,
    alice: Phone<'w>,
    far: &'w dyn Far,
}

/// Who calls where it does not matter.
#[derive(Clone, Copy)]
enum Caller {
    Browser,
    Phone,
}

/// What each sends.
const ALICE_HZ: u32 = 440;
const FAR_HZ: u32 = 700;
/// Neither of its tones is near those two.
const KEY: char = '9';

const POLL_MS: u64 = 20;

type Scenario = fn(&Scene<'_>);

const SCENARIOS: [(&str, Scenario); 6] = [
    ("the browser hangs up", browser_hangs_up),
    ("the phone calls and hangs up", phone_hangs_up),
    ("the browser holds and resumes", browser_holds_and_resumes),
    ("the phone holds and resumes", phone_holds_and_resumes),
    ("each presses a key", each_presses_a_key),
    ("ICE restarts", ice_restarts),
];

impl Relay {
    fn start(self, name: &str) -> Between {
        match self {
            Self::Rtpengine => Between::Rtpengine(Rtpengine::start(&format!("{name}_rtpengine"))),
            Self::Engine => Between::Engine,
        }
    }
}

impl Between {
    fn setup(&self, rtp: Rtp) -> Setup {
        match self {
            Self::Rtpengine(rtpengine) => Setup::Media(Nodes::Udp(rtpengine.udp), rtp),
            Self::Engine => Setup::Engine(rtp),
        }
    }
}

impl Scene<'_> {
    fn begins(&self) {
        match self.caller {
            Caller::Browser => self.browser_calls_phone(),
            Caller::Phone => self.phone_calls_browser(),
        }
        self.both_hear();
    }

    fn browser_calls_phone(&self) {
        self.alice.call(self.far.address());
        self.far.answers();
        self.alice.talks();
    }

    fn phone_calls_browser(&self) {
        self.far.calls(&uri_of("alice"));
        self.alice.answers();
        self.far.talks();
    }

    fn both_hear(&self) {
        self.alice.hears(FAR_HZ);
        self.far.hears(ALICE_HZ);
    }

    /// After a hold.
    fn both_hear_again(&self) {
        self.alice.hears(FAR_HZ);
        if self.far.records_on() {
            self.far.hears(ALICE_HZ);
        }
    }

    /// Waits until what is between them has a call.
    fn is_busy(&self) {
        match self.between {
            Between::Rtpengine(rtpengine) => rtpengine.is_busy(),
            Between::Engine => self.relays(1),
        }
    }

    /// Waits until it has none.
    fn is_idle(&self) {
        match self.between {
            Between::Rtpengine(rtpengine) => rtpengine.is_idle(),
            Between::Engine => self.relays(0),
        }
    }

    fn relays(&self, calls: u32) {
        let started = Instant::now();
        while self.host.relayed_calls() != calls {
            let waited = started.elapsed();
            assert!(
                waited < Duration::from_millis(PATIENCE_MS),
                "never: {calls} calls"
            );
            thread::sleep(Duration::from_millis(POLL_MS));
        }
    }

    fn browser_hangs_up(&self) {
        self.alice.hangs_up();
        self.far.ended();
        self.is_idle();
    }
}

fn browser_hangs_up(scene: &Scene<'_>) {
    scene.begins();
    scene.is_busy();
    scene.browser_hangs_up();
}

fn phone_hangs_up(scene: &Scene<'_>) {
    scene.phone_calls_browser();
    scene.both_hear();
    scene.far.hangs_up();
    scene.alice.ended("hung up by the other side");
    scene.is_idle();
}

fn browser_holds_and_resumes(scene: &Scene<'_>) {
    scene.begins();
    scene.alice.holds(true);
    scene.far.hears_nothing();
    scene.alice.holds(false);
    scene.both_hear_again();
    scene.browser_hangs_up();
}

/// What the phone plays to who is held is its own affair.
fn phone_holds_and_resumes(scene: &Scene<'_>) {
    scene.begins();
    scene.far.holds(true);
    scene.alice.until("phone.status().call.heldByPeer");
    scene.far.hears_nothing();
    scene.far.holds(false);
    scene.alice.until("!phone.status().call.heldByPeer");
    scene.both_hear_again();
    scene.browser_hangs_up();
}

fn each_presses_a_key(scene: &Scene<'_>) {
    scene.begins();
    scene.alice.presses(KEY);
    scene.far.hears_key(KEY);
    scene.far.presses(KEY);
    scene.alice.hears_key(KEY);
    scene.both_hear();
    scene.browser_hangs_up();
}

fn ice_restarts(scene: &Scene<'_>) {
    scene.begins();
    scene.alice.restarts_ice();
    scene.both_hear_again();
    scene.browser_hangs_up();
}

fn early_media(scene: &Scene<'_>, pjsua: &Pjsua) {
    scene.alice.calls_and_listens(pjsua.address());
    pjsua.rings();
    pjsua.takes_early();
    scene.alice.hears(FAR_HZ);
    pjsua.takes();
    pjsua.talks();
    scene.alice.talks();
    scene.both_hear();
    scene.browser_hangs_up();
}

/// The browser offers in its 200, and the phone answers in its ACK.
fn late_offer(scene: &Scene<'_>, pjsua: &Pjsua) {
    pjsua.calls_without_offer(&uri_of("alice"));
    scene.alice.answers();
    pjsua.talks();
    scene.both_hear();
    scene.browser_hangs_up();
}

/// Starts everything, and gives the scene to `play`.
fn with<F: Far>(
    name: &str,
    caller: Caller,
    (relay, rtp, library): (Relay, Rtp, Library),
    start: impl Fn(&World, Account) -> F,
    play: impl Fn(&Scene<'_>, &F),
) {
    let name = format!("media_{name}_{relay:?}_{rtp:?}_{library:?}");
    let between = relay.start(&name);
    let world = World::start_as(&name, between.setup(rtp));
    let account = Account {
        user: "desk",
        server: world.host.address(Transport::Udp),
        transport: Transport::Udp,
    };
    let far = start(&world, account);
    let scene = Scene {
        caller,
        host: &world.host,
        between: &between,
        alice: world.phone(library, "alice", ALICE_HZ),
        far: &far,
    };
    play(&scene, &far);
}

fn go_through(scene: &Scene<'_>) {
    for (name, scenario) in SCENARIOS {
        println!("── {name}");
        scenario(scene);
    }
}

fn with_baresip(relay: Relay, rtp: Rtp, library: Library) {
    let start =
        |world: &World, account| Baresip::start_with(world.host.folder(), account, FAR_HZ, rtp);
    // Baresip 1.0 hears nothing once it has answered an offer of as many suites as rtpengine makes.
    let caller = match (relay, rtp) {
        (Relay::Rtpengine, Rtp::Sdes) => Caller::Phone,
        (Relay::Rtpengine, Rtp::Plain) | (Relay::Engine, _) => Caller::Browser,
    };
    with(
        "baresip",
        caller,
        (relay, rtp, library),
        start,
        |scene, _| {
            go_through(scene);
        },
    );
}

fn with_pjsua(relay: Relay, rtp: Rtp, library: Library) {
    let start =
        |world: &World, account| Pjsua::start_with(world.host.folder(), account, FAR_HZ, rtp);
    let caller = Caller::Browser;
    with(
        "pjsua",
        caller,
        (relay, rtp, library),
        start,
        |scene, pjsua| {
            go_through(scene);
            println!("── early media");
            early_media(scene, pjsua);
            println!("── late offer");
            late_offer(scene, pjsua);
        },
    );
}

/// A test of each line with each library.
macro_rules! table {
    ($($name:ident: $play:ident, $relay:expr, $rtp:expr;)*) => {
        $(fn $name(library: Library) {
            $play($relay, $rtp, library);
        })*
        with_either_library! { $($name),* }
    };
}

table! {
    baresip_through_the_engine: with_baresip, Relay::Engine, Rtp::Plain;
    pjsua_through_the_engine: with_pjsua, Relay::Engine, Rtp::Plain;
    baresip_with_sdes_through_the_engine: with_baresip, Relay::Engine, Rtp::Sdes;
    pjsua_with_sdes_through_the_engine: with_pjsua, Relay::Engine, Rtp::Sdes;
    baresip_through_rtpengine: with_baresip, Relay::Rtpengine, Rtp::Plain;
    pjsua_through_rtpengine: with_pjsua, Relay::Rtpengine, Rtp::Plain;
    baresip_with_sdes_through_rtpengine: with_baresip, Relay::Rtpengine, Rtp::Sdes;
    pjsua_with_sdes_through_rtpengine: with_pjsua, Relay::Rtpengine, Rtp::Sdes;
}
