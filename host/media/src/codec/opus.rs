//! Opus (RFC 6716) in one channel, at the rate of the other end: the library's own filters change the rate, and it conceals losses by
//! itself and by what the next packet repeats of the lost one (FEC).

use ropus::{Application, Bitrate, Channels, DecodeMode, InbandFec};

use super::{FRAME_MS, PACKET_MS_MAX, PAYLOAD_BYTES_MAX, Rate};

/// Half of what is the default: one core then carries twice the calls, and speech sounds the same.
const COMPLEXITY: u8 = 5;
/// What we take the way to the hearer to lose, in percent: so much is repeated for it.
const EXPECTED_LOSS: u8 = 5;

pub(super) struct Decoder {
    opus: ropus::Decoder,
    rate: Rate,
}

impl Decoder {
    pub(super) fn new(rate: Rate) -> Option<Self> {
        let opus = ropus::Decoder::new(rate.hz(), Channels::Mono).ok()?;
        Some(Self { opus, rate })
    }

    /// What is no Opus is taken for lost.
    pub(super) fn decode(&mut self, payload: &[u8], sound: &mut Vec<i16>) {
        if payload.is_empty() || !self.run(PACKET_MS_MAX, payload, DecodeMode::Normal, sound) {
            self.run(FRAME_MS, &[], DecodeMode::Normal, sound);
        }
    }

    pub(super) fn conceal(&mut self, ms: usize, next: &[u8], sound: &mut Vec<i16>) {
        if next.is_empty() || !self.run(ms, next, DecodeMode::Fec, sound) {
            self.run(ms, &[], DecodeMode::Normal, sound);
        }
    }

    /// `ms`: for what there is room; with nothing to decode, what is made up.
    fn run(&mut self, ms: usize, payload: &[u8], mode: DecodeMode, sound: &mut Vec<i16>) -> bool {
        let before = sound.len();
        sound.resize(before + self.rate.samples(ms), 0);
        let decoded = self.opus.decode(payload, &mut sound[before..], mode);
        sound.truncate(before + decoded.unwrap_or(0));
        decoded.is_ok()
    }
}

pub(super) struct Encoder {
    opus: ropus::Encoder,
}

impl Encoder {
    pub(super) fn new(rate: Rate) -> Option<Self> {
        let bits = match rate {
            Rate::Narrow => 16_000,
            Rate::Wide => 24_000,
        };
        let opus = ropus::Encoder::builder(rate.hz(), Channels::Mono, Application::Voip)
            .bitrate(Bitrate::Bits(bits))
            .complexity(COMPLEXITY)
            .inband_fec(InbandFec::Enabled)
            .packet_loss_perc(EXPECTED_LOSS)
            .build()
            .ok()?;
        Some(Self { opus })
    }

    pub(super) fn encode(&mut self, frame: &[i16], payload: &mut [u8; PAYLOAD_BYTES_MAX]) -> usize {
        self.opus.encode(frame, payload).unwrap_or(0)
    }
}
