//! Each library in the browser against each phone that knows no WebRTC, with something between them that makes each hear the other's
//! tone: the table is below, and what each pair goes through above it.

use hookswitch_e2e::{
    Baresip, Far, Library, Pjsua, World,
    account::{Account, Transport, uri_of},
    far::Rtp,
    phone::Media,
};

use crate::scene::{Caller, FAR_HZ, KEY, Relay, Scene, Stage};

type Scenario = fn(&Scene<'_>);

const SCENARIOS: [(&str, Scenario); 6] = [
    ("the browser hangs up", browser_hangs_up),
    ("the phone calls and hangs up", phone_hangs_up),
    ("the browser holds and resumes", browser_holds_and_resumes),
    ("the phone holds and resumes", phone_holds_and_resumes),
    ("each presses a key", each_presses_a_key),
    ("ICE restarts", ice_restarts),
];

fn browser_hangs_up(scene: &Scene<'_>) {
    scene.begins();
    scene.is_busy();
    scene.no_gap();
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
    scene.no_gap();
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

/// The browser knows Opus, and the phone G.711: what is between them transcodes.
fn no_codec_is_shared(scene: &Scene<'_>) {
    browser_hangs_up(scene);
    phone_hangs_up(scene);
}

/// Starts everything, and gives the stage to `play`.
fn with<F: Far>(
    name: &str,
    caller: Caller,
    (relay, rtp, library): (Relay, Rtp, Library),
    start: impl Fn(&World, Account) -> F,
    play: impl Fn(&Stage<'_>, &F),
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
    let stage = Stage {
        world: &world,
        library,
        caller,
        between: &between,
        far: &far,
    };
    play(&stage, &far);
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
        |stage, _| {
            go_through(&stage.scene("alice", Media::WebRtc));
            println!("── no codec is shared");
            no_codec_is_shared(&stage.scene("carol", Media::OpusAlone));
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
        |stage, pjsua| {
            let scene = stage.scene("alice", Media::WebRtc);
            go_through(&scene);
            println!("── early media");
            early_media(&scene, pjsua);
            println!("── late offer");
            late_offer(&scene, pjsua);
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
