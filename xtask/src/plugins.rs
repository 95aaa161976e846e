//! Builds the policies of `plugins/` into components: cargo makes core modules, `wit-component` wraps them. Never installs anything:
//! without a compiler for wasm it says which command brings one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use wit_component::ComponentEncoder;

use crate::shell::{self, root, target_dir};

const TARGET: &str = "wasm32-unknown-unknown";

/// Which policies to build.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Selection<'a> {
    /// Every package of the plugins workspace, those for tests too.
    All,
    /// These packages.
    Named(&'a [&'a str]),
}

/// `cargo xtask build-plugins [NAME…]`: all of them if none is named.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let names: Vec<&str> = args.iter().map(String::as_str).collect();
    let selection = if names.is_empty() {
        Selection::All
    } else {
        Selection::Named(&names)
    };
    build(selection).map(drop)
}

/// Builds policies; gives the path of each component, `<target>/plugins/NAME.wasm`. A component that came out as it was is left alone.
pub(crate) fn build(selection: Selection<'_>) -> Result<Vec<PathBuf>> {
    let out = target_dir().join("plugins");
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let modules = compile(selection)?;
    ensure!(
        !modules.is_empty(),
        "cargo built no wasm module: is there a `cdylib` among the packages?"
    );
    modules
        .iter()
        .map(|module| componentize(module, &out))
        .collect()
}

/// Can this machine compile policies as it is?
pub(crate) fn can_build() -> bool {
    Toolchain::find().is_ok()
}

/// How this machine compiles Rust to wasm.
enum Toolchain {
    /// rustup's target is installed.
    Installed,
    /// rustup's `rust-src` is installed: std is built once from it.
    RustSrc,
    /// Debian's `rustc-web` and `rust-web-src` with the toolchain's own cargo and linker.
    Debian { linker: PathBuf },
}

impl Toolchain {
    fn find() -> Result<Self> {
        let sysroot = PathBuf::from(
            shell::read(shell::command("rustc").args(["--print", "sysroot"]))?.trim_end(),
        );
        if has_std(&sysroot) {
            return Ok(Self::Installed);
        }
        if sysroot
            .join("lib/rustlib/src/rust/library/Cargo.lock")
            .exists()
        {
            return Ok(Self::RustSrc);
        }
        let linker = find_linker(&sysroot);
        if Path::new(DEBIAN_RUSTC).exists()
            && Path::new("/usr/lib/rustlib/src/rust/library").exists()
        {
            return Ok(Self::Debian {
                linker: linker.context("the toolchain has no rust-lld")?,
            });
        }
        bail!(
            "no Rust for {TARGET} on this machine. Run one of:\n  rustup target add {TARGET}\n  apt-get install --no-install-recommends rustc-web rust-web-src"
        )
    }

    fn apply(&self, cargo: &mut Command) {
        let build_std = ["-Zbuild-std=std,panic_abort"];
        match self {
            Self::Installed => {}
            Self::RustSrc => {
                cargo.args(build_std).env("RUSTC_BOOTSTRAP", "1");
            }
            Self::Debian { linker } => {
                cargo
                    .args(build_std)
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("RUSTC", DEBIAN_RUSTC);
                cargo
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                    .env_remove("RUSTUP_TOOLCHAIN");
            }
        }
    }
}

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

fn has_std(sysroot: &Path) -> bool {
    let Ok(entries) = fs::read_dir(sysroot.join("lib/rustlib").join(TARGET).join("lib")) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

fn find_linker(sysroot: &Path) -> Option<PathBuf> {
    let hosts = fs::read_dir(sysroot.join("lib/rustlib")).ok()?;
    hosts
        .flatten()
        .map(|host| host.path().join("bin/rust-lld"))
        .find(|linker| linker.exists())
}

/// Runs cargo, and gives the core modules that it says it made.
fn compile(selection: Selection<'_>) -> Result<Vec<PathBuf>> {
    let mut cargo = shell::cargo();
    cargo.current_dir(root().join("plugins")).args([
        "build",
        "--release",
        "--locked",
        "--target",
        TARGET,
    ]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    // Flags of the caller are for the host; the guests' own stand in plugins/.cargo/config.toml.
    cargo
        .env("CARGO_TARGET_DIR", target_dir().join("guests"))
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    match selection {
        Selection::All => cargo.arg("--workspace"),
        Selection::Named(names) => cargo.args(names.iter().flat_map(|name| ["--package", name])),
    };
    Toolchain::find()?.apply(&mut cargo);
    let done = cargo
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(
        done.status.success(),
        "the policies do not build: see cargo's words above"
    );
    let mut modules = Vec::new();
    for line in String::from_utf8_lossy(&done.stdout).lines() {
        let message: serde_json::Value =
            serde_json::from_str(line).context("cargo wrote a line that is not JSON")?;
        let files = message["filenames"].as_array().into_iter().flatten();
        modules.extend(
            files
                .filter_map(|file| file.as_str())
                .filter(|file| file.ends_with(".wasm"))
                .map(PathBuf::from),
        );
    }
    Ok(modules)
}

/// Wraps one core module; its world stands in a custom section that the SDK's bindings put there.
fn componentize(module: &Path, out: &Path) -> Result<PathBuf> {
    let name = module
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .replace('_', "-");
    let core = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let component = ComponentEncoder::default()
        .module(&core)
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| anyhow::anyhow!("{name} is no component: {error:#}"))?;
    let path = out.join(format!("{name}.wasm"));
    let fate = if fs::read(&path).is_ok_and(|old| old == component) {
        "as it was"
    } else {
        replace(&path, &component)?;
        "built"
    };
    println!(
        "{:>9}  {} ({:.1} KB)",
        fate,
        path.display(),
        component.len() as f64 / 1024.0
    );
    Ok(path)
}

/// By renaming: whoever watches the file sees it whole.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let fresh = path.with_extension(format!("wasm.{}", std::process::id()));
    fs::write(&fresh, bytes)
        .and_then(|()| fs::rename(&fresh, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use wit_component::DecodedWasm;
    use wit_parser::{Resolve, WorldItem, WorldKey};

    use super::*;

    #[test]
    fn components_export_the_hooks_that_they_override_and_no_other() {
        let components = build(Selection::All).unwrap();
        let names = |name: &str| -> (Vec<String>, Vec<String>) {
            let file = format!("{name}.wasm");
            let path = components
                .iter()
                .find(|path| path.ends_with(&file))
                .unwrap();
            match wit_component::decode(&fs::read(path).unwrap()).unwrap() {
                DecodedWasm::Component(resolve, world) => {
                    let world = &resolve.worlds[world];
                    (
                        interfaces(&resolve, &world.imports),
                        interfaces(&resolve, &world.exports),
                    )
                }
                DecodedWasm::WitPackage(..) => panic!("{name} is no component"),
            }
        };
        let ours = |names: &[&str]| -> Vec<String> {
            names
                .iter()
                .map(|name| format!("hookswitch:policy/{name}@0.1.0"))
                .collect()
        };
        for (name, imports, exports) in [
            (
                "hello",
                &["types", "message", "log"][..],
                &["lifecycle", "request-hook"][..],
            ),
            (
                "header-rules",
                &["types", "message", "log"],
                &[
                    "lifecycle",
                    "register-hook",
                    "request-hook",
                    "branch-hook",
                    "response-hook",
                ],
            ),
            (
                "prefix-router",
                &["types", "target", "log"],
                &["lifecycle", "request-hook"],
            ),
        ] {
            assert_eq!(names(name), (ours(imports), ours(exports)), "{name}");
        }
    }

    fn interfaces<'a>(
        resolve: &Resolve,
        items: impl IntoIterator<Item = (&'a WorldKey, &'a WorldItem)>,
    ) -> Vec<String> {
        items
            .into_iter()
            .map(|(key, _)| resolve.name_world_key(key))
            .collect()
    }
}
