//! What a component must look like to be a policy. What it exports and imports is looked at by name before it is linked, so that the
//! refusal can say what to do.

use thiserror::Error;
use wasmtime::{Engine, component::Component};

use crate::{context::HookName, runner::HookSet};

/// The contract's package and the version that this host speaks.
pub(crate) const PACKAGE: &str = "hookswitch:policy";
/// Compatible versions of the contract begin so: 0.1.0 and what only adds to it.
const VERSIONS: &str = "0.1.";
/// The version whose interfaces are linked.
pub(crate) const VERSION: &str = "0.1.0";
const IMPORTS: [&str; 9] = [
    "types",
    "message",
    "target",
    "source",
    "transaction",
    "call",
    "auth",
    "log",
    "hooks",
];
const LIFECYCLE: &str = "lifecycle";
/// What every policy may import from WASI; it gives nothing.
const WASI: [&str; 6] = [
    "wasi:io",
    "wasi:clocks",
    "wasi:random",
    "wasi:cli",
    "wasi:filesystem",
    "wasi:sockets",
];
const WASI_VERSIONS: &str = "0.2.";

/// Why a component is no policy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error(
        "it exports no hook; export at least one of connect-hook, register-hook, request-hook, branch-hook, response-hook, failure-hook of {PACKAGE}@{VERSION}"
    )]
    NoHook,
    #[error("it exports {0}, which is no hook of {PACKAGE}@{VERSION}; is the name misspelt?")]
    UnknownExport(String),
    #[error(
        "it exports {0}, but this host speaks {PACKAGE}@{VERSION}; build it against that version"
    )]
    ExportVersion(String),
    #[error(
        "it imports {0}, but this host speaks {PACKAGE}@{VERSION}; build it against that version"
    )]
    ImportVersion(String),
    #[error("it imports {0}, which {PACKAGE}@{VERSION} does not have; is the name misspelt?")]
    UnknownImport(String),
    #[error(
        "it imports {0}: a policy has no network; ask the host through the functions of {PACKAGE} instead"
    )]
    Network(String),
    #[error(
        "it imports {0}: a policy keeps no state of its own; use the attributes of source, transaction and call"
    )]
    KeyValue(String),
    #[error(
        "it imports {0}, but this host has WASI 0.2; build it for wasm32-wasip2 or with the adapter for preview 1"
    )]
    WasiVersion(String),
    #[error("it imports {0}; a policy may import {PACKAGE}@{VERSION} and WASI 0.2 only")]
    ForeignImport(String),
}

/// What a component exports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exports {
    pub(crate) hooks: HookSet,
    pub(crate) lifecycle: Lifecycle,
}

/// Whether `configure` is to be called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Exported,
    #[default]
    Absent,
}

/// A name such as `hookswitch:policy/message@0.1.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name<'a> {
    package: &'a str,
    interface: &'a str,
    version: &'a str,
}

impl<'a> Name<'a> {
    fn parse(name: &'a str) -> Self {
        let (path, version) = name.split_once('@').unwrap_or((name, ""));
        let (package, interface) = path.split_once('/').unwrap_or((path, ""));
        Self {
            package,
            interface,
            version,
        }
    }
}

/// Looks at every export and import.
pub(crate) fn check(engine: &Engine, component: &Component) -> Result<Exports, Refusal> {
    let ty = component.component_type();
    ty.imports(engine)
        .try_for_each(|(name, _)| check_import(name))?;
    let mut exports = Exports::default();
    for (name, _) in ty.exports(engine) {
        check_export(name, &mut exports)?;
    }
    if exports.hooks == HookSet::default() {
        return Err(Refusal::NoHook);
    }
    Ok(exports)
}

/// Exports that are not ours are nobody's business: a toolchain may add some.
fn check_export(name: &str, exports: &mut Exports) -> Result<(), Refusal> {
    let parsed = Name::parse(name);
    if parsed.package != PACKAGE {
        return Ok(());
    }
    let hook = HookName::ALL
        .into_iter()
        .find(|hook| hook.interface() == parsed.interface);
    if hook.is_none() && parsed.interface != LIFECYCLE {
        return Err(Refusal::UnknownExport(name.into()));
    }
    if !parsed.version.starts_with(VERSIONS) {
        return Err(Refusal::ExportVersion(name.into()));
    }
    match hook {
        Some(hook) => exports.hooks = exports.hooks.with(hook),
        None => exports.lifecycle = Lifecycle::Exported,
    }
    Ok(())
}

fn check_import(name: &str) -> Result<(), Refusal> {
    let parsed = Name::parse(name);
    let refusal = match parsed.package {
        PACKAGE if !IMPORTS.contains(&parsed.interface) => Refusal::UnknownImport,
        PACKAGE if !parsed.version.starts_with(VERSIONS) => Refusal::ImportVersion,
        PACKAGE => return Ok(()),
        package if WASI.contains(&package) && parsed.version.starts_with(WASI_VERSIONS) => {
            return Ok(());
        }
        package if WASI.contains(&package) => Refusal::WasiVersion,
        "wasi:http" => Refusal::Network,
        "wasi:keyvalue" => Refusal::KeyValue,
        _ => Refusal::ForeignImport,
    };
    Err(refusal(name.into()))
}

/// Does it import WASI? Then its calls need a runtime around them: it may sleep.
pub(crate) fn imports_wasi(engine: &Engine, component: &Component) -> bool {
    component
        .component_type()
        .imports(engine)
        .any(|(name, _)| name.starts_with("wasi:"))
}
