//! A browser at a WebSocket listener: an upgrade, frames and messages as the bytes tell, in pieces of any size. [`model`] says what must
//! come of what [`say`] wrote; of bytes that nobody wrote little is known, and must hold all the same.

mod model;
mod say;
mod wire;

use hookswitch::{
    config::Origins,
    fuzz::{Ended, Visited},
};
use hookswitch_sip::framing::{Frame, PONG, datagram};

use self::{
    model::{End, Expected},
    wire::Seen,
};
use crate::Choices;

/// Small, so that inputs reach it.
pub(super) const MESSAGE_BYTES_MAX: usize = 1_024;
const PIECE_BYTES_MAX: usize = 512;
/// More of them would make every input slow and none more telling.
pub(super) const STREAM_BYTES_MAX: usize = 16_384;

pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let origins = match choices.below(3) {
        0 => Origins::SameHost,
        1 => Origins::Any,
        _ => Origins::Listed(vec!["https://phone.example".to_owned()]),
    };
    let size = 1 + usize::from(choices.number()) % PIECE_BYTES_MAX;
    let (bytes, expected) = match choices.below(4) {
        0 => (choices.rest().to_vec(), None),
        _ => {
            let (bytes, expected) = say::script(&mut choices, &origins);
            (bytes, Some(expected))
        }
    };
    let bytes = &bytes[..bytes.len().min(STREAM_BYTES_MAX)];
    let whole = wire::visit(bytes, STREAM_BYTES_MAX, &origins);
    let pieces = wire::visit(bytes, size, &origins);
    // A refused request ends the connection if its body is not there yet, and that depends on the pieces.
    if [&whole, &pieces].iter().any(|seen| seen.is_upgrade_first()) {
        assert_eq!(whole.visited.messages, pieces.visited.messages);
        assert_eq!(whole.visited.ended, pieces.visited.ended);
        assert_eq!(whole.visited.upgrade, pieces.visited.upgrade);
    }
    for seen in [whole, pieces] {
        any(bytes, &seen.visited);
        let answers = Answers::read(&seen);
        answers.check(&seen.visited);
        if let Some(expected) = &expected {
            check(expected, &seen, &answers);
        }
    }
}

/// What holds of any bytes.
fn any(bytes: &[u8], visited: &Visited) {
    let text = bytes.to_ascii_lowercase();
    let says = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    if visited.upgrade.is_some() {
        let words: [&[u8]; 4] = [
            b"get ",
            b"http/1.1",
            b"websocket",
            b"sec-websocket-protocol:",
        ];
        assert!(
            words.iter().all(|word| says(word)),
            "upgraded without being asked"
        );
    } else {
        assert!(visited.messages.is_empty() && visited.ended.is_none());
    }
    for message in &visited.messages {
        assert!(message.len() <= MESSAGE_BYTES_MAX);
        assert_eq!(datagram(message.clone()), Frame::Message(message.clone()));
    }
}

fn check(expected: &Expected, seen: &Seen, answers: &Answers) {
    let Some(upgrade) = &expected.upgrade else {
        assert_eq!(seen.visited.upgrade, None);
        assert!(
            seen.got.starts_with(b"HTTP/1.1 4"),
            "{}",
            seen.got.escape_ascii()
        );
        return;
    };
    let known = seen.visited.upgrade.as_ref();
    let known = known.unwrap_or_else(|| panic!("refused: {}", seen.got.escape_ascii()));
    assert_eq!(known, upgrade);
    let messages: Vec<_> = expected
        .payloads
        .iter()
        .filter_map(|payload| match datagram(payload.clone()) {
            Frame::Message(message) => Some(message),
            Frame::Ping | Frame::Blank => None,
        })
        .collect();
    assert_eq!(seen.visited.messages, messages);
    let ended = match (seen.visited.ended, expected.end) {
        (Some(Ended::Closed), End::HungUp | End::Closed) => true,
        (Some(Ended::Unreadable(Some(code))), End::Failed(expected)) => u16::from(code) == expected,
        (_, _) => false,
    };
    assert!(ended, "{:?} is not {:?}", seen.visited.ended, expected.end);
    let said_back =
        expected
            .payloads
            .iter()
            .filter_map(|payload| match datagram(payload.clone()) {
                Frame::Message(message) => Some(message.to_vec()),
                Frame::Ping => Some(PONG.to_vec()),
                Frame::Blank => None,
            });
    let said_back: Vec<_> = said_back.collect();
    match expected.end {
        End::HungUp => assert_eq!(answers.data, said_back),
        // What came with its last bytes is answered no more.
        End::Closed | End::Failed(_) => assert!(said_back.starts_with(&answers.data)),
    }
    assert_eq!(answers.close.is_some(), expected.end != End::HungUp);
    let mut pings = expected.pings.iter();
    let is_asked_for = answers
        .pongs
        .iter()
        .all(|pong| pings.any(|ping| ping == pong));
    assert!(is_asked_for, "pongs that nobody asked for");
}

/// What the server said behind its 101: data, pongs and its Close.
#[derive(Default)]
struct Answers {
    data: Vec<Vec<u8>>,
    pongs: Vec<Vec<u8>>,
    close: Option<u16>,
}

impl Answers {
    /// Whole frames alone, unmasked, none of them in fragments, and nothing behind a Close (RFC 6455 §5.1, §5.5.1).
    fn read(seen: &Seen) -> Self {
        let mut answers = Self::default();
        if seen.visited.upgrade.is_none() {
            return answers;
        }
        let mut rest = behind_the_upgrade(&seen.got);
        while let [first, length, after @ ..] = rest {
            assert_eq!(answers.close, None, "something behind a Close");
            assert_eq!(first & 0xf0, 0x80, "a fragment or a reserved bit");
            let (length, after) = match (length, after) {
                (127, after) => {
                    let (length, after) = after.split_at(8);
                    (
                        length
                            .iter()
                            .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
                        after,
                    )
                }
                (126, after) => {
                    let (length, after) = after.split_at(2);
                    (
                        length
                            .iter()
                            .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
                        after,
                    )
                }
                (length, after) => (usize::from(*length), after),
            };
            let (payload, after) = after.split_at(length);
            match first & 0x0f {
                1 => {
                    assert!(std::str::from_utf8(payload).is_ok());
                    answers.data.push(payload.to_vec());
                }
                2 => answers.data.push(payload.to_vec()),
                8 => answers.close = Some(code(payload)),
                10 => answers.pongs.push(payload.to_vec()),
                other => panic!("opcode {other}"),
            }
            rest = after;
        }
        assert!(rest.is_empty(), "half a frame");
        answers
    }

    /// Who cannot be understood is told why (RFC 6455 §7.1.7).
    fn check(&self, visited: &Visited) {
        if let Some(Ended::Unreadable(Some(code))) = visited.ended {
            assert_eq!(self.close, Some(u16::from(code)));
        }
    }
}

/// Refused requests before it on the same connection have answers of their own.
fn behind_the_upgrade(got: &[u8]) -> &[u8] {
    let find =
        |text: &[u8], word: &[u8]| text.windows(word.len()).position(|window| window == word);
    let upgrade = find(got, b"HTTP/1.1 101 ").unwrap_or_else(|| panic!("upgraded without a 101"));
    let answer = &got[upgrade..];
    let end = find(answer, b"\r\n\r\n").unwrap_or_else(|| panic!("a 101 without an end"));
    &answer[end + 4..]
}

fn code(payload: &[u8]) -> u16 {
    match payload {
        [] => 1_005,
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        [_] => panic!("a Close with half a code"),
    }
}
