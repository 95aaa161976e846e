//! What is fed with bytes that nobody chose: targets, each a function that panics on what must not be, whatever the bytes.
//!
//! The tests replay the kept corpus and some mutations of it, always the same ones. `cargo xtask fuzz` goes on for as long as it is told,
//! guided by coverage where clang's runtime can be built. What needs a socket or WebAssembly is not here: `host/server` drives its own
//! targets with [`driver`].

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
}

/// All that need nothing but memory.
pub const TARGETS: &[Target] = &[
    Target {
        name: "messages",
        run: targets::messages::run,
    },
    Target {
        name: "round_trip",
        run: targets::round_trip::run,
    },
    Target {
        name: "views",
        run: targets::views::run,
    },
    Target {
        name: "framing",
        run: targets::framing::run,
    },
    Target {
        name: "sequences",
        run: targets::sequences::run,
    },
    Target {
        name: "tokens",
        run: targets::tokens::run,
    },
];
