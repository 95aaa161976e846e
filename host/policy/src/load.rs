//! From a policy's files to a version of it that can serve: read, compiled, linked, configured. Nothing that serves is touched.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;
use wasmtime::component::Component;

use crate::{
    contract::{self, Refusal},
    digest::Digest,
    engine::Engine,
    fault::Fault,
    instance::Blueprint,
    policy::Policy,
    spec::ConfigSource,
    status::{Stage, State},
    version::{Digests, Parts, Runtime, Version},
};

/// A component's file; interpreters in one are 12 to 20 MB.
const COMPONENT_BYTES_MAX: u64 = 256 << 20;
/// A configuration's file.
const CONFIG_BYTES_MAX: u64 = 64 << 20;

/// Why a version cannot serve.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum LoadError {
    #[error("cannot read {path}: {reason}")]
    Read { path: PathBuf, reason: String },
    #[error("{path} is no JSON: {reason}")]
    Config { path: PathBuf, reason: String },
    #[error("{path} is no component, or half of one: {reason}")]
    Compile { path: PathBuf, reason: String },
    #[error("{path} is no WebAssembly")]
    NoWasm { path: PathBuf },
    #[error("{path} is a core module, not a component; wrap it with `wasm-tools component new`")]
    CoreModule { path: PathBuf },
    #[error(transparent)]
    Contract(#[from] Refusal),
    #[error("it cannot be linked: {0}")]
    Link(String),
    #[error("{0}")]
    SelfTest(String),
    #[error("the host panicked while it loaded it; its log has more")]
    Panic,
}

impl LoadError {
    pub(crate) fn stage(&self) -> Stage {
        match self {
            Self::Read { .. } | Self::Config { .. } => Stage::Read,
            Self::Compile { .. } | Self::NoWasm { .. } | Self::CoreModule { .. } | Self::Panic => {
                Stage::Compile
            }
            Self::Contract(_) | Self::Link(_) => Stage::Link,
            Self::SelfTest(_) => Stage::Configure,
        }
    }
}

/// A policy's files as they are now.
pub(crate) struct Files {
    component: Vec<u8>,
    config: String,
    pub(crate) digests: Digests,
}

impl Files {
    pub(crate) fn read(policy: &Policy) -> Result<Self, LoadError> {
        let spec = policy.spec();
        let component = read(&spec.component, COMPONENT_BYTES_MAX)?;
        let config = match &spec.config {
            ConfigSource::Inline(value) => value.to_string(),
            ConfigSource::File(path) => read_config(path)?,
        };
        let grants = format!("{:?}", spec.grants);
        let digests = Digests {
            component: Digest::plain(&component),
            whole: Digest::of(&[&component, config.as_bytes(), grants.as_bytes()]),
        };
        Ok(Self {
            component,
            config,
            digests,
        })
    }
}

/// Makes a version; `reached` hears of each state on the way.
pub(crate) fn version(
    engine: &Engine,
    policy: &Arc<Policy>,
    files: Files,
    mut reached: impl FnMut(State),
) -> Result<Version, LoadError> {
    let path = &policy.spec().component;
    let component = compile(engine, path, &files)?;
    reached(State::Compiled);
    let exports = contract::check(engine.wasm(), &component)?;
    let blueprint = Blueprint::new(&component, exports, files.config)
        .map_err(|error| LoadError::Link(format!("{error:#}")))?;
    reached(State::Linked);
    let runtime = if contract::imports_wasi(engine.wasm(), &component) {
        Runtime::Tokio
    } else {
        Runtime::None
    };
    let parts = Parts {
        policy: policy.clone(),
        digests: files.digests,
        hooks: exports.hooks,
        runtime,
        blueprint,
    };
    let mut version = Version::new(engine.clone(), parts);
    engine
        .slow_lane()
        .handle()
        .block_on(version.make_ready())
        .map_err(not_fit)?;
    reached(State::Configured);
    Ok(version)
}

fn not_fit(fault: Fault) -> LoadError {
    match fault {
        Fault::Instance(reason) => LoadError::SelfTest(reason),
        other => LoadError::SelfTest(other.to_string()),
    }
}

fn compile(engine: &Engine, path: &Path, files: &Files) -> Result<Component, LoadError> {
    let digest = &files.digests.component;
    if let Some(component) = engine
        .cache()
        .and_then(|cache| cache.load(engine.wasm(), digest))
    {
        return Ok(component);
    }
    if !files.component.starts_with(b"\0asm") {
        return Err(LoadError::NoWasm {
            path: path.to_owned(),
        });
    }
    if is_core_module(&files.component) {
        return Err(LoadError::CoreModule {
            path: path.to_owned(),
        });
    }
    let compiled = engine.compile(|| Component::from_binary(engine.wasm(), &files.component));
    let component = compiled.map_err(|error| LoadError::Compile {
        path: path.to_owned(),
        reason: format!("{error:#}"),
    })?;
    if let Some(Err(error)) = engine.cache().map(|cache| cache.store(&component, digest)) {
        tracing::warn!(%error, "compiled policy not kept on disk");
    }
    Ok(component)
}

/// The preamble of a module is `\0asm` and version 1; a component's layer is in the last two bytes.
fn is_core_module(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm\x01\0\0\0")
}

fn read_config(path: &Path) -> Result<String, LoadError> {
    let bytes = read(path, CONFIG_BYTES_MAX)?;
    let json: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(&bytes);
    json.map_err(|error| LoadError::Config {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    String::from_utf8(bytes).map_err(|error| LoadError::Config {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, LoadError> {
    let failed = |error: io::Error| LoadError::Read {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let bytes = fs::metadata(path).map_err(failed)?.len();
    if bytes > bytes_max {
        return Err(failed(io::Error::other(format!(
            "{bytes} bytes; {bytes_max} are the most"
        ))));
    }
    fs::read(path).map_err(failed)
}
