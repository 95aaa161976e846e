//! Changing a message. Whoever edits on behalf of a policy goes through [`crate::edit`], which knows what is protected.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    EDITS_BYTES_MORE, HeaderName, Line, Message, Name, Source, Span, StartLine, State, build,
    parse::NAME_BYTES_MAX,
    text::{Split, is_token, trim},
};
use crate::uri::Uri;

/// Bytes that edits of one message may hold, beyond the body.
const EDITS_BYTES_MAX: usize = 1024 * 1024;

/// Why an edit was refused; the message is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not a token (RFC 3261 §25.1), or too long.
    #[error("the name of a header field must be a token")]
    Name,
    /// CR or LF, but for the folds of a value that was on the wire.
    #[error("a value must not contain CR or LF")]
    Value,
    /// Not a URI.
    #[error("not a URI")]
    Uri,
    /// Not a token.
    #[error("a method must be a token")]
    Method,
    /// A response has no Request-URI, a request no status.
    #[error("the message is of the other kind")]
    WrongKind,
    /// The edits of this message have grown too large.
    #[error("too large")]
    TooLarge,
}

impl Message {
    /// One field with this value in the place of the first of that name, all others removed; at the end if there was none.
    ///
    /// # Errors
    /// [`MessageError::Name`], [`MessageError::Value`], [`MessageError::TooLarge`].
    pub fn set<'n>(
        &mut self,
        name: impl Into<Name<'n>>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), MessageError> {
        let name = name.into();
        let line = self.new_line(name, value.as_ref())?;
        match self.find(name) {
            Some(first) => {
                self.remove_from(first + 1, name);
                if let Some(place) = self.lines.get_mut(first) {
                    *place = line;
                }
            }
            None => self.lines.push(line),
        }
        Ok(())
    }

    /// One field for each value, in the place of the first of that name, all others removed; at the end if there was none.
    ///
    /// # Errors
    /// As [`Message::set`]; then nothing was changed.
    pub fn set_values<'n, V: AsRef<[u8]>>(
        &mut self,
        name: impl Into<Name<'n>>,
        values: &[V],
    ) -> Result<(), MessageError> {
        let name = name.into();
        let lines = values
            .iter()
            .map(|value| self.new_line(name, value.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        let first = self.find(name).unwrap_or(self.lines.len());
        self.remove_from(first, name);
        self.lines.splice(first..first, lines);
        self.state = State::Edited;
        Ok(())
    }

    /// A field before the first of that name; before all others if there is none.
    ///
    /// # Errors
    /// As [`Message::set`].
    pub fn prepend<'n>(
        &mut self,
        name: impl Into<Name<'n>>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), MessageError> {
        let name = name.into();
        let line = self.new_line(name, value.as_ref())?;
        self.lines.insert(self.find(name).unwrap_or(0), line);
        Ok(())
    }

    /// A field after the last of that name; after all others if there is none.
    ///
    /// # Errors
    /// As [`Message::set`].
    pub fn append<'n>(
        &mut self,
        name: impl Into<Name<'n>>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), MessageError> {
        let name = name.into();
        let line = self.new_line(name, value.as_ref())?;
        let last = self
            .lines
            .iter()
            .rposition(|line| self.is_named(line, name));
        self.lines
            .insert(last.map_or(self.lines.len(), |last| last + 1), line);
        Ok(())
    }

    /// Removes every field of this name; how many there were.
    pub fn remove<'n>(&mut self, name: impl Into<Name<'n>>) -> usize {
        self.remove_from(0, name.into())
    }

    /// Removes the first value of this name, out of a comma list too: pops the topmost Via or Route. `false` if there is none.
    ///
    /// # Errors
    /// As [`Message::remove_first_values`].
    pub fn remove_first_value<'n>(
        &mut self,
        name: impl Into<Name<'n>>,
    ) -> Result<bool, MessageError> {
        Ok(self.remove_first_values(name, 1)? > 0)
    }

    /// Removes up to `count` values of this name from the first on, and says how many there were. What is left of a comma list is
    /// written once, however many of it go.
    ///
    /// # Errors
    /// [`MessageError::TooLarge`]; the values before that list are gone then.
    pub fn remove_first_values<'n>(
        &mut self,
        name: impl Into<Name<'n>>,
        count: usize,
    ) -> Result<usize, MessageError> {
        let name = name.into();
        let mut removed = 0;
        while removed < count
            && let Some(at) = self.find(name)
            && let Some(&line) = self.lines.get(at)
        {
            let mut values = Split::new(self.value_of(&line), name.is_list());
            // A field with an empty value is passed over, as `values` does.
            removed += values.by_ref().take(count - removed).count();
            let rest = trim(values.rest().unwrap_or_default()).to_vec();
            if rest.is_empty() {
                self.lines.remove(at);
                self.state = State::Edited;
            } else {
                let line = self.copy_line(&line, &rest)?;
                if let Some(place) = self.lines.get_mut(at) {
                    *place = line;
                }
            }
        }
        Ok(removed)
    }

    /// Replaces the first value of this name, in a comma list too; adds the field as [`Message::prepend`] does if there is none.
    ///
    /// # Errors
    /// As [`Message::set`].
    pub fn replace_first_value<'n>(
        &mut self,
        name: impl Into<Name<'n>>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), MessageError> {
        let name = name.into();
        let value = value.as_ref();
        check_value(value)?;
        let Some((at, line)) = self
            .find(name)
            .and_then(|at| Some((at, *self.lines.get(at)?)))
        else {
            return self.prepend(name, value);
        };
        let mut values = Split::new(self.value_of(&line), name.is_list());
        values.next();
        let whole = match values.rest() {
            Some(rest) => Cow::Owned([value, b",", rest].concat()),
            None => Cow::Borrowed(value),
        };
        let line = self.copy_line(&line, &whole)?;
        if let Some(place) = self.lines.get_mut(at) {
            *place = line;
        }
        Ok(())
    }

    /// Sets the Request-URI of a request.
    ///
    /// # Errors
    /// [`MessageError::WrongKind`], [`MessageError::Uri`], [`MessageError::TooLarge`].
    pub fn set_request_uri(&mut self, uri: &str) -> Result<(), MessageError> {
        let StartLine::Request { source, method, .. } = self.start else {
            return Err(MessageError::WrongKind);
        };
        Uri::parse(uri).map_err(|_| MessageError::Uri)?;
        self.reserve(uri.len() + 64)?;
        let method = self.slice(source, method.start, method.end).to_vec();
        let start = self.edits.len() as u32;
        self.edits.extend_from_slice(&method);
        let method = Span {
            start,
            end: start + method.len() as u32,
        };
        self.edits.push(b' ');
        self.edits.extend_from_slice(uri.as_bytes());
        let uri = Span {
            start: method.end + 1,
            end: method.end + 1 + uri.len() as u32,
        };
        self.edits.extend_from_slice(b" SIP/2.0\r\n");
        let line = Span {
            start,
            end: self.edits.len() as u32,
        };
        self.start = StartLine::Request {
            source: Source::Edits,
            line,
            method,
            uri,
        };
        self.state = State::Edited;
        Ok(())
    }

    /// Sets status and reason of a response; an empty `reason` is the RFC's phrase, control characters become spaces.
    ///
    /// # Errors
    /// [`MessageError::WrongKind`], [`MessageError::TooLarge`].
    pub fn set_status(&mut self, status: u16, reason: &str) -> Result<(), MessageError> {
        if self.is_request() {
            return Err(MessageError::WrongKind);
        }
        self.reserve(reason.len() + 64)?;
        self.start = build::push_status_line(&mut self.edits, status, reason);
        self.state = State::Edited;
        Ok(())
    }

    /// Sets body, Content-Length and, if given, Content-Type. An empty body without a type removes Content-Type.
    ///
    /// # Errors
    /// As [`Message::set`].
    pub fn set_body(
        &mut self,
        body: Bytes,
        content_type: Option<&str>,
    ) -> Result<(), MessageError> {
        match content_type {
            Some(content_type) => self.set(HeaderName::ContentType, content_type)?,
            None if body.is_empty() => {
                self.remove(HeaderName::ContentType);
            }
            None => {}
        }
        self.set(HeaderName::ContentLength, body.len().to_string())?;
        self.body = body;
        Ok(())
    }

    /// A line at the end, of a value that was on the wire.
    pub(super) fn push(&mut self, name: HeaderName, value: &[u8]) {
        let line = self.write_line(Name::Known(name), value);
        self.lines.push(line);
    }

    fn remove_from(&mut self, first: usize, name: Name<'_>) -> usize {
        let before = self.lines.len();
        let mut at = first;
        while let Some(line) = self.lines.get(at) {
            if self.is_named(line, name) {
                self.lines.remove(at);
            } else {
                at += 1;
            }
        }
        if self.lines.len() != before {
            self.state = State::Edited;
        }
        before - self.lines.len()
    }

    fn new_line(&mut self, name: Name<'_>, value: &[u8]) -> Result<Line, MessageError> {
        let bytes = name.as_bytes();
        let is_fit = || is_token(bytes) && bytes.len() <= NAME_BYTES_MAX;
        if name.known().is_none() && !is_fit() {
            return Err(MessageError::Name);
        }
        check_value(value)?;
        self.reserve(bytes.len() + value.len() + 4)?;
        Ok(self.write_line(name, value))
    }

    fn write_line(&mut self, name: Name<'_>, value: &[u8]) -> Line {
        let bytes = name.as_bytes();
        let start = self.edits.len() as u32;
        self.edits.extend_from_slice(bytes);
        self.edits.extend_from_slice(b": ");
        self.end_line(
            start,
            bytes.len() as u8,
            start + bytes.len() as u32 + 1,
            name.known(),
            value,
        )
    }

    /// A line with the name and colon of `line`, byte for byte, and another value.
    fn copy_line(&mut self, line: &Line, value: &[u8]) -> Result<Line, MessageError> {
        let head = line.start as usize..line.value as usize;
        self.reserve(head.len() + value.len() + 3)?;
        let (start, value_at) = (self.edits.len(), self.edits.len() + head.len());
        match line.source {
            Source::Wire => self
                .edits
                .extend_from_slice(self.wire.get(head).unwrap_or_default()),
            Source::Edits => self.edits.extend_from_within(head),
        }
        self.edits.push(b' ');
        Ok(self.end_line(
            start as u32,
            line.name_len,
            value_at as u32,
            line.name,
            value,
        ))
    }

    fn end_line(
        &mut self,
        start: u32,
        name_len: u8,
        value_at: u32,
        name: Option<HeaderName>,
        value: &[u8],
    ) -> Line {
        self.edits.extend_from_slice(value);
        self.edits.extend_from_slice(b"\r\n");
        self.state = State::Edited;
        Line {
            start,
            end: self.edits.len() as u32,
            value: value_at,
            name_len,
            name,
            source: Source::Edits,
        }
    }

    /// Room for `more` bytes of edits.
    fn reserve(&mut self, more: usize) -> Result<(), MessageError> {
        if self.edits.len() + more > EDITS_BYTES_MAX {
            return Err(MessageError::TooLarge);
        }
        if self.edits.capacity() == 0 {
            self.edits.reserve(EDITS_BYTES_MORE);
        }
        Ok(())
    }
}

/// A value as it may stand on the wire: a fold begins no new field, and a quoted string may hold a NUL (RFC 3261 §25.1).
fn check_value(value: &[u8]) -> Result<(), MessageError> {
    let mut rest = value;
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        rest = match rest.get(at..) {
            Some([b'\r', b'\n', b' ' | b'\t', after @ ..]) => after,
            Some(_) | None => return Err(MessageError::Value),
        };
    }
    Ok(())
}
