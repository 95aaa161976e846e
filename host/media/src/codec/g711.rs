//! ITU-T G.711: a sample in eight bits, sign, segment and place in the segment, by either of two laws.

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Law {
    /// Europe's and most others', of 13 bits.
    A,
    /// North America's and Japan's, of 14 bits.
    Mu,
}

/// What is added to a magnitude in µ-law, so that each segment begins at a power of two.
const BIAS: i32 = 132;
/// The largest magnitude in µ-law.
const CLIP: i32 = 32_635;
/// Every other bit of A-law is sent inverted.
const ALTERNATE: u8 = 0x55;

static A_SAMPLES: [i16; 256] = table(Law::A);
static MU_SAMPLES: [i16; 256] = table(Law::Mu);

impl Law {
    pub(super) fn decode(self, byte: u8) -> i16 {
        let table = match self {
            Self::A => &A_SAMPLES,
            Self::Mu => &MU_SAMPLES,
        };
        table[usize::from(byte)]
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn encode(self, sample: i16) -> u8 {
        match self {
            Self::A => {
                let sign = if sample < 0 { 0 } else { 0x80 };
                // The magnitude in units of 16, of a negative one less by one: there are two zeros.
                let magnitude = (sample ^ (sample >> 15)) as u16 >> 4;
                let segment = (12 - magnitude.leading_zeros().min(12)) as u8;
                let place = magnitude >> segment.saturating_sub(1);
                (sign | segment << 4 | place as u8 & 0x0f) ^ ALTERNATE
            }
            Self::Mu => {
                let sign = if sample < 0 { 0x80 } else { 0 };
                let biased = (i32::from(sample).abs().min(CLIP) + BIAS) as u16;
                let segment = 8 - biased.leading_zeros() as u8;
                let place = (biased >> (segment + 3)) as u8 & 0x0f;
                !(sign | segment << 4 | place)
            }
        }
    }
}

const fn table(law: Law) -> [i16; 256] {
    let mut samples = [0; 256];
    let mut byte = 0;
    while byte < samples.len() {
        samples[byte] = match law {
            Law::A => a(byte as u8),
            Law::Mu => mu(byte as u8),
        };
        byte += 1;
    }
    samples
}

/// The middle of the interval that the byte stands for.
const fn a(byte: u8) -> i16 {
    let bits = byte ^ ALTERNATE;
    let (segment, place) = (bits >> 4 & 7, (bits & 0x0f) as i16);
    let magnitude = match segment {
        0 => (place << 4) + 8,
        _ => ((place << 4) + 264) << (segment - 1),
    };
    if bits & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }
}

const fn mu(byte: u8) -> i16 {
    let bits = !byte;
    let (segment, place) = (bits >> 4 & 7, (bits & 0x0f) as i32);
    #[allow(clippy::cast_possible_truncation)]
    let magnitude = ((((place << 3) + BIAS) << segment) - BIAS) as i16;
    if bits & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::Law::{A, Mu};

    /// G.711 tables 1a to 2b: the character signal of both ends of the scale and of the zeros.
    #[test]
    fn has_the_values_of_the_recommendation() {
        let a = [0xd5, 0x55, 0xaa, 0x2a, 0x80, 0xd4].map(|byte| A.decode(byte));
        assert_eq!(a, [8, -8, 32_256, -32_256, 5_504, 24]);
        let mu = [0xff, 0x7f, 0x80, 0x00, 0xf0, 0xef].map(|byte| Mu.decode(byte));
        assert_eq!(mu, [0, 0, 32_124, -32_124, 120, 132]);
    }

    #[test]
    fn every_byte_survives_and_every_sample_goes_to_its_nearest() {
        for law in [A, Mu] {
            for byte in 0..=255 {
                let again = law.encode(law.decode(byte));
                // The two zeros of µ-law are one sample.
                assert!(
                    again == byte || (law == Mu && byte == 0x7f),
                    "{law:?} {byte:#x} {again:#x}"
                );
            }
            for sample in i16::MIN..=i16::MAX {
                let decoded = i32::from(law.decode(law.encode(sample)));
                let error = (decoded - i32::from(sample)).abs();
                let half = (i32::from(sample).abs() + 132) / 32 + 8;
                assert!(
                    error <= half || decoded.abs() > 32_000,
                    "{law:?} {sample} {decoded}"
                );
            }
        }
    }
}
