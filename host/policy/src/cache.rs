//! Compiled code on disk, by digest of the component and hash of the engine, in a folder that only we can read and write. An entry
//! ends with its own digest: one that is torn or altered is compiled again, never run.

use std::{
    fs::{self, DirBuilder, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    process,
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};
use thiserror::Error;
use wasmtime::{Engine, component::Component};

use crate::digest::Digest;

const FOLDER_MODE: u32 = 0o700;
const TRAILER_BYTES: usize = 32;
/// All entries together; beyond it those that were not used for longest are removed. An interpreter compiles to some 100 MB.
const CACHE_BYTES_MAX: u64 = 1 << 30;

/// Why the folder cannot be used.
#[derive(Debug, Error)]
#[error("compiled policies cannot be kept in {folder}: {reason}")]
pub struct CacheError {
    folder: PathBuf,
    reason: String,
}

/// A folder of compiled components.
pub(crate) struct Cache {
    folder: PathBuf,
    engine_hash: u64,
}

impl Cache {
    /// Makes the folder if need be. Others must not be able to write to it: what lies in it is run.
    pub(crate) fn open(folder: PathBuf, engine: &Engine) -> Result<Self, CacheError> {
        if let Err(error) = check_folder(&folder) {
            return Err(CacheError {
                folder,
                reason: error.to_string(),
            });
        }
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            folder,
            engine_hash: hasher.finish(),
        })
    }

    /// The component of this digest, if it is there and whole.
    #[allow(unsafe_code)]
    pub(crate) fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(digest);
        let bytes = fs::read(&path).ok()?;
        let (code, trailer) = bytes.split_at_checked(bytes.len().checked_sub(TRAILER_BYTES)?)?;
        if Sha256::digest(code).as_slice() != trailer {
            tracing::warn!(%digest, "compiled policy on disk is damaged; compiling it again");
            return None;
        }
        // Its time of change says when it was last used; without that it is only removed earlier.
        let _ = File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        // SAFETY: `deserialize` asks that the bytes come from `Component::serialize`. They were read from a folder that only this user
        // may write (checked when it was opened), and their digest shows that they are whole; wasmtime checks its own version and
        // settings.
        unsafe { Component::deserialize(engine, code) }.ok()
    }

    /// Keeps a component: written beside its place, then renamed, so that nobody ever reads half of it.
    pub(crate) fn store(&self, component: &Component, digest: &Digest) -> io::Result<()> {
        let code = component.serialize().map_err(io::Error::other)?;
        let path = self.path(digest);
        let beside = path.with_extension(format!("{}.tmp", process::id()));
        let mut file = File::create(&beside)?;
        file.write_all(&code)?;
        file.write_all(&Sha256::digest(&code))?;
        fs::rename(&beside, &path)?;
        self.prune(&path, CACHE_BYTES_MAX)
    }

    /// Removes what was not used for longest until no more than `bytes_max` are left; `kept` stays in any case.
    fn prune(&self, kept: &Path, bytes_max: u64) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            entries.push((metadata.modified()?, metadata.len(), entry.path()));
        }
        entries.sort();
        let mut bytes: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, entry_bytes, path) in entries {
            if bytes <= bytes_max {
                break;
            }
            if path != kept {
                fs::remove_file(&path)?;
                bytes -= entry_bytes;
            }
        }
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder
            .join(format!("{digest}-{:016x}.cwasm", self.engine_hash))
    }
}

fn check_folder(folder: &PathBuf) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder)?;
    let metadata = fs::metadata(folder)?;
    if !metadata.is_dir() {
        return Err(io::Error::other("it is no folder"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other(
            "others may read or write it; `chmod 700` it",
        ));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = std::env::temp_dir().join(format!("hookswitch-cache-{}", process::id()));
        let cache = Cache::open(folder.clone(), &Engine::default()).unwrap();
        for (name, age_s) in [("a", 10), ("b", 30), ("c", 20), ("d", 40)] {
            let file = File::create(folder.join(name)).unwrap();
            file.set_len(100).unwrap();
            let modified = SystemTime::now() - Duration::from_secs(age_s);
            file.set_modified(modified).unwrap();
        }
        cache.prune(&folder.join("d"), 250).unwrap();
        let left = ["a", "b", "c", "d"].map(|name| folder.join(name).exists());
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(left, [true, false, false, true]);
    }
}
