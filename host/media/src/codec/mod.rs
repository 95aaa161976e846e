//! Sound as telephones and browsers encode it, to linear samples and back: G.711, G.722 and Opus, each at the rate that suits both ends of
//! a call.
//!
//! Knows nothing of RTP but payloads, and takes whatever bytes there are for one. Allocates nothing once it is set up, but what the Opus
//! library does by itself.

mod conceal;
mod g711;
mod g722;
mod opus;
mod resample;
#[cfg(test)]
mod tests;

use conceal::Concealer;
use g711::Law;
use resample::Resampler;

/// One packet of ours, ms.
pub const FRAME_MS: usize = 20;
/// What lasts longer in one packet is cut short; Opus cannot (RFC 6716 §3.2.5).
pub const PACKET_MS_MAX: usize = 120;
/// What an encoder writes at most.
pub const PAYLOAD_BYTES_MAX: usize = 400;

/// A payload format that we transcode, by its name in `a=rtpmap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// G.711, µ-law (RFC 3551 §4.5.14).
    Pcmu,
    /// G.711, A-law.
    Pcma,
    /// G.722 at 64 kbit/s (RFC 3551 §4.5.2).
    G722,
    /// RFC 7587.
    Opus,
}

/// How often linear sound is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rate {
    /// 8 kHz.
    Narrow,
    /// 16 kHz.
    Wide,
}

impl Rate {
    /// Samples in a second.
    #[must_use]
    pub fn hz(self) -> u32 {
        match self {
            Self::Narrow => 8000,
            Self::Wide => 16_000,
        }
    }

    /// Samples in so many ms.
    #[must_use]
    pub fn samples(self, ms: usize) -> usize {
        match self {
            Self::Narrow => 8 * ms,
            Self::Wide => 16 * ms,
        }
    }
}

impl Encoding {
    /// By the encoding name and the clock of `a=rtpmap`.
    #[must_use]
    pub fn of(name: &str, clock_hz: u32) -> Option<Self> {
        let all = [Self::Pcmu, Self::Pcma, Self::G722, Self::Opus];
        all.into_iter().find(|encoding| {
            encoding.name().eq_ignore_ascii_case(name) && encoding.clock_hz() == clock_hz
        })
    }

    /// The encoding name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
        }
    }

    /// Of RTP timestamps. That of G.722 is not its sampling rate, for a mistake in RFC 1890 (RFC 3551 §4.5.2).
    #[must_use]
    pub fn clock_hz(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8000,
            Self::Opus => 48_000,
        }
    }

    /// Its own sampling rate; Opus has any.
    fn rate(self) -> Option<Rate> {
        match self {
            Self::Pcmu | Self::Pcma => Some(Rate::Narrow),
            Self::G722 => Some(Rate::Wide),
            Self::Opus => None,
        }
    }

    /// The rate to transcode at: no higher than either end has use for.
    #[must_use]
    pub fn rate_between(from: impl Iterator<Item = Self>, to: Self) -> Rate {
        let best = || from.filter_map(Self::rate).max();
        to.rate().or_else(best).unwrap_or(Rate::Wide)
    }
}

/// From payloads to linear sound.
pub struct Decoder(Decoding);

enum Decoding {
    Waveform(Box<Waveform>),
    Opus(Box<opus::Decoder>),
    #[cfg(test)]
    Broken,
}

/// What is decoded sample by sample: losses are ours to conceal, and its rate ours to change.
struct Waveform {
    bytes: Bytes,
    concealer: Concealer,
    resampler: Resampler,
    /// At its own rate: empty between calls.
    sound: Vec<i16>,
}

enum Bytes {
    G711(Law),
    G722(Box<g722::Decoder>),
}

impl Decoder {
    /// `None` where the Opus library refuses, which it does not for our rates.
    #[must_use]
    pub fn new(encoding: Encoding, rate: Rate) -> Option<Self> {
        let (bytes, own) = match encoding {
            Encoding::Pcmu => (Bytes::G711(Law::Mu), Rate::Narrow),
            Encoding::Pcma => (Bytes::G711(Law::A), Rate::Narrow),
            Encoding::G722 => (Bytes::G722(Box::default()), Rate::Wide),
            Encoding::Opus => {
                let opus = Box::new(opus::Decoder::new(rate)?);
                return Some(Self(Decoding::Opus(opus)));
            }
        };
        Some(Self(Decoding::Waveform(Box::new(Waveform {
            bytes,
            concealer: Concealer::new(own),
            resampler: Resampler::new(own, rate),
            sound: Vec::with_capacity(own.samples(PACKET_MS_MAX)),
        }))))
    }

    /// Panics whatever it is given.
    #[cfg(test)]
    pub(crate) fn broken() -> Self {
        Self(Decoding::Broken)
    }

    /// Adds what a payload holds to `sound`.
    pub fn decode(&mut self, payload: &[u8], sound: &mut Vec<i16>) {
        match &mut self.0 {
            Decoding::Opus(opus) => opus.decode(payload, sound),
            #[cfg(test)]
            Decoding::Broken => panic!("a codec that panics"),
            Decoding::Waveform(waveform) => waveform.decode(payload, sound),
        }
    }

    /// Adds `ms` of sound in the place of what was lost before `next`, a payload that may hold some of it.
    pub fn conceal(&mut self, ms: usize, next: &[u8], sound: &mut Vec<i16>) {
        match &mut self.0 {
            Decoding::Opus(opus) => opus.conceal(ms, next, sound),
            #[cfg(test)]
            Decoding::Broken => panic!("a codec that panics"),
            Decoding::Waveform(waveform) => waveform.conceal(ms, sound),
        }
    }
}

impl Waveform {
    fn decode(&mut self, payload: &[u8], sound: &mut Vec<i16>) {
        // Both have one byte for every 1/8000 s.
        let payload = payload.iter().take(Rate::Narrow.samples(PACKET_MS_MAX));
        match &mut self.bytes {
            Bytes::G711(law) => self.sound.extend(payload.map(|byte| law.decode(*byte))),
            Bytes::G722(g722) => payload.for_each(|byte| self.sound.extend(g722.decode(*byte))),
        }
        self.concealer.heard(&mut self.sound);
        self.resampler.run(&self.sound, sound);
        self.sound.clear();
    }

    fn conceal(&mut self, ms: usize, sound: &mut Vec<i16>) {
        self.concealer.conceal(ms, &mut self.sound);
        self.resampler.run(&self.sound, sound);
        self.sound.clear();
    }
}

/// From linear sound to payloads.
pub struct Encoder(Encodings);

enum Encodings {
    G711(Law),
    G722(Box<g722::Encoder>),
    Opus(Box<opus::Encoder>),
}

impl Encoder {
    /// `rate` must be that of [`Encoding::rate_between`]. `None` where the Opus library refuses.
    #[must_use]
    pub fn new(encoding: Encoding, rate: Rate) -> Option<Self> {
        Some(Self(match encoding {
            Encoding::Pcmu => Encodings::G711(Law::Mu),
            Encoding::Pcma => Encodings::G711(Law::A),
            Encoding::G722 => Encodings::G722(Box::default()),
            Encoding::Opus => Encodings::Opus(Box::new(opus::Encoder::new(rate)?)),
        }))
    }

    /// Writes one frame of [`FRAME_MS`]. Gives how many bytes it has; 0 if it cannot be encoded.
    pub fn encode(&mut self, frame: &[i16], payload: &mut [u8; PAYLOAD_BYTES_MAX]) -> usize {
        match &mut self.0 {
            Encodings::G711(law) => {
                let pairs = payload.iter_mut().zip(frame);
                pairs
                    .map(|(byte, sample)| *byte = law.encode(*sample))
                    .count()
            }
            Encodings::G722(g722) => {
                let (pairs, _) = frame.as_chunks::<2>();
                let pairs = payload.iter_mut().zip(pairs);
                pairs.map(|(byte, pair)| *byte = g722.encode(*pair)).count()
            }
            Encodings::Opus(opus) => opus.encode(frame, payload),
        }
    }
}
