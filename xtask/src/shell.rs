//! Runs other programs, says what runs and how long it has been running, and knows where things are.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A line about a long step is printed this often while it runs.
const PROGRESS_EVERY_S: u64 = 30;
const POLL_MS: u64 = 50;

/// The repository's root. Asked when it runs: checkouts that share a target folder may share what is compiled, too.
pub(crate) fn root() -> PathBuf {
    let xtask = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this"));
    xtask.parent().unwrap_or(&xtask).to_path_buf()
}

/// Where cargo builds, by cargo's own word; the guests' build and the demo have folders in it.
pub(crate) fn target_dir() -> PathBuf {
    static FOLDER: LazyLock<PathBuf> =
        LazyLock::new(|| asked_of_cargo().unwrap_or_else(|| root().join("target")));
    FOLDER.clone()
}

fn asked_of_cargo() -> Option<PathBuf> {
    let says = read(cargo().args(["metadata", "--no-deps", "--format-version=1"])).ok()?;
    let says: Value = serde_json::from_str(&says).ok()?;
    Some(PathBuf::from(says["target_directory"].as_str()?))
}

/// Refuses what a command does not know, rather than do something else than was meant.
pub(crate) fn only_flags(args: &[String], known: &[&str]) -> Result<()> {
    match args.iter().find(|arg| !known.contains(&arg.as_str())) {
        Some(arg) => bail!("`{arg}` is not understood; `cargo xtask help` shows what is"),
        None => Ok(()),
    }
}

/// Where tools that we bring are kept between runs: `HOOKSWITCH_CACHE`, or `~/.cache/hookswitch`.
pub(crate) fn cache() -> PathBuf {
    match (
        std::env::var_os("HOOKSWITCH_CACHE"),
        std::env::var_os("HOME"),
    ) {
        (Some(cache), _) => cache.into(),
        (None, Some(home)) => PathBuf::from(home).join(".cache/hookswitch"),
        (None, None) => target_dir().join("cache"),
    }
}

/// Is this a continuous-integration run? Then nobody can be asked, and nothing may be left out.
pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1")
}

/// The program's path if it is on PATH.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Debian's programs of several versions end with them: the newest of those that begin with `prefix`.
pub(crate) fn newest_of_debian(prefix: &str) -> Option<PathBuf> {
    let programs = std::fs::read_dir("/usr/bin").ok()?.flatten();
    let version = |path: &Path| -> Option<u32> {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix(prefix)?.parse().ok()
    };
    programs
        .filter_map(|program| Some((version(&program.path())?, program.path())))
        .max()
        .map(|(_, path)| path)
}

/// A command in the repository's root.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// The cargo that runs this xtask.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs to the end, output shown as it comes, with a sign of life on long steps. Fails on a failure.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    let started = Instant::now();
    println!("── {what}: {}", line(command));
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", line(command)))?;
    let mut next = Duration::from_secs(PROGRESS_EVERY_S);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() >= next {
            println!("   {what}: {} so far", elapsed(started.elapsed()));
            next += Duration::from_secs(PROGRESS_EVERY_S);
        }
        std::thread::sleep(Duration::from_millis(POLL_MS));
    };
    if !status.success() {
        bail!("{what}: {status}");
    }
    println!("   {what}: done in {}", elapsed(started.elapsed()));
    Ok(())
}

/// Runs a cargo that builds; gives the files that it says it made or found as they should be.
pub(crate) fn artifacts(what: &str, cargo: &mut Command) -> Result<Vec<PathBuf>> {
    println!("── {what}: {}", line(cargo));
    let messages = read(cargo.args(["--message-format", "json-render-diagnostics"]))?;
    let mut files = Vec::new();
    for message in messages.lines() {
        let message: Value =
            serde_json::from_str(message).context("cargo wrote a line that is not JSON")?;
        let named = message["filenames"].as_array().into_iter().flatten();
        files.extend(named.filter_map(Value::as_str).map(PathBuf::from));
    }
    Ok(files)
}

/// Runs to the end and returns what it printed. Fails on a failure.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", line(command)))?;
    if !output.status.success() {
        bail!("{}: {}", line(command), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// `7 s`, `3 min 20 s`.
pub(crate) fn elapsed(time: Duration) -> String {
    match (time.as_secs() / 60, time.as_secs() % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
