//! Payloads that are no sound, where the ends share no codec: every packet of RTP is taken for what its type says, and what comes of it are
//! packets of ours, in order.

use std::time::{Duration, Instant};

use hookswitch_media::{
    codec::{Encoding, PAYLOAD_BYTES_MAX},
    relay::{Coded, Events, Forward, Stream, StreamIds, Transcoding},
    rtp,
};

use super::media::{BUFFER_BYTES, put};
use crate::Choices;

const STEPS_MAX: usize = 60;
/// Made up, waiting and just arrived, in packets of 20 ms.
const PACKETS_PER_INPUT_MAX: usize = 20;
const ENCODINGS: [Encoding; 4] = [
    Encoding::Pcmu,
    Encoding::Pcma,
    Encoding::G722,
    Encoding::Opus,
];
/// Of the sender, in the order of [`ENCODINGS`]; then telephone events, and one that is nothing.
const TYPES: [u8; 6] = [0, 8, 9, 111, 101, 77];
const OURS: u32 = 0x62;

pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let to = ENCODINGS[choices.below(4)];
    let coded = |encoding, payload_type| Coded {
        payload_type,
        encoding,
    };
    let mut stream = Stream::new(StreamIds {
        ssrc: OURS,
        sequence: 0x7ff0,
        timestamp: u32::MAX - 400,
    });
    stream.set_transcoding(Transcoding {
        from: ENCODINGS
            .iter()
            .zip(TYPES)
            .map(|(encoding, number)| coded(*encoding, number))
            .collect(),
        to: coded(to, 96),
        events: vec![Events {
            from: 101,
            from_clock_hz: 8_000,
            to: 97,
            to_clock_hz: to.clock_hz(),
        }],
    });
    let mut now = Instant::now();
    let (mut sequence, mut timestamp) = (choices.number(), u32::from(choices.number()) << 16);
    let mut last = None;
    for _ in 0..STEPS_MAX {
        if choices.is_empty() {
            break;
        }
        now += Duration::from_millis([20, 0, 40, 300, 5_000][choices.below(5)]);
        let which = choices.below(TYPES.len());
        sequence = match choices.below(6) {
            0 => choices.number(),
            1 => sequence.wrapping_add(choices.byte().into()),
            2 => sequence.wrapping_sub(choices.below(4) as u16),
            _ => sequence.wrapping_add(1),
        };
        timestamp = match choices.below(6) {
            0 => u32::from(choices.number()) << 16,
            1 => timestamp.wrapping_add(choices.number().into()),
            _ => timestamp.wrapping_add(160),
        };
        let first = if choices.once_in(8) {
            choices.byte() & 0x3f | 0x80
        } else {
            0x80
        };
        let source = u8::from(choices.once_in(16));
        let mut bytes = vec![first, TYPES[which] | choices.byte() & 0x80];
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(timestamp.to_be_bytes());
        bytes.extend([0, 0, 0, source]);
        let length = if choices.once_in(4) {
            1_400
        } else {
            usize::from(choices.byte())
        };
        bytes.extend(choices.take(length));
        take(now, &mut stream, &bytes, &mut last);
    }
    let _ = stream.stats();
}

fn take(now: Instant, stream: &mut Stream, bytes: &[u8], last: &mut Option<u16>) {
    let mut buffer = [0; BUFFER_BYTES];
    let mut packet = put(&mut buffer, bytes);
    let mut forward = stream.forward(now, &mut packet);
    let mut count = 0;
    while forward == Forward::Send {
        count += 1;
        assert!(count <= PACKETS_PER_INPUT_MAX, "{count} packets of one");
        let header = rtp::Header::parse(packet.bytes());
        let header = header.unwrap_or_else(|| panic!("{}", packet.bytes().escape_ascii()));
        assert_eq!(header.ssrc, OURS);
        assert!(matches!(header.payload_type, 96 | 97));
        let length = header.payload.len();
        assert!(
            length
                <= if header.payload_type == 96 {
                    PAYLOAD_BYTES_MAX
                } else {
                    bytes.len()
                }
        );
        // Nothing is lost that is ours.
        assert!(last.is_none_or(|last| last.wrapping_add(1) == header.sequence));
        *last = Some(header.sequence);
        forward = stream.more(now, &mut packet);
    }
}
