//! Builds the softphone's page: SIP.js from npm, as its lock file says, bundled into `examples/softphone/dist`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::shell::{command, root, run};

/// Gives the folder of the page.
pub(crate) fn build() -> Result<PathBuf> {
    let folder = root().join("examples/softphone");
    install(&folder)?;
    run(
        "softphone",
        command("npm")
            .args(["run", "--silent", "build"])
            .current_dir(&folder),
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
