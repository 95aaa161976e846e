//! One direction of one m-line whose ends share no codec: payloads are decoded, and encoded anew in packets of 20 ms, with a sequence and
//! timestamps of our own (RFC 3550 §7.2).
//!
//! Packets are put in order as far as one may wait for another, and what is lost between them is concealed. Telephone events (RFC 4733)
//! pass as they are, with their clock changed; comfort noise does not.

use crate::{
    codec::{Decoder, Encoder, Encoding, FRAME_MS, PACKET_MS_MAX, PAYLOAD_BYTES_MAX, Rate},
    rtp,
};

/// A longer loss is not made up for: who hears has been silent by then.
pub const CONCEAL_MS_MAX: usize = 120;
/// A packet that comes before its turn waits for so many others, one: it may be that the network has changed their order.
pub const REORDER_PACKETS_MAX: usize = 1;
/// Of a packet that waits. A longer one does not: no codec of ours has such.
const WAITING_BYTES_MAX: usize = 1500;
/// Made up, waiting and just arrived, behind less than a frame.
const SOUND_MS_MAX: usize = FRAME_MS + CONCEAL_MS_MAX + (1 + REORDER_PACKETS_MAX) * PACKET_MS_MAX;
/// Duration of an event, behind event, E, R and volume (RFC 4733 §2.3).
const DURATION: std::ops::Range<usize> = 2..4;

/// A payload type that is transcoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coded {
    /// Of the end in question.
    pub payload_type: u8,
    /// What it is.
    pub encoding: Encoding,
}

/// A payload type of telephone events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    /// The sender's.
    pub from: u8,
    /// In which it counts.
    pub from_clock_hz: u32,
    /// The hearer's.
    pub to: u8,
    /// As `from_clock_hz`.
    pub to_clock_hz: u32,
}

/// What becomes of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcoding {
    /// What the sender may send.
    pub from: Vec<Coded>,
    /// What the hearer gets.
    pub to: Coded,
    /// What passes.
    pub events: Vec<Events>,
}

/// See the module.
pub(super) struct Transcoder {
    plan: Transcoding,
    rate: Rate,
    decoders: Vec<Decoder>,
    encoder: Encoder,
    /// Decoded, and not yet a frame.
    sound: Vec<i16>,
    /// When its first sample is, by the sender's clock.
    at: u32,
    /// The next packet's.
    sequence: u16,
    waiting: Option<Waiting>,
    /// Always [`WAITING_BYTES_MAX`].
    waiting_bytes: Vec<u8>,
    anchor: Anchor,
    /// Whether the next frame is the first behind a silence.
    begins: bool,
}

/// A packet that came before its turn.
#[derive(Clone, Copy)]
struct Waiting {
    decoder: usize,
    sequence: u16,
    timestamp: u32,
    len: usize,
}

/// The same moment by both clocks.
#[derive(Clone, Copy)]
struct Anchor {
    from: u32,
    from_clock_hz: u32,
    to: u32,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// There may be frames now.
    Sound,
    /// It passes, so.
    Event {
        payload_type: u8,
        timestamp: u32,
    },
    Nothing,
}

/// A payload, and what its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) payload_type: u8,
    pub(super) marker: bool,
    pub(super) timestamp: u32,
    pub(super) len: usize,
}

impl Transcoder {
    /// `None` where nothing could be decoded.
    pub(super) fn new(plan: Transcoding) -> Option<Self> {
        let from = plan.from.iter().map(|coded| coded.encoding);
        let rate = Encoding::rate_between(from.clone(), plan.to.encoding);
        let decoders: Option<Vec<_>> = from.map(|encoding| Decoder::new(encoding, rate)).collect();
        let first = plan.from.first()?.encoding;
        Some(Self {
            rate,
            decoders: decoders?,
            encoder: Encoder::new(plan.to.encoding, rate)?,
            sound: Vec::with_capacity(rate.samples(SOUND_MS_MAX)),
            at: 0,
            sequence: 0,
            waiting: None,
            waiting_bytes: vec![0; WAITING_BYTES_MAX],
            anchor: Anchor {
                from: 0,
                from_clock_hz: first.clock_hz(),
                to: 0,
            },
            begins: true,
            plan,
        })
    }

    #[cfg(test)]
    pub(super) fn break_codecs(&mut self) {
        self.decoders.fill_with(Decoder::broken);
    }

    pub(super) fn plan(&self) -> &Transcoding {
        &self.plan
    }

    /// The clock of a payload type of the sender's; `None` if it goes nowhere.
    pub(super) fn clock_hz(&self, payload_type: u8) -> Option<u32> {
        let coded = self
            .plan
            .from
            .iter()
            .find(|coded| coded.payload_type == payload_type);
        let events = self
            .plan
            .events
            .iter()
            .find(|events| events.from == payload_type);
        coded
            .map(|coded| coded.encoding.clock_hz())
            .or(events.map(|events| events.from_clock_hz))
    }

    /// Of what the hearer gets.
    pub(super) fn clock_out_hz(&self) -> u32 {
        self.plan.to.encoding.clock_hz()
    }

    /// Another source, or another sequence of the same: it begins with this packet, and is heard from `timestamp` on.
    pub(super) fn begin(&mut self, header: &rtp::Header, timestamp: u32) {
        (self.sequence, self.at) = (header.sequence, header.timestamp);
        (self.anchor.from, self.anchor.to) = (header.timestamp, timestamp);
        self.sound.clear();
        (self.waiting, self.begins) = (None, true);
    }

    /// A packet of the present source.
    pub(super) fn take(&mut self, header: &rtp::Header, payload: &mut [u8]) -> Taken {
        let ahead = header.sequence.wrapping_sub(self.sequence).cast_signed();
        if ahead < 0 {
            return Taken::Nothing;
        }
        let coded = |coded: &Coded| coded.payload_type == header.payload_type;
        let Some(decoder) = self.plan.from.iter().position(coded) else {
            return self.pass(header, payload);
        };
        let packet = Waiting {
            decoder,
            sequence: header.sequence,
            timestamp: header.timestamp,
            len: payload.len(),
        };
        match self.waiting {
            None if ahead > 0 => {
                self.wait(packet, payload);
                return Taken::Nothing;
            }
            Some(waiting) if waiting.sequence == packet.sequence => return Taken::Nothing,
            // What both wait for is lost.
            Some(waiting) if ahead > 0 => {
                let before = waiting.sequence.wrapping_sub(packet.sequence).cast_signed() > 0;
                if before {
                    self.decode(packet, payload);
                    self.release_if_next();
                } else {
                    self.release();
                    match packet.sequence == self.sequence {
                        true => self.decode(packet, payload),
                        false => self.wait(packet, payload),
                    }
                }
            }
            None | Some(_) => {
                self.decode(packet, payload);
                self.release_if_next();
            }
        }
        Taken::Sound
    }

    /// An event, or what goes nowhere. Neither waits.
    fn pass(&mut self, header: &rtp::Header, payload: &mut [u8]) -> Taken {
        self.release();
        self.sequence = header.sequence.wrapping_add(1);
        let mut events = self.plan.events.iter();
        let Some(events) = events.find(|events| events.from == header.payload_type) else {
            return Taken::Nothing;
        };
        if let Some([high, low]) = payload.get_mut(DURATION) {
            let duration = u64::from(u16::from_be_bytes([*high, *low]));
            let duration =
                duration * u64::from(events.to_clock_hz) / u64::from(events.from_clock_hz.max(1));
            [*high, *low] = u16::try_from(duration).unwrap_or(u16::MAX).to_be_bytes();
        }
        Taken::Event {
            payload_type: events.to,
            timestamp: self.timestamp_out(header.timestamp),
        }
    }

    fn wait(&mut self, packet: Waiting, payload: &[u8]) {
        if let Some(room) = self.waiting_bytes.get_mut(..payload.len()) {
            room.copy_from_slice(payload);
            self.waiting = Some(packet);
        } else {
            self.decode(packet, payload);
        }
    }

    fn release_if_next(&mut self) {
        if self
            .waiting
            .is_some_and(|waiting| waiting.sequence == self.sequence)
        {
            self.release();
        }
    }

    fn release(&mut self) {
        let Some(waiting) = self.waiting.take() else {
            return;
        };
        let bytes = std::mem::take(&mut self.waiting_bytes);
        self.decode(waiting, bytes.get(..waiting.len).unwrap_or_default());
        self.waiting_bytes = bytes;
    }

    /// Adds a packet to the sound, and what was lost before it.
    fn decode(&mut self, packet: Waiting, payload: &[u8]) {
        let Some((decoder, coded)) = self
            .decoders
            .get_mut(packet.decoder)
            .zip(self.plan.from.get(packet.decoder))
        else {
            return;
        };
        let is_behind_loss = packet.sequence != self.sequence;
        self.sequence = packet.sequence.wrapping_add(1);
        let clock_hz = coded.encoding.clock_hz();
        if clock_hz != self.anchor.from_clock_hz {
            // RFC 7160: the clock has changed; the sound goes on.
            self.anchor = Anchor {
                from: packet.timestamp,
                from_clock_hz: clock_hz,
                to: self.anchor.out(self.at, self.plan.to.encoding.clock_hz()),
            };
            self.sound.clear();
            self.at = packet.timestamp;
        }
        let missing = packet.timestamp.wrapping_sub(self.at.wrapping_add(units(
            self.sound.len(),
            self.rate,
            clock_hz,
        )));
        let missing_ms = usize::try_from(missing / (clock_hz / 1000)).unwrap_or(usize::MAX);
        if is_behind_loss && (1..=CONCEAL_MS_MAX).contains(&missing_ms) {
            decoder.conceal(missing_ms, payload, &mut self.sound);
        } else if missing != 0 {
            // A pause, or a clock that was set.
            self.sound.clear();
            self.begins = true;
        }
        self.at = packet
            .timestamp
            .wrapping_sub(units(self.sound.len(), self.rate, clock_hz));
        decoder.decode(payload, &mut self.sound);
    }

    /// The next frame, if there is one.
    pub(super) fn frame(&mut self, payload: &mut [u8; PAYLOAD_BYTES_MAX]) -> Option<Frame> {
        let samples = self.rate.samples(FRAME_MS);
        let len = self.encoder.encode(self.sound.get(..samples)?, payload);
        self.sound.drain(..samples);
        let timestamp = self.timestamp_out(self.at);
        self.anchor.move_to(self.at, timestamp, self.clock_out_hz());
        let step = units(samples, self.rate, self.anchor.from_clock_hz);
        self.at = self.at.wrapping_add(step);
        Some(Frame {
            payload_type: self.plan.to.payload_type,
            marker: std::mem::take(&mut self.begins),
            timestamp,
            len,
        })
    }

    /// A timestamp of the sender's, as the hearer knows it.
    pub(super) fn timestamp_out(&self, timestamp: u32) -> u32 {
        self.anchor.out(timestamp, self.clock_out_hz())
    }

    /// A span by the hearer's clock, by the sender's.
    pub(super) fn span_back(&self, span: u32) -> u32 {
        let span = u64::from(span) * u64::from(self.anchor.from_clock_hz);
        u32::try_from(span / u64::from(self.clock_out_hz())).unwrap_or(u32::MAX)
    }
}

impl Anchor {
    fn out(&self, from: u32, to_clock_hz: u32) -> u32 {
        let since = i64::from(from.wrapping_sub(self.from).cast_signed());
        let since = (since * i64::from(to_clock_hz)).div_euclid(i64::from(self.from_clock_hz));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let since = since as u32;
        self.to.wrapping_add(since)
    }

    /// Follows, where it does so exactly: the next moment is never so far that the difference overflows.
    fn move_to(&mut self, from: u32, to: u32, to_clock_hz: u32) {
        let since = u64::from(from.wrapping_sub(self.from)) * u64::from(to_clock_hz);
        if since % u64::from(self.from_clock_hz) == 0 || since >> 30 > u64::from(to_clock_hz) {
            (self.from, self.to) = (from, to);
        }
    }
}

/// So many samples in units of a clock.
fn units(samples: usize, rate: Rate, clock_hz: u32) -> u32 {
    let units = samples as u64 * u64::from(clock_hz) / u64::from(rate.hz());
    u32::try_from(units).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
