//! What is heard in the place of lost sound, where the codec has nothing to say of it: the last period of the voice again and again,
//! fading, as ITU-T G.711 appendix I has it in the main.

use super::Rate;

/// A period of a voice is between these, in 1/10 ms: 66 to 400 Hz.
const PERIOD_TENTHS: std::ops::RangeInclusive<usize> = 25..=150;
/// So much is compared to find it.
const WINDOW_MS: usize = 10;
/// The longest period and the window before it.
const HISTORY_MS: usize = 25;
/// Lost sound is as loud as what was before it so long …
const STEADY_MS: usize = 10;
/// … and silent after so long.
const SILENT_MS: usize = 60;
/// What follows a loss is blended in for so long.
const BLEND_MS: usize = 5;

/// Of one stream of samples.
#[derive(Debug)]
pub(super) struct Concealer {
    rate: Rate,
    /// What was heard last, the newest at the end.
    history: Vec<i16>,
    /// Samples that were made up since.
    lost: usize,
    /// Of the voice, in samples; found at the first loss.
    period: usize,
}

impl Concealer {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            history: vec![0; rate.samples(HISTORY_MS)],
            lost: 0,
            period: 1,
        }
    }

    /// Takes note of sound that arrived, and makes it begin smoothly after a loss.
    pub(super) fn heard(&mut self, sound: &mut [i16]) {
        if self.lost > 0 {
            let steps = self.rate.samples(BLEND_MS);
            for (step, sample) in sound.iter_mut().take(steps).enumerate() {
                let made_up = i64::from(self.made_up(self.lost + step));
                let (old, new) = ((steps - step) as i64, step as i64);
                let blended = (made_up * old + i64::from(*sample) * new) / steps as i64;
                *sample = i16::try_from(blended).unwrap_or(*sample);
            }
            self.lost = 0;
        }
        let newest = sound.get(sound.len().saturating_sub(self.history.len())..);
        let newest = newest.unwrap_or_default();
        self.history.copy_within(newest.len().., 0);
        let kept = self.history.len() - newest.len();
        self.history[kept..].copy_from_slice(newest);
    }

    /// Makes up `ms` of sound.
    pub(super) fn conceal(&mut self, ms: usize, sound: &mut Vec<i16>) {
        if self.lost == 0 {
            self.period = self.find_period();
        }
        let count = self.rate.samples(ms);
        sound.extend((self.lost..self.lost + count).map(|at| self.made_up(at)));
        self.lost += count;
    }

    /// The sample so far behind the last one that was heard.
    fn made_up(&self, at: usize) -> i16 {
        let (steady, silent) = (self.rate.samples(STEADY_MS), self.rate.samples(SILENT_MS));
        let from = self.history.len() - self.period + at % self.period;
        let left = silent.saturating_sub(at.max(steady)) as i64;
        let sample = self
            .history
            .get(from)
            .map_or(0, |sample| i64::from(*sample));
        i16::try_from(sample * left / (silent - steady) as i64).unwrap_or(0)
    }

    /// The shift by which the newest sound is most like what was before it.
    fn find_period(&self) -> usize {
        let window = self.rate.samples(WINDOW_MS);
        let end = self.history.len();
        let newest = &self.history[end - window..];
        let likeness = |period: usize| {
            let before = &self.history[end - window - period..end - period];
            let product = |a: &[i16], b: &[i16]| -> f32 {
                a.iter()
                    .zip(b)
                    .map(|(a, b)| f32::from(*a) * f32::from(*b))
                    .sum()
            };
            product(newest, before) / product(before, before).max(1.0).sqrt()
        };
        let tenths = self.rate.samples(1);
        let periods = *PERIOD_TENTHS.start() * tenths / 10..=*PERIOD_TENTHS.end() * tenths / 10;
        let best = periods.map(|period| (period, likeness(period)));
        best.max_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(1, |(period, _)| period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: Rate, from: usize, count: usize) -> Vec<i16> {
        let step = std::f32::consts::TAU * 200.0 / rate.hz() as f32;
        let tone = (from..from + count).map(|at| (at as f32 * step).sin() * 10_000.0);
        tone.map(|sample| sample as i16).collect()
    }

    /// A tone goes on in its phase, is silent in the end, and comes back without a step.
    #[test]
    fn a_tone_goes_on_and_fades() {
        for rate in [Rate::Narrow, Rate::Wide] {
            let mut concealer = Concealer::new(rate);
            let frame = rate.samples(20);
            concealer.heard(&mut tone(rate, 0, 2 * frame));
            let mut lost = Vec::new();
            concealer.conceal(10, &mut lost);
            for (made_up, real) in lost.iter().zip(tone(rate, 2 * frame, frame)) {
                assert!(
                    (i32::from(*made_up) - i32::from(real)).abs() < 600,
                    "{made_up} {real}"
                );
            }
            concealer.conceal(60, &mut lost);
            assert_eq!(lost.len(), rate.samples(70));
            assert_eq!(lost[rate.samples(60)..], vec![0; rate.samples(10)]);
            let mut next = tone(rate, 0, frame);
            concealer.heard(&mut next);
            assert_eq!(next[0], 0);
            assert_eq!(
                next[rate.samples(BLEND_MS)..],
                tone(rate, 0, frame)[rate.samples(BLEND_MS)..]
            );
        }
    }

    #[test]
    fn nothing_heard_is_silence() {
        let mut concealer = Concealer::new(Rate::Narrow);
        let mut lost = Vec::new();
        concealer.conceal(40, &mut lost);
        concealer.heard(&mut []);
        assert_eq!(lost, vec![0; 320]);
    }
}
