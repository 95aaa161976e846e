//! libFuzzer around the target that `HOOKSWITCH_FUZZ_TARGET` names. `cargo xtask fuzz` builds and runs it.
#![no_main]
#![allow(clippy::panic)]

use std::sync::OnceLock;

use hookswitch_fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<&Target> = OnceLock::new();

fuzz_target!(|data: &[u8]| (TARGET.get_or_init(named).run)(data));

fn named() -> &'static Target {
    let name = std::env::var("HOOKSWITCH_FUZZ_TARGET").unwrap_or_default();
    let target = TARGETS.iter().find(|target| target.name == name);
    target.unwrap_or_else(|| panic!("HOOKSWITCH_FUZZ_TARGET={name} is no target"))
}
