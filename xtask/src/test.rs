//! `cargo xtask test`: every check and every test, one after another, with a table of their times at the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{
    demo, deny, examples, host,
    install::{self, Consent},
    pip,
    plugins::{self, Selection},
    shell::{self, cargo, elapsed, root, target_dir},
    softphone,
};

/// The phone of the end-to-end tests that comes from PyPI.
const PJSUA2: &str = "tests/e2e/pjsua2.txt";

/// Runs every step, even after one failed. The last line counts them: `N passed, N failed, N skipped`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let needs = [
        install::NPM,
        install::CHROMIUM,
        install::SIPP,
        install::BARESIP,
        install::RTPENGINE,
        install::KAMAILIO,
        install::TSHARK,
        install::PIP,
        install::RUSTFMT,
        install::CLIPPY,
        install::WASM,
        install::CLANG,
    ];
    shell::only_flags(args, &["--yes", "-y"])?;
    install::ensure(&needs, Consent::of(args))?;
    let mut table = Table::default();
    table.step("softphone", || softphone::build().map(drop));
    table.step("JsSIP's page", || softphone::build_tests().map(drop));
    table.step("pjsua2", || pip::install("pjsua2", PJSUA2).map(drop));
    table.step("policies", || plugins::build(Selection::All).map(drop));
    table.step("examples", || {
        examples::build()?;
        examples::test()
    });
    host_checks(&mut table);
    guest_checks(&mut table);
    dependencies(&mut table);
    // Tests start it; cargo builds it for its own package's tests alone.
    table.step("hookswitch", || host::build().map(drop));
    table.step("tests", || {
        host_cargo("tests", "test --locked --workspace --no-fail-fast")
    });
    table.step("demo", || {
        demo::run(&["--check", "--yes"].map(String::from))
    });
    // They wait for each other's sound more than they work: two at once keep two cores busy.
    table.step("end to end", || {
        host_cargo(
            "end to end",
            "test --locked --workspace --test peers -- --test-threads=2",
        )
    });
    table.finish()
}

/// All of them name the whole workspace, for the reason that `host` gives. `peers` is the one target that does not run by itself.
fn host_checks(table: &mut Table) {
    table.step("format", || host_cargo("format", "fmt --all --check"));
    table.step("clippy", || {
        host_cargo(
            "clippy",
            "clippy --locked --workspace --all-targets -- -D warnings",
        )?;
        host_cargo(
            "clippy of the end-to-end tests",
            "clippy --locked --workspace --test peers -- -D warnings",
        )
    });
    table.step("docs", || {
        host_cargo("docs", "doc --locked --workspace --no-deps")
    });
}

/// The same for the policies and their SDK, compiled for this machine.
fn guest_checks(table: &mut Table) {
    table.step("guest format", || {
        guest_cargo("guest format", "fmt --all --check")
    });
    table.step("guest clippy", || {
        guest_cargo(
            "guest clippy",
            "clippy --locked --workspace --all-targets -- -D warnings",
        )
    });
    table.step("guest tests", || {
        guest_cargo("guest tests", "test --locked --workspace")
    });
}

fn host_cargo(what: &str, words: &str) -> Result<()> {
    let mut cargo = cargo();
    cargo
        .args(words.split(' '))
        .env("RUSTDOCFLAGS", "-D warnings");
    shell::run(what, &mut cargo)
}

fn guest_cargo(what: &str, words: &str) -> Result<()> {
    let mut cargo = cargo();
    cargo
        .args(words.split(' '))
        .current_dir(root().join("plugins"));
    cargo.env("CARGO_TARGET_DIR", target_dir().join("guests"));
    shell::run(what, &mut cargo)
}

fn dependencies(table: &mut Table) {
    let deny = deny::install();
    let deny = || deny.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"));
    table.step("dependencies", || deny::check(deny()?));
    table.perhaps("advisories", || match deny::check_advisories(deny()?)? {
        true => Ok(Outcome::Passed),
        false => Ok(Outcome::Skipped("their database cannot be had from here")),
    });
}

#[derive(Default)]
struct Table(Vec<Step>);

struct Step {
    name: &'static str,
    took: Duration,
    outcome: Outcome,
}

enum Outcome {
    Passed,
    Failed,
    Skipped(&'static str),
}

impl Table {
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) {
        self.perhaps(name, || work().map(|()| Outcome::Passed));
    }

    fn perhaps(&mut self, name: &'static str, work: impl FnOnce() -> Result<Outcome>) {
        let started = Instant::now();
        let outcome = work().unwrap_or_else(|error| {
            println!("   {name}: FAILED: {error:#}");
            Outcome::Failed
        });
        self.0.push(Step {
            name,
            took: started.elapsed(),
            outcome,
        });
    }

    fn finish(self) -> Result<()> {
        println!();
        let [mut passed, mut failed, mut skipped] = [0, 0, 0];
        for Step {
            name,
            took,
            outcome,
        } in &self.0
        {
            let (count, verdict) = match outcome {
                Outcome::Passed => (&mut passed, "passed".to_owned()),
                Outcome::Failed => (&mut failed, "FAILED".to_owned()),
                Outcome::Skipped(why) => (&mut skipped, format!("skipped: {why}")),
            };
            *count += 1;
            println!("{name:<14} {:>13}  {verdict}", elapsed(*took));
        }
        println!(
            "{:<14} {:>13}",
            "together",
            elapsed(self.0.iter().map(|step| step.took).sum())
        );
        for step in &self.0 {
            if let Outcome::Skipped(why) = step.outcome {
                println!("\nNOT CHECKED: {}: {why}", step.name);
            }
        }
        println!("\n{passed} passed, {failed} failed, {skipped} skipped");
        match failed {
            0 => Ok(()),
            _ => bail!("{failed} of {} steps failed", self.0.len()),
        }
    }
}
