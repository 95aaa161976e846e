//! Two ends with a stream each way; what one says, as the other reads it.

use std::time::Duration;

use super::*;
use crate::{
    relay::{Payload, StreamIds},
    testing::packet,
};

/// The SSRC of the sender, that by which the hearer knows it; the hearer's, that by which the sender knows it.
const SENDER: u32 = 0x11;
const SENDER_OURS: u32 = 0xa1;
const HEARER: u32 = 0x22;
const HEARER_OURS: u32 = 0xa2;

struct Legs {
    now: Instant,
    out: Stream,
    back: Stream,
}

impl Legs {
    /// Each end sent three packets: ours of the sender begin at 1000, ours of the hearer at 2000.
    fn new() -> Legs {
        let now = Instant::now();
        let stream = |ssrc, sequence, theirs: u32, first: u16| {
            let timestamp = 5000;
            let mut stream = Stream::new(StreamIds {
                ssrc,
                sequence,
                timestamp,
            });
            let [from, to] = [8, 8];
            let clock_hz = 8000;
            stream.set_payloads(&[Payload { from, to, clock_hz }]);
            for i in 0..3_u16 {
                let mut bytes = vec![0x80, 8];
                bytes.extend(first.wrapping_add(i).to_be_bytes());
                bytes.extend((u32::from(i) * 160).to_be_bytes());
                bytes.extend(theirs.to_be_bytes());
                bytes.extend([0xd5; 160]);
                let mut buffer = [0; 300];
                let forward = stream.forward(now, &mut packet(&mut buffer, &bytes));
                assert_eq!(forward, Forward::Send);
            }
            stream
        };
        Legs {
            now,
            out: stream(SENDER_OURS, 1000, SENDER, 10),
            back: stream(HEARER_OURS, 2000, HEARER, 65_534),
        }
    }

    /// What the sender says, as the hearer reads it.
    fn said(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = [0; 1600];
        let mut packet = packet(&mut buffer, bytes);
        let (out, back) = (&mut [&mut self.out], &mut [&mut self.back]);
        match translate(self.now, &mut packet, out, back) {
            Forward::Send => Some(packet.bytes().to_vec()),
            Forward::Drop => None,
        }
    }
}

fn rtcp(count: u8, kind: u8, words: &[u32]) -> Vec<u8> {
    let mut out = Vec::new();
    let body: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
    write(&mut out, count, kind, &body);
    out
}

const EMPTY: &[u32] = &[SENDER_OURS];

#[test]
fn a_sender_report_has_our_counts_and_timestamps() {
    let block = [HEARER_OURS, 0x4000_0007, 2002, 33, 0, 0];
    let mut words = vec![SENDER, 0xe000_0000, 0x8000_0000, 320, 999, 999];
    words.extend(block);
    let mut expected = vec![SENDER_OURS, 0xe000_0000, 0x8000_0000, 5320, 3, 480];
    // The hearer's sequence wrapped between 65,534 and 0: its third packet is 65,536.
    expected.extend([HEARER, 0x4000_0007, 65_536, 33, 0, 0]);
    let mut legs = Legs::new();
    assert_eq!(
        legs.said(&rtcp(1, SR, &words)),
        Some(rtcp(1, SR, &expected))
    );
    let stats = legs.back.stats();
    assert_eq!(stats.reported_lost, Some(7));
    assert_eq!(stats.reported_jitter, Some(Duration::from_micros(4125)));
}

#[test]
fn the_round_trip_is_known_from_the_answer_to_a_report() {
    let mut legs = Legs::new();
    legs.said(&rtcp(0, SR, &[SENDER, 0x0001_0002, 0x0003_0004, 0, 0, 0]));
    legs.now += Duration::from_millis(150);
    // The hearer says that it waited 100 ms: the other way round.
    let delay = 65_536 / 10;
    let answer = [HEARER, SENDER_OURS, 0, 1002, 0, 0x0002_0003, delay];
    let mut buffer = [0; 100];
    let bytes = rtcp(1, RR, &answer);
    let mut packet = packet(&mut buffer, &bytes);
    let forward = translate(
        legs.now,
        &mut packet,
        &mut [&mut legs.back],
        &mut [&mut legs.out],
    );
    assert_eq!(forward, Forward::Send);
    let expected = [HEARER_OURS, SENDER, 0, 12, 0, 0x0002_0003, delay];
    assert_eq!(packet.bytes(), rtcp(1, RR, &expected));
    let round_trip = legs.out.stats().round_trip.unwrap();
    assert_eq!(round_trip.as_millis(), 50);
}

#[test]
fn reports_of_what_nobody_sent_are_left_out() {
    let mut legs = Legs::new();
    let words = [0x99, 0x77, 0, 0, 0, 0, 0];
    assert_eq!(legs.said(&rtcp(1, RR, &words)), Some(rtcp(0, RR, EMPTY)));
    let unknown = [0x99, 1, 2, 3, 4, 5];
    assert_eq!(legs.said(&rtcp(0, SR, &unknown)), Some(rtcp(0, RR, EMPTY)));
}

#[test]
fn feedback_is_about_what_its_hearer_sent() {
    let mut legs = Legs::new();
    let report = rtcp(0, RR, EMPTY);
    let mut check = |said: Vec<u8>, read: Option<Vec<u8>>| {
        let read = read.map(|read| [report.clone(), read].concat());
        assert_eq!(legs.said(&said), read);
    };
    // 2001 is the hearer's 65,535.
    check(
        rtcp(NACK, RTPFB, &[SENDER, HEARER_OURS, 2001 << 16 | 3]),
        Some(rtcp(NACK, RTPFB, &[SENDER_OURS, HEARER, 65_535 << 16 | 3])),
    );
    check(
        rtcp(PLI, PSFB, &[SENDER, HEARER_OURS]),
        Some(rtcp(PLI, PSFB, &[SENDER_OURS, HEARER])),
    );
    check(
        rtcp(FIR, PSFB, &[SENDER, 0, HEARER_OURS, 5 << 24, 0x77, 6 << 24]),
        Some(rtcp(FIR, PSFB, &[SENDER_OURS, 0, HEARER, 5 << 24])),
    );
    let remb = u32::from_be_bytes(*b"REMB");
    check(
        rtcp(
            REMB,
            PSFB,
            &[SENDER, 0, remb, 2 << 24 | 0xabc, HEARER_OURS, 0x77],
        ),
        Some(rtcp(
            REMB,
            PSFB,
            &[SENDER_OURS, 0, remb, 1 << 24 | 0xabc, HEARER],
        )),
    );
    check(rtcp(PLI, PSFB, &[SENDER, 0x77]), None);
    check(rtcp(NACK, RTPFB, &[SENDER, 0x77, 5]), None);
    // Of the transport (transport-wide congestion control): our leg's, not end to end.
    check(rtcp(15, RTPFB, &[SENDER, HEARER_OURS, 0, 0]), None);
}

#[test]
fn cnames_and_byes_are_the_present_source_s() {
    let mut legs = Legs::new();
    let report = rtcp(0, RR, &[SENDER]);
    let cname = [SENDER, u32::from_be_bytes([1, 5, b'a', b'@'])];
    let rest = [b'b', b'.', b'c', 6, 2, b'x', b'y', 0];
    let mut words = cname.to_vec();
    words.extend(rest.chunks(4).map(|c| word(c, 0).unwrap()));
    let said = [report.clone(), rtcp(1, SDES, &words)].concat();
    let read = legs.said(&said).unwrap();
    assert_eq!(read[..8], rtcp(0, RR, EMPTY));
    assert_eq!(
        read[8..],
        [
            &[0x81, SDES, 0, 3][..],
            &SENDER_OURS.to_be_bytes(),
            &[1, 5],
            b"a@b.c",
            &[0]
        ]
        .concat()
    );
    let bye = [report.clone(), rtcp(2, BYE, &[SENDER, 0x77])].concat();
    let read = legs.said(&bye).unwrap();
    assert_eq!(read[8..], rtcp(1, BYE, EMPTY));
    let of_others = [report, rtcp(1, BYE, &[0x77])].concat();
    assert_eq!(legs.said(&of_others), Some(rtcp(0, RR, EMPTY)));
}

#[test]
fn what_is_malformed_or_unknown_is_left_out() {
    let mut legs = Legs::new();
    let long = rtcp(0, 204, &[SENDER, 1, 2]);
    for bytes in [&b""[..], b"\x80", b"\x80\xc8\xff\xff", &[0; 8], &long] {
        assert_eq!(legs.said(bytes), None, "{bytes:?}");
    }
    let mut padded = rtcp(PLI, PSFB, &[SENDER, HEARER_OURS, 4]);
    padded[0] |= 0x20;
    assert_eq!(legs.said(&padded).map(|read| read.len()), Some(8 + 12));
    *padded.last_mut().unwrap() = 99;
    assert_eq!(legs.said(&padded), None);
}
