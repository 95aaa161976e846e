//! One direction of one m-line, from the leg that sends to the one that hears: what arrives there is one source with one sequence, whatever
//! becomes of the sender (its SSRC, its payload types, a hold, a transfer, another end in its place).
//!
//! Where the ends share a codec, it touches no payload and never allocates for a packet.

mod keys;
mod quality;
mod reception;
mod reports;
mod transcode;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use crate::{codec::PAYLOAD_BYTES_MAX, packet::Packet, rtp};
pub use keys::{EventPayload, Key};
pub use quality::mean_opinion_score;
use reception::{Place, Reception};
use reports::Reports;
pub use transcode::{CONCEAL_MS_MAX, Coded, Events, REORDER_PACKETS_MAX, Transcoding};
use transcode::{Taken, Transcoder};

/// Of an RTP packet of ours, without its payload.
const RTP_BYTES: usize = 12;

/// So long after another source took over, packets of the one before are late ones and go nowhere.
const OVERTAKEN: Duration = Duration::from_millis(500);

/// Where our own sequence begins: by chance (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamIds {
    /// Ours.
    pub ssrc: u32,
    /// Of the first packet. Below 2^15, so that a first loss does not hide a rollover (RFC 3711 §3.3.1).
    pub sequence: u16,
    /// Of the first packet.
    pub timestamp: u32,
}

/// What becomes of one payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The sender's.
    pub from: u8,
    /// The hearer's.
    pub to: u8,
    /// The unit of timestamps.
    pub clock_hz: u32,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// It goes to the other leg, as it is now.
    Send,
    /// It goes nowhere.
    Drop,
}

/// See above.
pub struct Stream {
    ssrc: u32,
    payloads: Vec<Payload>,
    source: Option<Source>,
    /// The one before, and until when it is overtaken.
    before: Option<(u32, Instant)>,
    next: Next,
    tally: Tally,
    reports: Reports,
    keys: keys::Keys,
    /// Where the ends share no codec.
    transcoder: Option<Box<Transcoder>>,
    /// Whether a codec panicked.
    is_broken: bool,
    /// Whether what becomes of packets has changed so much since the last one that the sender's numbers say nothing any more.
    is_anew: bool,
}

/// Who sends now.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    /// Added to its sequence numbers.
    sequence: u16,
    /// Added to its timestamps.
    timestamp: u32,
    reception: Reception,
}

/// What would follow what was sent.
#[derive(Debug)]
struct Next {
    sequence: u16,
    timestamp: u32,
    /// When the last packet was sent.
    sent: Option<Instant>,
}

/// Sums over all sources.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    packets: u64,
    bytes: u64,
    /// Of sources that are over.
    expected_before: u64,
    received_before: u64,
}

/// How a stream does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// Forwarded.
    pub packets: u64,
    /// Of their payloads and headers.
    pub bytes: u64,
    /// What the sender's sequence numbers promise and did not arrive.
    pub lost: u64,
    /// Between the sender and us.
    pub jitter: Duration,
    /// As the hearer reported it: lost between the sender and it.
    pub reported_lost: Option<u32>,
    /// As the hearer reported it.
    pub reported_jitter: Option<Duration>,
    /// Between us and the hearer.
    pub round_trip: Option<Duration>,
}

impl StreamStats {
    /// As the hearer would judge it: see [`mean_opinion_score`].
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn mean_opinion_score(&self) -> f64 {
        let lost = self.reported_lost.map_or(self.lost, u64::from) as f64;
        let share = lost / (lost + self.packets as f64).max(1.0);
        let jitter = self.reported_jitter.unwrap_or(self.jitter);
        mean_opinion_score(share, jitter, self.round_trip.unwrap_or_default())
    }
}

impl Stream {
    /// That has not begun.
    #[must_use]
    pub fn new(ids: StreamIds) -> Stream {
        Stream {
            ssrc: ids.ssrc,
            payloads: Vec::new(),
            source: None,
            before: None,
            next: Next {
                sequence: ids.sequence,
                timestamp: ids.timestamp,
                sent: None,
            },
            tally: Tally::default(),
            reports: Reports::default(),
            keys: keys::Keys::default(),
            transcoder: None,
            is_broken: false,
            is_anew: false,
        }
    }

    /// Ours, towards the hearer.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The sender's, once it sent.
    #[must_use]
    pub fn source(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    /// What is relayed, and as what, after each negotiation. Anything else goes nowhere.
    pub fn set_payloads(&mut self, payloads: &[Payload]) {
        self.is_anew |= self.transcoder.take().is_some();
        self.payloads.clear();
        self.payloads.extend_from_slice(payloads);
    }

    /// What is transcoded, in the place of [`Stream::set_payloads`]. One call of [`Stream::forward`] may then bring about any number of
    /// packets: [`Stream::more`] gives the others.
    pub fn set_transcoding(&mut self, plan: Transcoding) {
        let before = self.transcoder.as_ref().map(|transcoder| transcoder.plan());
        if before != Some(&plan) {
            self.payloads.clear();
            self.transcoder = Transcoder::new(plan).map(Box::new);
            self.is_anew = true;
        }
    }

    /// Whether it transcodes.
    #[must_use]
    pub fn is_transcoding(&self) -> bool {
        self.transcoder.is_some()
    }

    /// Whether a codec failed on what it was given, so that nothing is heard any more.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    #[cfg(test)]
    pub(crate) fn break_codecs(&mut self) {
        let transcoder = self.transcoder.as_mut();
        transcoder.into_iter().for_each(|it| it.break_codecs());
    }

    /// Gives an RTP packet of the sender our SSRC, our sequence and the hearer's payload type, and takes off its header extensions, whose
    /// ids mean something else to the hearer.
    pub fn forward(&mut self, now: Instant, packet: &mut Packet) -> Forward {
        let Some(mut header) = rtp::Header::parse(packet.bytes()) else {
            return Forward::Drop;
        };
        if let Some(transcoder) = self.transcoder.take() {
            return self.transcode(now, packet, header, transcoder);
        }
        if self.keys.is_down() {
            self.skip(&header);
            return Forward::Drop;
        }
        let mut payloads = self.payloads.iter();
        let payload = payloads.find(|payload| payload.from == header.payload_type);
        let Some(&Payload { to, clock_hz, .. }) = payload else {
            self.skip(&header);
            return Forward::Drop;
        };
        let Some(begins) = self.follow(now, &header, clock_hz) else {
            return Forward::Drop;
        };
        let Some(source) = &mut self.source else {
            return Forward::Drop;
        };
        source.reception.arrived(now, header.timestamp, clock_hz);
        header.payload_type = to;
        // A jitter buffer may begin anew where another talks (RFC 3551 §4.1).
        header.marker |= begins;
        header.ssrc = self.ssrc;
        header.sequence = header.sequence.wrapping_add(source.sequence);
        header.timestamp = header.timestamp.wrapping_add(source.timestamp);
        strip_extension(packet, &header);
        header.write(packet.bytes_mut());
        self.sent(now, &header, packet.len());
        Forward::Send
    }

    /// What there is besides, in the place of `packet`, until it is [`Forward::Drop`].
    pub fn more(&mut self, now: Instant, packet: &mut Packet) -> Forward {
        let mut bytes = [0; RTP_BYTES + PAYLOAD_BYTES_MAX];
        let Some((head, payload)) = bytes.split_first_chunk_mut::<RTP_BYTES>() else {
            return Forward::Drop;
        };
        let payload = payload.first_chunk_mut();
        let Some((mut transcoder, payload)) = self.transcoder.take().zip(payload) else {
            return Forward::Drop;
        };
        let frame = self.guarded(|_| (transcoder.frame(payload), transcoder));
        let Some((frame, transcoder)) = frame else {
            return Forward::Drop;
        };
        self.transcoder = Some(transcoder);
        let Some(frame) = frame else {
            return Forward::Drop;
        };
        head[0] = 0x80;
        let header = rtp::Header {
            payload_type: frame.payload_type,
            marker: frame.marker,
            sequence: self.next.sequence,
            timestamp: frame.timestamp,
            ssrc: self.ssrc,
            payload: RTP_BYTES..RTP_BYTES + frame.len,
        };
        header.write(head);
        let fits = bytes
            .get(..header.payload.end)
            .and_then(|bytes| packet.replace(bytes));
        if frame.len == 0 || fits.is_none() {
            return Forward::Drop;
        }
        self.sent(now, &header, packet.len());
        Forward::Send
    }

    fn transcode(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        mut header: rtp::Header,
        mut transcoder: Box<Transcoder>,
    ) -> Forward {
        let taken = self.guarded(|stream| {
            let taken = stream.taken(now, packet, &header, &mut transcoder);
            (taken, transcoder)
        });
        let Some((taken, transcoder)) = taken else {
            return Forward::Drop;
        };
        self.transcoder = Some(transcoder);
        match taken {
            Taken::Nothing => Forward::Drop,
            Taken::Sound => self.more(now, packet),
            Taken::Event {
                payload_type,
                timestamp,
            } => {
                (header.payload_type, header.timestamp) = (payload_type, timestamp);
                (header.ssrc, header.sequence) = (self.ssrc, self.next.sequence);
                strip_extension(packet, &header);
                header.write(packet.bytes_mut());
                self.sent(now, &header, packet.len());
                Forward::Send
            }
        }
    }

    /// What a codec makes of a stranger's bytes is beyond us: a panic in one costs its call, not the worker. It takes the transcoder along;
    /// all else that it leaves behind is numbers.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(|| work(self))).ok();
        self.is_broken |= done.is_none();
        done
    }

    fn taken(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        header: &rtp::Header,
        transcoder: &mut Transcoder,
    ) -> Taken {
        let clock_hz = transcoder.clock_hz(header.payload_type);
        if clock_hz.is_none() && self.source() != Some(header.ssrc) {
            return Taken::Nothing;
        }
        let Some(begins) = self.follow(now, header, transcoder.clock_out_hz()) else {
            return Taken::Nothing;
        };
        let Some(source) = &mut self.source else {
            return Taken::Nothing;
        };
        match clock_hz {
            Some(clock_hz) => source.reception.arrived(now, header.timestamp, clock_hz),
            None => source.reception.arrived_unheard(),
        }
        if begins {
            transcoder.begin(header, header.timestamp.wrapping_add(source.timestamp));
        }
        let payload = rtp::without_padding(packet.bytes(), header.payload.clone());
        let payload = packet.bytes_mut().get_mut(payload);
        transcoder.take(header, payload.unwrap_or_default())
    }

    /// Makes the packet's source the one that is followed. Gives whether it begins with this packet; `None` if the packet goes nowhere.
    fn follow(&mut self, now: Instant, header: &rtp::Header, clock_hz: u32) -> Option<bool> {
        if let Some(source) = &mut self.source
            && source.ssrc == header.ssrc
            && !self.is_anew
        {
            match source.reception.place(header.sequence) {
                Place::Newest | Place::Late => return Some(false),
                Place::Jump => return None,
                Place::Restart => {}
            }
        } else if self
            .before
            .is_some_and(|(ssrc, until)| ssrc == header.ssrc && now < until)
        {
            return None;
        }
        self.switch(now, header, clock_hz);
        Some(true)
    }

    /// Another source, or another sequence of the same: it goes on where ours is.
    fn switch(&mut self, now: Instant, header: &rtp::Header, clock_hz: u32) {
        if let Some(over) = self.source.take() {
            self.tally.expected_before += u64::from(over.reception.expected());
            self.tally.received_before += u64::from(over.reception.received());
            self.before = Some((over.ssrc, now + OVERTAKEN)).filter(|(s, _)| *s != header.ssrc);
        }
        self.is_anew = false;
        let silence = self.next.sent.map(|sent| now.duration_since(sent));
        let silence = silence.map_or(0, |silence| reception::units(silence, clock_hz));
        let timestamp = self.next.timestamp.wrapping_add(silence);
        let mut reception = Reception::new(now, header.sequence);
        reception.place(header.sequence);
        self.source = Some(Source {
            ssrc: header.ssrc,
            sequence: self.next.sequence.wrapping_sub(header.sequence),
            timestamp: timestamp.wrapping_sub(header.timestamp),
            reception,
        });
    }

    /// What goes nowhere leaves no hole in the sequence: the hearer would take it for a loss.
    fn skip(&mut self, header: &rtp::Header) {
        let Some(source) = &mut self.source else {
            return;
        };
        if source.ssrc == header.ssrc && source.reception.place(header.sequence) == Place::Newest {
            source.reception.arrived_unheard();
            source.sequence = source.sequence.wrapping_sub(1);
        }
    }

    fn sent(&mut self, now: Instant, header: &rtp::Header, bytes: usize) {
        self.tally.packets += 1;
        self.tally.bytes += bytes as u64;
        let ahead = header.sequence.wrapping_sub(self.next.sequence);
        if ahead < 1 << 15 {
            self.next.sequence = header.sequence.wrapping_add(1);
            (self.next.timestamp, self.next.sent) = (header.timestamp, Some(now));
        }
    }

    /// How it does.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        let reception = self.source.as_ref().map(|source| &source.reception);
        let (expected, received) = self.arrivals();
        let clock_hz = match &self.transcoder {
            Some(transcoder) => transcoder.clock_out_hz(),
            None => self
                .payloads
                .first()
                .map_or(8000, |payload| payload.clock_hz),
        };
        let jitter = |units: u32| Duration::from_secs(1) * units / clock_hz.max(1);
        StreamStats {
            packets: self.tally.packets,
            bytes: self.tally.bytes,
            lost: expected.saturating_sub(received),
            jitter: reception.map_or(Duration::ZERO, Reception::jitter),
            reported_lost: self.reports.lost,
            reported_jitter: self.reports.jitter.map(jitter),
            round_trip: self.reports.round_trip,
        }
    }

    /// Packets of all sources that were to arrive, and that did.
    fn arrivals(&self) -> (u64, u64) {
        let now = self.source.as_ref().map(|source| &source.reception);
        let (expected, received) = now.map_or((0, 0), |r| (r.expected(), r.received()));
        let before = (self.tally.expected_before, self.tally.received_before);
        (
            before.0 + u64::from(expected),
            before.1 + u64::from(received),
        )
    }
}

/// The rest of the header moves up to the payload.
fn strip_extension(packet: &mut Packet, header: &rtp::Header) {
    let Some(first) = packet.bytes_mut().first_mut() else {
        return;
    };
    if !rtp::has_extension(*first) {
        return;
    }
    *first &= !0x10;
    let end = rtp::csrc_end(*first);
    let shift = header.payload.start - end;
    packet.bytes_mut().copy_within(..end, shift);
    packet.trim_front(shift);
}

#[cfg(test)]
mod tests;
