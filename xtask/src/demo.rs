//! `cargo xtask demo`: the proxy with both shipped policies and a softphone page, until Ctrl-C.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    host,
    install::{self, Consent},
    plugins::{self, Selection},
    shell::{command, elapsed, read, root, target_dir},
    softphone,
};

const POLICIES: [&str; 2] = ["header-rules", "prefix-router"];
const READY_S_MAX: u64 = 60;
const POLL_MS: u64 = 50;

/// `--check` takes free ports, asks for the page and the policies once, and ends.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let started = Instant::now();
    let mode = if args.iter().any(|arg| arg == "--check") {
        Mode::Check
    } else {
        Mode::Serve
    };
    install::ensure(&[install::NPM, install::WASM], Consent::of(args))?;
    let folder = lay_out(mode)?;
    let binary = host::build()?;
    let mut process = start(&binary, &folder)?;
    let outcome = serve(&mut process, &folder, mode, started);
    // One that ended by Ctrl-C cannot be killed, and need not be.
    let _ = process.kill();
    let _ = process.wait();
    outcome
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Serve,
    Check,
}

/// Puts everything that the demo serves and reads into one folder, as an operator would.
fn lay_out(mode: Mode) -> Result<PathBuf> {
    let components = plugins::build(Selection::Named(&POLICIES))?;
    let pages = softphone::build()?;
    let folder = target_dir().join(match mode {
        Mode::Serve => "demo",
        Mode::Check => "demo-check",
    });
    copy_all(&root().join("examples/softphone/demo"), &folder)?;
    copy_all(&pages, &folder.join("pages"))?;
    for component in components {
        let name = component.file_name().context("a component has a name")?;
        fs::copy(&component, folder.join(name))?;
    }
    if mode == Mode::Check {
        let file = folder.join("hookswitch.toml");
        let fixed = fs::read_to_string(&file)?;
        let free = ["8443", "5060", "9090"].iter().fold(fixed, |text, port| {
            text.replace(&format!(":{port}\""), ":0\"")
        });
        fs::write(file, free)?;
    }
    Ok(folder)
}

/// The files of a folder without folders in it.
fn copy_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn start(binary: &Path, folder: &Path) -> Result<Child> {
    let ready = folder.join("ready");
    if ready.exists() {
        fs::remove_file(&ready)?;
    }
    let mut hookswitch = Command::new(binary);
    hookswitch
        .current_dir(folder)
        .args(["run", "hookswitch.toml", "--ready-file", "ready"]);
    hookswitch
        .spawn()
        .with_context(|| format!("cannot start {}", binary.display()))
}

fn serve(process: &mut Child, folder: &Path, mode: Mode, started: Instant) -> Result<()> {
    let ready = wait_until_ready(process, folder)?;
    match mode {
        Mode::Serve => {
            println!("{}", instructions(folder, started));
            let status = process.wait()?;
            ensure!(status.success(), "hookswitch ended: {status}");
            Ok(())
        }
        Mode::Check => check(&ready),
    }
}

/// The addresses that it listens on.
fn wait_until_ready(process: &mut Child, folder: &Path) -> Result<Value> {
    let started = Instant::now();
    loop {
        if let Ok(text) = fs::read_to_string(folder.join("ready")) {
            return serde_json::from_str(&text).context("the ready file is not JSON");
        }
        if let Some(status) = process.try_wait()? {
            bail!("hookswitch ended before it was ready: {status}");
        }
        ensure!(
            started.elapsed() < Duration::from_secs(READY_S_MAX),
            "hookswitch is not ready after {READY_S_MAX} s"
        );
        std::thread::sleep(Duration::from_millis(POLL_MS));
    }
}

fn instructions(folder: &Path, started: Instant) -> String {
    let folder = folder.display();
    format!(
        "
ready, after {}

  Open both in one browser; it warns of the certificate, which was made for this demo: Advanced, then Proceed.
    https://localhost:8443/#alice
    https://localhost:8443/#bob
  Each registers by itself. Call from one, answer in the other. Without a microphone a tone is sent.

  See a hot reload: change \"hello from a policy\" in
    {folder}/header-rules.json
  and send a message from one page to the other: what the policy adds stands beside the text.

  Policies: http://127.0.0.1:9090/api/policies   Metrics: http://127.0.0.1:9090/metrics
  A number that begins with 9 goes to a PBX at 127.0.0.1:5070, if you start one.
  Ctrl-C stops the demo.
",
        elapsed(started.elapsed())
    )
}

/// One request to the page and one to the admin endpoint.
fn check(ready: &Value) -> Result<()> {
    let address = |pointer: &str| {
        ready
            .pointer(pointer)
            .and_then(Value::as_str)
            .with_context(|| format!("no {pointer} in {ready}"))
    };
    let page = fetch_page(address("/listeners/wss")?)?;
    ensure!(
        page.contains("hookswitch softphone"),
        "the softphone's page is something else:\n{page}"
    );
    let report = admin_get(address("/admin")?, "/api/policies")?;
    for name in POLICIES {
        let policies = report["policies"]
            .as_array()
            .context("no list of policies")?;
        let active = policies
            .iter()
            .any(|policy| policy["name"] == name && policy["state"] == "active");
        ensure!(active, "{name} is not active: {report:#}");
    }
    println!("the page is served and both policies are active");
    Ok(())
}

/// By node, which npm came with: it speaks TLS, and this program does not.
fn fetch_page(address: &str) -> Result<String> {
    let script = "require('https').get(process.argv[1], { rejectUnauthorized: false }, (answer) => answer.pipe(process.stdout))";
    read(command("node").args(["-e", script, &format!("https://{address}/")]))
}

fn admin_get(address: &str, path: &str) -> Result<Value> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .context("not an HTTP response")?;
    serde_json::from_str(body).with_context(|| format!("{path} is not JSON: {body}"))
}
