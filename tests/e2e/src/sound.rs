//! What a phone heard, from the file that it records to while it talks.

use std::{f64::consts::TAU, fs, path::Path};

/// Of a WAV file as phones write it.
const HEADER_BYTES: usize = 44;
/// So much of the end of the file is listened to.
const LISTENED_MS: usize = 300;
/// A tone is heard if so much of the power is its own.
const TONE_SHARE_MIN: f64 = 0.5;
/// So finely a recording is looked at for gaps.
const WINDOW_MS: usize = 20;
/// Of the largest sample: less is silence.
const SILENCE_MAX: f64 = 0.01;

/// What the end of a recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Too little for anything.
    Nothing,
    /// Next to no sound.
    Silence,
    /// This tone, more than all else.
    Tone,
    /// Another sound.
    Noise,
}

/// Listens for a tone at the end of a recording of 16 bits, to the first of its channels.
/// What was recorded in the first `already` bytes does not count.
#[must_use]
pub fn heard(recording: &Path, already: usize, hz: u32) -> Heard {
    let Some((rate, samples)) = samples(recording, already) else {
        return Heard::Nothing;
    };
    let listened = rate as usize * LISTENED_MS / 1_000;
    let Some(from) = samples.len().checked_sub(listened) else {
        return Heard::Nothing;
    };
    judge(&samples[from..], rate, hz)
}

/// How long the recording goes on after its first `already` bytes, and the longest time in that without this tone; in ms.
#[must_use]
pub fn longest_gap(recording: &Path, already: usize, hz: u32) -> (usize, usize) {
    let Some((rate, samples)) = samples(recording, already) else {
        return (0, 0);
    };
    let recorded = samples.len() * 1_000 / rate as usize;
    (recorded, gap_ms(&samples, rate, hz))
}

fn gap_ms(samples: &[f64], rate: u32, hz: u32) -> usize {
    let windows = samples.chunks_exact(rate as usize * WINDOW_MS / 1_000);
    let heard: Vec<bool> = windows
        .map(|window| judge(window, rate, hz) == Heard::Tone)
        .collect();
    let gaps = heard.split(|heard| *heard).map(<[bool]>::len);
    gaps.max().unwrap_or_default() * WINDOW_MS
}

/// How many in a second, and those of the first channel, from 16 bits.
fn samples(recording: &Path, already: usize) -> Option<(u32, Vec<f64>)> {
    let bytes = fs::read(recording).ok()?;
    let (channels, rate) = format(&bytes)?;
    let data = bytes.get(whole_samples(&bytes, already)..)?;
    let frames = data.chunks_exact(2 * usize::from(channels));
    let sample = |frame: &[u8]| f64::from(i16::from_le_bytes([frame[0], frame[1]]));
    let samples = frames.map(|frame| sample(frame) / f64::from(i16::MAX));
    Some((rate, samples.collect()))
}

/// Where to begin: behind the header and what was there before, at a sample of the first channel.
fn whole_samples(bytes: &[u8], already: usize) -> usize {
    let frame = format(bytes).map_or(1, |(channels, _)| 2 * usize::from(channels));
    HEADER_BYTES + already.saturating_sub(HEADER_BYTES).next_multiple_of(frame)
}

/// Channels, and samples of each in a second.
fn format(bytes: &[u8]) -> Option<(u16, u32)> {
    let channels = u16::from_le_bytes(bytes.get(22..24)?.try_into().ok()?);
    let rate = u32::from_le_bytes(bytes.get(24..28)?.try_into().ok()?);
    (channels > 0 && rate > 0).then_some((channels, rate))
}

fn judge(samples: &[f64], rate: u32, hz: u32) -> Heard {
    let power: f64 = samples.iter().map(|sample| sample * sample).sum();
    let mean = power / samples.len() as f64;
    if mean.sqrt() < SILENCE_MAX {
        return Heard::Silence;
    }
    match tone_power(samples, rate, hz) / power >= TONE_SHARE_MIN {
        true => Heard::Tone,
        false => Heard::Noise,
    }
}

/// The power of one frequency: one bin of the discrete Fourier transform.
fn tone_power(samples: &[f64], rate: u32, hz: u32) -> f64 {
    let step = TAU * f64::from(hz) / f64::from(rate);
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let (sin, cos) = (step * n as f64).sin_cos();
        real += sample * cos;
        imaginary += sample * sin;
    }
    2.0 * (real * real + imaginary * imaginary) / samples.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hz: u32, volume: f64) -> Vec<f64> {
        let step = TAU * f64::from(hz) / 8_000.0;
        (0..2_400)
            .map(|n| volume * (step * f64::from(n)).sin())
            .collect()
    }

    #[test]
    fn a_tone_is_told_from_another_and_from_silence() {
        assert_eq!(judge(&sine(440, 0.3), 8_000, 440), Heard::Tone);
        assert_eq!(judge(&sine(440, 0.3), 8_000, 700), Heard::Noise);
        assert_eq!(judge(&sine(440, 0.001), 8_000, 440), Heard::Silence);
    }

    #[test]
    fn a_gap_is_as_long_as_the_tone_is_away() {
        let mut samples = sine(440, 0.3);
        assert_eq!(gap_ms(&samples, 8_000, 440), 0);
        samples[800..1_760].fill(0.0);
        assert_eq!(gap_ms(&samples, 8_000, 440), 120);
    }
}
