//! CSeq (RFC 3261 §20.16).

use super::ViewError;
use crate::message::{
    Method, parse_number,
    text::{is_lws, is_token, trim},
};

/// Sequence number and method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Below 2^32; RFC 3261 asks for less than 2^31 in what is made new.
    pub number: u32,
    /// Equal to the request's.
    pub method: Method<'a>,
}

impl<'a> CSeq<'a> {
    /// Reads `1*DIGIT LWS Method`.
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn parse(value: &'a [u8]) -> Result<Self, ViewError> {
        let value = trim(value);
        let space = value
            .iter()
            .position(|&byte| is_lws(byte))
            .ok_or(ViewError("CSeq"))?;
        let (digits, method) = value.split_at(space);
        let method = trim(method);
        if !is_token(method) {
            return Err(ViewError("CSeq"));
        }
        Ok(Self {
            number: parse_number(digits).ok_or(ViewError("CSeq number"))?,
            method: Method::from_bytes(method).ok_or(ViewError("CSeq method"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_and_method() {
        assert_eq!(
            CSeq::parse(b"0009\r\n  INVITE "),
            Ok(CSeq {
                number: 9,
                method: Method::Invite
            })
        );
        assert_eq!(
            CSeq::parse(b"4294967295 X"),
            Ok(CSeq {
                number: u32::MAX,
                method: Method::Other("X")
            })
        );
        for wrong in [
            &b""[..],
            b"1",
            b"INVITE",
            b"1INVITE",
            b"-1 INVITE",
            b"+1 INVITE",
            b"4294967296 INVITE",
            b"1 IN VITE",
        ] {
            assert!(CSeq::parse(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }
}
