//! Values that are a token with parameters.

use super::{
    ViewError,
    params::{Params, split_once, trim},
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_and_its_parameters() {
        let value = TokenParams::parse(b"presence ;id=200 ;text=\"a; b\"").unwrap();
        assert_eq!(
            (value.token, value.params.get("id")),
            ("presence", Some("200"))
        );
        assert_eq!(value.params.get("text"), Some("\"a; b\""));
        assert!(TokenParams::parse(b" ;id=200").is_err());
    }
}
