//! SIPp processes: with a list of steps, and with its own scenarios.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::{
    Host, PATIENCE_MS, ports,
    scenario::{self, Role, Step},
};

/// SIPp's, but for one: where it loses both answers to an INVITE itself, it does not know the repeated INVITE again, byte for byte the
/// first, and would abort the call as if it were a stray one.
const BEHAVIOURS: &str = "all,-abortunexp";

/// A running SIPp; killed when dropped.
pub struct Sipp {
    process: Child,
    /// Scenario, output, errors and messages, beside those of the proxy.
    files: PathBuf,
}

impl Sipp {
    /// One call at the PBX's address.
    pub(crate) fn start(host: &Host, role: Role, steps: &[Step]) -> Self {
        let kind = match role {
            Role::Caller { .. } => "caller",
            Role::Callee => "callee",
        };
        Self::launch(
            host,
            kind,
            &scenario::xml(role, steps),
            host.pbx,
            &["-m", "1"],
        )
    }

    /// SIPp's own scenario `uac`: this many calls, at any address, losing this share of what is sent and received.
    #[must_use]
    pub fn own_uac(host: &Host, calls: u32, lost_percent: u32) -> Self {
        let [calls, lost] = [calls, lost_percent].map(|number| number.to_string());
        let scenario = with_transactions(&with_route_set(&own_scenario("uac")));
        Self::launch(
            host,
            "uac",
            &scenario,
            ports::free_udp(),
            &[
                "-s",
                "9100",
                "-m",
                &calls,
                "-r",
                "20",
                "-lost",
                &lost,
                "-default_behaviors",
                BEHAVIOURS,
            ],
        )
    }

    /// SIPp's own scenario `uas` at the PBX's address.
    #[must_use]
    pub fn own_uas(host: &Host, calls: u32, lost_percent: u32) -> Self {
        let [calls, lost] = [calls, lost_percent].map(|number| number.to_string());
        let scenario = with_route_set(&own_scenario("uas"));
        Self::launch(
            host,
            "uas",
            &scenario,
            host.pbx,
            &[
                "-m",
                &calls,
                "-lost",
                &lost,
                "-default_behaviors",
                BEHAVIOURS,
            ],
        )
    }

    fn launch(
        host: &Host,
        kind: &str,
        scenario: &str,
        address: SocketAddr,
        options: &[&str],
    ) -> Self {
        let files = host.folder().join(kind);
        let file = |extension: &str| files.with_extension(extension);
        fs::write(file("xml"), scenario).expect("the scenario is written");
        let output = fs::File::create(file("out")).expect("a file for its output");
        let mut command = Command::new("sipp");
        command.arg(host.udp.to_string()).args([
            "-i",
            "127.0.0.1",
            "-p",
            &address.port().to_string(),
            "-nostdin",
        ]);
        command.arg("-sf").arg(file("xml")).args(options);
        command
            .args(["-trace_err", "-error_file"])
            .arg(file("err"))
            .args(["-trace_msg", "-message_file"])
            .arg(file("msg"));
        command.args([
            "-timeout",
            &format!("{}s", 6 * PATIENCE_MS / 1000),
            "-timeout_error",
            "-recv_timeout",
            &PATIENCE_MS.to_string(),
        ]);
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output);
        let process = command
            .current_dir(host.folder())
            .spawn()
            .expect("sipp starts");
        let mut sipp = Self { process, files };
        sipp.wait_until_bound(address.port());
        sipp
    }

    fn wait_until_bound(&mut self, port: u16) {
        let process = &mut self.process;
        let runs = || process.try_wait().expect("our own child").is_none();
        assert!(
            ports::until_bound(port, PATIENCE_MS, runs),
            "SIPp did not start: {}",
            self.report()
        );
    }

    /// Waits until its calls are over, and checks that all went as the scenario says.
    #[track_caller]
    pub fn succeeds(&mut self) {
        let status = self.process.wait().expect("our own child");
        assert!(
            status.success(),
            "SIPp saw something else: {status}\n{}",
            self.report()
        );
    }

    fn report(&self) -> String {
        ["err", "msg"]
            .map(|extension| {
                fs::read_to_string(self.files.with_extension(extension)).unwrap_or_default()
            })
            .join("\n")
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn own_scenario(name: &str) -> String {
    let output = Command::new("sipp")
        .args(["-sd", name])
        .output()
        .expect("sipp starts");
    String::from_utf8(output.stdout).expect("SIPp's scenarios are text")
}

/// SIPp's scenarios know no route set as they stand; their comments say what to add towards a proxy that records its route.
fn with_route_set(scenario: &str) -> String {
    let in_dialog = "[next_url] SIP/2.0\n      [routes]";
    ["ACK", "BYE"]
        .iter()
        .fold(scenario.to_owned(), |text, method| {
            let direct = format!("{method} sip:[service]@[remote_ip]:[remote_port] SIP/2.0");
            text.replace(&direct, &format!("{method} {in_dialog}"))
        })
        .replace(
            "<recv response=\"200\" rtd=\"true\">",
            "<recv response=\"200\" rtd=\"true\" rrs=\"true\">",
        )
        .replace("[last_Via:]", "[last_Via:]\n      [last_Record-Route:]")
}

/// Says which response belongs to which request: where ACK and BYE are lost, SIPp takes the repeated answer to the INVITE for that to
/// the BYE, and forgets the call.
fn with_transactions(uac: &str) -> String {
    let named = uac.replace("<send>", "<send ack_txn=\"invite\">");
    let (invite, bye) = named
        .split_once("<send ack_txn")
        .expect("an ACK between INVITE and BYE");
    let in_transaction = |text: &str, name: &str| {
        text.replace(
            "<send retrans",
            &format!("<send start_txn=\"{name}\" retrans"),
        )
        .replace(
            "<recv response",
            &format!("<recv response_txn=\"{name}\" response"),
        )
    };
    let (invite, bye) = (in_transaction(invite, "invite"), in_transaction(bye, "bye"));
    format!("{invite}<send ack_txn{bye}")
}
