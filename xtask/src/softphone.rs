//! Builds the pages: SIP.js and JsSIP from npm, as their lock files say, bundled into `dist` beside what they are made of.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::shell::{command, root, run};

/// Gives the folder of the page.
pub(crate) fn build() -> Result<PathBuf> {
    bundle("softphone", &root().join("examples/softphone"))
}

/// The tests' own page with JsSIP, and what drives Chromium.
pub(crate) fn build_tests() -> Result<PathBuf> {
    bundle("page with JsSIP", &root().join("tests/e2e"))
}

/// What the folder's `package.json` calls its build; gives what that made.
fn bundle(what: &str, folder: &Path) -> Result<PathBuf> {
    install(folder)?;
    run(
        what,
        command("npm")
            .args(["run", "--silent", "build"])
            .current_dir(folder),
    )?;
    Ok(folder.join("dist"))
}

/// The packages of a folder, exactly as its lock file names them. Those that are there already are left alone.
pub(crate) fn install(folder: &Path) -> Result<()> {
    let wanted = fs::read_to_string(folder.join("package-lock.json"))?;
    let stamp = folder.join("node_modules/.installed-lock.json");
    if fs::read_to_string(&stamp).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    let what = format!(
        "npm packages of {}",
        folder.strip_prefix(root()).unwrap_or(folder).display()
    );
    run(
        &what,
        command("npm")
            .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(folder),
    )?;
    fs::write(stamp, wanted)?;
    Ok(())
}
