//! A browser, a SIP phone and hookswitch between them with both shipped policies.

#![allow(clippy::unwrap_used, clippy::panic)]

mod between_browsers;
mod configuration;
mod from_pbx;
mod losses;
mod reload;
mod strangers;
mod to_pbx;
mod wire;
