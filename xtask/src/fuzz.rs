//! `cargo xtask fuzz`: libFuzzer on the stable compiler over the targets of `tests/fuzz`, one after the other, guided by coverage.
//!
//! Corpora grow in the target folder. What is worth keeping is copied to `tests/fuzz/corpus` by hand, and every test run replays it.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::shell::{self, cargo, root, target_dir};

const TARGETS: [&str; 6] = [
    "messages",
    "round_trip",
    "views",
    "framing",
    "sequences",
    "tokens",
];
const SECONDS: u64 = 60;
/// One input may take so long, on a busy machine too.
const INPUT_S_MAX: u64 = 60;
/// The counters that libFuzzer reads. cargo-fuzz sets the same ones, and address sanitizer, which alone needs a nightly compiler.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Clink-dead-code --cfg fuzzing";

/// `[TARGET…] [--seconds N]`: every target for a minute if nothing is said.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let (targets, seconds) = read(args)?;
    let folder = target_dir().join("fuzz");
    // With `--target` the flags are not those of build scripts and macros.
    let host = host()?;
    let mut build = cargo();
    build
        .args(["build", "--release", "--target", &host])
        .args(["--manifest-path", "tests/fuzz/libfuzzer/Cargo.toml"])
        .env("CARGO_TARGET_DIR", &folder)
        .env("RUSTFLAGS", COVERAGE);
    shell::run("libfuzzer", &mut build)?;
    let program = folder.join(&host).join("release/hookswitch-libfuzzer");
    for target in targets {
        fuzz(&program, &folder, target, seconds)?;
    }
    Ok(())
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
            name if TARGETS.contains(&name) => targets.push(name),
            other => bail!("`{other}` is no target; they are {}", TARGETS.join(", ")),
        }
    }
    if targets.is_empty() {
        targets = TARGETS.to_vec();
    }
    Ok((targets, seconds))
}

/// This machine's target triple.
fn host() -> Result<String> {
    let says = shell::read(shell::command("rustc").arg("-vV"))?;
    let host = says.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}

fn fuzz(program: &Path, folder: &Path, target: &str, seconds: u64) -> Result<()> {
    let (corpus, findings) = (folder.join("corpus").join(target), folder.join("findings"));
    for made in [&corpus, &findings] {
        fs::create_dir_all(made).with_context(|| made.display().to_string())?;
    }
    let kept = root().join("tests/fuzz/corpus").join(target);
    let mut command = shell::command(program);
    command
        .env("HOOKSWITCH_FUZZ_TARGET", target)
        .args([&corpus, &kept])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_S_MAX}"))
        .arg(format!("-artifact_prefix={}/{target}-", findings.display()))
        .args([
            "-dict=tests/fuzz/sip.dict",
            "-print_final_stats=1",
            "-verbosity=0",
        ]);
    shell::run(target, &mut command).with_context(|| {
        format!(
            "a finding, in {}; a panic above says what",
            findings.display()
        )
    })
}
