//! A hookswitch process with both shipped policies, in a folder of its own.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    PATIENCE_MS, built,
    configuration::{
        INLINE, RulesAt, copy_components, edge_rules, inline_rules, write_configuration,
    },
    here, http, made,
};

const LOG_LINES_SHOWN_MAX: usize = 60;
const LADDER_LINES_MAX: usize = 80;
const POLL_MS: u64 = 10;

/// A running hookswitch; stopped when dropped.
pub struct Host {
    process: Child,
    folder: PathBuf,
    /// Where browsers come: HTTPS and WSS.
    pub web: SocketAddr,
    /// Where the PBX comes.
    pub udp: SocketAddr,
    admin: SocketAddr,
    /// Where the PBX is expected: upstream `pbx`, numbers that begin with 9.
    pub pbx: SocketAddr,
}

impl Host {
    /// Starts one and waits until it is ready.
    #[must_use]
    pub fn start(name: &str) -> Self {
        Self::start_with(name, RulesAt::File)
    }

    /// The same, with the rules of `header-rules` in the main file.
    #[must_use]
    pub fn start_inline(name: &str) -> Self {
        Self::start_with(name, RulesAt::MainFile)
    }

    fn start_with(name: &str, rules: RulesAt) -> Self {
        let folder = built().join("e2e").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("the last run's folder goes");
        }
        fs::create_dir_all(&folder).expect("a folder for this run");
        let pbx = free_udp_address();
        write_configuration(&folder, pbx, rules);
        let log = fs::File::create(folder.join("log")).expect("a log");
        let process = Command::new(made(built().join("hookswitch")))
            .args(["run", "hookswitch.toml", "--ready-file", "ready"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("hookswitch starts");
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut host = Self {
            process,
            folder,
            web: unknown,
            udp: unknown,
            admin: unknown,
            pbx,
        };
        let ready = host.wait_until_ready();
        let address = |pointer: &str| {
            let text = ready.pointer(pointer).and_then(Value::as_str);
            text.and_then(|text| text.parse().ok())
                .expect("a bound address")
        };
        host.web = address("/listeners/wss");
        host.udp = address("/listeners/udp");
        host.admin = address("/admin");
        host
    }

    fn wait_until_ready(&mut self) -> Value {
        let started = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(self.folder.join("ready")) {
                return serde_json::from_str(&text).expect("the ready file is JSON");
            }
            let ended = self.process.try_wait().expect("our own child");
            let late = started.elapsed() > Duration::from_millis(PATIENCE_MS);
            assert!(
                ended.is_none() && !late,
                "hookswitch is not ready ({ended:?}):\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(POLL_MS));
        }
    }

    /// Replaces the configuration of `header-rules` by one rule that sets `X-Edge` to this value.
    pub fn set_edge(&self, value: &str) {
        replace(
            &self.folder.join("header-rules.json"),
            edge_rules(value).as_bytes(),
        );
    }

    /// The same where the rules stand in the main file.
    pub fn set_edge_inline(&self, value: &str) {
        let file = self.folder.join("hookswitch.toml");
        let text = fs::read_to_string(&file).expect("the configuration is there");
        let line = |line: &str| match line.starts_with(INLINE) {
            true => inline_rules(value),
            false => line.to_owned(),
        };
        let text: Vec<String> = text.lines().map(line).collect();
        replace(&file, text.join("\n").as_bytes());
    }

    /// Replaces a policy's component by another.
    pub fn set_component(&self, policy: &str, bytes: &[u8]) {
        replace(&self.folder.join(format!("{policy}.wasm")), bytes);
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The last lines of the log.
    #[must_use]
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN_MAX)..].join("\n")
    }

    /// What passed the proxy, a line a message, read from its own capture.
    #[must_use]
    pub fn ladder(&self) -> String {
        let fields = [
            "frame.time_relative",
            "ip.src",
            "udp.srcport",
            "ip.dst",
            "udp.dstport",
            "sip.CSeq",
            "sip.Request-Line",
            "sip.Status-Line",
        ];
        let mut tshark = Command::new("tshark");
        tshark
            .arg("-r")
            .arg(self.folder.join("capture.pcap"))
            .args(["-Y", "sip", "-T", "fields"]);
        tshark
            .args(fields.iter().flat_map(|field| ["-e", field]))
            .stderr(Stdio::null());
        let text = tshark
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LADDER_LINES_MAX)..].join("\n")
    }

    /// Waits until `/api/policies` says so of this policy.
    #[track_caller]
    pub fn until_policy(&self, name: &str, holds: impl Fn(&Value) -> bool) {
        let started = Instant::now();
        loop {
            let report = http::get(self.admin, "/api/policies");
            let report: Value = serde_json::from_str(&report).expect("/api/policies is JSON");
            let policies = report["policies"].as_array().expect("a list of policies");
            if policies
                .iter()
                .any(|policy| policy["name"] == name && holds(policy))
            {
                return;
            }
            assert!(
                started.elapsed() < Duration::from_millis(PATIENCE_MS),
                "policy {name} never came to that: {report:#}"
            );
            std::thread::sleep(Duration::from_millis(POLL_MS));
        }
    }

    /// SIGTERM, as an operator's service manager sends it.
    pub fn tell_to_stop(&self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).expect("it runs");
    }

    /// Waits for its end.
    pub fn has_ended_well(&mut self) -> bool {
        self.process.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Has `hookswitch check` judge a configuration, with the demo's files beside it; a fault fails the test.
#[track_caller]
pub fn check(name: &str, configuration: &str) {
    let folder = built().join("e2e").join(name);
    fs::create_dir_all(folder.join("pages")).expect("a folder");
    copy_components(&folder);
    for file in ["header-rules.json", "prefix-router.json"] {
        let demo = here().join("../../examples/softphone/demo").join(file);
        fs::copy(demo, folder.join(file)).expect("a file of the demo");
    }
    fs::write(folder.join("hookswitch.toml"), configuration).expect("the configuration");
    let judged = Command::new(made(built().join("hookswitch")))
        .args(["check", "hookswitch.toml"])
        .current_dir(&folder)
        .output();
    let judged = judged.expect("hookswitch starts");
    assert!(
        judged.status.success(),
        "{}",
        String::from_utf8_lossy(&judged.stderr)
    );
}

/// By renaming: the watcher never sees half a file.
fn replace(path: &Path, bytes: &[u8]) {
    let fresh = path.with_extension("fresh");
    fs::write(&fresh, bytes)
        .and_then(|()| fs::rename(&fresh, path))
        .expect("the policy's folder can be written");
}

fn free_udp_address() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a free port")
}
