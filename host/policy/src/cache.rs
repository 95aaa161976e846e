//! Compiled code on disk, by digest of the component and hash of the engine, in a folder that only we can read and write. An entry
//! ends with its own digest: one that is torn or altered is compiled again, never run.

use std::{
    fs::{self, DirBuilder, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::PathBuf,
    process,
};

use sha2::{Digest as _, Sha256};
use thiserror::Error;
use wasmtime::{Engine, component::Component};

use crate::digest::Digest;

const FOLDER_MODE: u32 = 0o700;
const TRAILER_BYTES: usize = 32;

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
        let bytes = fs::read(self.path(digest)).ok()?;
        let (code, trailer) = bytes.split_at_checked(bytes.len().checked_sub(TRAILER_BYTES)?)?;
        if Sha256::digest(code).as_slice() != trailer {
            tracing::warn!(%digest, "compiled policy on disk is damaged; compiling it again");
            return None;
        }
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
        fs::rename(&beside, &path)
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
