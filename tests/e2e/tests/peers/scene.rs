//! A browser and a phone that knows no WebRTC, with something between them that makes each hear the other's tone.

use std::{
    thread,
    time::{Duration, Instant},
};

use hookswitch_e2e::{
    Far, Host, Library, PATIENCE_MS, Phone, Rtpengine, World,
    account::uri_of,
    configuration::{Nodes, Setup},
    far::Rtp,
    phone::Media,
};

/// What is between the browser and the phone.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Relay {
    /// A real rtpengine.
    Rtpengine,
    /// hookswitch itself.
    Engine,
}

/// A relay that runs.
pub(crate) enum Between {
    Rtpengine(Rtpengine),
    Engine,
}

/// A phone that waits for somebody.
pub(crate) struct Stage<'w> {
    pub(crate) world: &'w World,
    pub(crate) library: Library,
    pub(crate) caller: Caller,
    pub(crate) between: &'w Between,
    pub(crate) far: &'w dyn Far,
}

/// A browser's page, with a phone in reach.
pub(crate) struct Scene<'w> {
    pub(crate) caller: Caller,
    pub(crate) host: &'w Host,
    /// Whose page it is.
    pub(crate) user: &'static str,
    pub(crate) between: &'w Between,
    pub(crate) alice: Phone<'w>,
    pub(crate) far: &'w dyn Far,
}

/// Who calls where it does not matter.
#[derive(Clone, Copy)]
pub(crate) enum Caller {
    Browser,
    Phone,
}

/// What each sends.
pub(crate) const ALICE_HZ: u32 = 440;
pub(crate) const FAR_HZ: u32 = 700;
/// Neither of its tones is near those two.
pub(crate) const KEY: char = '9';

const POLL_MS: u64 = 20;
/// A second and a half, and more than half of it recorded: phones write in blocks.
const STRETCH_MS: usize = 1_500;

impl Relay {
    pub(crate) fn start(self, name: &str) -> Between {
        match self {
            Self::Rtpengine => Between::Rtpengine(Rtpengine::start(&format!("{name}_rtpengine"))),
            Self::Engine => Between::Engine,
        }
    }
}

impl Between {
    pub(crate) fn setup(&self, rtp: Rtp) -> Setup {
        match self {
            Self::Rtpengine(rtpengine) => Setup::Media(Nodes::Udp(rtpengine.udp), rtp),
            Self::Engine => Setup::Engine(rtp),
        }
    }
}

impl Stage<'_> {
    /// With this user's page.
    pub(crate) fn scene(&self, user: &'static str, media: Media) -> Scene<'_> {
        Scene {
            caller: self.caller,
            host: &self.world.host,
            user,
            between: self.between,
            alice: self.world.phone_with(self.library, user, ALICE_HZ, media),
            far: self.far,
        }
    }
}

impl Scene<'_> {
    pub(crate) fn begins(&self) {
        match self.caller {
            Caller::Browser => self.browser_calls_phone(),
            Caller::Phone => self.phone_calls_browser(),
        }
        self.both_hear();
    }

    pub(crate) fn browser_calls_phone(&self) {
        self.alice.call(self.far.address());
        self.far.answers();
        self.alice.talks();
    }

    pub(crate) fn phone_calls_browser(&self) {
        self.far.calls(&uri_of(self.user));
        self.alice.answers();
        self.far.talks();
    }

    pub(crate) fn both_hear(&self) {
        self.alice.hears(FAR_HZ);
        self.far.hears(ALICE_HZ);
    }

    /// Waits for a stretch without a gap that one hears, at both ends at the same time; a packet lost on the way to the browser fails at
    /// once, one lost on the way to the phone is a gap if more are lost with it.
    pub(crate) fn no_gap(&self) {
        let started = Instant::now();
        loop {
            let already = self.far.recorded_bytes();
            let whole = self.alice.hears_all(STRETCH_MS);
            let recorded = self.far.heard_all(already, STRETCH_MS / 2, ALICE_HZ);
            if whole && (recorded || !self.far.records_on()) {
                return;
            }
            let waited = started.elapsed();
            assert!(
                waited < Duration::from_millis(PATIENCE_MS),
                "never: {STRETCH_MS} ms without a gap; browser: {whole}, phone: {recorded}"
            );
        }
    }

    /// After a hold.
    pub(crate) fn both_hear_again(&self) {
        self.alice.hears(FAR_HZ);
        if self.far.records_on() {
            self.far.hears(ALICE_HZ);
        }
    }

    /// Waits until what is between them has a call.
    pub(crate) fn is_busy(&self) {
        match self.between {
            Between::Rtpengine(rtpengine) => rtpengine.is_busy(),
            Between::Engine => self.relays(1),
        }
    }

    /// Waits until it has none.
    pub(crate) fn is_idle(&self) {
        match self.between {
            Between::Rtpengine(rtpengine) => rtpengine.is_idle(),
            Between::Engine => self.relays(0),
        }
    }

    pub(crate) fn relays(&self, calls: u32) {
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

    pub(crate) fn browser_hangs_up(&self) {
        self.alice.hangs_up();
        self.far.ended();
        self.is_idle();
    }
}
