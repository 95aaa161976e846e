//! A load generator for a media relay: calls whose two ends it plays both, and counts what arrives.
//!
//! The relay is told of calls over rtpengine's control protocol, which `hookswitch-media-alone` speaks for our engine, so that both get
//! the same load in the same way. Read in this order: [`ng`] (commands), [`call`] (descriptions and keys), [`web`] (a browser's
//! transport), [`flow`] (packets at their pace). Or by SIP, through the whole proxy: [`sip`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod call;
pub mod flow;
pub mod ng;
pub mod sip;
pub mod web;
