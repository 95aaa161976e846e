//! `cargo xtask demo`: the proxy with both shipped policies and a softphone page, until Ctrl-C.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::unix::process::CommandExt,
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
    shell::{command, elapsed, only_flags, read, root, target_dir},
    softphone,
};

const POLICIES: [&str; 2] = ["header-rules", "prefix-router"];
const READY_S_MAX: u64 = 60;
const POLL_MS: u64 = 50;

/// `--check` asks for the page and the policies once, and ends.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let started = Instant::now();
    only_flags(args, &["--check", "--yes", "-y"])?;
    let mode = if args.iter().any(|arg| arg == "--check") {
        Mode::Check
    } else {
        Mode::Serve
    };
    install::ensure(&[install::NPM, install::WASM], Consent::of(args))?;
    let (folder, ports) = lay_out(mode)?;
    let binary = host::build()?;
    match mode {
        Mode::Serve => serve(&binary, &folder, &ports, started),
        Mode::Check => check(&binary, &folder, &ports),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Serve,
    Check,
}

/// Where the demo listens on loopback.
struct Ports {
    web: u16,
    sip: u16,
    admin: u16,
}

/// Puts everything that the demo serves and reads into one folder, as an operator would.
fn lay_out(mode: Mode) -> Result<(PathBuf, Ports)> {
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
    let ports = settle_ports(&folder.join("hookswitch.toml"))?;
    Ok((folder, ports))
}

/// The configuration's ports, and for those that are taken free ones, written into it.
fn settle_ports(file: &Path) -> Result<Ports> {
    let mut text = fs::read_to_string(file)?;
    let mut settle = |wanted: u16, free: fn(u16) -> io::Result<u16>| -> Result<u16> {
        let port = free(wanted).or_else(|_| free(0))?;
        if port != wanted {
            println!("   port {wanted} is taken: {port} serves instead");
        }
        text = text.replace(&format!(":{wanted}\""), &format!(":{port}\""));
        Ok(port)
    };
    let ports = Ports {
        web: settle(8443, free_tcp)?,
        sip: settle(5060, free_udp)?,
        admin: settle(9090, free_tcp)?,
    };
    fs::write(file, text)?;
    Ok(ports)
}

/// The port if it is free; any free one for 0.
fn free_tcp(port: u16) -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, port))?
        .local_addr()?
        .port())
}

fn free_udp(port: u16) -> io::Result<u16> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?
        .local_addr()?
        .port())
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

fn hookswitch(binary: &Path, folder: &Path) -> Command {
    let mut hookswitch = Command::new(binary);
    hookswitch
        .current_dir(folder)
        .args(["run", "hookswitch.toml"]);
    hookswitch
}

/// Becomes hookswitch: signals reach it, whoever sends them, and nothing is left when it ends.
fn serve(binary: &Path, folder: &Path, ports: &Ports, started: Instant) -> Result<()> {
    println!("{}", instructions(folder, ports, started));
    io::stdout().flush()?;
    let error = hookswitch(binary, folder).exec();
    Err(error).with_context(|| format!("cannot start {}", binary.display()))
}

fn check(binary: &Path, folder: &Path, ports: &Ports) -> Result<()> {
    let ready = folder.join("ready");
    if ready.exists() {
        fs::remove_file(&ready)?;
    }
    let mut process = hookswitch(binary, folder)
        .args(["--ready-file", "ready"])
        .spawn()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    let outcome = wait_until(&ready, &mut process).and_then(|()| look(ports));
    // One that has ended already cannot be killed, and need not be.
    let _ = process.kill();
    let _ = process.wait();
    outcome
}

fn wait_until(ready: &Path, process: &mut Child) -> Result<()> {
    let started = Instant::now();
    while !ready.exists() {
        if let Some(status) = process.try_wait()? {
            bail!("hookswitch ended before it was ready: {status}");
        }
        ensure!(
            started.elapsed() < Duration::from_secs(READY_S_MAX),
            "hookswitch is not ready after {READY_S_MAX} s"
        );
        std::thread::sleep(Duration::from_millis(POLL_MS));
    }
    Ok(())
}

fn instructions(folder: &Path, ports: &Ports, started: Instant) -> String {
    let folder = folder.display();
    let Ports { web, sip, admin } = ports;
    format!(
        "
built after {}; it serves as soon as its log says \"ready\"

  Open both in one browser; it warns of the certificate, which was made for this demo: Advanced, then Proceed.
    https://localhost:{web}/#alice
    https://localhost:{web}/#bob
  Each registers by itself. Call from one, answer in the other. Without a microphone a tone is sent.
  Alone, call echo, which sends back what it hears, or tone, which sends 440 Hz.

  See a hot reload: change \"hello from a policy\" in
    {folder}/header-rules.json
  and send a message from one page to the other: what the policy adds stands beside the text.

  Policies: http://127.0.0.1:{admin}/api/policies   Metrics: http://127.0.0.1:{admin}/metrics
  A number that begins with 9 goes to a PBX at 127.0.0.1:5070, if you start one; it reaches the proxy at 127.0.0.1:{sip}.
  Ctrl-C stops the demo. Its next start copies the files of examples/softphone/demo again.
",
        elapsed(started.elapsed())
    )
}

/// One request to the page and one to the admin endpoint.
fn look(ports: &Ports) -> Result<()> {
    let page = fetch_page(ports.web)?;
    ensure!(
        page.contains("hookswitch softphone"),
        "the softphone's page is something else:\n{page}"
    );
    let report = admin_get(ports.admin, "/api/policies")?;
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
fn fetch_page(port: u16) -> Result<String> {
    let script = "require('https').get(process.argv[1], { rejectUnauthorized: false }, (answer) => answer.pipe(process.stdout))";
    read(command("node").args(["-e", script, &format!("https://127.0.0.1:{port}/")]))
}

fn admin_get(port: u16, path: &str) -> Result<Value> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .context("not an HTTP response")?;
    serde_json::from_str(body).with_context(|| format!("{path} is not JSON: {body}"))
}
