//! Keys that are pressed in signalling, as events of RFC 4733 in the stream that goes to the hearer: one source, one sequence with its sound.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{Forward, RTP_BYTES, Stream, reception};
use crate::{packet::Packet, rtp};

/// That wait for those before them.
const KEYS_MAX: usize = 32;
/// How often the hearer is told that a key is still down.
const UPDATE: Duration = Duration::from_millis(20);
/// After a key, before the next one.
const PAUSE: Duration = Duration::from_millis(60);
/// RFC 4733 §2.5.1.4: the end is said so often.
const ENDS: u8 = 3;
/// Not the loudest (RFC 4733 §2.3.4), in -dBm0.
const VOLUME: u8 = 10;
const PRESSED_MS_MIN: u64 = 40;
const PRESSED_MS_MAX: u64 = 5_000;

/// A key of a telephone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// RFC 4733 §3.2: 0 to 9, then `*`, `#`, A to D.
    pub event: u8,
    /// How long it is down.
    pub pressed: Duration,
}

impl Key {
    /// By its name on the key, down for so many milliseconds, within reason. `None` if there is no such key.
    #[must_use]
    pub fn named(name: char, pressed_ms: u64) -> Option<Key> {
        let names = "0123456789*#ABCD".chars().zip(0..);
        let (_, event) = { names }.find(|(known, _)| *known == name.to_ascii_uppercase())?;
        let pressed_ms = pressed_ms.clamp(PRESSED_MS_MIN, PRESSED_MS_MAX);
        Some(Key {
            event,
            pressed: Duration::from_millis(pressed_ms),
        })
    }
}

/// How the hearer knows events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPayload {
    /// Its number.
    pub payload_type: u8,
    /// The unit of timestamps and durations, that of the sound.
    pub clock_hz: u32,
}

#[derive(Debug, Default)]
pub(super) struct Keys {
    waiting: VecDeque<(Key, EventPayload)>,
    down: Option<Down>,
    due: Option<Instant>,
}

/// The one that is down.
#[derive(Debug)]
struct Down {
    key: Key,
    payload: EventPayload,
    since: Instant,
    timestamp: u32,
    said: Said,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Begin,
    End(u8),
}

impl Keys {
    pub(super) fn is_down(&self) -> bool {
        self.down.is_some()
    }
}

impl Stream {
    /// A key for the hearer. Gives whether there was room.
    pub fn press(&mut self, now: Instant, key: Key, payload: EventPayload) -> bool {
        let has_room = self.keys.waiting.len() < KEYS_MAX;
        if has_room {
            self.keys.waiting.push_back((key, payload));
            self.keys.due.get_or_insert(now);
        }
        has_room
    }

    /// When [`Stream::event`] has something.
    #[must_use]
    pub fn event_due(&self) -> Option<Instant> {
        self.keys.due
    }

    /// What is to be said of a key, in the place of `packet`, if that is due.
    pub fn event(&mut self, now: Instant, packet: &mut Packet) -> Forward {
        if self.keys.due.is_none_or(|due| due > now) {
            return Forward::Drop;
        }
        let Some(mut down) = self.keys.down.take().or_else(|| self.next_key(now)) else {
            self.keys.due = None;
            return Forward::Drop;
        };
        let lasted = now.duration_since(down.since) + UPDATE;
        let is_first = down.said == Said::Nothing;
        down.said = match down.said {
            Said::End(said) => Said::End(said + 1),
            Said::Nothing | Said::Begin if lasted >= down.key.pressed => Said::End(1),
            Said::Nothing | Said::Begin => Said::Begin,
        };
        let lasted = reception::units(lasted.min(down.key.pressed), down.payload.clock_hz);
        let written = self.say(now, &down, is_first, lasted, packet);
        if down.said == Said::End(ENDS) {
            let more = !self.keys.waiting.is_empty();
            self.keys.due = more.then(|| now + PAUSE);
        } else {
            self.keys.down = Some(down);
            self.keys.due = Some(now + UPDATE);
        }
        written
    }

    fn next_key(&mut self, now: Instant) -> Option<Down> {
        let (key, payload) = self.keys.waiting.pop_front()?;
        let silence = self.next.sent.map(|sent| now.duration_since(sent));
        let silence = silence.map_or(0, |silence| reception::units(silence, payload.clock_hz));
        Some(Down {
            key,
            payload,
            since: now,
            timestamp: self.next.timestamp.wrapping_add(silence),
            said: Said::Nothing,
        })
    }

    /// RFC 4733 §2.3. All that is said of one key has the timestamp of its beginning.
    fn say(
        &mut self,
        now: Instant,
        down: &Down,
        is_first: bool,
        lasted: u32,
        packet: &mut Packet,
    ) -> Forward {
        let end = match down.said {
            Said::End(_) => 0x80,
            Said::Nothing | Said::Begin => 0,
        };
        let [high, low] = u16::try_from(lasted).unwrap_or(u16::MAX).to_be_bytes();
        let mut bytes = [0; RTP_BYTES + 4];
        bytes[0] = 0x80;
        bytes[RTP_BYTES..].copy_from_slice(&[down.key.event, end | VOLUME, high, low]);
        let header = rtp::Header {
            payload_type: down.payload.payload_type,
            marker: is_first,
            sequence: self.next.sequence,
            timestamp: down.timestamp,
            ssrc: self.ssrc,
            payload: RTP_BYTES..RTP_BYTES + 4,
        };
        header.write(&mut bytes);
        if packet.replace(&bytes).is_none() {
            return Forward::Drop;
        }
        self.sent(now, &header, packet.len());
        // Sound goes on behind it.
        self.next.timestamp = down.timestamp.wrapping_add(lasted);
        if let Some(source) = &mut self.source {
            source.sequence = source.sequence.wrapping_add(1);
        }
        Forward::Send
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Payload, StreamIds};
    use super::*;

    const EVENTS: EventPayload = EventPayload {
        payload_type: 101,
        clock_hz: 8000,
    };

    /// Sequence, timestamp, marker, and the payload.
    type Said = (u16, u32, bool, Vec<u8>);

    fn said(packet: &Packet) -> Said {
        let header = rtp::Header::parse(packet.bytes()).unwrap();
        let payload = packet.bytes()[header.payload.clone()].to_vec();
        (header.sequence, header.timestamp, header.marker, payload)
    }

    fn events(stream: &mut Stream, now: &mut Instant) -> Vec<Said> {
        let mut events = Vec::new();
        while let Some(due) = stream.event_due() {
            *now = due.max(*now);
            let mut buffer = [0; 64];
            let mut packet = Packet::new(&mut buffer, 0);
            if stream.event(*now, &mut packet) == Forward::Send {
                events.push(said(&packet));
            }
        }
        events
    }

    fn sound(stream: &mut Stream, now: Instant, sequence: u16) -> Option<Said> {
        let mut bytes = vec![0x80, 8];
        bytes.extend(sequence.to_be_bytes());
        bytes.extend((u32::from(sequence) * 160).to_be_bytes());
        bytes.extend([0, 0, 0, 9, 0xd5]);
        let len = bytes.len();
        let mut packet = Packet::new(&mut bytes, len);
        (stream.forward(now, &mut packet) == Forward::Send).then(|| said(&packet))
    }

    #[test]
    fn keys_are_told_in_the_sequence_of_the_sound_that_goes_on_behind_them() {
        let mut now = Instant::now();
        let mut stream = Stream::new(StreamIds {
            ssrc: 5,
            sequence: 100,
            timestamp: 1000,
        });
        let (from, to, clock_hz) = (8, 8, 8000);
        stream.set_payloads(&[Payload { from, to, clock_hz }]);
        let (sequence, timestamp, ..) = sound(&mut stream, now, 1).unwrap();
        assert_eq!((sequence, timestamp), (100, 1000));
        for key in ['5', '#'] {
            assert!(stream.press(now, Key::named(key, 60).unwrap(), EVENTS));
        }
        now += Duration::from_millis(20);
        let told = events(&mut stream, &mut now);
        let first = 1000 + 160;
        let expected = [
            (101, first, true, vec![5, 10, 0, 160]),
            (102, first, false, vec![5, 10, 1, 64]),
            (103, first, false, vec![5, 0x8a, 1, 224]),
            (104, first, false, vec![5, 0x8a, 1, 224]),
            (105, first, false, vec![5, 0x8a, 1, 224]),
        ];
        assert_eq!(told[..5], expected);
        assert_eq!(told.len(), 10);
        // It begins after the first one has ended.
        let (sequence, second, marker, payload) = &told[5];
        assert_eq!(
            (*sequence, *marker, &payload[..]),
            (106, true, &[11, 10, 0, 160][..])
        );
        assert!(second.wrapping_sub(first) >= 480);
        // What was lost meanwhile is no loss of ours.
        let (sequence, ..) = sound(&mut stream, now, 2).unwrap();
        assert_eq!(sequence, 111);
    }

    #[test]
    fn sound_is_silent_while_a_key_is_down() {
        let now = Instant::now();
        let mut stream = Stream::new(StreamIds {
            ssrc: 5,
            sequence: 100,
            timestamp: 1000,
        });
        let (from, to, clock_hz) = (8, 8, 8000);
        stream.set_payloads(&[Payload { from, to, clock_hz }]);
        assert!(sound(&mut stream, now, 1).is_some());
        stream.press(now, Key::named('a', 1).unwrap(), EVENTS);
        let mut buffer = [0; 64];
        let mut packet = Packet::new(&mut buffer, 0);
        assert_eq!(stream.event(now, &mut packet), Forward::Send);
        assert_eq!(sound(&mut stream, now, 2), None);
        let mut later = now;
        assert_eq!(events(&mut stream, &mut later).len(), 3);
        // One key in four packets: 101 to 104.
        assert_eq!(sound(&mut stream, later, 3).unwrap().0, 105);
    }

    #[test]
    fn keys_have_names_and_there_are_not_too_many() {
        let event = |name| Key::named(name, 100).map(|key| key.event);
        assert_eq!(
            ['0', '9', '*', '#', 'A', 'd'].map(event),
            [0, 9, 10, 11, 12, 15].map(Some)
        );
        assert_eq!(event('x'), None);
        assert_eq!(Key::named('1', 0).unwrap().pressed.as_millis(), 40);
        assert_eq!(Key::named('1', u64::MAX).unwrap().pressed.as_millis(), 5000);
        let mut stream = Stream::new(StreamIds {
            ssrc: 5,
            sequence: 100,
            timestamp: 1000,
        });
        let key = Key::named('1', 100).unwrap();
        let now = Instant::now();
        let taken = (0..100).filter(|_| stream.press(now, key, EVENTS));
        assert_eq!(taken.count(), KEYS_MAX);
    }
}
