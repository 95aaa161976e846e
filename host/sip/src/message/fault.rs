//! What is wrong with a message, and its answer.

use super::{HeaderName, Message};

/// What is wrong with a message. Its text is fit for a reason phrase.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Neither a request line nor a status line.
    #[error("Malformed start line")]
    StartLine,
    /// Not SIP/2.0.
    #[error("SIP version not supported")]
    Version,
    /// The Request-URI is not a URI.
    #[error("Malformed Request-URI")]
    RequestUri,
    /// The start line is longer than `header_line_bytes_max`.
    #[error("Request-URI too long")]
    RequestUriTooLong,
    /// A header field without a colon, with a name that is no token, or a line that ends in CR or LF alone.
    #[error("Malformed header field in line {line}")]
    HeaderField {
        /// Counted from 1, the start line.
        line: usize,
    },
    /// More than `header_count_max`.
    #[error("Too many header fields")]
    TooManyHeaders,
    /// Longer than `header_line_bytes_max`.
    #[error("Header field too long")]
    HeaderTooLong,
    /// The empty line after the header fields is missing.
    #[error("Header fields do not end in an empty line")]
    Truncated,
    /// A mandatory field is missing (RFC 3261 §8.1.1).
    #[error("Missing {0}")]
    Missing(HeaderName),
    /// A field that may stand once stands twice.
    #[error("Duplicate {0}")]
    Duplicate(HeaderName),
    /// A field that the proxy must read cannot be read.
    #[error("Malformed {0}")]
    Malformed(HeaderName),
    /// The methods of CSeq and of the request line differ.
    #[error("CSeq method does not match")]
    CSeqMethod,
    /// Content-Length promises more than there is.
    #[error("Body shorter than Content-Length")]
    BodyTooShort,
    /// More than `body_bytes_max`.
    #[error("Body too large")]
    BodyTooLarge,
    /// More than `message_bytes_max`.
    #[error("Message too large")]
    TooLarge,
}

impl Fault {
    /// What a request with this fault is answered.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Version => 505,
            Self::RequestUriTooLong => 414,
            Self::BodyTooLarge => 413,
            Self::TooLarge => 513,
            Self::StartLine
            | Self::RequestUri
            | Self::HeaderField { .. }
            | Self::TooManyHeaders
            | Self::HeaderTooLong
            | Self::Truncated
            | Self::Missing(_)
            | Self::Duplicate(_)
            | Self::Malformed(_)
            | Self::CSeqMethod
            | Self::BodyTooShort => 400,
        }
    }
}

/// A message that was refused.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{fault}")]
pub struct ParseError {
    /// The first fault.
    pub fault: Fault,
    /// The request as far as it was understood, if it can be answered.
    pub answerable: Option<Box<Message>>,
}

impl ParseError {
    /// The answer, if it can be answered: [`Fault::status`] with a reason that says what is wrong. `to_tag` as in
    /// [`Message::response_to`].
    #[must_use]
    pub fn response(&self, to_tag: Option<&str>) -> Option<Message> {
        let request = self.answerable.as_deref()?;
        Some(Message::response_to(
            request,
            self.fault.status(),
            &self.fault.to_string(),
            to_tag,
        ))
    }
}
