//! A hookswitch process with both shipped policies, in a folder of its own.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::{self, DirBuilder},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    PATIENCE_MS,
    account::{Transport, uri_of},
    built,
    configuration::{
        INLINE, RulesAt, Setup, copy_components, copy_demo, edge_rules, inline_rules, pin,
        write_configuration,
    },
    http, made, ports,
};

const LOG_LINES_SHOWN_MAX: usize = 60;
const LADDER_LINES_MAX: usize = 80;
const POLL_MS: u64 = 10;

/// A running hookswitch; stopped when dropped.
pub struct Host {
    process: RefCell<Child>,
    folder: PathBuf,
    /// Where browsers come: HTTPS and WSS.
    pub web: SocketAddr,
    /// Where datagrams come.
    pub udp: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
    admin: SocketAddr,
    /// Where the PBX is expected: upstream `pbx`, numbers that begin with 9.
    pub pbx: SocketAddr,
}

impl Host {
    /// Starts one with the shipped policies and waits until it is ready.
    #[must_use]
    pub fn start(name: &str) -> Self {
        Self::start_as(name, Setup::Policies(RulesAt::File))
    }

    /// The same, with the rules of `header-rules` in the main file.
    #[must_use]
    pub fn start_inline(name: &str) -> Self {
        Self::start_as(name, Setup::Policies(RulesAt::MainFile))
    }

    /// Starts one that does this.
    #[must_use]
    pub fn start_as(name: &str, setup: Setup) -> Self {
        let folder = built().join("e2e").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("the last run's folder goes");
        }
        fs::create_dir_all(&folder).expect("a folder for this run");
        make_state(&folder);
        let pbx = ports::free_udp();
        write_configuration(&folder, setup, pbx);
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut host = Self {
            process: RefCell::new(launch(&folder)),
            folder,
            web: unknown,
            udp: unknown,
            listeners: BTreeMap::new(),
            admin: unknown,
            pbx,
        };
        host.learn_addresses();
        host
    }

    /// Ends it as a fault would, without a word to anybody, and starts it again at the same addresses.
    pub fn crashes_and_starts_again(&self) {
        self.signal(Signal::KILL);
        self.process.borrow_mut().wait().expect("our own child");
        fs::remove_file(self.folder.join("ready")).expect("it was ready");
        let admin = [("admin".to_owned(), self.admin)];
        let addresses = self.listeners.clone().into_iter().chain(admin).collect();
        pin(&self.folder.join("hookswitch.toml"), &addresses);
        *self.process.borrow_mut() = launch(&self.folder);
        self.wait_until_ready();
    }

    fn learn_addresses(&mut self) {
        let ready = self.wait_until_ready();
        let address = |value: &Value| {
            let text = value.as_str().and_then(|text| text.parse().ok());
            text.expect("a bound address")
        };
        let listeners = ready["listeners"]
            .as_object()
            .expect("a table of listeners");
        let listeners = listeners.iter();
        self.listeners = listeners
            .map(|(name, value)| (name.clone(), address(value)))
            .collect();
        self.web = self.listeners["wss"];
        self.udp = self.listeners["udp"];
        self.admin = address(&ready["admin"]);
    }

    /// Where phones and PBXs come that speak this.
    #[must_use]
    pub fn address(&self, transport: Transport) -> SocketAddr {
        self.listeners[transport.name()]
    }

    fn wait_until_ready(&self) -> Value {
        let started = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(self.folder.join("ready")) {
                return serde_json::from_str(&text).expect("the ready file is JSON");
            }
            let ended = self.process.borrow_mut().try_wait().expect("our own child");
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
    #[must_use]
    pub fn folder(&self) -> &Path {
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

    /// The token that [`Setup::Tokens`] made for this user.
    #[must_use]
    pub fn token(&self, user: &str) -> String {
        let file = self.folder.join(format!("{user}.token"));
        fs::read_to_string(file).expect("a token for everybody")
    }

    /// Waits until `/api/policies` says so of this policy.
    #[track_caller]
    pub fn until_policy(&self, name: &str, holds: impl Fn(&Value) -> bool) {
        let is_it = |policy: &Value| policy["name"] == name && holds(policy);
        self.until_one_of("policies", is_it);
    }

    /// Waits until `/api/registrations` lists this user with a flow to it.
    #[track_caller]
    pub fn until_reachable(&self, user: &str) {
        let aor = uri_of(user);
        self.until_one_of("registrations", |registration| {
            let contacts = registration["contacts"].as_array();
            let reachable = contacts
                .is_some_and(|contacts| contacts.iter().any(|contact| !contact["peer"].is_null()));
            registration["aor"] == aor && reachable
        });
    }

    /// How many calls' media goes through it.
    #[must_use]
    pub fn relayed_calls(&self) -> u32 {
        let metrics = http::get(self.admin, "/metrics");
        let samples = metrics.lines();
        let samples = samples.filter(|line| line.starts_with("hookswitch_media_calls{"));
        let values = samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u32>().ok());
        values.sum()
    }

    /// Of a list that the admin endpoint has under its own name.
    #[track_caller]
    fn until_one_of(&self, list: &str, holds: impl Fn(&Value) -> bool) {
        let started = Instant::now();
        loop {
            let report = http::get(self.admin, &format!("/api/{list}"));
            let report: Value = serde_json::from_str(&report).expect("the report is JSON");
            if report[list].as_array().expect("a list").iter().any(&holds) {
                return;
            }
            assert!(
                started.elapsed() < Duration::from_millis(PATIENCE_MS),
                "never in /api/{list}: {report:#}"
            );
            std::thread::sleep(Duration::from_millis(POLL_MS));
        }
    }

    /// SIGTERM, as an operator's service manager sends it.
    pub fn tell_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process.borrow()), signal).expect("it runs");
    }

    /// Waits for its end.
    pub fn has_ended_well(&mut self) -> bool {
        self.process
            .get_mut()
            .wait()
            .is_ok_and(|status| status.success())
    }
}

/// A state folder of its own, but for what was compiled.
fn make_state(folder: &Path) {
    let (state, shared) = (folder.join("state"), built().join("e2e/compiled"));
    for folder in [&state, &shared] {
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(folder).expect("a folder of our own");
    }
    symlink(shared, state.join("compiled")).expect("a link");
}

fn launch(folder: &Path) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .expect("a log");
    Command::new(made(built().join("hookswitch")))
        .args(["run", "hookswitch.toml", "--ready-file", "ready"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .expect("hookswitch starts")
}

impl Drop for Host {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        let process = self.process.get_mut();
        let _ = process.kill();
        let _ = process.wait();
    }
}

/// Has `hookswitch check` judge a configuration, with the demo's files beside it; a fault fails the test.
#[track_caller]
pub fn check(name: &str, configuration: &str) {
    let folder = built().join("e2e").join(name);
    fs::create_dir_all(folder.join("pages")).expect("a folder");
    copy_components(&folder);
    copy_demo(&folder);
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
