//! Packets of all calls, fifty a second from each end, spread evenly over time; and what came of them at the other ends.

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hookswitch_media::{
    codec::{Encoder, Encoding, FRAME_MS, PAYLOAD_BYTES_MAX},
    packet::{PACKET_TAIL_BYTES, Packet},
};
use mio::{Events, Interest, Poll, Token};

use crate::call::{Call, End, payload_type};

/// Of each end.
pub const PACKETS_PER_SECOND: u32 = 50;
const TICK: Duration = Duration::from_millis(1);
/// In which every end sends once.
const TICKS: usize = 20;
/// Within so many ticks every browser checks its way for the first time in a run, and then every so often (RFC 7675 §5.1).
const FIRST_CHECKS: usize = 1000;
const CHECK_TICKS: usize = 5000;
/// What is on its way when the last one was sent.
const SETTLE: Duration = Duration::from_millis(300);
/// 20 ms of G.711.
const PAYLOAD: [u8; 160] = [0xd5; 160];
/// Of a payload that nobody transcodes: when it was sent, in ns since the flow began.
const TIME_BYTES: usize = 8;
/// What is transcoded is this tone, repeated after a second.
const TONE_HZ: f64 = 440.0;
const HEADER_BYTES: usize = 12;
const DATAGRAM_BYTES_MAX: usize = 2048;
const EVENTS_MAX: usize = 1024;

/// What was sent, and what came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// By both ends of all calls.
    pub sent: u64,
    /// At both ends of all calls.
    pub received: u64,
    /// That were not what was sent.
    pub wrong: u64,
    /// By how much each packet was longer or shorter on its way than the one before it (RFC 3550 §6.4.1: D), in us; of those that nobody
    /// transcodes.
    pub deviations_us: Vec<u32>,
}

impl Count {
    /// Not more than this had `percent` of the packets.
    #[must_use]
    pub fn deviation_us(&mut self, percent: usize) -> Option<u32> {
        self.deviations_us.sort_unstable();
        let last = self.deviations_us.len().checked_sub(1)?;
        self.deviations_us.get(last * percent / 100).copied()
    }
}

/// The traffic of some calls.
pub struct Flow {
    poll: Poll,
    began: Instant,
    streams: Vec<Stream>,
}

/// What an end sends.
struct Stream {
    end: End,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    says: Says,
    /// How long the last packet that it heard was on its way, in ns.
    transit: Option<u64>,
}

enum Says {
    /// [`PAYLOAD`], with the time.
    Time,
    /// These frames, again and again.
    Sound(Vec<Vec<u8>>),
}

impl Flow {
    /// Of these.
    ///
    /// # Errors
    /// The system has no more of what it takes to wait.
    pub fn new(calls: Vec<Call>) -> Result<Self> {
        let poll = Poll::new()?;
        let mut streams = Vec::with_capacity(calls.len() * 2);
        for call in calls {
            let [caller, callee] = &call.ends;
            let is_transcoded = caller.encoding != callee.encoding;
            for end in call.ends {
                let ssrc = u32::try_from(streams.len())? + 1;
                let says = match is_transcoded {
                    true => Says::Sound(tone(end.encoding)?),
                    false => Says::Time,
                };
                streams.push(Stream::new(end, ssrc, says));
            }
        }
        for (stream, token) in streams.iter_mut().zip(0..) {
            let socket = &mut stream.end.socket;
            poll.registry()
                .register(socket, Token(token), Interest::READABLE)?;
        }
        Ok(Self {
            poll,
            began: Instant::now(),
            streams,
        })
    }

    /// Sends for so long, and waits for what is on its way.
    ///
    /// # Errors
    /// A socket does not take what it should.
    pub fn run(&mut self, time: Duration) -> Result<Count> {
        let mut count = Count::default();
        let (began, ticks) = (Instant::now(), time.as_millis() as usize);
        for tick in 0..ticks {
            self.receive_until(began + TICK * tick as u32, &mut count)?;
            for (number, stream) in self.streams.iter_mut().enumerate() {
                if number % TICKS == tick % TICKS {
                    stream.send(self.began).context("send")?;
                    count.sent += 1;
                }
                if number % FIRST_CHECKS == tick % CHECK_TICKS {
                    stream.check().context("check")?;
                }
            }
        }
        self.receive_until(Instant::now() + SETTLE, &mut count)?;
        Ok(count)
    }

    /// Once at least.
    fn receive_until(&mut self, until: Instant, count: &mut Count) -> Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.poll.poll(&mut events, Some(left)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error)?,
                Ok(()) | Err(_) => {}
            }
            for event in &events {
                if let Some(stream) = self.streams.get_mut(event.token().0) {
                    stream.receive(self.began, count);
                }
            }
            if left.is_zero() {
                return Ok(());
            }
        }
    }
}

impl Stream {
    fn new(end: End, ssrc: u32, says: Says) -> Self {
        Self {
            end,
            sequence: 1,
            timestamp: 0,
            ssrc,
            says,
            transit: None,
        }
    }

    fn send(&mut self, epoch: Instant) -> Result<()> {
        let mut buffer = [0; HEADER_BYTES + PAYLOAD_BYTES_MAX + PACKET_TAIL_BYTES];
        let mut packet = Packet::new(&mut buffer, 0);
        let encoding = self.end.encoding;
        let head = [0x80, payload_type(encoding)];
        let (number, time) = (usize::from(self.sequence), nanoseconds(epoch).to_be_bytes());
        let payload: [&[u8]; 2] = match &self.says {
            Says::Time => [&time, &PAYLOAD[TIME_BYTES..]],
            Says::Sound(frames) => [&frames[number % frames.len()], &[]],
        };
        for part in [
            &head[..],
            &self.sequence.to_be_bytes(),
            &self.timestamp.to_be_bytes(),
            &self.ssrc.to_be_bytes(),
        ]
        .into_iter()
        .chain(payload)
        {
            packet.append(part).context("a packet that is too long")?;
        }
        self.sequence = self.sequence.wrapping_add(1);
        let step = encoding.clock_hz() / PACKETS_PER_SECOND;
        self.timestamp = self.timestamp.wrapping_add(step);
        if let Some((outbound, _)) = &mut self.end.srtp {
            outbound.protect_rtp(&mut packet)?;
        }
        self.end.socket.send_to(packet.bytes(), self.end.relay)?;
        Ok(())
    }

    fn check(&self) -> io::Result<()> {
        match &self.end.check {
            Some(check) => self.end.socket.send_to(check, self.end.relay).map(drop),
            None => Ok(()),
        }
    }

    fn receive(&mut self, epoch: Instant, count: &mut Count) {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        while let Ok((length, _)) = self.end.socket.recv_from(&mut buffer) {
            let mut packet = Packet::new(&mut buffer, length);
            // What a relay says of its own accord: checks of ICE, reports.
            let number = payload_type(self.end.encoding);
            let is_media = matches!(packet.bytes(), [128, second, ..] if second & 0x7f == number);
            if !is_media {
                continue;
            }
            count.received += 1;
            let opened = match &mut self.end.srtp {
                Some((_, inbound)) => inbound.unprotect_rtp(&mut packet).is_ok(),
                None => true,
            };
            let payload = packet.bytes().get(HEADER_BYTES..).unwrap_or_default();
            let is_right = match &self.says {
                Says::Sound(_) => !payload.is_empty(),
                Says::Time => match payload.split_first_chunk() {
                    Some((sent, rest)) if rest == &PAYLOAD[TIME_BYTES..] => {
                        let transit = nanoseconds(epoch).saturating_sub(u64::from_be_bytes(*sent));
                        let before = self.transit.replace(transit);
                        let deviation = before.map(|before| transit.abs_diff(before) / 1000);
                        let deviation = deviation.map(|us| u32::try_from(us).unwrap_or(u32::MAX));
                        count.deviations_us.extend(deviation);
                        true
                    }
                    Some(_) | None => false,
                },
            };
            count.wrong += u64::from(!(opened && is_right));
        }
    }
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// A second of [`TONE_HZ`], encoded.
fn tone(encoding: Encoding) -> Result<Vec<Vec<u8>>> {
    let rate = Encoding::rate_between(std::iter::empty(), encoding);
    let mut encoder = Encoder::new(encoding, rate).context("an encoder")?;
    let step = std::f64::consts::TAU * TONE_HZ / f64::from(rate.hz());
    let sample = |at: usize| ((at as f64 * step).sin() * 9000.0) as i16;
    let samples = rate.samples(FRAME_MS);
    let frames = (0..PACKETS_PER_SECOND as usize).map(|number| {
        let frame: Vec<i16> = (0..samples).map(|i| sample(number * samples + i)).collect();
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        let length = encoder.encode(&frame, &mut payload);
        payload[..length].to_vec()
    });
    Ok(frames.collect())
}
