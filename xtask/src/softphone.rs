//! Builds the softphone's page: SIP.js from npm, as its lock file says, bundled into `examples/softphone/dist`.

use std::path::PathBuf;

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

/// The packages of a folder, exactly as its lock file names them.
pub(crate) fn install(folder: &std::path::Path) -> Result<()> {
    let what = format!(
        "npm packages of {}",
        folder.strip_prefix(root()).unwrap_or(folder).display()
    );
    run(
        &what,
        command("npm")
            .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(folder),
    )
}
