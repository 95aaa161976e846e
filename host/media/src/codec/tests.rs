//! Tones through every pair of codecs, vectors, and bytes that are no sound.

use sha2::{Digest, Sha256};

use super::*;
use crate::testing::{hex, share_of};

const ALL: [Encoding; 4] = [
    Encoding::Pcmu,
    Encoding::Pcma,
    Encoding::G722,
    Encoding::Opus,
];

/// Noise of a linear congruential generator.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> u16 {
        self.0 = self.0.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        (self.0 >> 16) as u16
    }
}

fn tone(hz: f64, rate: Rate, frame: usize) -> Vec<i16> {
    let samples = rate.samples(FRAME_MS);
    let step = std::f64::consts::TAU * hz / f64::from(rate.hz());
    let tone = (frame * samples..(frame + 1) * samples).map(|at| (at as f64 * step).sin() * 9000.0);
    tone.map(|sample| sample as i16).collect()
}

/// From linear sound to linear sound through both, some frames being lost between them.
fn through(
    hz: f64,
    from: Encoding,
    to: Encoding,
    lost: impl Fn(usize) -> bool,
) -> (Vec<i16>, Rate) {
    let rate = Encoding::rate_between([from].into_iter(), to);
    let own = from.rate().unwrap_or(rate);
    let mut first = Encoder::new(from, own).unwrap();
    let (mut second, mut third) = (
        Decoder::new(from, rate).unwrap(),
        Encoder::new(to, rate).unwrap(),
    );
    let mut last = Decoder::new(to, rate).unwrap();
    let (mut sound, mut heard, mut payload) = (Vec::new(), Vec::new(), [0; PAYLOAD_BYTES_MAX]);
    let mut missing = 0;
    for frame in 0..100 {
        let len = first.encode(&tone(hz, own, frame), &mut payload);
        if lost(frame) {
            missing += FRAME_MS;
            continue;
        }
        if missing > 0 {
            second.conceal(missing, &payload[..len], &mut sound);
        }
        missing = 0;
        second.decode(&payload[..len], &mut sound);
        while sound.len() >= rate.samples(FRAME_MS) {
            let len = third.encode(&sound[..rate.samples(FRAME_MS)], &mut payload);
            sound.drain(..rate.samples(FRAME_MS));
            last.decode(&payload[..len], &mut heard);
        }
    }
    assert_eq!(
        (sound.len(), heard.len()),
        (0, rate.samples(2000)),
        "{from:?} to {to:?}"
    );
    (heard, rate)
}

#[test]
fn a_tone_goes_through_every_pair() {
    for (from, to) in ALL
        .iter()
        .flat_map(|from| ALL.iter().map(move |to| (*from, *to)))
    {
        let (heard, rate) = through(1000.0, from, to, |_| false);
        let share = share_of(1000.0, &heard[4000..], rate.hz());
        assert!(share > 0.98, "{from:?} to {to:?}: {share}");
    }
}

/// What is above the half of 8 kHz is there at 16 kHz, and does not come back as something else at 8 kHz.
#[test]
fn the_wide_band_is_kept_between_wide_codecs_and_removed_for_narrow_ones() {
    let (heard, rate) = through(5500.0, Encoding::G722, Encoding::Opus, |_| false);
    assert_eq!(rate, Rate::Wide);
    assert!(share_of(5500.0, &heard[4000..], rate.hz()) > 0.9);
    let (heard, rate) = through(5500.0, Encoding::G722, Encoding::Pcma, |_| false);
    assert_eq!(rate, Rate::Narrow);
    let loudest = heard[4000..].iter().map(|sample| sample.abs()).max();
    assert!(loudest < Some(450), "{loudest:?}");
}

#[test]
fn losses_are_concealed() {
    for from in ALL {
        let (heard, rate) = through(500.0, from, Encoding::Pcma, |frame| frame % 20 == 7);
        let share = share_of(500.0, &heard[4000..], rate.hz());
        assert!(share > 0.85, "{from:?}: {share}");
        // No frame in the place of a lost one is silent.
        for lost in (27..100).step_by(20) {
            let frame = &heard[rate.samples(20 * lost)..][..rate.samples(20)];
            let loudest = frame.iter().map(|sample| sample.abs()).max();
            assert!(loudest > Some(4000), "{from:?}, frame {lost}: {loudest:?}");
        }
    }
}

/// Nothing that comes as a payload breaks a decoder, or makes it say more than a packet may hold; and it decodes again afterwards.
#[test]
fn any_bytes_are_decoded_to_something() {
    let mut noise = Noise(1);
    for (encoding, rate) in ALL
        .iter()
        .flat_map(|e| [(*e, Rate::Narrow), (*e, Rate::Wide)])
    {
        let mut decoder = Decoder::new(encoding, rate).unwrap();
        let mut sound = Vec::new();
        for round in 0..3000_usize {
            let len = usize::from(noise.next()) % if round % 8 == 0 { 1500 } else { 120 };
            let payload: Vec<u8> = (0..len).map(|_| noise.next() as u8).collect();
            if round % 5 == 0 {
                decoder.conceal(FRAME_MS * (1 + round % 6), &payload, &mut sound);
                assert_eq!(
                    sound.len(),
                    rate.samples(FRAME_MS * (1 + round % 6)),
                    "{encoding:?}"
                );
                sound.clear();
            }
            decoder.decode(&payload, &mut sound);
            assert!(sound.len() <= rate.samples(PACKET_MS_MAX), "{encoding:?}");
            sound.clear();
        }
        let mut encoder = Encoder::new(encoding, encoding.rate().unwrap_or(rate)).unwrap();
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        for frame in 0..50 {
            let frame = tone(800.0, encoding.rate().unwrap_or(rate), frame);
            let len = encoder.encode(&frame, &mut payload);
            decoder.decode(&payload[..len], &mut sound);
        }
        assert!(
            share_of(800.0, &sound[sound.len() / 2..], rate.hz()) > 0.95,
            "{encoding:?}"
        );
    }
}

/// The loudest noise there is, and silence.
#[test]
fn any_sound_is_encoded() {
    let mut noise = Noise(2);
    for encoding in ALL {
        let rate = encoding.rate().unwrap_or(Rate::Narrow);
        let mut encoder = Encoder::new(encoding, rate).unwrap();
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        for round in 0..500 {
            let frame: Vec<i16> = (0..rate.samples(FRAME_MS))
                .map(|at| match round % 4 {
                    0 => noise.next().cast_signed(),
                    1 => [i16::MIN, i16::MAX][at % 2],
                    2 => i16::MIN,
                    _ => 0,
                })
                .collect();
            assert!(encoder.encode(&frame, &mut payload) > 0, "{encoding:?}");
        }
    }
}

/// The same input gives the same bytes and the same sound as another implementation, SpanDSP's descendant in the Python package G722 1.2.8.
#[test]
fn g722_is_bit_exact() {
    let mut noise = Noise(12_345);
    let samples = (0..8000).map(|at| {
        let sample = noise.next().cast_signed();
        if at / 1000 % 2 == 0 {
            sample
        } else {
            sample >> 6
        }
    });
    let samples: Vec<i16> = samples.collect();
    let (pairs, _) = samples.as_chunks::<2>();
    let mut encoder = g722::Encoder::default();
    let bytes: Vec<u8> = pairs.iter().map(|pair| encoder.encode(*pair)).collect();
    assert_eq!(bytes[..16], hex("328820842084049991043213a0a91888"));
    let digest = |bytes: &[u8]| Sha256::digest(bytes).to_vec();
    let expected = "1510d920eb75d5bf5ffb7877eac077a70575ff6cbc50d090f3d8f6b24859491e";
    assert_eq!(digest(&bytes), hex(expected));
    let decoded = |bytes: &[u8]| {
        let mut decoder = g722::Decoder::default();
        let sound = bytes.iter().flat_map(|byte| decoder.decode(*byte));
        sound.flat_map(i16::to_le_bytes).collect::<Vec<u8>>()
    };
    let expected = "d9056ecb5fe4c5517f73bfc4884c7e311aade8061ba8b5cee76eae5cfd151376";
    assert_eq!(digest(&decoded(&bytes)), hex(expected));
    let mut noise = Noise(1);
    let wild: Vec<u8> = (0..8000).map(|_| noise.next() as u8).collect();
    let expected = "2c62526af43387ab1315727ee82013d2c0bace2a33e9afa730c7f3ce55ed9a6f";
    assert_eq!(digest(&decoded(&wild)), hex(expected));
}
