//! A stream in pieces: cut the same whatever the pieces are, and each message is read to its last byte, or the next one would be read
//! from the middle of this one.

use hookswitch_sip::{
    framing::{Frame, StreamFramer},
    limits::Limits,
    message::{HeaderName, Message},
};

use crate::Choices;

/// More of them would make every input slow and none more telling.
const STREAM_BYTES_MAX: usize = 8_192;

pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let limits = match choices.below(2) {
        0 => Limits::default(),
        _ => Limits {
            message_bytes_max: 600,
            body_bytes_max: 100,
            header_count_max: 12,
            header_line_bytes_max: 200,
        },
    };
    let size = 1 + choices.below(64);
    let stream = choices.rest();
    let stream = &stream[..stream.len().min(STREAM_BYTES_MAX)];
    let (whole, whole_end) = cut(limits, stream.chunks(STREAM_BYTES_MAX));
    let (pieces, pieces_end) = cut(limits, stream.chunks(size));
    assert_eq!(whole, pieces);
    assert_eq!(whole_end, pieces_end);
    for frame in &whole {
        check(frame, &limits);
    }
}

/// The frames, and what ended the stream.
fn cut<'s>(limits: Limits, pieces: impl Iterator<Item = &'s [u8]>) -> (Vec<Frame>, Option<String>) {
    let (mut framer, mut frames) = (StreamFramer::new(limits), Vec::new());
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    assert!(error.head.len() <= limits.message_bytes_max);
                    let response = error.response(&limits, Some("t"));
                    assert!(
                        response
                            .is_none_or(|response| response.status() == Some(error.fault.status()))
                    );
                    return (frames, Some(error.to_string()));
                }
            }
        }
    }
    (frames, None)
}

fn check(frame: &Frame, limits: &Limits) {
    let Frame::Message(bytes) = frame else {
        return;
    };
    assert!(bytes.len() <= limits.message_bytes_max);
    match Message::parse(bytes.clone(), limits) {
        Ok(message) => {
            assert!(message.contains(HeaderName::ContentLength));
            assert_eq!(message.to_bytes(), bytes);
        }
        // What is answered must not hide another message behind its body.
        Err(error) => drop(error.response(None)),
    }
}
