//! Between 8 and 16 kHz: a half-band filter, of which every other tap is zero.

use super::Rate;

/// Taps on either side of the middle that are not zero.
const TAPS: usize = 16;

/// Of one stream of samples.
pub(super) struct Resampler {
    way: Way,
    taps: [f32; TAPS],
    /// What is still needed of what came, the newest at the end.
    window: Vec<f32>,
}

#[derive(Clone, Copy)]
enum Way {
    Same,
    Up,
    Down,
}

impl Resampler {
    pub(super) fn new(from: Rate, to: Rate) -> Self {
        let (way, before) = match (from, to) {
            (Rate::Narrow, Rate::Wide) => (Way::Up, 2 * TAPS - 1),
            (Rate::Wide, Rate::Narrow) => (Way::Down, 4 * TAPS - 2),
            (Rate::Narrow, Rate::Narrow) | (Rate::Wide, Rate::Wide) => (Way::Same, 0),
        };
        let mut window = Vec::with_capacity(before + from.samples(super::PACKET_MS_MAX));
        window.resize(before, 0.0);
        Self {
            way,
            taps: taps(),
            window,
        }
    }

    /// Adds to `out` as many samples at the other rate as there are for `sound`.
    pub(super) fn run(&mut self, sound: &[i16], out: &mut Vec<i16>) {
        if let Way::Same = self.way {
            out.extend_from_slice(sound);
            return;
        }
        self.window
            .extend(sound.iter().map(|sample| f32::from(*sample)));
        let mut at = 0;
        match self.way {
            Way::Same => {}
            Way::Up => {
                while let Some(window) = self.window.get(at..at + 2 * TAPS) {
                    let (before, behind) = window.split_at(TAPS);
                    let between = self.between(before.iter().rev().zip(behind));
                    out.extend([sample(window[TAPS - 1]), sample(between)]);
                    at += 1;
                }
            }
            Way::Down => {
                while let Some(window) = self.window.get(at..at + 4 * TAPS - 1) {
                    let (before, rest) = window.split_at(2 * TAPS - 1);
                    let (middle, behind) = (rest[0], &rest[1..]);
                    let odd = before.iter().rev().step_by(2).zip(behind.iter().step_by(2));
                    out.push(sample((middle + self.between(odd)) / 2.0));
                    at += 2;
                }
            }
        }
        self.window.drain(..at);
    }

    /// The value in the middle of pairs of neighbours, the nearest first.
    fn between<'s>(&self, pairs: impl Iterator<Item = (&'s f32, &'s f32)>) -> f32 {
        self.taps
            .iter()
            .zip(pairs)
            .map(|(tap, (before, behind))| tap * (before + behind))
            .sum()
    }
}

#[allow(clippy::cast_possible_truncation)]
fn sample(value: f32) -> i16 {
    // A cast of a float saturates.
    value.round() as i16
}

/// A sinc in a Blackman window, one side of it. Both sides together pass a constant unchanged.
fn taps() -> [f32; TAPS] {
    let mut taps = [0.0; TAPS];
    for (index, tap) in taps.iter_mut().enumerate() {
        #[allow(clippy::cast_precision_loss)]
        let x = (2 * index + 1) as f32 * std::f32::consts::FRAC_PI_2;
        #[allow(clippy::cast_precision_loss)]
        let w = x * 2.0 / (2 * TAPS) as f32;
        *tap = x.sin() / x * (0.42 + 0.5 * w.cos() + 0.08 * (2.0 * w).cos());
    }
    let sum: f32 = taps.iter().sum();
    taps.map(|tap| tap / sum / 2.0)
}
