//! A whole server in this process, with real sockets: browsers are WebSocket clients over TLS, the PBX is a UDP socket.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod admin;
mod attacks;
mod auth;
mod calls;
mod capture;
mod carriers;
mod client;
mod command;
mod destinations;
mod dns;
mod front;
mod ice_tcp;
mod issuer;
mod keys;
mod killed;
mod media;
mod names;
mod registrations;
mod relay;
mod scene;
mod stream;
mod streams;
mod tokens;
mod upstreams;
mod workers;
