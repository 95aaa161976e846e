//! Every target over its kept corpus and a number of mutations that fits a test.

use std::{env, path::PathBuf};

use hookswitch_fuzz::{TARGETS, driver};

fn drive(name: &str, mutations: u64) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.unwrap_or_else(|| unreachable!("{name} is a target"));
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this"));
    let corpus = package.join("corpus").join(name);
    driver::drive(&corpus, target.words, mutations, target.run);
}

#[test]
fn messages() {
    drive("messages", 20_000);
}

#[test]
fn round_trip() {
    drive("round_trip", 30_000);
}

#[test]
fn views() {
    drive("views", 50_000);
}

#[test]
fn framing() {
    drive("framing", 20_000);
}

#[test]
fn sequences() {
    drive("sequences", 3_000);
}

#[test]
fn tokens() {
    drive("tokens", 30_000);
}

#[test]
fn credentials() {
    drive("credentials", 3_000);
}

#[test]
fn bearer() {
    drive("bearer", 10_000);
}

#[test]
fn configuration() {
    drive("configuration", 2_000);
}

#[test]
fn websocket() {
    drive("websocket", 3_000);
}

#[test]
fn bencode() {
    drive("bencode", 50_000);
}

#[test]
fn stun() {
    drive("stun", 5_000);
}

#[test]
fn dtls() {
    drive("dtls", 60);
}

#[test]
fn rtcp() {
    drive("rtcp", 5_000);
}

#[test]
fn codec() {
    drive("codec", 200);
}

#[test]
fn relay() {
    drive("relay", 60);
}

#[test]
fn sdp() {
    drive("sdp", 1_000);
}

#[test]
fn calls() {
    drive("calls", 500);
}

#[test]
fn ng() {
    drive("ng", 2_000);
}
