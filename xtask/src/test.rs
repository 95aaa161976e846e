//! `cargo xtask test`: every check and every test, one after another, with a table of their times at the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{
    install::{self, Consent},
    shell::{self, cargo, elapsed},
};

/// Runs every step, even after one failed. The last line counts steps: `N passed, N failed`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    install::ensure(
        &[
            install::NPM,
            install::CHROMIUM,
            install::SIPP,
            install::TSHARK,
            install::PIP,
        ],
        Consent::of(args),
    )?;
    let mut table = Table::default();
    table.step("format", || {
        shell::run("format", cargo().args(["fmt", "--all", "--check"]))
    });
    table.step("clippy", || {
        shell::run(
            "clippy",
            cargo().args([
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]),
        )
    });
    table.step("docs", || {
        shell::run(
            "docs",
            cargo()
                .args([
                    "doc",
                    "--workspace",
                    "--no-deps",
                    "--document-private-items",
                ])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    });
    table.step("tests", || {
        shell::run("tests", cargo().args(["test", "--workspace"]))
    });
    table.finish()
}

#[derive(Default)]
struct Table(Vec<Step>);

struct Step {
    name: &'static str,
    took: Duration,
    result: Result<()>,
}

impl Table {
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) {
        let started = Instant::now();
        let result = work();
        if let Err(error) = &result {
            println!("   {name}: FAILED: {error:#}");
        }
        self.0.push(Step {
            name,
            took: started.elapsed(),
            result,
        });
    }

    fn finish(self) -> Result<()> {
        println!();
        for Step { name, took, result } in &self.0 {
            let verdict = if result.is_ok() { "passed" } else { "FAILED" };
            println!("{name:<14} {verdict}  {:>12}", elapsed(*took));
        }
        let failed = self.0.iter().filter(|step| step.result.is_err()).count();
        println!("\n{} passed, {failed} failed", self.0.len() - failed);
        if failed > 0 {
            bail!("{failed} of {} steps failed", self.0.len());
        }
        Ok(())
    }
}
