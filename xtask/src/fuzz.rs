//! `cargo xtask fuzz`: libFuzzer on the stable compiler over the targets of `tests/fuzz`, one after the other, guided by coverage.
//!
//! Corpora grow in the target folder. What is worth keeping is copied to `tests/fuzz/corpus` by hand, and every test run replays it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    install::{self, Consent},
    shell::{self, artifacts, cargo, root, target_dir},
};

const TARGETS: [&str; 19] = [
    "messages",
    "round_trip",
    "views",
    "framing",
    "sequences",
    "tokens",
    "credentials",
    "bearer",
    "configuration",
    "websocket",
    "bencode",
    "stun",
    "dtls",
    "rtcp",
    "codec",
    "relay",
    "sdp",
    "calls",
    "ng",
];
const SECONDS: u64 = 60;
/// One input may take so long, on a busy machine too.
const INPUT_S_MAX: u64 = 300;

/// `[TARGET…] [--seconds N] [--yes]`: every target for a minute if nothing is said.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let (targets, seconds) = read(args)?;
    install::ensure(&[install::CXX], Consent::of(args))?;
    let folder = target_dir().join("fuzz");
    let program = build()?;
    for target in targets {
        fuzz(&program, &folder, target, seconds)?;
    }
    Ok(())
}

/// With counters in every branch of ours. What we depend on is that of the tests: of it only what is generic is counted.
fn build() -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo
        .args(["build", "--locked", "--workspace", "--bin", "libfuzzer"])
        .args(["--features", "hookswitch-fuzz/libfuzzer"])
        .env(
            "RUSTC_WORKSPACE_WRAPPER",
            root().join("tests/fuzz/instrument.sh"),
        );
    artifacts("libfuzzer (the first time takes some minutes)", &mut cargo)?
        .into_iter()
        .find(|file| file.ends_with("libfuzzer"))
        .context("cargo made no libfuzzer")
}

fn read(args: &[String]) -> Result<(Vec<&str>, u64)> {
    let (mut targets, mut seconds) = (Vec::new(), SECONDS);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => {
                let number = args.next().context("--seconds wants a number")?;
                seconds = number
                    .parse()
                    .with_context(|| format!("--seconds {number}"))?;
            }
            "--yes" | "-y" => {}
            name if TARGETS.contains(&name) => targets.push(name),
            other => bail!("`{other}` is no target; they are {}", TARGETS.join(", ")),
        }
    }
    if targets.is_empty() {
        targets = TARGETS.to_vec();
    }
    Ok((targets, seconds))
}

fn fuzz(program: &Path, folder: &Path, target: &str, seconds: u64) -> Result<()> {
    let (corpus, findings) = (folder.join("corpus").join(target), folder.join("findings"));
    for made in [&corpus, &findings] {
        fs::create_dir_all(made).with_context(|| made.display().to_string())?;
    }
    let tests = root().join("tests/fuzz");
    let kept = tests.join("corpus").join(target);
    let words = [target, "sip"].map(|name| tests.join(name).with_extension("dict"));
    let words = words.iter().find(|words| words.is_file());
    let words = words.context("no dictionary")?.display();
    let mut command = shell::command(program);
    command
        .env("HOOKSWITCH_FUZZ_TARGET", target)
        .args([&corpus, &kept])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_S_MAX}"))
        .arg(format!("-artifact_prefix={}/{target}-", findings.display()))
        .arg(format!("-dict={words}"))
        .args(["-print_final_stats=1", "-verbosity=0"]);
    shell::run(target, &mut command).with_context(|| {
        format!(
            "a finding, in {}; a panic above says what",
            findings.display()
        )
    })
}
