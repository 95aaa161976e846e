//! One module for each target.

pub(crate) mod framing;
pub(crate) mod messages;
pub(crate) mod read;
pub(crate) mod round_trip;
pub(crate) mod sequences;
pub(crate) mod tokens;
pub(crate) mod views;
