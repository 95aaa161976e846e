//! How well packets of one source arrive: RFC 3550 appendix A.1, A.3 and A.8.

use std::time::{Duration, Instant};

/// A.1: a sequence number that is further ahead is no loss but another sequence …
const DROPOUT_MAX: u16 = 3000;
/// … and so is one that is further behind.
const MISORDER_MAX: u16 = 100;

/// A timestamp that is so far from where the last one was, is another clock's.
const CLOCK_JUMP_S: u32 = 5;

/// Of one source.
#[derive(Clone, Debug)]
pub(super) struct Reception {
    base: u32,
    highest: u32,
    received: u32,
    /// The one that would follow a jump: two in sequence prove another sequence.
    after_jump: Option<u16>,
    /// Transit time and timestamp of the last packet, in units of its clock.
    last: Option<(u32, u32)>,
    /// A.8, sixteen times the estimate.
    jitter: u32,
    clock_hz: u32,
    began: Instant,
}

/// Where a packet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Ahead of all before.
    Newest,
    /// Between others, or twice.
    Late,
    /// Too far from all others to be of their sequence; the next will tell.
    Jump,
    /// The second of another sequence.
    Restart,
}

impl Reception {
    /// With its first packet, which [`Reception::arrived`] is yet to be told of.
    pub(super) fn new(now: Instant, sequence: u16) -> Reception {
        let base = u32::from(sequence);
        Reception {
            base,
            highest: base,
            received: 0,
            after_jump: None,
            last: None,
            jitter: 0,
            clock_hz: 0,
            began: now,
        }
    }

    pub(super) fn place(&mut self, sequence: u16) -> Place {
        #[allow(clippy::cast_possible_truncation)]
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < DROPOUT_MAX {
            self.after_jump = None;
            self.highest = self.highest.wrapping_add(u32::from(ahead));
            return if ahead == 0 && self.received > 0 {
                Place::Late
            } else {
                Place::Newest
            };
        }
        if ahead > u16::MAX - MISORDER_MAX {
            return Place::Late;
        }
        if self.after_jump == Some(sequence) {
            return Place::Restart;
        }
        self.after_jump = Some(sequence.wrapping_add(1));
        Place::Jump
    }

    pub(super) fn arrived(&mut self, now: Instant, timestamp: u32, clock_hz: u32) {
        self.received = self.received.wrapping_add(1);
        if self.clock_hz != clock_hz {
            (self.clock_hz, self.last, self.jitter) = (clock_hz, None, 0);
        }
        let arrival = units(now.duration_since(self.began), clock_hz);
        let transit = arrival.wrapping_sub(timestamp);
        // Packets of one frame, and of one key press, share a timestamp and say nothing of the net.
        if let Some((last, _)) = self.last.filter(|(_, before)| *before != timestamp) {
            let d = transit.wrapping_sub(last).cast_signed().unsigned_abs();
            // More is no jitter: the sender's clock was set.
            if d < clock_hz.saturating_mul(CLOCK_JUMP_S) {
                self.jitter = self.jitter - ((self.jitter + 8) >> 4) + d;
            }
        }
        self.last = Some((transit, timestamp));
    }

    /// One that is of no interest, but was not lost.
    pub(super) fn arrived_unheard(&mut self) {
        self.received = self.received.wrapping_add(1);
    }

    /// The highest sequence number, extended by how often it wrapped.
    pub(super) fn highest(&self) -> u32 {
        self.highest
    }

    pub(super) fn expected(&self) -> u32 {
        self.highest.wrapping_sub(self.base).wrapping_add(1)
    }

    pub(super) fn received(&self) -> u32 {
        self.received
    }

    pub(super) fn jitter(&self) -> Duration {
        match self.clock_hz {
            0 => Duration::ZERO,
            clock => Duration::from_secs(1) * (self.jitter >> 4) / clock,
        }
    }
}

/// A span in units of a clock, modulo 2^32 as timestamps are.
pub(super) fn units(span: Duration, clock_hz: u32) -> u32 {
    let units = span.as_micros() * u128::from(clock_hz) / 1_000_000;
    #[allow(clippy::cast_possible_truncation)]
    let units = units as u32;
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_lost_over_a_wrap() {
        let now = Instant::now();
        let mut reception = Reception::new(now, 65_530);
        for sequence in (65_530..=65_535).chain(0..10).filter(|s| s % 4 != 0) {
            reception.place(sequence);
            reception.arrived(now, 0, 8000);
        }
        assert_eq!(reception.highest(), 65_536 + 9);
        assert_eq!((reception.expected(), reception.received()), (16, 12));
    }

    #[test]
    fn believes_a_jump_when_the_next_packet_follows_it() {
        let mut reception = Reception::new(Instant::now(), 100);
        let mut place = |sequence| {
            let place = reception.place(sequence);
            reception.received += 1;
            place
        };
        assert_eq!(place(100), Place::Newest);
        assert_eq!(place(102), Place::Newest);
        assert_eq!(place(101), Place::Late);
        assert_eq!(place(102), Place::Late);
        assert_eq!(place(50_000), Place::Jump);
        assert_eq!(place(103), Place::Newest);
        assert_eq!(place(50_001), Place::Jump, "not in sequence");
        assert_eq!(place(50_002), Place::Restart);
    }

    /// 20 ms apart in time stamps; every second one is 10 ms late.
    #[test]
    fn jitter_tends_to_the_mean_deviation() {
        let now = Instant::now();
        let mut reception = Reception::new(now, 0);
        for i in 0..1000_u32 {
            let late = Duration::from_millis(u64::from(i % 2) * 10);
            let at = now + Duration::from_millis(20) * i + late;
            reception.arrived(at, i * 160, 8000);
        }
        let jitter = reception.jitter().as_millis();
        assert!((9..=10).contains(&jitter), "{jitter}");
    }

    #[test]
    fn a_clock_that_is_set_is_no_jitter() {
        let now = Instant::now();
        let mut reception = Reception::new(now, 0);
        for timestamp in [0, u32::MAX / 2, 7, u32::MAX - 3] {
            reception.arrived(now, timestamp, 48_000);
        }
        assert_eq!(reception.jitter(), Duration::ZERO);
    }
}
