//! What the tests of several modules need: bytes by their digits, and a browser.

mod browser;

pub(crate) use browser::{Browser, dtls_config};

use crate::packet::Packet;

/// Bytes by their hexadecimal digits.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).unwrap();
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::try_from(digit(pair[0]) << 4 | digit(pair[1])).unwrap())
        .collect()
}

/// These bytes, in a buffer that they fit into.
pub(crate) fn packet<'b>(buffer: &'b mut [u8], bytes: &[u8]) -> Packet<'b> {
    buffer[..bytes.len()].copy_from_slice(bytes);
    Packet::new(buffer, bytes.len())
}

/// How much of the energy of `sound` is at this frequency, 0 to 1 (Goertzel).
pub(crate) fn share_of(hz: f64, sound: &[i16], rate_hz: u32) -> f64 {
    let step = std::f64::consts::TAU * hz / f64::from(rate_hz);
    let twice = 2.0 * step.cos();
    let (mut last, mut before, mut energy) = (0.0, 0.0, 0.0);
    for sample in sound {
        let sample = f64::from(*sample);
        (last, before) = (sample + twice * last - before, last);
        energy += sample * sample;
    }
    let power = last * last + before * before - twice * last * before;
    2.0 * power / (energy * sound.len() as f64).max(1.0)
}
