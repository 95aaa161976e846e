//! One module for each target.

pub(crate) mod bearer;
pub(crate) mod bencode;
pub(crate) mod calls;
pub(crate) mod codec;
pub(crate) mod configuration;
pub(crate) mod credentials;
pub(crate) mod dtls;
pub(crate) mod framing;
mod media;
pub(crate) mod messages;
pub(crate) mod ng;
pub(crate) mod read;
pub(crate) mod relay;
pub(crate) mod round_trip;
pub(crate) mod rtcp;
pub(crate) mod sdp;
pub(crate) mod sequences;
pub(crate) mod stun;
pub(crate) mod tokens;
pub(crate) mod views;
pub(crate) mod websocket;
