//! RTCP through two streams, without a call around it: what is translated, and what is made of it at either end.

use std::time::{Duration, Instant};

use hookswitch_media::{
    relay::{Forward, Payload, Stream, StreamIds},
    rtcp,
};

use super::media::{
    BUFFER_BYTES,
    compound::{self, Sources},
    put,
};
use crate::Choices;

const STEPS_MAX: usize = 40;
/// By the empty report before feedback, and by CNAMEs that are padded again.
const ADDED_BYTES_MAX: usize = 12;

pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut now = Instant::now();
    let (mut out, mut back) = (stream(0x62), stream(0x63));
    let mut sequence = choices.number();
    for _ in 0..STEPS_MAX {
        if choices.is_empty() {
            break;
        }
        now += Duration::from_millis([20, 1, 500, 60_000][choices.below(4)]);
        match choices.below(6) {
            0 => {
                sequence = sequence.wrapping_add(choices.byte().into());
                media(now, &mut out, 1 + choices.below(2) as u8, sequence);
            }
            1 => {
                sequence = sequence.wrapping_add(choices.byte().into());
                media(now, &mut back, 4, sequence);
            }
            2 => {
                let length = choices.byte();
                let bytes = choices.take(length.into()).to_vec();
                translate(now, &bytes, &mut out, &mut back);
            }
            _ => {
                let bytes = compound::choose(&mut choices, &[0x62, 0x63, 1, 4]);
                translate(now, &bytes, &mut out, &mut back);
            }
        }
    }
    for stream in [out, back] {
        let score = stream.stats().mean_opinion_score();
        assert!((1.0..=5.0).contains(&score), "{score}");
    }
}

fn stream(ssrc: u32) -> Stream {
    let mut stream = Stream::new(StreamIds {
        ssrc,
        sequence: 1,
        timestamp: 1,
    });
    stream.set_payloads(&[Payload {
        from: 0,
        to: 8,
        clock_hz: 8_000,
    }]);
    stream
}

fn media(now: Instant, stream: &mut Stream, source: u8, sequence: u16) {
    let [high, low] = sequence.to_be_bytes();
    let bytes = [
        0x80, 0, high, low, 0, 0, high, low, 0, 0, 0, source, 1, 2, 3,
    ];
    let mut buffer = [0; BUFFER_BYTES];
    stream.forward(now, &mut put(&mut buffer, &bytes));
}

fn translate(now: Instant, bytes: &[u8], out: &mut Stream, back: &mut Stream) {
    let sources = Sources {
        ours: vec![out.ssrc()],
        theirs: back.source().into_iter().collect(),
    };
    let mut buffer = [0; BUFFER_BYTES];
    let mut packet = put(&mut buffer, bytes);
    match rtcp::translate(now, &mut packet, &mut [out], &mut [back]) {
        Forward::Drop => assert_eq!(packet.bytes(), bytes),
        Forward::Send => {
            compound::check(packet.bytes(), &sources);
            let added = packet.len().saturating_sub(bytes.len());
            assert!(
                added <= ADDED_BYTES_MAX,
                "{added} bytes more: {}",
                bytes.escape_ascii()
            );
        }
    }
}
