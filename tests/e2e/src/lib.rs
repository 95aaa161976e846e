//! Real peers around a real hookswitch, on loopback: Chromium with SIP.js and JsSIP, baresip, pjsua2, Kamailio and SIPp. For tests alone:
//! whatever goes wrong here panics, and a test that panics prints the proxy's log and the ladder of what passed it.

#![allow(clippy::panic, clippy::unwrap_used)]

pub mod account;
pub mod baresip;
pub mod browser;
pub mod configuration;
pub mod far;
pub mod host;
mod http;
pub mod kamailio;
pub mod phone;
pub mod pjsua;
mod ports;
pub mod rtpengine;
pub mod scenario;
pub mod sipp;
pub mod sound;
mod world;

pub use baresip::Baresip;
pub use far::Far;
pub use host::Host;
pub use kamailio::Kamailio;
pub use phone::{Library, Phone};
pub use pjsua::Pjsua;
pub use rtpengine::Rtpengine;
pub use sipp::Sipp;
pub use world::{DOMAIN, World};

use std::{
    env,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// How long a peer may take for anything; a wait of this length is a failure.
pub const PATIENCE_MS: u64 = 60_000;

/// This folder. Asked when it runs: checkouts that share a target folder may share what is compiled, too.
fn here() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        env::var_os("CARGO_MANIFEST_DIR")
            .expect("cargo runs this")
            .into()
    });
    &FOLDER
}

/// Where cargo put the things that these tests need; the test's own executable lies in it too.
fn built() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    test.ancestors()
        .nth(2)
        .expect("target/debug above target/debug/deps/peers")
        .to_path_buf()
}

/// Where `cargo xtask test` keeps what it brings: `HOOKSWITCH_CACHE`, or `~/.cache/hookswitch`.
fn cache() -> PathBuf {
    let home =
        || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache/hookswitch");
    std::env::var_os("HOOKSWITCH_CACHE").map_or_else(home, PathBuf::from)
}

/// `path`, if `cargo xtask test` has made it.
fn made(path: PathBuf) -> PathBuf {
    assert!(
        path.exists(),
        "there is no {}: `cargo xtask test` makes it before it runs these tests",
        path.display()
    );
    path
}
