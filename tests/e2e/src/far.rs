//! The phone at the other end, whatever it is made of: what a scenario asks of it.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    PATIENCE_MS,
    sound::{self, Heard},
};

const POLL_MS: u64 = 50;
/// A pause that is no pause of the network's.
const QUIET_MS: u64 = 500;

/// Of sound.
pub const GAP_MS_MAX: usize = 100;

/// How a phone that knows no WebRTC carries its media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rtp {
    /// In the clear.
    Plain,
    /// SRTP with keys in the session description (RFC 4568), and nothing else.
    Sdes,
}

/// One account, one call at a time. Whatever does not come within [`crate::PATIENCE_MS`] fails the test.
pub trait Far {
    /// What a browser calls to reach it.
    fn address(&self) -> &str;

    /// Calls a URI.
    fn calls(&self, uri: &str);

    /// Waits for a call and leaves it ringing.
    fn rings(&self);

    /// Waits until the other side rings.
    fn hears_ringing(&self);

    /// Takes the call that rings.
    fn takes(&self);

    /// Waits until there is a call.
    fn talks(&self);

    /// Refuses with 486, cancels or hangs up, as the call's state asks for.
    fn hangs_up(&self);

    /// Waits until there is no call.
    fn ended(&self);

    /// Puts the call on hold, or takes it back.
    fn holds(&self, on: bool);

    /// Presses a key of the keypad.
    fn presses(&self, key: char);

    /// Waits until the other side presses this key.
    fn hears_key(&self, key: char);

    /// Asks the other side to call this URI instead (RFC 3515).
    fn transfers(&self, uri: &str);

    /// Sends a MESSAGE to Alice.
    fn sends(&self, text: &str);

    /// Waits for a MESSAGE.
    fn receives(&self, text: &str);

    /// The file that it writes what it hears to, once there is one.
    fn recording(&self) -> Option<PathBuf>;

    /// Whether it still writes down what it hears when the session was changed.
    fn records_on(&self) -> bool {
        true
    }

    /// Waits until it hears this tone, in what comes from now on.
    fn hears(&self, hz: u32) {
        let already = self.recorded_bytes();
        until(&format!("{} hears {hz} Hz", self.address()), || {
            self.recording()
                .is_some_and(|file| sound::heard(&file, already, hz) == Heard::Tone)
        });
    }

    /// Whether what was recorded since its first `already` bytes is `ms` or more of this tone, without a gap that one hears.
    fn heard_all(&self, already: usize, ms: usize, hz: u32) -> bool {
        self.recording().is_some_and(|file| {
            let (recorded, gap) = sound::longest_gap(&file, already, hz);
            recorded >= ms && gap <= GAP_MS_MAX
        })
    }

    /// Waits until nothing comes for a while, or silence.
    fn hears_nothing(&self) {
        until(&format!("{} hears nothing", self.address()), || {
            let already = self.recorded_bytes();
            std::thread::sleep(Duration::from_millis(QUIET_MS));
            self.recorded_bytes() == already
                || self
                    .recording()
                    .is_some_and(|file| sound::heard(&file, already, 0) == Heard::Silence)
        });
    }

    /// Of its recording.
    fn recorded_bytes(&self) -> usize {
        let length = self.recording().and_then(|file| fs::metadata(file).ok());
        length.map_or(0, |file| usize::try_from(file.len()).expect("a short file"))
    }

    /// Waits for a call and takes it.
    fn answers(&self) {
        self.rings();
        self.takes();
        self.talks();
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(
            started.elapsed() < Duration::from_millis(PATIENCE_MS),
            "never: {what}"
        );
        std::thread::sleep(Duration::from_millis(POLL_MS));
    }
}
