//! What is fed with bytes that nobody chose: targets, each a function that panics on what must not be, whatever the bytes.
//!
//! The tests replay the kept corpus and some mutations of it, always the same ones. `cargo xtask fuzz` goes on for as long as it is told,
//! guided by coverage. None of them opens a socket, reads a file or runs WebAssembly.

#![allow(clippy::panic)]

mod choices;
pub mod driver;
mod mutate;
mod targets;

pub use choices::Choices;
pub use mutate::{Chance, mutate};

/// One thing to feed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Also its folder below `corpus/`.
    pub name: &'static str,
    /// Panics on a finding.
    pub run: fn(&[u8]),
    /// Words that no chance would make, in libFuzzer's form.
    pub words: &'static str,
}

const SIP: &str = include_str!("../sip.dict");

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "messages",
        run: targets::messages::run,
        words: SIP,
    },
    Target {
        name: "round_trip",
        run: targets::round_trip::run,
        words: SIP,
    },
    Target {
        name: "views",
        run: targets::views::run,
        words: SIP,
    },
    Target {
        name: "framing",
        run: targets::framing::run,
        words: SIP,
    },
    Target {
        name: "sequences",
        run: targets::sequences::run,
        words: SIP,
    },
    Target {
        name: "tokens",
        run: targets::tokens::run,
        words: SIP,
    },
    Target {
        name: "credentials",
        run: targets::credentials::run,
        words: SIP,
    },
    Target {
        name: "bearer",
        run: targets::bearer::run,
        words: SIP,
    },
    Target {
        name: "configuration",
        run: targets::configuration::run,
        words: include_str!("../configuration.dict"),
    },
    Target {
        name: "websocket",
        run: targets::websocket::run,
        words: SIP,
    },
    Target {
        name: "bencode",
        run: targets::bencode::run,
        words: SIP,
    },
    Target {
        name: "stun",
        run: targets::stun::run,
        words: SIP,
    },
    Target {
        name: "dtls",
        run: targets::dtls::run,
        words: SIP,
    },
    Target {
        name: "rtcp",
        run: targets::rtcp::run,
        words: SIP,
    },
    Target {
        name: "codec",
        run: targets::codec::run,
        words: SIP,
    },
    Target {
        name: "relay",
        run: targets::relay::run,
        words: SIP,
    },
    Target {
        name: "sdp",
        run: targets::sdp::run,
        words: include_str!("../sdp.dict"),
    },
    Target {
        name: "calls",
        run: targets::calls::run,
        words: SIP,
    },
    Target {
        name: "ng",
        run: targets::ng::run,
        words: SIP,
    },
];
