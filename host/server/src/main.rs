//! The command `hookswitch`: parses, wires, waits for a signal, drains.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result};
use hookswitch::{
    args::{self, Command, HELP},
    check,
    config::Config,
    log, open_files,
    server::{Addresses, Server},
};
use tokio::signal::unix::{SignalKind, signal};

/// The C library's allocator returns and takes back pages of the workers' heaps all the time, a system call and a TLB flush each.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("hookswitch: {error}");
            return ExitCode::from(2);
        }
    };
    let done = match command {
        Command::Help => {
            print!("{HELP}");
            Ok(())
        }
        Command::Version => {
            println!("hookswitch {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Command::Check { file } => judge(&file),
        Command::Run { file, ready_file } => run(file.as_deref(), ready_file.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hookswitch: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn judge(file: &Path) -> Result<()> {
    check::files(&Config::load(file)?)?;
    println!("{} is good", file.display());
    Ok(())
}

fn run(file: Option<&Path>, ready_file: Option<&Path>) -> Result<()> {
    let config = file.map_or_else(|| Ok(Config::standard()), Config::load)?;
    let _log = log::start(&config.log)?;
    open_files::raise(config.limits.connections_max);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let server = Server::start(config, file.map(Path::to_owned))?;
        if let Some(path) = ready_file {
            write_addresses(path, server.addresses())?;
        }
        let signalled = async || {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        };
        wait(server, signalled).await;
        Ok(())
    })
}

/// The first signal drains, the second one stops at once.
async fn wait(server: Server, mut signalled: impl AsyncFnMut()) {
    signalled().await;
    let drained = tokio::select! {
        () = server.drained() => Drained::Whole,
        () = signalled() => Drained::CutShort,
    };
    tracing::info!(?drained, "stopping");
    server.stop().await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    Whole,
    CutShort,
}

/// Beside it and renamed: whoever waits for the file finds it whole.
fn write_addresses(path: &Path, addresses: &Addresses) -> Result<()> {
    let beside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        std::fs::write(&beside, serde_json::to_vec(addresses)?)?;
        std::fs::rename(&beside, path)
    };
    write().with_context(|| format!("--ready-file: {} cannot be written", path.display()))
}
