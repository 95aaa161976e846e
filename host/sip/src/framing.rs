//! From what transports carry to single messages: datagrams and WebSocket frames hold one each (RFC 3261 §18.3, RFC 7118 §5), streams
//! are cut by Content-Length. Nothing here reads a socket or parses a message.

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    limits::Limits,
    message::{Fault, HeaderName, Message, parse_number, trim},
};

/// Two empty lines on a stream, or in a datagram: whoever gets them answers with [`PONG`] (RFC 5626 §3.5.1).
pub const PING: &[u8] = b"\r\n\r\n";
/// The answer to [`Frame::Ping`] (RFC 5626 §3.5.1).
pub const PONG: &[u8] = b"\r\n";

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One whole message, for [`Message::parse`].
    Message(Bytes),
    /// A keepalive, to be answered with [`PONG`].
    Ping,
    /// Nothing to act on: a pong, or the white space or zeros by which some keep a NAT binding open.
    Blank,
}

/// One datagram, or the payload of one WebSocket frame, text or binary. Empty lines before the message are skipped (RFC 3261 §7.5).
#[must_use]
pub fn datagram(mut bytes: Bytes) -> Frame {
    let length = bytes.len();
    while bytes.starts_with(b"\r\n") {
        bytes.advance(2);
    }
    if !bytes
        .iter()
        .all(|byte| matches!(byte, b'\r' | b'\n' | b' ' | 0))
    {
        Frame::Message(bytes)
    } else if bytes.is_empty() && length >= 4 {
        Frame::Ping
    } else {
        Frame::Blank
    }
}

/// A stream that cannot be cut any further: it is to be closed, after [`FramingError::response`] was sent.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{fault}")]
pub struct FramingError {
    /// Why.
    pub fault: Fault,
    /// Start line and header fields, as far as they came.
    pub head: Bytes,
}

impl FramingError {
    /// The answer, if the head is that of a request that can be answered. `to_tag` as in [`Message::response_to`].
    #[must_use]
    pub fn response(&self, limits: &Limits, to_tag: Option<&str>) -> Option<Message> {
        let request = match Message::parse(self.head.clone(), limits) {
            Ok(message) => message,
            Err(error) => *error.answerable?,
        };
        request.is_answerable().then(|| {
            Message::response_to(
                &request,
                self.fault.status(),
                &self.fault.to_string(),
                to_tag,
            )
        })
    }
}

/// Cuts a stream into messages. Each byte is looked at once, however small the pieces are that it comes in.
#[derive(Debug)]
pub struct StreamFramer {
    limits: Limits,
    buffer: BytesMut,
    progress: Progress,
}

/// How far the message at the front of the buffer is understood.
#[derive(Clone, Copy, Debug)]
enum Progress {
    Head(Head),
    /// The whole message has this length.
    Body {
        length: usize,
    },
}

/// What is known of header fields that have not ended yet.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    /// Where the line begins that is not whole yet.
    line: usize,
    /// No end of that line before this offset.
    scanned: usize,
    /// Content-Length, if it was there.
    content_length: Option<usize>,
}

impl StreamFramer {
    /// For a new stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            progress: Progress::Head(Head::default()),
        }
    }

    /// Takes what was read from the stream. To be followed by [`StreamFramer::next_frame`] until that has nothing more: so the buffer
    /// never holds more than one message and one read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, if one is whole.
    ///
    /// # Errors
    /// [`FramingError`] as soon as the message at the front is known to be beyond a limit, or to have no usable Content-Length.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingError> {
        loop {
            match self.progress {
                Progress::Head(Head { scanned: 0, .. }) if self.buffer.starts_with(b"\r") => {
                    match self.leading_crlf() {
                        Some(Frame::Blank) => {}
                        frame => return Ok(frame),
                    }
                }
                Progress::Head(head) => {
                    self.progress = self.read_head(head)?;
                    if let Progress::Head(_) = self.progress {
                        return Ok(None);
                    }
                }
                Progress::Body { length } if self.buffer.len() >= length => {
                    return Ok(Some(self.cut(length)));
                }
                Progress::Body { .. } => return Ok(None),
            }
        }
    }

    /// Takes an empty line away that may be half a ping: whoever has just sent one knows that it is the answer. Says whether it was there.
    pub fn take_pong(&mut self) -> bool {
        let is_there = *self.buffer == *PONG;
        if is_there {
            self.buffer = BytesMut::new();
        }
        is_there
    }

    /// Is the beginning of a message held, and its end awaited?
    #[must_use]
    pub fn is_within_message(&self) -> bool {
        !matches!(*self.buffer, [] | [b'\r', ..])
    }

    /// Empty lines between messages: two are a ping, one is nothing. `None` if it is not clear yet.
    fn leading_crlf(&mut self) -> Option<Frame> {
        let (frame, length) = match *self.buffer {
            [b'\r', b'\n', b'\r', b'\n', ..] => (Frame::Ping, 4),
            [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return None,
            [b'\r', b'\n', ..] => (Frame::Blank, 2),
            // A bare CR begins no message: `parse` will say so of what follows.
            _ => (Frame::Blank, 1),
        };
        self.buffer.advance(length);
        Some(frame)
    }

    /// Goes on over the whole lines that are there.
    fn read_head(&self, mut head: Head) -> Result<Progress, FramingError> {
        while let Some(lf) =
            memchr::memchr(b'\n', self.buffer.get(head.scanned..).unwrap_or_default())
        {
            let end = head.scanned + lf + 1;
            let line = self.buffer.get(head.line..end).unwrap_or_default();
            if end > self.limits.message_bytes_max {
                return Err(self.error(Fault::TooLarge, end));
            }
            if line == b"\r\n" {
                let length = self.message_length(head, end)?;
                return Ok(Progress::Body { length });
            }
            if let Some(value) = content_length(line) {
                let value = value.map_err(|fault| self.error(fault, end))?;
                if head.content_length.replace(value).is_some() {
                    return Err(self.error(Fault::Duplicate(HeaderName::ContentLength), end));
                }
            }
            (head.line, head.scanned) = (end, end);
        }
        head.scanned = self.buffer.len();
        if head.scanned > self.limits.message_bytes_max {
            return Err(self.error(Fault::TooLarge, head.scanned));
        }
        Ok(Progress::Head(head))
    }

    /// A stream's message must have a Content-Length (RFC 3261 §18.3).
    fn message_length(&self, head: Head, end: usize) -> Result<usize, FramingError> {
        let body = head
            .content_length
            .ok_or_else(|| self.error(Fault::Missing(HeaderName::ContentLength), end))?;
        if body > self.limits.body_bytes_max {
            return Err(self.error(Fault::BodyTooLarge, end));
        }
        if end + body > self.limits.message_bytes_max {
            return Err(self.error(Fault::TooLarge, end));
        }
        Ok(end + body)
    }

    fn cut(&mut self, length: usize) -> Frame {
        self.progress = Progress::Head(Head::default());
        let message = self.buffer.split_to(length).freeze();
        if self.buffer.is_empty() {
            // An idle connection holds no buffer.
            self.buffer = BytesMut::new();
        }
        Frame::Message(message)
    }

    fn error(&self, fault: Fault, head: usize) -> FramingError {
        let end = head.min(self.limits.message_bytes_max);
        FramingError {
            fault,
            head: Bytes::copy_from_slice(self.buffer.get(..end).unwrap_or_default()),
        }
    }
}

/// The value, if this line is a Content-Length. A value that is folded into the next line counts as malformed.
fn content_length(line: &[u8]) -> Option<Result<usize, Fault>> {
    // The first letter tells most lines apart.
    if !matches!(line.first(), Some(b'C' | b'c' | b'L' | b'l')) {
        return None;
    }
    let (name, value) = line.split_at(memchr::memchr(b':', line)?);
    if HeaderName::find(name.trim_ascii_end()) != Some(HeaderName::ContentLength) {
        return None;
    }
    let digits = trim(value.get(1..).unwrap_or_default());
    Some(parse_number(digits).ok_or(Fault::Malformed(HeaderName::ContentLength)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &str = "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:h>\r\n\
        Call-ID: 1\r\nCSeq: 1 OPTIONS\r\n";

    fn message(length: &str, body: &str) -> String {
        format!("{OPTIONS}{length}\r\n{body}")
    }

    /// What comes out when `stream` comes in pieces of `size` bytes.
    fn frames(stream: &str, size: usize) -> Result<Vec<Frame>, FramingError> {
        let mut framer = StreamFramer::new(Limits {
            message_bytes_max: 1000,
            body_bytes_max: 100,
            ..Limits::default()
        });
        let mut frames = Vec::new();
        for piece in stream.as_bytes().chunks(size) {
            framer.push(piece);
            while let Some(frame) = framer.next_frame()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    #[test]
    fn a_stream_is_cut_the_same_in_pieces_of_any_size() {
        let (first, second) = (
            message("l : 4 \r\n", "a\r\nb"),
            message("Content-Length: 0\r\n", ""),
        );
        let stream = format!("\r\n{first}\r\n\r\n{second}\r\n{second}");
        let whole = |text: &str| Frame::Message(Bytes::copy_from_slice(text.as_bytes()));
        let expected = [whole(&first), Frame::Ping, whole(&second), whole(&second)];
        for size in 1..stream.len() {
            assert_eq!(frames(&stream, size).unwrap(), expected, "{size}");
        }
    }

    #[test]
    fn a_stream_that_cannot_be_cut_is_answered() {
        let long = message(&format!("X: {}\r\n", "x".repeat(2000)), "");
        for (stream, answer) in [
            (message("", ""), "400 Missing Content-Length"),
            (
                message("l: 0\r\nContent-Length: 0\r\n", ""),
                "400 Duplicate Content-Length",
            ),
            (message("l: -1\r\n", ""), "400 Malformed Content-Length"),
            (
                message("l:\r\n 4\r\n", "body"),
                "400 Malformed Content-Length",
            ),
            (message("l: 101\r\n", ""), "413 Body too large"),
            (long, "513 Message too large"),
        ] {
            let error = frames(&stream, 7).unwrap_err();
            let response = error.response(&Limits::default(), Some("t"));
            let line = response
                .map(|r| String::from_utf8(r.to_bytes().to_vec()).unwrap())
                .unwrap_or_default();
            assert!(
                line.starts_with(&format!("SIP/2.0 {answer}\r\n")),
                "{answer}: {line} {error}"
            );
        }
    }

    #[test]
    fn datagrams_hold_one_message_or_a_keepalive() {
        let frame = |text: &'static str| datagram(Bytes::from_static(text.as_bytes()));
        assert_eq!(
            frame("\r\n\r\nBYE"),
            Frame::Message(Bytes::from_static(b"BYE"))
        );
        assert_eq!(
            [
                frame("\r\n\r\n"),
                frame("\r\n"),
                frame(""),
                frame("\0\0\0\0")
            ],
            [Frame::Ping, Frame::Blank, Frame::Blank, Frame::Blank]
        );
    }

    #[test]
    fn small_pieces_of_a_large_head_cost_one_scan() {
        let mut framer = StreamFramer::new(Limits {
            message_bytes_max: 2_000_000,
            ..Limits::default()
        });
        for _ in 0..1_000_000 {
            framer.push(b"x");
            assert_eq!(framer.next_frame().unwrap(), None);
        }
        let Progress::Head(head) = framer.progress else {
            panic!()
        };
        assert_eq!((head.line, head.scanned), (0, 1_000_000));
    }
}
