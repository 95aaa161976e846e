//! One band of G.722: its quantizer, its scale and its predictor (§6.2), the same in the encoder and in the decoder.

use super::saturated;

/// Decision levels of the quantizer of 60 levels (table 14).
const LEVELS: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023,
    1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
/// Of the quantizer of the high band.
const LEVEL_HIGH: i32 = 564;
/// What the six bits of the low band stand for (table 17) …
const SIX: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
    -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280,
    11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776,
    2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];
/// … the upper four of them, which the predictor goes by …
const FOUR: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584,
    1200, 0,
];
/// … and the two bits of the high band.
const TWO: [i32; 4] = [-7408, -1616, 7408, 1616];
/// How the logarithm of the scale follows, by the four bits and by the two (tables 19 and 21, and RL4 and RH2 before them).
const STEP_LOW: [i32; 16] = [
    -60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60,
];
const STEP_HIGH: [i32; 4] = [798, -214, 798, -214];
/// 2048 * 2^(n/32) (table 20).
const POWERS: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

#[derive(Clone, Debug)]
pub(super) struct Band {
    /// The logarithm of the scale: NB.
    log: i32,
    log_max: i32,
    /// By how much a power is shifted: 8 or 10.
    shift: i32,
    /// The scale: DET.
    scale: i32,
    /// The last reconstructed signals: RLT.
    signals: [i32; 2],
    /// The signs of the last partly reconstructed signals: PLT. Zero is positive.
    signs: [i32; 2],
    /// Of the two poles and the six zeros: AL, BL.
    poles: [i32; 2],
    zeros: [i32; 6],
    /// The last differences: DLT.
    differences: [i32; 6],
    /// What the zeros predict, and all: SZ and S.
    by_zeros: i32,
    predicted: i32,
}

impl Band {
    pub(super) fn low() -> Self {
        Self::new(18_432, 8, 32)
    }

    pub(super) fn high() -> Self {
        Self::new(22_528, 10, 8)
    }

    fn new(log_max: i32, shift: i32, scale: i32) -> Self {
        Self {
            log: 0,
            log_max,
            shift,
            scale,
            signals: [0; 2],
            signs: [0; 2],
            poles: [0; 2],
            zeros: [0; 6],
            differences: [0; 6],
            by_zeros: 0,
            predicted: 0,
        }
    }

    /// QUANTL.
    pub(super) fn encode_low(&mut self, signal: i32) -> u8 {
        let difference = clamp(signal - self.predicted);
        let magnitude = if difference < 0 {
            -(difference + 1)
        } else {
            difference
        };
        let mut levels = LEVELS.iter();
        let level = levels.position(|level| magnitude < (level * self.scale) >> 12);
        let level = u8::try_from(level.unwrap_or(LEVELS.len())).unwrap_or(0);
        // Codes fall with the level; the two smallest negative ones stand at the other end.
        let code = match (difference < 0, level) {
            (false, _) => 61 - level,
            (true, 0 | 1) => 63 - level,
            (true, _) => 33 - level,
        };
        self.adapt_low(code);
        code
    }

    /// QUANTH.
    pub(super) fn encode_high(&mut self, signal: i32) -> u8 {
        let difference = clamp(signal - self.predicted);
        let magnitude = if difference < 0 {
            -(difference + 1)
        } else {
            difference
        };
        let far = magnitude >= (LEVEL_HIGH * self.scale) >> 12;
        let code = match (difference < 0, far) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        };
        self.adapt_high(code);
        code
    }

    /// INVQBL, RECONS and LIMIT, before the predictor goes on.
    pub(super) fn decode_low(&mut self, code: u8) -> i32 {
        let difference = (self.scale * SIX[usize::from(code & 63)]) >> 15;
        let signal = (self.predicted + difference).clamp(-16_384, 16_383);
        self.adapt_low(code);
        signal
    }

    pub(super) fn decode_high(&mut self, code: u8) -> i32 {
        let predicted = self.predicted;
        (predicted + self.adapt_high(code)).clamp(-16_384, 16_383)
    }

    fn adapt_low(&mut self, code: u8) {
        let upper = usize::from(code >> 2 & 15);
        self.adapt(FOUR[upper], STEP_LOW[upper]);
    }

    fn adapt_high(&mut self, code: u8) -> i32 {
        let code = usize::from(code & 3);
        self.adapt(TWO[code], STEP_HIGH[code])
    }

    /// INVQAL, LOGSCL and SCALEL, or those of the high band. Gives the quantized difference.
    fn adapt(&mut self, factor: i32, step: i32) -> i32 {
        let difference = (self.scale * factor) >> 15;
        self.log = (((self.log * 127) >> 7) + step).clamp(0, self.log_max);
        let power = POWERS[usize::try_from(self.log >> 6 & 31).unwrap_or(0)];
        let down = self.shift - (self.log >> 11);
        self.scale = if down < 0 {
            power << -down
        } else {
            power >> down
        } << 2;
        self.predict(difference);
        difference
    }

    /// Block 4: both predictors follow, and say what to expect next.
    fn predict(&mut self, difference: i32) {
        let signal = clamp(self.predicted + difference);
        let sign = clamp(self.by_zeros + difference) >> 15;
        self.poles = self.next_poles(sign);
        self.signs = [sign, self.signs[0]];
        // UPZERO.
        let weight = if difference == 0 { 0 } else { 128 };
        for (zero, before) in self.zeros.iter_mut().zip(self.differences) {
            let same = before >> 15 == difference >> 15;
            *zero = clamp(if same { weight } else { -weight } + ((*zero * 32_640) >> 15));
        }
        // DELAYA.
        self.differences.copy_within(..5, 1);
        self.differences[0] = difference;
        self.signals = [signal, self.signals[0]];
        // FILTEP, FILTEZ, PREDIC.
        let product = |weight: i32, value: i32| (weight * clamp(value + value)) >> 15;
        let [first, second] = [0, 1].map(|at| product(self.poles[at], self.signals[at]));
        let zeros = self.zeros.iter().zip(self.differences);
        self.by_zeros = clamp(zeros.map(|(zero, before)| product(*zero, before)).sum());
        self.predicted = clamp(clamp(first + second) + self.by_zeros);
    }

    /// UPPOL2 and UPPOL1.
    fn next_poles(&self, sign: i32) -> [i32; 2] {
        let [first, second] = self.poles;
        let slope = clamp(first << 2);
        let slope = if sign == self.signs[0] { -slope } else { slope }.min(32_767);
        let drift = if sign == self.signs[1] { 128 } else { -128 };
        let second = (drift + (slope >> 7) + ((second * 32_512) >> 15)).clamp(-12_288, 12_288);
        let drift = if sign == self.signs[0] { 192 } else { -192 };
        let bound = clamp(15_360 - second);
        let first = clamp(drift + ((first * 32_640) >> 15)).clamp(-bound, bound);
        [first, second]
    }
}

fn clamp(value: i32) -> i32 {
    i32::from(saturated(value))
}
