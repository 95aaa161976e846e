//! Typed views of header field values: zero-copy, made when asked for. Linear white space may be folded in all of them.
//!
//! A view never changes anything and never panics; what it cannot read is a [`ViewError`].

mod cseq;
mod name_addr;
mod params;
mod token_params;
mod via;

pub use self::{
    cseq::CSeq,
    name_addr::{Contact, NameAddr},
    params::{Params, unquote},
    token_params::TokenParams,
    via::{SentBy, Via},
};

/// A value that does not follow its grammar; names the part that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct ViewError(pub &'static str);

/// The text of a value whose grammar is ASCII.
fn text<'a>(value: &'a [u8], what: &'static str) -> Result<&'a str, ViewError> {
    std::str::from_utf8(value).map_err(|_| ViewError(what))
}
