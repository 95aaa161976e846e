//! Packets of all calls, fifty a second from each end, spread evenly over time; and what came of them at the other ends.

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hookswitch_media::packet::{PACKET_TAIL_BYTES, Packet};
use mio::{Events, Interest, Poll, Token};

use crate::call::{Call, End};

/// Of each end.
pub const PACKETS_PER_SECOND: u32 = 50;
const TICK: Duration = Duration::from_millis(1);
/// In which every end sends once.
const TICKS: usize = 20;
/// What is on its way when the last one was sent.
const SETTLE: Duration = Duration::from_millis(300);
/// 20 ms of G.711.
const PAYLOAD: [u8; 160] = [0xd5; 160];
const HEADER_BYTES: usize = 12;
const DATAGRAM_BYTES_MAX: usize = 2048;
const EVENTS_MAX: usize = 1024;

/// What was sent, and what came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// By both ends of all calls.
    pub sent: u64,
    /// At both ends of all calls.
    pub received: u64,
    /// That were not what was sent.
    pub wrong: u64,
}

/// The traffic of some calls.
pub struct Flow {
    poll: Poll,
    streams: Vec<Stream>,
}

/// What an end sends.
struct Stream {
    end: End,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
}

impl Flow {
    /// Of these.
    ///
    /// # Errors
    /// The system has no more of what it takes to wait.
    pub fn new(calls: Vec<Call>) -> Result<Self> {
        let poll = Poll::new()?;
        let ends = calls.into_iter().flat_map(|call| call.ends);
        let mut streams: Vec<Stream> = ends.zip(1..).map(Stream::new).collect();
        for (stream, token) in streams.iter_mut().zip(0..) {
            let socket = &mut stream.end.socket;
            poll.registry()
                .register(socket, Token(token), Interest::READABLE)?;
        }
        Ok(Self { poll, streams })
    }

    /// Sends for so long, and waits for what is on its way.
    ///
    /// # Errors
    /// A socket does not take what it should.
    pub fn run(&mut self, time: Duration) -> Result<Count> {
        let mut count = Count::default();
        let (began, ticks) = (Instant::now(), time.as_millis() as usize);
        let turn_of = |tick: usize, stream: usize| stream % TICKS == tick % TICKS;
        for tick in 0..ticks {
            self.receive_until(began + TICK * tick as u32, &mut count)?;
            let streams = self.streams.iter_mut().enumerate();
            for (_, stream) in streams.filter(|(number, _)| turn_of(tick, *number)) {
                stream.send().context("send")?;
                count.sent += 1;
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
                    stream.receive(count);
                }
            }
            if left.is_zero() {
                return Ok(());
            }
        }
    }
}

impl Stream {
    fn new((end, ssrc): (End, u32)) -> Self {
        Self {
            end,
            sequence: 1,
            timestamp: 0,
            ssrc,
        }
    }

    fn send(&mut self) -> Result<()> {
        let mut buffer = [0; HEADER_BYTES + PAYLOAD.len() + PACKET_TAIL_BYTES];
        let mut packet = Packet::new(&mut buffer, 0);
        let header = [&[0x80, 8][..], &self.sequence.to_be_bytes()].concat();
        for part in [
            &header[..],
            &self.timestamp.to_be_bytes(),
            &self.ssrc.to_be_bytes(),
            &PAYLOAD,
        ] {
            packet.append(part).context("a packet that is too long")?;
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(PAYLOAD.len() as u32);
        if let Some((outbound, _)) = &mut self.end.srtp {
            outbound.protect_rtp(&mut packet)?;
        }
        self.end.socket.send_to(packet.bytes(), self.end.relay)?;
        Ok(())
    }

    fn receive(&mut self, count: &mut Count) {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        while let Ok((length, _)) = self.end.socket.recv_from(&mut buffer) {
            let mut packet = Packet::new(&mut buffer, length);
            // What a relay says of its own accord: checks of ICE, reports.
            let is_media = matches!(packet.bytes(), [128, 8 | 136, ..]);
            if !is_media {
                continue;
            }
            count.received += 1;
            let opened = match &mut self.end.srtp {
                Some((_, inbound)) => inbound.unprotect_rtp(&mut packet).is_ok(),
                None => true,
            };
            let is_right = opened && packet.bytes().get(HEADER_BYTES..) == Some(&PAYLOAD[..]);
            count.wrong += u64::from(!is_right);
        }
    }
}
