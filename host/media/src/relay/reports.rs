//! What RTCP says of a stream, to the sender and to the hearer: see `rtcp`.

use std::time::{Duration, Instant};

use super::Stream;

/// What the hearer says of our stream, and when it heard what.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// The middle of the NTP times of the last two reports that it was sent, and when.
    sent: [Option<(u32, Instant)>; 2],
    pub(super) round_trip: Option<Duration>,
    pub(super) lost: Option<u32>,
    /// In units of the clock.
    pub(super) jitter: Option<u32>,
    /// What was to arrive and what did, up to the last one.
    arrivals: (u64, u64),
}

impl Stream {
    /// A timestamp of the sender's, as the hearer knows it.
    pub(crate) fn timestamp_out(&self, timestamp: u32) -> u32 {
        if let Some(transcoder) = &self.transcoder {
            return transcoder.timestamp_out(timestamp);
        }
        let source = self.source.as_ref();
        source.map_or(timestamp, |s| timestamp.wrapping_add(s.timestamp))
    }

    /// A sequence number that the hearer speaks of, as the sender knows it. `None` where ours are not made of the sender's one by one.
    pub(crate) fn sequence_back(&self, sequence: u16) -> Option<u16> {
        let source = self.source.as_ref().filter(|_| !self.is_transcoding());
        source.map(|source| sequence.wrapping_sub(source.sequence))
    }

    /// As [`Stream::sequence_back`], extended: the wraps are counted from where the sender's present sequence began.
    pub(crate) fn highest_back(&self, highest: u32) -> u32 {
        let theirs = self.source.as_ref().map_or(0, |s| s.reception.highest());
        #[allow(clippy::cast_possible_truncation)]
        let (low, newest) = (highest as u16, theirs as u16);
        let behind = match self.sequence_back(low) {
            Some(sequence) => newest.wrapping_sub(sequence),
            None => self.next.sequence.wrapping_sub(1).wrapping_sub(low),
        };
        theirs.wrapping_sub(i32::from(behind.cast_signed()).cast_unsigned())
    }

    /// Packets and bytes that were forwarded, modulo 2^32 as a sender report counts them.
    pub(crate) fn counts(&self) -> (u32, u32) {
        // RFC 3550 §6.4.1 counts payloads alone.
        let payloads = self.tally.bytes.wrapping_sub(12 * self.tally.packets);
        #[allow(clippy::cast_possible_truncation)]
        let counts = (self.tally.packets as u32, payloads as u32);
        counts
    }

    /// What the hearer lost, as the sender is told: the share of 256 since the last report, and all, a number of 24 bits with a sign. What was
    /// lost on the way to us shows in the sequence that is relayed; in one that is made anew it is ours to add (RFC 3550 §7.2).
    pub(crate) fn losses_back(&mut self, share: u8, lost: u32) -> (u8, u32) {
        if !self.is_transcoding() {
            return (share, lost);
        }
        let (expected, received) = self.arrivals();
        let before = std::mem::replace(&mut self.reports.arrivals, (expected, received));
        let since = expected.saturating_sub(before.0);
        let missing = since.saturating_sub(received.saturating_sub(before.1));
        let more = (missing * 256).checked_div(since).unwrap_or(0);
        let share = share.saturating_add(u8::try_from(more).unwrap_or(u8::MAX));
        let lost = i64::from((lost << 8).cast_signed() >> 8);
        let lost = lost.saturating_add_unsigned(expected.saturating_sub(received));
        let lost = lost.clamp(-0x80_0000, 0x7f_ffff);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let lost = lost as u32 & 0x00ff_ffff;
        (share, lost)
    }

    /// What the hearer calls jitter, in units of the sender's clock.
    pub(crate) fn jitter_back(&self, jitter: u32) -> u32 {
        let transcoder = self.transcoder.as_ref();
        transcoder.map_or(jitter, |transcoder| transcoder.span_back(jitter))
    }

    /// A sender report went out to the hearer: its answer tells the round trip.
    pub(crate) fn report_sent(&mut self, now: Instant, ntp_middle: u32) {
        self.reports.sent = [Some((ntp_middle, now)), self.reports.sent[0]];
    }

    /// What the hearer says of our stream (RFC 3550 §6.4.1): in all lost, jitter, last report and the delay since, of 1/65536 s.
    pub(crate) fn report_heard(
        &mut self,
        now: Instant,
        lost: u32,
        jitter: u32,
        last: u32,
        delay: u32,
    ) {
        (self.reports.lost, self.reports.jitter) = (Some(lost), Some(jitter));
        let mut sent = self.reports.sent.iter().flatten();
        if let Some((_, at)) = sent.find(|(middle, _)| *middle == last && last != 0) {
            let delay = Duration::from_secs(1) * delay / 65_536;
            let round_trip = now.duration_since(*at).saturating_sub(delay);
            self.reports.round_trip = Some(round_trip);
        }
    }
}
