//! Values that are a token with parameters, and Reason (RFC 3326) among them.

use std::borrow::Cow;

use super::{
    ViewError,
    params::{Params, split_once, trim, unquote},
    text,
};

/// `token;name=value…`, such as Event, Content-Disposition, Content-Type, Session-Expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenParams<'a> {
    /// Before the first semicolon, not empty.
    pub token: &'a str,
    /// After it.
    pub params: Params<'a>,
}

impl<'a> TokenParams<'a> {
    /// Reads a value.
    ///
    /// # Errors
    /// [`ViewError`] if there is no token or the value is not UTF-8.
    pub fn parse(value: &'a [u8]) -> Result<Self, ViewError> {
        let (token, params) = split_once(text(value, "value")?, b';');
        let token = trim(token);
        if token.is_empty() {
            return Err(ViewError("token"));
        }
        Ok(Self {
            token,
            params: Params::new(params.unwrap_or_default()),
        })
    }
}

/// One value of Reason: why a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason<'a> {
    /// `SIP`, `Q.850`, …
    pub protocol: &'a str,
    /// All parameters.
    pub params: Params<'a>,
}

impl<'a> Reason<'a> {
    /// Reads one value.
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn parse(value: &'a [u8]) -> Result<Self, ViewError> {
        TokenParams::parse(value).map(|value| Self {
            protocol: value.token,
            params: value.params,
        })
    }

    /// The protocol's number for it.
    #[must_use]
    pub fn cause(&self) -> Option<u16> {
        self.params.get("cause")?.parse().ok()
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'a, str>> {
        self.params.get("text").map(unquote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_has_a_cause_and_a_text() {
        let reason = Reason::parse(b"SIP ;cause=200 ;text=\"Call completed; elsewhere\"").unwrap();
        assert_eq!((reason.protocol, reason.cause()), ("SIP", Some(200)));
        assert_eq!(reason.text().as_deref(), Some("Call completed; elsewhere"));
        assert!(Reason::parse(b" ;cause=200").is_err());
    }
}
