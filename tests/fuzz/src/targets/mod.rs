//! One module for each target.

pub(crate) mod bearer;
pub(crate) mod bencode;
pub(crate) mod configuration;
pub(crate) mod credentials;
pub(crate) mod framing;
pub(crate) mod messages;
pub(crate) mod read;
pub(crate) mod round_trip;
pub(crate) mod sequences;
pub(crate) mod tokens;
pub(crate) mod views;
pub(crate) mod websocket;
