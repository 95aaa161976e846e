//! Reading a message: its start line, its header fields, and what a proxy reads of every message.

use std::borrow::Cow;

use super::{
    HeaderName, Line, Message, Method, Name, StartLine,
    text::{Split, trim, unfold},
};
use crate::header::{CSeq, NameAddr, Via};

/// One header field as it stands in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// If it is a known one, in whichever form.
    pub known: Option<HeaderName>,
    /// As on the wire.
    pub name: &'a [u8],
    /// Trimmed; may hold folds, which [`unfold`] joins.
    pub value: &'a [u8],
}

impl Message {
    /// Is it a request?
    #[must_use]
    pub fn is_request(&self) -> bool {
        matches!(self.start, StartLine::Request { .. })
    }

    /// Of a request.
    #[must_use]
    pub fn method(&self) -> Option<Method<'_>> {
        let StartLine::Request { source, method, .. } = self.start else {
            return None;
        };
        Method::from_bytes(self.slice(source, method.start, method.end))
    }

    /// Of a request, as on the wire.
    #[must_use]
    pub fn request_uri(&self) -> Option<&str> {
        let StartLine::Request { source, uri, .. } = self.start else {
            return None;
        };
        std::str::from_utf8(self.slice(source, uri.start, uri.end)).ok()
    }

    /// Of a response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Request { .. } => None,
            StartLine::Response { status, .. } => Some(status),
        }
    }

    /// Of a response: the reason phrase as on the wire.
    #[must_use]
    pub fn reason(&self) -> Option<&[u8]> {
        let StartLine::Response { source, reason, .. } = self.start else {
            return None;
        };
        Some(self.slice(source, reason.start, reason.end))
    }

    /// All header fields in order.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.lines.iter().map(|line| Header {
            known: line.name,
            name: self.name_of(line),
            value: self.value_of(line),
        })
    }

    /// How many header fields (lines) there are.
    #[must_use]
    pub fn header_count(&self) -> usize {
        self.lines.len()
    }

    /// The first field of this name, whole, with its folds joined.
    pub fn header<'n>(&self, name: impl Into<Name<'n>>) -> Option<Cow<'_, [u8]>> {
        self.raw(name).map(unfold)
    }

    /// The first field of this name, whole and trimmed; may hold folds, which the views of [`crate::header`] know.
    pub fn raw<'n>(&self, name: impl Into<Name<'n>>) -> Option<&[u8]> {
        self.find(name.into())
            .and_then(|at| self.lines.get(at))
            .map(|line| self.value_of(line))
    }

    /// Every value of this name in order: comma lists are split where the field's grammar is a list. Trimmed; may hold folds.
    pub fn values<'a, 'n: 'a>(
        &'a self,
        name: impl Into<Name<'n>>,
    ) -> impl Iterator<Item = &'a [u8]> {
        let name = name.into();
        let lines = self
            .lines
            .iter()
            .filter(move |line| self.is_named(line, name));
        lines.flat_map(move |line| Split::new(self.value_of(line), name.is_list()))
    }

    /// How many header fields (lines) have this name.
    pub fn count<'n>(&self, name: impl Into<Name<'n>>) -> usize {
        let name = name.into();
        self.lines
            .iter()
            .filter(|line| self.is_named(line, name))
            .count()
    }

    /// Is there a field of this name?
    pub fn contains<'n>(&self, name: impl Into<Name<'n>>) -> bool {
        self.find(name.into()).is_some()
    }

    /// The topmost Via.
    #[must_use]
    pub fn top_via(&self) -> Option<Via<'_>> {
        Via::parse(self.values(HeaderName::Via).next()?).ok()
    }

    /// CSeq.
    #[must_use]
    pub fn cseq(&self) -> Option<CSeq<'_>> {
        CSeq::parse(self.raw(HeaderName::CSeq)?).ok()
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> Option<&str> {
        std::str::from_utf8(self.raw(HeaderName::CallId)?).ok()
    }

    /// From.
    #[must_use]
    pub fn from(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.raw(HeaderName::From)?).ok()
    }

    /// To.
    #[must_use]
    pub fn to(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.raw(HeaderName::To)?).ok()
    }

    /// The URI of From as it stands there, whether or not it can be parsed; for whoever only shows or compares it.
    #[must_use]
    pub fn from_uri(&self) -> Option<&str> {
        Some(NameAddr::split(self.raw(HeaderName::From)?).ok()?.uri)
    }

    /// The URI of To as it stands there, like [`Message::from_uri`].
    #[must_use]
    pub fn to_uri(&self) -> Option<&str> {
        Some(NameAddr::split(self.raw(HeaderName::To)?).ok()?.uri)
    }

    /// The tag of From.
    #[must_use]
    pub fn from_tag(&self) -> Option<&str> {
        NameAddr::split(self.raw(HeaderName::From)?).ok()?.tag()
    }

    /// The tag of To.
    #[must_use]
    pub fn to_tag(&self) -> Option<&str> {
        NameAddr::split(self.raw(HeaderName::To)?).ok()?.tag()
    }

    /// Max-Forwards.
    #[must_use]
    pub fn max_forwards(&self) -> Option<u8> {
        self.number(HeaderName::MaxForwards)
    }

    /// Content-Length.
    #[must_use]
    pub fn content_length(&self) -> Option<usize> {
        self.number(HeaderName::ContentLength)
    }

    /// A field whose value is one number, such as Expires; `None` also if it is not a number or too large for `T`.
    #[must_use]
    pub fn number<T: TryFrom<u64>>(&self, name: HeaderName) -> Option<T> {
        parse_number(self.raw(name)?)
    }

    pub(super) fn name_of(&self, line: &Line) -> &[u8] {
        self.slice(
            line.source,
            line.start,
            line.start + u32::from(line.name_len),
        )
    }

    pub(super) fn value_of(&self, line: &Line) -> &[u8] {
        trim(self.slice(line.source, line.value, line.end))
    }

    pub(super) fn is_named(&self, line: &Line, name: Name<'_>) -> bool {
        match name {
            Name::Known(known) => line.name == Some(known),
            // The length alone tells most of them apart.
            Name::Other(name) => {
                usize::from(line.name_len) == name.len()
                    && self.name_of(line).eq_ignore_ascii_case(name)
            }
        }
    }

    pub(super) fn find(&self, name: Name<'_>) -> Option<usize> {
        match name {
            // Asked again and again of every message, hence without a look at the bytes.
            Name::Known(known) => self.lines.iter().position(|line| line.name == Some(known)),
            Name::Other(_) => self.lines.iter().position(|line| self.is_named(line, name)),
        }
    }
}

/// Digits and nothing else.
pub(crate) fn parse_number<T: TryFrom<u64>>(value: &[u8]) -> Option<T> {
    let add = |number: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        number.checked_mul(10)?.checked_add(digit.into())
    };
    let (first, rest) = value.split_first()?;
    let number = rest.iter().try_fold(add(0, first)?, add)?;
    T::try_from(number).ok()
}
