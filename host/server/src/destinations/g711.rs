//! G.711: eight bits for a sample, along a curve.

/// μ-law.
pub(super) fn ulaw(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    const CLIP: i32 = 0x7fff - BIAS;
    let magnitude = i32::from(sample).abs().min(CLIP) + BIAS;
    // With the bias the highest bit is one of 7 to 14.
    let segment = 24 - magnitude.leading_zeros();
    let step = (magnitude >> (segment + 3)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment << 4) as u8 | step as u8)
}

/// A-law.
pub(super) fn alaw(sample: i16) -> u8 {
    // Twelve bits of magnitude; the negative ones begin at -1.
    let magnitude = if sample < 0 { !sample } else { sample } >> 4;
    let coded = match u32::from(magnitude.unsigned_abs()) {
        // The first two segments are one straight line.
        small @ 0..32 => small,
        large => {
            let segment = 28 - large.leading_zeros();
            (segment << 4) | ((large >> (segment - 1)) & 0x0f)
        }
    };
    let sign = if sample < 0 { 0 } else { 0x80 };
    (sign | coded as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the tables of ITU-T G.711: silence, the ends, and a value on either side of zero.
    #[test]
    fn values_of_the_tables() {
        let u = [0, 32_767, -32_768, 8, -8, 1_000, -1_000].map(ulaw);
        assert_eq!(u, [0xff, 0x80, 0x00, 0xfe, 0x7e, 0xce, 0x4e]);
        let a = [0, 32_767, -32_768, 16, -17, 1_000, -1_000].map(alaw);
        assert_eq!(a, [0xd5, 0xaa, 0x2a, 0xd4, 0x54, 0xfa, 0x7a]);
    }
}
