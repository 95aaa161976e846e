//! A SIP message: its bytes as they came, an index into them, and the edits made since (RFC 3261 §7).
//!
//! What is not understood is forwarded byte for byte and in order. Nothing is interpreted before it is asked for, but for what
//! [`Message::parse`] checks so that every message in the proxy can be answered. Nothing here knows where a message came from.

mod build;
mod check;
mod edits;
mod fault;
mod method;
mod name;
mod parse;
mod read;
pub(crate) mod text;

use bytes::{Bytes, BytesMut};

pub use self::{
    build::default_reason,
    edits::MessageError,
    fault::{Fault, ParseError},
    method::Method,
    name::{HeaderName, Name},
    read::Header,
    text::{is_token, trim, unfold},
};
pub(crate) use read::parse_number;

/// A request or a response. Cloning copies the index (16 bytes a header field) and shares the bytes.
pub struct Message {
    /// As received; empty for a message of our own.
    wire: Bytes,
    /// Lines that were edited or added, one after the other; the index points into it.
    edits: Vec<u8>,
    start: StartLine,
    lines: Vec<Line>,
    body: Bytes,
    state: State,
}

/// Whether `wire` can be sent as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was edited, and Content-Length is there and right.
    Untouched,
    /// To be put together from its parts.
    Edited,
}

/// Which buffer a line's bytes are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Wire,
    Edits,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn shift(&mut self, from: u32, to: u32) {
        self.start = self.start - from + to;
        self.end = self.end - from + to;
    }
}

#[derive(Clone, Copy, Debug)]
enum StartLine {
    /// `line` with its CRLF.
    Request {
        source: Source,
        line: Span,
        method: Span,
        uri: Span,
    },
    Response {
        source: Source,
        line: Span,
        status: u16,
        reason: Span,
    },
}

impl StartLine {
    fn source(self) -> Source {
        match self {
            Self::Request { source, .. } | Self::Response { source, .. } => source,
        }
    }

    fn line(self) -> Span {
        match self {
            Self::Request { line, .. } | Self::Response { line, .. } => line,
        }
    }

    /// Its bytes are in the wire from here on; where they end there.
    fn move_to(&mut self, at: u32) -> u32 {
        let from = self.line().start;
        match self {
            Self::Request {
                source,
                line,
                method,
                uri,
            } => {
                *source = Source::Wire;
                for span in [line, method, uri] {
                    span.shift(from, at);
                }
            }
            Self::Response {
                source,
                line,
                reason,
                status: _,
            } => {
                *source = Source::Wire;
                for span in [line, reason] {
                    span.shift(from, at);
                }
            }
        }
        self.line().end
    }
}

/// One header field: name, colon, value, CRLF, with the lines folded into it.
#[derive(Clone, Copy, Debug)]
struct Line {
    start: u32,
    /// After the CRLF.
    end: u32,
    /// After the colon.
    value: u32,
    name_len: u8,
    name: Option<HeaderName>,
    source: Source,
}

impl Line {
    /// Its bytes are in the wire from here on; where they end there.
    fn move_to(&mut self, at: u32) -> u32 {
        self.end = self.end - self.start + at;
        self.value = self.value - self.start + at;
        self.start = at;
        self.source = Source::Wire;
        self.end
    }
}

/// Header fields for which a copy has room, beyond those that it has: a copy is made to be edited.
const LINES_MORE: usize = 8;
/// Bytes of edits for which a copy has room: what policies and the proxy add to a message on its way.
const EDITS_BYTES_MORE: usize = 512;

impl Clone for Message {
    fn clone(&self) -> Self {
        let mut lines = Vec::with_capacity(self.lines.len() + LINES_MORE);
        lines.extend_from_slice(&self.lines);
        let mut edits = Vec::new();
        // Without any, the first one makes the room.
        if !self.edits.is_empty() {
            edits.reserve(self.edits.len() + EDITS_BYTES_MORE);
            edits.extend_from_slice(&self.edits);
        }
        Self {
            wire: self.wire.clone(),
            edits,
            start: self.start,
            lines,
            body: self.body.clone(),
            state: self.state,
        }
    }
}

impl Message {
    fn buffer(&self, source: Source) -> &[u8] {
        match source {
            Source::Wire => &self.wire,
            Source::Edits => &self.edits,
        }
    }

    /// Spans are made by `parse` and `edits` from offsets inside of the buffer that they name.
    fn slice(&self, source: Source, start: u32, end: u32) -> &[u8] {
        self.buffer(source)
            .get(start as usize..end as usize)
            .unwrap_or_default()
    }

    /// The body; empty if there is none.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Bytes on the wire, but for a Content-Length that is still to be added.
    #[must_use]
    pub fn size(&self) -> usize {
        let lines: u32 = self.lines.iter().map(|line| line.end - line.start).sum();
        let start = self.start.line();
        (lines + start.end - start.start) as usize + 2 + self.body.len()
    }

    /// As it goes onto the wire, with a right Content-Length. Free of copies if nothing was edited.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self.state {
            State::Untouched => self.wire.clone(),
            State::Edited => {
                let mut out = BytesMut::with_capacity(self.written_bytes());
                self.write(&mut out);
                out.freeze()
            }
        }
    }

    /// The same; what was sent is then also what is kept, in one buffer, unless it lacked its Content-Length.
    pub(crate) fn settle(&mut self) -> Bytes {
        let bytes = self.to_bytes();
        if self.state == State::Untouched || !self.contains(HeaderName::ContentLength) {
            return bytes;
        }
        let mut end = self.start.move_to(0);
        for line in &mut self.lines {
            end = line.move_to(end);
        }
        self.lines.shrink_to_fit();
        self.edits = Vec::new();
        self.body = bytes.slice(bytes.len() - self.body.len()..);
        self.wire = bytes.clone();
        self.state = State::Untouched;
        bytes
    }

    /// Gives back the room for edits: there will be no more.
    pub(crate) fn shrink(&mut self) {
        self.lines.shrink_to_fit();
        self.edits.shrink_to_fit();
    }

    /// How much [`write`](Self::write) writes, but for a Content-Length that is not there yet.
    fn written_bytes(&self) -> usize {
        let start = self.start.line();
        let lines = self.lines.iter().map(|line| line.end - line.start);
        (start.end - start.start + lines.sum::<u32>()) as usize + 2 + self.body.len()
    }

    /// Ranges that lie side by side in one buffer are copied in one go.
    fn write(&self, out: &mut BytesMut) {
        let (mut source, mut run) = (self.start.source(), self.start.line());
        for line in &self.lines {
            if line.source == source && line.start == run.end {
                run.end = line.end;
            } else {
                out.extend_from_slice(self.slice(source, run.start, run.end));
                (source, run) = (
                    line.source,
                    Span {
                        start: line.start,
                        end: line.end,
                    },
                );
            }
        }
        out.extend_from_slice(self.slice(source, run.start, run.end));
        if !self.contains(HeaderName::ContentLength) {
            out.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
    }
}

impl std::fmt::Debug for Message {
    /// Start line alone: header fields may hold credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (source, line) = (self.start.source(), self.start.line());
        let start = self.slice(source, line.start, line.end).trim_ascii_end();
        write!(
            f,
            "Message({:?}, {} header fields, {} bytes of body)",
            start.escape_ascii().to_string(),
            self.lines.len(),
            self.body.len()
        )
    }
}

#[cfg(test)]
mod tests;
