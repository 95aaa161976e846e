//! The binary `hookswitch`: built with the tests' own profile and features, so that nothing is compiled twice.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::shell::{artifacts, cargo};

/// Gives the path of the binary. All of the workspace is named, or cargo would choose other features of the shared dependencies
/// here than for the tests, and build them again.
pub(crate) fn build() -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--locked", "--workspace", "--bin", "hookswitch"]);
    artifacts("hookswitch (the first time takes some minutes)", &mut cargo)?
        .into_iter()
        .find(|file| file.ends_with("hookswitch"))
        .context("cargo made no hookswitch")
}
