//! Keys that an end presses in signalling: told to the other end in its stream, if it has agreed on events.

use std::{net::SocketAddr, str, time::Instant};

use super::{Call, End, Side, translate::find};
use crate::{
    Press,
    relay::{EventPayload, Key},
    sdp::Section,
    sockets::SocketId,
};

/// How long a key is down of which that is not said.
const PRESSED_MS: u64 = 160;

/// `Signal=5` and `Duration=160` on lines of their own, or the key alone.
fn read(body: &[u8]) -> Option<Key> {
    let text = str::from_utf8(body).ok()?;
    let field = |name: &str| {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let named = { pairs }.find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim())
    };
    let pressed_ms = field("Duration").and_then(|text| text.parse().ok());
    let signal = field("Signal").unwrap_or(text.trim());
    let mut names = signal.chars();
    match (names.next(), names.next()) {
        (Some(name), None) => Key::named(name, pressed_ms.unwrap_or(PRESSED_MS)),
        (_, _) => numbered(signal, pressed_ms.unwrap_or(PRESSED_MS)),
    }
}

/// Some write 10 and 11 for `*` and `#`.
fn numbered(signal: &str, pressed_ms: u64) -> Option<Key> {
    let names = "0123456789*#ABCD";
    let name = names.chars().nth(signal.parse().ok()?)?;
    Key::named(name, pressed_ms)
}

impl Call {
    /// Gives whether the other end is told in its media.
    pub(crate) fn press(&mut self, now: Instant, press: &Press) -> bool {
        let speaker = Side::speaks(press.direction);
        let joined = self
            .joined
            .filter(|index| self.position(&press.branch) == Some(*index));
        let ends = joined.and_then(|index| self.ends(index, speaker));
        let (Some((_, to)), Some(key)) = (ends, read(&press.body)) else {
            return false;
        };
        let events = to.events();
        events.is_some_and(|(section, events)| to.leg.press(now, section, key, events))
    }

    /// When something is to be said of a key.
    pub(super) fn events_due(&self) -> Option<Instant> {
        let callees = self
            .branches
            .iter()
            .filter_map(|branch| branch.end.as_ref());
        let ends = std::iter::once(&self.caller).chain(callees);
        ends.filter_map(|end| end.leg.event_due()).min()
    }

    /// Says what is due of keys.
    pub(crate) fn events(
        &mut self,
        now: Instant,
        send: &mut dyn FnMut(SocketId, SocketAddr, &[u8]),
    ) {
        let callees = self
            .branches
            .iter_mut()
            .filter_map(|branch| branch.end.as_mut());
        for end in std::iter::once(&mut self.caller).chain(callees) {
            end.leg.send_events(now, send);
        }
    }
}

impl End {
    /// The section that it hears events in, and how.
    fn events(&self) -> Option<(usize, EventPayload)> {
        let (said, told) = (self.party.said.as_ref()?, self.party.told.as_ref()?);
        let sections = said.sections.iter().zip(&told.sections).enumerate();
        { sections }.find_map(|(index, (said, told))| {
            let hears = !said.is_refused() && !told.is_refused() && said.direction.has_recv();
            let payload = hears.then(|| events_of(said, told))??;
            Some((index, payload))
        })
    }
}

/// With the clock of the sound, if there is one (RFC 4733 §2.1).
fn events_of(said: &Section, told: &Section) -> Option<EventPayload> {
    let agreed = said
        .codecs
        .iter()
        .filter(|codec| find(&told.codecs, codec).is_some());
    let sound = agreed.clone().find(|codec| !codec.is_auxiliary())?;
    let events = || {
        agreed
            .clone()
            .filter(|codec| codec.name.eq_ignore_ascii_case("telephone-event"))
    };
    let same = events().find(|codec| codec.clock_hz == sound.clock_hz);
    let codec = same.or_else(|| events().next())?;
    Some(EventPayload {
        payload_type: codec.payload_type,
        clock_hz: codec.clock_hz,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_either_kind_are_read() {
        for (body, expected) in [
            ("Signal=5\r\nDuration=160\r\n", Key::named('5', 160)),
            ("Signal= #\nDuration= 250\n", Key::named('#', 250)),
            ("duration=100\r\nsignal=a\r\n", Key::named('A', 100)),
            ("Signal=11\r\n", Key::named('#', 160)),
            ("7\r\n", Key::named('7', 160)),
            ("*", Key::named('*', 160)),
            ("Signal=\r\n", None),
            ("Signal=x\r\n", None),
            ("", None),
            ("99999999999999999999999", None),
            ("Duration=5", None),
        ] {
            assert_eq!(read(body.as_bytes()), expected, "{body:?}");
        }
        assert_eq!(read(&[0xff, 0xfe]), None);
    }
}
