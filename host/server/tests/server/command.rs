//! The command as an operator runs it.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(20);

fn hookswitch(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookswitch"));
    command.args(args).current_dir(folder);
    command
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("hookswitch-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(both).unwrap()
}

#[test]
fn a_configuration_is_checked_without_serving() {
    let folder = folder("check");
    std::fs::write(folder.join("good.toml"), "[server]\nworkers = 1\n").unwrap();
    std::fs::write(
        folder.join("bad.toml"),
        "[server]\nworkers = 0\n[log]\nformat = \"x\"\n",
    )
    .unwrap();
    let good = hookswitch(&folder, &["check", "good.toml"])
        .output()
        .unwrap();
    assert!(good.status.success(), "{}", text(&good));
    let bad = hookswitch(&folder, &["check", "bad.toml"])
        .output()
        .unwrap();
    assert_eq!(bad.status.code(), Some(1));
    assert!(
        text(&bad).contains("2 faults") && text(&bad).contains("server.workers: 0 is out of range"),
        "{}",
        text(&bad)
    );
    let nothing = hookswitch(&folder, &["serve"]).output().unwrap();
    assert_eq!(nothing.status.code(), Some(2));
    let version = hookswitch(&folder, &["--version"]).output().unwrap();
    assert_eq!(
        text(&version),
        format!("hookswitch {}\n", env!("CARGO_PKG_VERSION"))
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn files_that_a_configuration_names_are_checked_with_it() {
    let folder = folder("check-files");
    let config = r#"
        [[listener]]
        name = "wss"
        transport = "wss"
        address = "127.0.0.1:0"
        certificate = "cert.pem"
        key = "key.pem"
        pages = "pages"
        [[policy]]
        name = "a"
        component = "a.wasm"
        [[policy]]
        name = "b"
        component = "b.wasm"
        config_file = "b.json"
        [[auth.realm]]
        name = "example.com"
        users = "users.toml"
        [[auth.issuer]]
        name = "idp"
        issuer = "https://idp.example/"
        audience = ["sip"]
        keys_file = "keys.json"
        [[auth.issuer]]
        name = "other"
        issuer = "https://other.example/"
        audience = ["sip"]
        keys_url = "https://other.example/keys"
        keys_ca = "ca.pem"
        [admin]
        enabled = false
        "#;
    std::fs::write(folder.join("a.toml"), config).unwrap();
    std::fs::write(folder.join("b.wasm"), "no component").unwrap();
    std::fs::write(folder.join("keys.json"), r#"{"keys":[]}"#).unwrap();
    let output = hookswitch(&folder, &["check", "a.toml"]).output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "7 faults",
        "listener[0].pages: there is no folder ./pages",
        "listener[0].certificate: certificate ./cert.pem",
        "policy[0]: `a`: cannot read ./a.wasm",
        "policy[1]: `b`: cannot read ./b.json",
        "auth.realm[0].users: ./users.toml",
        "auth.issuer[0]: ./keys.json: no key that can verify",
        "auth.issuer[1]: certificate ./ca.pem",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_port_that_is_taken_is_named_with_its_key() {
    let folder = folder("taken");
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = format!(
        "[server]\nstate_dir = \"state\"\n[[listener]]\nname = \"udp\"\ntransport = \"udp\"\naddress = \"{address}\"\n[admin]\nenabled = false\n"
    );
    std::fs::write(folder.join("a.toml"), config).unwrap();
    let output = hookswitch(&folder, &["run", "a.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("listener[0].address: cannot bind"),
        "{}",
        text(&output)
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_signal_ends_it_well() {
    let folder = folder("signal");
    let config = "[server]\nstate_dir = \"state\"\n[[listener]]\nname = \"udp\"\ntransport = \"udp\"\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n";
    std::fs::write(folder.join("a.toml"), config).unwrap();
    let mut process = hookswitch(&folder, &["run", "a.toml", "--ready-file", "ready"])
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !folder.join("ready").exists() {
        assert!(started.elapsed() < PATIENCE && process.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(10));
    }
    let ready: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("ready")).unwrap()).unwrap();
    let port = |text: &serde_json::Value| {
        text.as_str()
            .unwrap()
            .rsplit_once(':')
            .unwrap()
            .1
            .parse::<u16>()
            .unwrap()
    };
    assert!(port(&ready["listeners"]["udp"]) > 0 && port(&ready["admin"]) > 0);
    kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
    assert!(end(&mut process).success());
    std::fs::remove_dir_all(folder).unwrap();
}

fn end(process: &mut Child) -> std::process::ExitStatus {
    let told = Instant::now();
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status;
        }
        if told.elapsed() > PATIENCE {
            process.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
