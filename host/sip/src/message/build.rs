//! Messages of our own: requests, and responses to requests (RFC 3261 §8.2.6).

use bytes::Bytes;

use super::{HeaderName, Message, MessageError, Source, Span, StartLine, State, text::is_token};
use crate::{header::NameAddr, uri::Uri};

/// What a response has beyond what it copies: its status line, the tag, and what is added later.
const RESPONSE_BYTES_MORE: usize = 256;

impl Message {
    /// A request with no header fields yet.
    ///
    /// # Errors
    /// [`MessageError::Method`], [`MessageError::Uri`].
    pub fn request(method: &str, uri: &str) -> Result<Self, MessageError> {
        if !is_token(method.as_bytes()) {
            return Err(MessageError::Method);
        }
        Uri::parse(uri).map_err(|_| MessageError::Uri)?;
        let edits = format!("{method} {uri} SIP/2.0\r\n").into_bytes();
        let method_end = method.len() as u32;
        let uri_end = method_end + 1 + uri.len() as u32;
        let start = StartLine::Request {
            source: Source::Edits,
            line: Span {
                start: 0,
                end: edits.len() as u32,
            },
            method: Span {
                start: 0,
                end: method_end,
            },
            uri: Span {
                start: method_end + 1,
                end: uri_end,
            },
        };
        Ok(Self::own(edits, start))
    }

    /// A response with the fields that RFC 3261 §8.2.6.2 copies: every Via, From, To, Call-ID, CSeq, and Timestamp in a 100.
    /// `to_tag` is added to To if that has no tag. Control characters in `reason` become spaces; an empty `reason` becomes the
    /// RFC's phrase.
    #[must_use]
    pub fn response_to(request: &Self, status: u16, reason: &str, to_tag: Option<&str>) -> Self {
        let mut edits =
            Vec::with_capacity(request.size() - request.body.len() + RESPONSE_BYTES_MORE);
        let start = push_status_line(&mut edits, status, reason);
        let mut response = Self::own(edits, start);
        for header in request.headers() {
            let Some(name) = header.known.filter(|&name| is_copied(name, status)) else {
                continue;
            };
            // A request that is refused for it may have two of what stands once.
            if name != HeaderName::Via && response.contains(name) {
                continue;
            }
            if name == HeaderName::To {
                response.push_to(header.value, to_tag);
            } else {
                response.push(name, header.value);
            }
        }
        response
    }

    fn own(edits: Vec<u8>, start: StartLine) -> Self {
        Self {
            wire: Bytes::new(),
            edits,
            start,
            lines: Vec::with_capacity(16),
            body: Bytes::new(),
            state: State::Edited,
        }
    }

    fn push_to(&mut self, value: &[u8], to_tag: Option<&str>) {
        let tag = to_tag.filter(|_| NameAddr::parse(value).is_ok_and(|to| to.tag().is_none()));
        match tag {
            Some(tag) => self.push(HeaderName::To, &[value, b";tag=", tag.as_bytes()].concat()),
            None => self.push(HeaderName::To, value),
        }
    }
}

fn is_copied(name: HeaderName, status: u16) -> bool {
    use HeaderName::{CSeq, CallId, From, Timestamp, To, Via};
    matches!(name, Via | From | To | CallId | CSeq) || (name == Timestamp && status == 100)
}

/// Writes a status line at the end of `edits`.
pub(super) fn push_status_line(edits: &mut Vec<u8>, status: u16, reason: &str) -> StartLine {
    let reason = if reason.is_empty() {
        default_reason(status)
    } else {
        reason
    };
    let begin = edits.len() as u32;
    edits.extend_from_slice(b"SIP/2.0 ");
    edits.extend_from_slice(status.to_string().as_bytes());
    edits.push(b' ');
    let reason_at = edits.len() as u32;
    edits.extend(
        reason
            .bytes()
            .map(|byte| if byte.is_ascii_control() { b' ' } else { byte }),
    );
    let reason_end = edits.len() as u32;
    edits.extend_from_slice(b"\r\n");
    StartLine::Response {
        source: Source::Edits,
        line: Span {
            start: begin,
            end: reason_end + 2,
        },
        status,
        reason: Span {
            start: reason_at,
            end: reason_end,
        },
    }
}

/// The phrases of RFC 3261 §21 and of the IANA registry; the class's for any other status.
#[must_use]
pub fn default_reason(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        199 => "Early Dialog Terminated",
        200 => "OK",
        202 => "Accepted",
        204 => "No Notification",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        417 => "Unknown Resource-Priority",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        424 => "Bad Location Information",
        428 => "Use Identity Header",
        429 => "Provide Referrer Identity",
        430 => "Flow Failed",
        433 => "Anonymity Disallowed",
        436 => "Bad Identity-Info",
        437 => "Unsupported Certificate",
        438 => "Invalid Identity Header",
        439 => "First Hop Lacks Outbound Support",
        440 => "Max-Breadth Exceeded",
        469 => "Bad Info Package",
        470 => "Consent Needed",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        494 => "Security Agreement Required",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        580 => "Precondition Failure",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        607 => "Unwanted",
        608 => "Rejected",
        other => match other / 100 {
            1 => "Session Progress",
            2 => "OK",
            3 => "Redirection",
            4 => "Bad Request",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}
