//! `cargo xtask COMMAND`: what a person does with this repository beyond `cargo build`.
//!
//! Each command is a module with one entry, `run(&[String])`; this file only chooses.

mod bench;
mod demo;
mod deny;
mod examples;
mod fuzz;
mod host;
mod install;
mod pip;
mod plugins;
mod shell;
mod softphone;
mod test;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND

  demo [--yes] [--check] the proxy with two policies and a softphone page; --check only looks whether it comes up
  bench relay [--quick]  what relaying costs, beside Kamailio if it is installed; --profile: where the time goes
  bench media [--quick]  what relaying media costs, beside rtpengine if it is installed; --profile: where the time goes
  test [--yes]           every check, every test, the peers of the end-to-end tests installed first
  fuzz [TARGET…]         the targets of tests/fuzz under libFuzzer, a minute each; --seconds N: so long each
  build-plugins [NAME…]  the policies of plugins/, or these, as components in the target folder's plugins/
  build-examples [--yes] the policies of examples/policies/, in JavaScript, Python and C, to the others

--yes installs without asking; CI=true does the same";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", args.as_slice()),
    };
    let outcome = match command {
        "demo" => demo::run(rest),
        "bench" => bench::run(rest),
        "test" => test::run(rest),
        "fuzz" => fuzz::run(rest),
        "build-plugins" => plugins::run(rest),
        "build-examples" => examples::run_command(rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => Err(anyhow::anyhow!("no such command: {other}\n\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
