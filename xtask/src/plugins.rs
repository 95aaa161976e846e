//! Builds the policies of `plugins/` into components: cargo makes core modules, `wit-component` wraps them. Never installs anything:
//! without a compiler for wasm it says which command brings one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use wit_component::ComponentEncoder;

use crate::shell::{self, root, target_dir};

/// What policies are compiled for before they become components.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

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
    let flags: Vec<String> = args
        .iter()
        .filter(|arg| arg.starts_with('-'))
        .cloned()
        .collect();
    shell::only_flags(&flags, &[])?;
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
    let modules = compile(selection)?;
    ensure!(
        !modules.is_empty(),
        "cargo built no wasm module: is there a `cdylib` among the packages?"
    );
    modules
        .iter()
        .map(|module| {
            let name = module.file_stem().unwrap_or_default().to_string_lossy();
            let core =
                fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
            componentize(&name.replace('_', "-"), &core)
        })
        .collect()
}

/// The Debian packages without which this machine cannot compile policies; none if it can.
pub(crate) fn packages_missing() -> Vec<String> {
    match Toolchain::find() {
        Ok(_) => Vec::new(),
        Err(Missing::Std) => ["rustc-web", "rust-web-src"].map(String::from).to_vec(),
        Err(Missing::Linker { llvm }) => vec![format!("lld-{llvm}")],
    }
}

/// How this machine compiles Rust to wasm.
struct Toolchain {
    rustc: PathBuf,
    std: Std,
    linker: PathBuf,
}

/// Where std for wasm comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Std {
    /// The target is installed.
    Compiled,
    /// Its source is installed: rustup's `rust-src`, Debian's `rust-web-src`. It is built once.
    Source,
}

/// What a toolchain for wasm lacks.
enum Missing {
    Std,
    Linker {
        /// Version of the compiler's LLVM, whose linker fits.
        llvm: String,
    },
}

impl Toolchain {
    /// The compiler on PATH, or else Debian's, driven by the cargo that runs us.
    fn find() -> Result<Self, Missing> {
        let compilers = [shell::which("rustc"), Some(PathBuf::from(DEBIAN_RUSTC))];
        let (rustc, sysroot, std) = compilers
            .into_iter()
            .flatten()
            .find_map(|rustc| {
                let sysroot = sysroot(&rustc)?;
                let std = Std::of(&sysroot)?;
                Some((rustc, sysroot, std))
            })
            .ok_or(Missing::Std)?;
        let linker = find_linker(&sysroot).ok_or_else(|| Missing::Linker {
            llvm: llvm_of(&rustc),
        })?;
        Ok(Self { rustc, std, linker })
    }

    fn apply(&self, cargo: &mut Command) {
        cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &self.linker);
        if self.std == Std::Source {
            cargo
                .arg("-Zbuild-std=std,panic_abort")
                .env("RUSTC_BOOTSTRAP", "1");
        }
        if self.rustc == Path::new(DEBIAN_RUSTC) {
            cargo
                .env("RUSTC", DEBIAN_RUSTC)
                .env_remove("RUSTUP_TOOLCHAIN");
        }
    }
}

impl Std {
    fn of(sysroot: &Path) -> Option<Self> {
        if has_std(sysroot) {
            return Some(Self::Compiled);
        }
        let source = sysroot.join("lib/rustlib/src/rust/library/Cargo.lock");
        source.exists().then_some(Self::Source)
    }
}

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// `None`: there is no such compiler, or it is too old for the policies.
fn sysroot(rustc: &Path) -> Option<PathBuf> {
    let says = |words: &[&str]| shell::read(shell::command(rustc).args(words)).ok();
    let version = says(&["--version"])?;
    let version = version.split_whitespace().nth(1)?;
    (numbers(version) >= numbers(env!("CARGO_PKG_RUST_VERSION")))
        .then(|| says(&["--print", "sysroot"]))?
        .map(|sysroot| PathBuf::from(sysroot.trim_end()))
}

fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}

fn llvm_of(rustc: &Path) -> String {
    let says = shell::read(shell::command(rustc).arg("-vV")).unwrap_or_default();
    let llvm = says
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "));
    let major = llvm.and_then(|version| version.split('.').next());
    major.unwrap_or_default().to_owned()
}

fn has_std(sysroot: &Path) -> bool {
    let Ok(entries) = fs::read_dir(sysroot.join("lib/rustlib").join(TARGET).join("lib")) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

/// The toolchain's own, or else Debian's; of several of those the newest, since an old one does not understand what a newer compiler wrote.
fn find_linker(sysroot: &Path) -> Option<PathBuf> {
    let hosts = fs::read_dir(sysroot.join("lib/rustlib")).ok()?;
    let own = hosts
        .flatten()
        .map(|host| host.path().join("bin/rust-lld"))
        .find(|linker| linker.exists());
    own.or_else(|| shell::which("rust-lld"))
        .or_else(|| shell::newest_of_debian("wasm-ld-"))
        .or_else(|| shell::which("wasm-ld"))
}

fn toolchain() -> Result<Toolchain> {
    Toolchain::find().map_err(|_| {
        anyhow::anyhow!(
            "this machine cannot compile Rust for {TARGET}. Run one of:\n  rustup target add {TARGET}\n  apt-get install --no-install-recommends {}",
            packages_missing().join(" ")
        )
    })
}

/// Runs cargo, and gives the core modules that it says it made.
fn compile(selection: Selection<'_>) -> Result<Vec<PathBuf>> {
    let mut cargo = shell::cargo();
    cargo
        .current_dir(root().join("plugins"))
        .args(["build", "--release", "--target", TARGET]);
    // Whoever adds a policy adds it to the lock file; nobody does so in CI.
    if shell::is_ci() {
        cargo.arg("--locked");
    }
    // Flags of the caller are for the host; the guests' own stand in plugins/.cargo/config.toml.
    cargo
        .env("CARGO_TARGET_DIR", target_dir().join("guests"))
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    match selection {
        Selection::All => cargo.arg("--workspace"),
        Selection::Named(names) => cargo.args(names.iter().flat_map(|name| ["--package", name])),
    };
    toolchain()?.apply(&mut cargo);
    let files = shell::artifacts("policies", &mut cargo)?;
    Ok(files
        .into_iter()
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "wasm")
        })
        .collect())
}

/// Wraps one core module; its world stands in a custom section that bindings put there. Gives the component's path, as [`place`] does.
pub(crate) fn componentize(name: &str, core: &[u8]) -> Result<PathBuf> {
    let component = ComponentEncoder::default()
        .module(core)
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| anyhow::anyhow!("{name} is no component: {error:#}"))?;
    place(name, &component)
}

/// Puts a component to the others, and says so.
pub(crate) fn place(name: &str, component: &[u8]) -> Result<PathBuf> {
    let out = target_dir().join("plugins");
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let path = out.join(format!("{name}.wasm"));
    let fate = if fs::read(&path).is_ok_and(|old| old == component) {
        "as it was"
    } else {
        replace(&path, component)?;
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
                &["types", "message", "log", "hooks"],
                &[
                    "lifecycle",
                    "register-hook",
                    "request-hook",
                    "branch-hook",
                    "response-hook",
                ],
            ),
            (
                "digest-auth",
                &[
                    "types",
                    "message",
                    "target",
                    "source",
                    "transaction",
                    "auth",
                    "log",
                    "hooks",
                ],
                &["lifecycle", "register-hook", "request-hook", "branch-hook"],
            ),
            (
                "jwt-auth",
                &[
                    "types",
                    "message",
                    "target",
                    "source",
                    "transaction",
                    "auth",
                    "log",
                    "hooks",
                ],
                &[
                    "lifecycle",
                    "connect-hook",
                    "register-hook",
                    "request-hook",
                    "branch-hook",
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
