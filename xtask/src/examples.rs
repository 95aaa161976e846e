//! Builds the policies of `examples/policies/`, which are in other languages than Rust, into components, and runs their own tests. Their
//! compilers: componentize-qjs from npm, componentize-py from PyPI, clang from Debian with wit-bindgen-c from crates.io.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    install::{self, Consent},
    pip,
    plugins::{self, place},
    shell::{self, cache, cargo, command, root, run, target_dir, which},
    softphone,
};

/// The world of the contract that all of them are written for.
const WORLD: &str = "rewriter";
const COMPONENTIZE_PY: &str = "examples/policies/python/requirements.txt";

/// `cargo xtask build-examples [--yes]`
pub(crate) fn run_command(args: &[String]) -> Result<()> {
    shell::only_flags(args, &["--yes", "-y"])?;
    let needs = [install::NPM, install::PIP, install::CLANG];
    install::ensure(&needs, Consent::of(args))?;
    build()
}

/// Makes `<target>/plugins/NAME.wasm` of each of them.
pub(crate) fn build() -> Result<()> {
    fs::create_dir_all(made("")).context("cannot make the folder of what is being built")?;
    place("opening-hours", &javascript()?)?;
    place("e164", &python()?)?;
    plugins::componentize("screening", &c()?).map(drop)
}

/// The tests that they have in their own languages.
pub(crate) fn test() -> Result<()> {
    let mut npm = command("npm");
    npm.args(["test", "--silent"])
        .current_dir(folder("javascript"));
    run("tests in JavaScript", &mut npm)?;
    let mut python = command("python3");
    python
        .args(["-m", "unittest", "--quiet"])
        .current_dir(folder("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    run("tests in Python", &mut python)
}

fn folder(language: &str) -> PathBuf {
    root().join("examples/policies").join(language)
}

/// Where builders leave what is to be placed.
fn made(name: &str) -> PathBuf {
    target_dir().join("guests/examples").join(name)
}

fn javascript() -> Result<Vec<u8>> {
    let folder = folder("javascript");
    softphone::install(&folder)?;
    let component = made("opening-hours.wasm");
    let mut npm = command("npm");
    npm.args(["run", "--silent", "build", "--", "--output"])
        .arg(&component)
        .current_dir(&folder);
    run("the policy in JavaScript", &mut npm)?;
    Ok(fs::read(component)?)
}

/// Takes some twenty seconds of CPU, so it is kept until something that it is made of changes.
fn python() -> Result<Vec<u8>> {
    let inputs = [
        folder("python").join("dial_plan.py"),
        folder("python").join("e164.py"),
        root().join(COMPONENTIZE_PY),
        root().join("wit/hookswitch.wit"),
    ];
    let inputs: Vec<String> = inputs
        .iter()
        .map(|path| fs::read_to_string(path).with_context(|| path.display().to_string()))
        .collect::<Result<_>>()?;
    let inputs = inputs.join("\0");
    let (kept, made_of) = (cache().join("e164.wasm"), cache().join("e164.inputs"));
    if fs::read_to_string(&made_of).is_ok_and(|before| before == inputs)
        && let Ok(component) = fs::read(&kept)
    {
        return Ok(component);
    }
    componentize_python(&made("e164.wasm"))?;
    let component = fs::read(made("e164.wasm"))?;
    // Whoever is interrupted here builds again.
    let _ = fs::remove_file(&made_of);
    fs::write(kept, &component)?;
    fs::write(made_of, inputs)?;
    Ok(component)
}

fn componentize_python(component: &Path) -> Result<()> {
    let tools = pip::install("componentize-py", COMPONENTIZE_PY)?;
    let mut python = command(tools.join("bin/componentize-py"));
    python
        .env("PYTHONPATH", &tools)
        .current_dir(folder("python"))
        .args(["--wit-path", "../../../wit", "--world", WORLD])
        .args(["componentize", "e164", "--stub-wasi", "--output"])
        .arg(component);
    run("the policy in Python", &mut python)
}

/// Gives the core module.
fn c() -> Result<Vec<u8>> {
    let bindings = made("c");
    c_bindings(&bindings)?;
    let module = made("screening.core.wasm");
    let compiler = clang().context("this machine cannot compile C for WebAssembly")?;
    let mut compiler = for_wasm(&compiler);
    compiler
        .args(["-std=c17", "-Os", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(&bindings)
        .arg(folder("c").join("screening.c"))
        .args(["rewriter.c", "rewriter_component_type.o"].map(|file| bindings.join(file)))
        .args(["-Wl,--strip-all", "-Wl,-z,stack-size=65536", "-o"])
        .arg(&module);
    run("the policy in C", &mut compiler)?;
    Ok(fs::read(module)?)
}

/// `rewriter.h` and what belongs to it, from the contract. Made by a program of its own: as a dependency of ours it would change the features
/// that wasmtime's dependencies are compiled with.
fn c_bindings(out: &Path) -> Result<()> {
    let mut generator = cargo();
    generator
        .args(["run", "--quiet", "--locked", "--manifest-path"])
        .arg(folder("c").join("bindings/Cargo.toml"))
        .arg("--target-dir")
        .arg(target_dir().join("guests/bindings"))
        .args(["--", "wit", WORLD])
        .arg(out);
    run("bindings for C", &mut generator)
}

/// A clang that finds a linker, a C library and its own runtime for WebAssembly.
pub(crate) fn clang() -> Option<PathBuf> {
    let compilers = [shell::newest_of_debian("clang-"), which("clang")];
    compilers.into_iter().flatten().find(|compiler| {
        let mut trial = for_wasm(compiler);
        trial.args(["-x", "c", "/dev/null", "-o", "/dev/null"]);
        trial.stderr(std::process::Stdio::null());
        trial.status().is_ok_and(|status| status.success())
    })
}

fn for_wasm(compiler: &Path) -> Command {
    let mut compiler = command(compiler);
    // Debian keeps its C library under a name of the target that newer compilers call deprecated.
    compiler.args([
        "--target=wasm32-wasi",
        "-Wno-deprecated",
        "--sysroot=/usr",
        "-mexec-model=reactor",
    ]);
    compiler
}
