//! From bytes to a [`Message`], or to what is wrong with them.

use bytes::Bytes;

use super::{
    Fault, HeaderName, Line, Message, ParseError, Source, Span, StartLine, State, check,
    read::parse_number,
    text::{is_token, token_len},
};
use crate::{limits::Limits, uri::Uri};

/// Longest name of a header field.
pub(super) const NAME_BYTES_MAX: usize = 128;

/// Compares without case (RFC 3261 §7.1).
const VERSION: &[u8] = b"SIP/2.0";

impl Message {
    /// Reads one whole message: a datagram, a WebSocket frame, or what [`crate::framing::StreamFramer`] cut out. Bytes beyond
    /// Content-Length are dropped, and without one all the rest is the body (RFC 3261 §18.3).
    ///
    /// # Errors
    /// [`ParseError`]; with the request itself if that can be answered.
    pub fn parse(bytes: Bytes, limits: &Limits) -> Result<Self, ParseError> {
        let mut parser = Parser {
            fault: None,
            lines: Vec::with_capacity(24),
            seen: 0,
            limits,
        };
        let parsed = parser.message(bytes);
        match (parsed, parser.fault) {
            (Ok(message), None) => Ok(message),
            (Ok(message), Some(fault)) => {
                let answerable = message.is_answerable().then(|| Box::new(message));
                Err(ParseError { fault, answerable })
            }
            (Err(fault), _) => Err(ParseError {
                fault,
                answerable: None,
            }),
        }
    }
}

struct Parser<'l> {
    /// The first one; parsing goes on after it, to find out whether the request can be answered.
    fault: Option<Fault>,
    lines: Vec<Line>,
    /// Bits of the known names so far.
    seen: u128,
    limits: &'l Limits,
}

impl Parser<'_> {
    fn note(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    fn message(&mut self, bytes: Bytes) -> Result<Message, Fault> {
        if bytes.len() > self.limits.message_bytes_max {
            self.note(Fault::TooLarge);
        }
        // Offsets are of 32 bits.
        if bytes.len() > Limits::MESSAGE_BYTES_MAX {
            return Err(Fault::TooLarge);
        }
        let start_end = line_end(&bytes, 0).ok_or(Fault::StartLine)?;
        let start = self.start_line(&bytes, start_end)?;
        let body_at = self.header_fields(&bytes, start_end);
        let mut message = Message {
            wire: bytes,
            edits: Vec::new(),
            start,
            lines: std::mem::take(&mut self.lines),
            body: Bytes::new(),
            state: State::Edited,
        };
        self.body(&mut message, body_at);
        if self.fault.is_none()
            && let Err(fault) = check::check(&message, self.seen)
        {
            self.note(fault);
        }
        Ok(message)
    }

    fn start_line(&mut self, bytes: &[u8], end: usize) -> Result<StartLine, Fault> {
        if end > self.limits.header_line_bytes_max {
            self.note(Fault::RequestUriTooLong);
        }
        let text = bytes.get(..end - 2).unwrap_or_default();
        let line = Span {
            start: 0,
            end: end as u32,
        };
        let source = Source::Wire;
        if let Some((version, rest)) = text.split_at_checked(VERSION.len() + 1)
            && version.eq_ignore_ascii_case(b"SIP/2.0 ")
        {
            let (status, reason) = status_and_reason(rest).ok_or(Fault::StartLine)?;
            let start = (text.len() - reason.len()) as u32;
            return Ok(StartLine::Response {
                source,
                line,
                status,
                reason: Span {
                    start,
                    end: text.len() as u32,
                },
            });
        }
        let method_end = memchr::memchr(b' ', text).ok_or(Fault::StartLine)?;
        let version_at = memchr::memrchr(b' ', text).ok_or(Fault::StartLine)? + 1;
        let uri_at = method_end + 1;
        let (method, version) = (
            text.get(..method_end).unwrap_or_default(),
            text.get(version_at..).unwrap_or_default(),
        );
        if !is_token(method) {
            return Err(Fault::StartLine);
        }
        if !version.eq_ignore_ascii_case(VERSION) {
            let is_sip = version
                .get(..4)
                .is_some_and(|sip| sip.eq_ignore_ascii_case(b"SIP/"));
            self.note(if is_sip {
                Fault::Version
            } else {
                Fault::StartLine
            });
        }
        let uri = text.get(uri_at..version_at - 1).unwrap_or_default();
        if std::str::from_utf8(uri).map_or(true, |uri| Uri::parse(uri).is_err()) {
            self.note(Fault::RequestUri);
        }
        let method = Span {
            start: 0,
            end: method_end as u32,
        };
        let uri = Span {
            start: uri_at as u32,
            end: version_at.saturating_sub(1).max(uri_at) as u32,
        };
        Ok(StartLine::Request {
            source,
            line,
            method,
            uri,
        })
    }

    /// Indexes the fields from `at` on; where the body begins.
    fn header_fields(&mut self, bytes: &[u8], mut at: usize) -> usize {
        let mut number = 2;
        loop {
            if bytes.get(at..at + 2) == Some(b"\r\n") {
                return at + 2;
            }
            let Some((end, folds)) = field_end(bytes, at) else {
                let broken =
                    memchr::memchr2(b'\r', b'\n', bytes.get(at..).unwrap_or_default()).is_some();
                self.note(if broken {
                    Fault::HeaderField { line: number }
                } else {
                    Fault::Truncated
                });
                return bytes.len();
            };
            self.header_field(bytes, at, end, number);
            number += 1 + folds;
            at = end;
        }
    }

    fn header_field(&mut self, bytes: &[u8], start: usize, end: usize, number: usize) {
        if end - start > self.limits.header_line_bytes_max {
            return self.note(Fault::HeaderTooLong);
        }
        if self.lines.len() >= self.limits.header_count_max {
            return self.note(Fault::TooManyHeaders);
        }
        let field = bytes.get(start..end).unwrap_or_default();
        let (name, after) = field.split_at(token_len(field));
        // HCOLON allows white space before the colon (RFC 3261 §25.1).
        let blanks = after
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || after.get(blanks) != Some(&b':') {
            return self.note(Fault::HeaderField { line: number });
        }
        let colon = name.len() + blanks;
        let known = HeaderName::find(name);
        if let Some(known) = known {
            if self.seen & known.bit() & check::SINGLE != 0 {
                self.note(Fault::Duplicate(known));
            }
            self.seen |= known.bit();
        }
        self.lines.push(Line {
            start: start as u32,
            end: end as u32,
            value: (start + colon + 1) as u32,
            name_len: name.len() as u8,
            name: known,
            source: Source::Wire,
        });
    }

    /// RFC 3261 §18.3, §20.14.
    fn body(&mut self, message: &mut Message, body_at: usize) {
        let available = message.wire.len() - body_at;
        let mut length = available;
        if let Some(value) = message.raw(HeaderName::ContentLength) {
            match parse_number::<usize>(value) {
                None => self.note(Fault::Malformed(HeaderName::ContentLength)),
                Some(promised) if promised > available => self.note(Fault::BodyTooShort),
                Some(promised) => {
                    length = promised;
                    message.state = State::Untouched;
                }
            }
        }
        if length > self.limits.body_bytes_max {
            self.note(Fault::BodyTooLarge);
        }
        message.wire.truncate(body_at + length);
        message.body = message.wire.slice(body_at..);
    }
}

/// `200 OK`, `200 `, and, though the grammar wants the space, `200`.
fn status_and_reason(rest: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, reason) = rest.split_at_checked(3)?;
    let status = parse_number(digits).filter(|status| (100..700).contains(status))?;
    match reason {
        [] => Some((status, reason)),
        [b' ', reason @ ..] => Some((status, reason)),
        [_, ..] => None,
    }
}

/// After the CRLF that ends the line at `at`; `None` if it ends in CR or LF alone, or never.
fn line_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let cr = memchr::memchr2(b'\r', b'\n', rest)?;
    (rest.get(cr..cr + 2)? == b"\r\n").then_some(at + cr + 2)
}

/// After the last CRLF of the field at `at` with its folded lines, and how many those are.
fn field_end(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut end = line_end(bytes, at)?;
    let mut folds = 0;
    while let Some(b' ' | b'\t') = bytes.get(end) {
        end = line_end(bytes, end)?;
        folds += 1;
    }
    Some((end, folds))
}
