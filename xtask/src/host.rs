//! The binary `hookswitch`: built with the tests' own profile and features, so that nothing is compiled twice.

use std::path::PathBuf;

use anyhow::Result;

use crate::shell::{cargo, run, target_dir};

/// Gives the path of the binary. All of the workspace is named, or cargo would choose other features of the shared dependencies
/// here than for the tests, and build them again.
pub(crate) fn build() -> Result<PathBuf> {
    run(
        "hookswitch (the first time takes some minutes)",
        cargo().args(["build", "--workspace", "--bin", "hookswitch"]),
    )?;
    Ok(target_dir().join("debug/hookswitch"))
}
