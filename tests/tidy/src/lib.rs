//! Rules of the house that no compiler checks; the rules themselves are in `tests/`.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Folders that hold what is not ours or not source.
const SKIPPED: [&str; 5] = ["target", "node_modules", ".git", "dist", ".venv"];

/// The root of the repository. Asked when it runs: checkouts that share a target folder may share what is compiled, too.
///
/// # Panics
/// Without cargo.
#[must_use]
pub fn root() -> PathBuf {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this"));
    package.join("../..")
}

/// Every file under `folder` that is called `name` or, if `name` begins with a dot, ends in it; in order, as paths from the root.
///
/// # Panics
/// If a folder cannot be read.
#[must_use]
#[allow(clippy::expect_used)]
pub fn files(folder: &str, name: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)
            .expect("folders of the repository can be read")
            .flatten()
        {
            let (path, file) = (
                entry.path(),
                entry.file_name().to_string_lossy().into_owned(),
            );
            if path.is_dir() && !path.is_symlink() {
                if !SKIPPED.contains(&file.as_str()) {
                    folders.push(path);
                }
            } else if file == name || (name.starts_with('.') && file.ends_with(name)) {
                found.push(
                    path.strip_prefix(root())
                        .map_or_else(|_| path.clone(), Path::to_path_buf),
                );
            }
        }
    }
    found.sort();
    found
}
