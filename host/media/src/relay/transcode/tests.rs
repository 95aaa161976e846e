use std::time::{Duration, Instant};

use crate::{
    codec::Encoding,
    packet::Packet,
    relay::{Coded, Events, Forward, Payload, Stream, StreamIds, Transcoding},
    rtcp,
    rtp::Header,
    testing::packet,
};

const OPUS: u8 = 111;
const PCMA: u8 = 8;

/// A stream, its clock, and what has come out of it: sequence, timestamp, payload type, length of the payload.
struct Relay {
    stream: Stream,
    now: Instant,
    out: Vec<Out>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Out {
    sequence: u16,
    timestamp: u32,
    payload_type: u8,
    marker: bool,
    bytes: usize,
}

impl Relay {
    fn new(from: (u8, Encoding), to: (u8, Encoding)) -> Self {
        let mut stream = Stream::new(StreamIds {
            ssrc: 99,
            sequence: 1000,
            timestamp: 50_000,
        });
        stream.set_transcoding(plan(from, to));
        Self {
            stream,
            now: Instant::now(),
            out: Vec::new(),
        }
    }

    fn pcma_to_opus() -> Self {
        Self::new((PCMA, Encoding::Pcma), (OPUS, Encoding::Opus))
    }

    fn pcma_to_pcmu() -> Self {
        Self::new((PCMA, Encoding::Pcma), (0, Encoding::Pcmu))
    }

    /// A packet of the source 7; how many come out.
    fn send(&mut self, sequence: u16, timestamp: u32, ms: usize) -> usize {
        self.send_as(7, PCMA, sequence, timestamp, &vec![0xd5; 8 * ms])
    }

    fn send_as(
        &mut self,
        ssrc: u32,
        number: u8,
        sequence: u16,
        timestamp: u32,
        payload: &[u8],
    ) -> usize {
        let mut bytes = vec![0x80, number];
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(timestamp.to_be_bytes());
        bytes.extend(ssrc.to_be_bytes());
        bytes.extend(payload);
        let (before, mut buffer) = (self.out.len(), [0; 2048]);
        let mut packet = packet(&mut buffer, &bytes);
        let mut forward = self.stream.forward(self.now, &mut packet);
        while forward == Forward::Send {
            let header = Header::parse(packet.bytes()).unwrap();
            assert_eq!(header.ssrc, 99);
            self.out.push(Out {
                sequence: header.sequence,
                timestamp: header.timestamp,
                payload_type: header.payload_type,
                marker: header.marker,
                bytes: header.payload.len(),
            });
            forward = self.stream.more(self.now, &mut packet);
        }
        self.now += Duration::from_millis(20);
        self.out.len() - before
    }

    /// What has come out is one sequence of frames of this many units.
    fn assert_steady(&self, step: u32) {
        for (out, index) in self.out.iter().zip(0..) {
            assert_eq!(out.sequence, 1000 + index, "{:?}", self.out);
            assert_eq!(
                out.timestamp,
                50_000 + u32::from(index) * step,
                "{:?}",
                self.out
            );
            assert_eq!(out.marker, index == 0, "{:?}", self.out);
        }
    }
}

fn plan(from: (u8, Encoding), to: (u8, Encoding)) -> Transcoding {
    let coded = |(payload_type, encoding)| Coded {
        payload_type,
        encoding,
    };
    Transcoding {
        from: vec![coded(from)],
        to: coded(to),
        events: vec![Events {
            from: 101,
            from_clock_hz: from.1.clock_hz(),
            to: 110,
            to_clock_hz: to.1.clock_hz(),
        }],
    }
}

#[test]
fn packets_of_any_length_become_packets_of_20_ms() {
    for ms in [10, 20, 30, 40, 60] {
        let mut relay = Relay::pcma_to_opus();
        // Over the wrap of the sender's numbers.
        let (sequence, timestamp) = (u16::MAX - 3, u32::MAX - 500);
        for packet in 0..12_u16 {
            let timestamp = timestamp.wrapping_add(u32::from(packet) * 8 * ms);
            relay.send(sequence.wrapping_add(packet), timestamp, ms as usize);
        }
        assert_eq!(relay.out.len(), 12 * ms as usize / 20, "{ms}");
        relay.assert_steady(960);
    }
}

#[test]
fn packets_that_change_places_are_put_in_order() {
    let mut relay = Relay::pcma_to_pcmu();
    let mut sends = |sequence: u16| relay.send(sequence, u32::from(sequence) * 160, 20);
    assert_eq!([0, 2, 1, 3, 3, 2].map(&mut sends), [1, 0, 2, 1, 0, 0]);
    // 4 is lost; 6 and 5 have changed places behind it.
    assert_eq!([6, 5, 4, 7].map(&mut sends), [0, 3, 0, 1]);
    relay.assert_steady(160);
    assert_eq!(relay.out.len(), 8);
}

#[test]
fn every_second_packet_is_lost() {
    let mut relay = Relay::pcma_to_pcmu();
    for sequence in (0..40).step_by(2) {
        relay.send(sequence, u32::from(sequence) * 160, 20);
    }
    // The last one waits.
    assert_eq!(relay.out.len(), 37);
    relay.assert_steady(160);
}

#[test]
fn a_pause_is_kept_and_a_long_loss_is_not_filled() {
    let mut relay = Relay::pcma_to_opus();
    relay.send(0, 0, 20);
    // Silence: the next number, a later time.
    assert_eq!(relay.send(1, 8000, 20), 1);
    // Two seconds are lost, and shown as such.
    assert_eq!(relay.send(101, 24_000, 20), 0);
    assert_eq!(relay.send(102, 24_160, 20), 2);
    let out = relay
        .out
        .iter()
        .map(|out| (out.sequence, out.timestamp, out.marker));
    assert_eq!(
        out.collect::<Vec<_>>(),
        [
            (1000, 50_000, true),
            (1001, 98_000, true),
            (1002, 194_000, true),
            (1003, 194_960, false),
        ]
    );
}

#[test]
fn another_source_goes_on_where_the_one_before_ended() {
    let mut relay = Relay::pcma_to_pcmu();
    relay.send(0, 0, 20);
    relay.send(1, 160, 20);
    relay.now += Duration::from_millis(80);
    assert_eq!(relay.send_as(8, PCMA, 30_000, 77, &[0xd5; 160]), 1);
    assert_eq!(relay.send_as(7, PCMA, 2, 320, &[0xd5; 160]), 0, "overtaken");
    let out = *relay.out.last().unwrap();
    assert_eq!(
        (out.sequence, out.timestamp, out.marker),
        (1002, 50_160 + 800, true)
    );
}

#[test]
fn events_pass_and_comfort_noise_does_not() {
    let mut relay = Relay::pcma_to_opus();
    relay.send(0, 0, 20);
    assert_eq!(relay.send_as(7, 13, 1, 160, &[60]), 0);
    let event = [5, 0x8a, 0x01, 0x40];
    assert_eq!(relay.send_as(7, 101, 2, 320, &event), 1);
    assert_eq!(relay.send_as(7, 101, 1, 320, &event), 0, "too late");
    assert_eq!(relay.send(3, 480, 20), 1);
    let out = relay
        .out
        .iter()
        .map(|out| (out.sequence, out.timestamp, out.payload_type));
    assert_eq!(
        out.collect::<Vec<_>>(),
        [
            (1000, 50_000, OPUS),
            (1001, 51_920, 110),
            (1002, 52_880, OPUS)
        ]
    );
    // Neither was lost.
    assert_eq!(relay.stream.stats().lost, 0);
}

#[test]
fn what_is_no_payload_is_no_end() {
    let mut relay = Relay::new((OPUS, Encoding::Opus), (PCMA, Encoding::Pcma));
    for sequence in 0..50_u16 {
        let payload = vec![sequence.to_be_bytes()[1].wrapping_mul(37); usize::from(sequence) * 29];
        relay.send_as(7, OPUS, sequence, u32::from(sequence) * 960, &payload);
    }
    assert!(relay.out.len() >= 50);
}

#[test]
fn one_sequence_goes_on_when_transcoding_begins_and_ends() {
    let mut relay = Relay::pcma_to_opus();
    relay.send(0, 0, 20);
    let (from, to, clock_hz) = (PCMA, PCMA, 8000);
    relay.stream.set_payloads(&[Payload { from, to, clock_hz }]);
    // Without a codec between, more would be the same packet again.
    let mut buffer = [0; 300];
    let mut bytes = vec![0x80, PCMA, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7];
    bytes.extend([0xd5; 160]);
    let mut plain = packet(&mut buffer, &bytes);
    assert_eq!(relay.stream.forward(relay.now, &mut plain), Forward::Send);
    assert_eq!(Header::parse(plain.bytes()).unwrap().sequence, 1001);
    assert_eq!(relay.stream.more(relay.now, &mut plain), Forward::Drop);
    relay
        .stream
        .set_transcoding(plan((PCMA, Encoding::Pcma), (OPUS, Encoding::Opus)));
    relay.send(2, 320, 20);
    let last = *relay.out.last().unwrap();
    assert_eq!((last.sequence, last.marker), (1002, true));
}

/// The hearer's report says what is lost between us and it; the sender is told what is lost on the whole way, in its own units.
#[test]
fn reports_are_translated_to_the_other_clock() {
    let mut relay = Relay::pcma_to_opus();
    for sequence in (0..100).filter(|sequence| sequence % 10 != 5) {
        relay.send(sequence, u32::from(sequence) * 160, 20);
    }
    let mut back = Stream::new(StreamIds {
        ssrc: 5,
        sequence: 0,
        timestamp: 0,
    });
    let mut report = vec![0x81, 201, 0, 7, 0, 0, 0, 9];
    report.extend(99_u32.to_be_bytes());
    // 1/4 lost since the last one, 12 in all, up to our 1097, jitter 10 ms.
    report.extend([64, 0, 0, 12]);
    report.extend(
        [1097_u32, 480, 0, 0]
            .iter()
            .flat_map(|word| word.to_be_bytes()),
    );
    let mut buffer = [0; 300];
    let mut heard: Packet = packet(&mut buffer, &report);
    let forward = rtcp::translate(
        relay.now,
        &mut heard,
        &mut [&mut back],
        &mut [&mut relay.stream],
    );
    assert_eq!(forward, Forward::Send);
    let word = |at: usize| u32::from_be_bytes(heard.bytes()[at..at + 4].try_into().unwrap());
    assert_eq!(word(8), 7);
    // A tenth of what was sent to us: 10 of 100.
    assert_eq!((word(12) >> 24, word(12) & 0x00ff_ffff), (64 + 25, 22));
    assert_eq!((word(16), word(20)), (97, 80));
    // Its own reports are at the moment that they mean.
    let mut report = vec![0x80, 200, 0, 6, 0, 0, 0, 7];
    report.extend(
        [1, 2, 800_u32, 100, 16_000]
            .iter()
            .flat_map(|word| word.to_be_bytes()),
    );
    let mut said = packet(&mut buffer, &report);
    rtcp::translate(
        relay.now,
        &mut said,
        &mut [&mut relay.stream],
        &mut [&mut back],
    );
    let word = |at: usize| u32::from_be_bytes(said.bytes()[at..at + 4].try_into().unwrap());
    assert_eq!((word(4), word(16), word(20)), (99, 50_000 + 4800, 100));
}
