//! What comes from PyPI, compiled, by its hash, into a folder of the cache.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::shell::{cache, command, root, run};

/// Gives the folder with what the requirements name. They stand in a file in the repository and have hashes.
pub(crate) fn install(what: &str, requirements: &str) -> Result<PathBuf> {
    let folder = cache().join(what);
    let wanted = fs::read_to_string(root().join(requirements)).context(requirements.to_owned())?;
    let stamp = folder.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|present| present == wanted) {
        return Ok(folder);
    }
    let mut pip = command("pip3");
    pip.args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--require-hashes",
        "--upgrade",
        "--target",
    ]);
    run(
        what,
        pip.arg(&folder)
            .args(["-r", requirements])
            .env("PIP_ROOT_USER_ACTION", "ignore"),
    )?;
    fs::write(stamp, wanted)?;
    Ok(folder)
}
