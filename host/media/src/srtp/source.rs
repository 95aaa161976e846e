//! Which packets of a source were seen: rollover counter and replay window (RFC 3711 §3.3.1, §3.3.2).

/// How far back a window knows.
const WINDOW_PACKETS: u64 = 128;
/// The longest silent is forgotten beyond this many.
const SOURCES_MAX: usize = 32;

/// One SSRC under one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    ssrc: u32,
    /// The highest index seen.
    highest: u64,
    /// Bit n: `highest - n` was seen.
    seen: u128,
}

impl Source {
    pub(super) fn new(ssrc: u32) -> Source {
        Source {
            ssrc,
            highest: 0,
            seen: 0,
        }
    }

    /// The most likely index of a packet with this sequence number: the one that is nearest to the highest.
    pub(super) fn index_of(&self, sequence: u16) -> u64 {
        if self.seen == 0 {
            return u64::from(sequence);
        }
        // The distance of two sequence numbers, taken as a signed one, is at most half of their circle.
        #[allow(clippy::cast_possible_truncation)]
        let ahead = sequence.wrapping_sub(self.highest as u16).cast_signed();
        match self.highest.checked_add_signed(i64::from(ahead)) {
            Some(index) => index,
            // Before the first rollover there is nothing lower.
            None => u64::from(sequence),
        }
    }

    pub(super) fn is_new(&self, index: u64) -> bool {
        if self.seen == 0 || index > self.highest {
            return true;
        }
        let behind = self.highest - index;
        behind < WINDOW_PACKETS && self.seen >> behind & 1 == 0
    }

    pub(super) fn used(&mut self, index: u64) {
        if index > self.highest {
            let ahead = index - self.highest;
            self.seen = if ahead < WINDOW_PACKETS {
                self.seen << ahead
            } else {
                0
            };
            self.highest = index;
        }
        let behind = self.highest - index;
        if behind < WINDOW_PACKETS {
            self.seen |= 1 << behind;
        }
    }
}

/// Those of one key, the one that spoke last in front.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<Source>);

impl Sources {
    pub(super) fn get(&self, ssrc: u32) -> Option<&Source> {
        self.0.iter().find(|source| source.ssrc == ssrc)
    }

    /// The place of this one, which is in front from now on.
    pub(super) fn get_or_insert(&mut self, ssrc: u32) -> &mut Source {
        match self.0.iter().position(|source| source.ssrc == ssrc) {
            Some(0) => {}
            // Two that take turns, audio and video of a bundle, change places.
            Some(at) => self.0.swap(0, at),
            None => {
                if self.0.len() == SOURCES_MAX {
                    self.0.pop();
                }
                self.0.insert(0, Source::new(ssrc));
            }
        }
        &mut self.0[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_the_rollover_counter_from_the_nearest() {
        let mut source = Source::new(1);
        let mut seen = |sequence: u16| {
            let index = source.index_of(sequence);
            let new = source.is_new(index);
            source.used(index);
            (index >> 16, new)
        };
        assert_eq!(seen(65_530), (0, true));
        assert_eq!(seen(2), (1, true));
        assert_eq!(seen(65_531), (0, true));
        assert_eq!(seen(65_531), (0, false));
        assert_eq!(seen(32_769), (1, true));
        assert_eq!(seen(65_535), (1, true));
        assert_eq!(seen(0), (2, true));
        assert_eq!(seen(2), (2, true));
        assert_eq!(seen(65_400), (1, false), "too old to know");
    }

    #[test]
    fn nothing_is_below_the_first_rollover() {
        let mut source = Source::new(1);
        source.used(source.index_of(5));
        assert_eq!(source.index_of(65_530), 65_530);
    }

    #[test]
    fn remembers_exactly_its_window() {
        let mut source = Source::new(1);
        source.used(1000);
        for index in (1000 - WINDOW_PACKETS + 1)..1000 {
            assert!(source.is_new(index));
            source.used(index);
            assert!(!source.is_new(index));
        }
        assert!(!source.is_new(1000 - WINDOW_PACKETS));
        source.used(1000 + WINDOW_PACKETS - 1);
        assert!(!source.is_new(1000));
        assert!(source.is_new(1001));
        source.used(5000);
        assert!(source.is_new(4999));
    }

    #[test]
    fn forgets_the_longest_silent() {
        let mut sources = Sources::default();
        for ssrc in 0..100 {
            sources.get_or_insert(ssrc).used(7);
        }
        assert_eq!(sources.0.len(), SOURCES_MAX);
        assert!(sources.get(99).is_some_and(|source| !source.is_new(7)));
        assert!(sources.get(0).is_none());
    }
}
