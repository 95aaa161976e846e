//! ITU-T G.722 at 64 kbit/s: 16 kHz in two bands of 8 kHz, each with the difference from what was to be expected (sub-band ADPCM).
//!
//! The names of the blocks are the recommendation's. Modes 2 and 3, which leave bits to data, are not negotiated over RTP.

mod band;

use band::Band;

/// The quadrature mirror filter, half of its 24 taps (§5.2.1 table 11); the other half is the same backwards.
const TAPS: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Two samples in a byte.
#[derive(Clone, Debug)]
pub(super) struct Encoder {
    history: [i32; 24],
    low: Band,
    high: Band,
}

/// As [`Encoder`], backwards.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    history: [i32; 24],
    low: Band,
    high: Band,
}

impl Default for Encoder {
    fn default() -> Self {
        let (low, high) = (Band::low(), Band::high());
        Self {
            history: [0; 24],
            low,
            high,
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        let (low, high) = (Band::low(), Band::high());
        Self {
            history: [0; 24],
            low,
            high,
        }
    }
}

impl Encoder {
    pub(super) fn encode(&mut self, samples: [i16; 2]) -> u8 {
        let (even, odd) = filter(&mut self.history, samples.map(i32::from));
        let low = self.low.encode_low((even + odd) >> 14);
        let high = self.high.encode_high((even - odd) >> 14);
        high << 6 | low
    }
}

impl Decoder {
    pub(super) fn decode(&mut self, byte: u8) -> [i16; 2] {
        let low = self.low.decode_low(byte & 0x3f);
        let high = self.high.decode_high(byte >> 6);
        let (first, second) = filter(&mut self.history, [low + high, low - high]);
        [first, second].map(|sum| saturated(sum >> 11))
    }
}

/// Shifts two values in; the sums over the odd ones and over the even ones.
fn filter(history: &mut [i32; 24], newest: [i32; 2]) -> (i32, i32) {
    history.copy_within(2.., 0);
    history[22..].copy_from_slice(&newest);
    let (pairs, _) = history.as_chunks::<2>();
    let taps = TAPS.iter().zip(TAPS.iter().rev());
    pairs
        .iter()
        .zip(taps)
        .fold((0, 0), |(odd, even), ([e, o], (forth, back))| {
            (odd + o * back, even + e * forth)
        })
}

fn saturated(value: i32) -> i16 {
    i16::try_from(value).unwrap_or(if value < 0 { i16::MIN } else { i16::MAX })
}
