//! Kamailio as the PBX: a registrar with digest that relays between its users, by `kamailio/pbx.cfg`.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    DOMAIN, Host, PATIENCE_MS,
    account::Transport,
    configuration::{Announce, Setup, Upstream},
    ports,
};

const MEMORY_MB: &str = "64";

/// Where it is to be, before it is there: hookswitch must know, and starts first.
#[derive(Clone, Copy, Debug)]
pub struct Place(SocketAddr);

impl Place {
    /// Somewhere free.
    #[must_use]
    pub fn free() -> Self {
        Self(ports::free_row(2))
    }

    /// Where it speaks this; TLS has the second port.
    #[must_use]
    pub fn address(self, transport: Transport) -> SocketAddr {
        let second = u16::from(transport == Transport::Tls);
        SocketAddr::new(self.0.ip(), self.0.port() + second)
    }

    /// As an upstream of hookswitch.
    #[must_use]
    pub fn upstream(self, transport: Transport) -> Upstream {
        Upstream {
            address: self.address(transport),
            transport,
        }
    }
}

/// A running Kamailio; stopped when dropped.
pub struct Kamailio {
    process: Child,
    output: PathBuf,
}

impl Kamailio {
    /// Starts it beside a hookswitch of this setup, and waits until it serves.
    #[must_use]
    pub fn start(host: &Host, place: Place, setup: Setup) -> Self {
        let folder = host.folder().join("kamailio");
        let plain = place.address(Transport::Udp);
        let (variant, back) = match setup {
            Setup::Relay(Announce::Path, _) => (Some("PATH"), None),
            Setup::Relay(Announce::Contact, _) => (None, None),
            Setup::Beside(Upstream { transport, .. }) => (Some("BESIDE"), Some(transport)),
            Setup::Policies(_)
            | Setup::Demo
            | Setup::Registrar
            | Setup::Media(..)
            | Setup::Engine(_)
            | Setup::OverTcp
            | Setup::Tokens => {
                panic!("{setup:?} has no PBX")
            }
        };
        let hookswitch = back.map_or(String::new(), |transport| {
            let address = host.address(transport);
            format!("sip:{address};transport={}", transport.name())
        });
        let text = include_str!("../kamailio/pbx.cfg")
            .replace("@DOMAIN@", DOMAIN)
            .replace("@PLAIN@", &plain.to_string())
            .replace("@TLS@", &place.address(Transport::Tls).to_string())
            .replace("@FOLDER@", &folder.display().to_string())
            .replace("@HOOKSWITCH@", &hookswitch);
        fs::write(folder.join("pbx.cfg"), text).expect("its configuration");
        let output = folder.join("output");
        let log = fs::File::create(&output).expect("a file for its output");
        let mut command = Command::new("/usr/sbin/kamailio");
        // In the foreground, so that it is our child and its children end with it.
        command
            .args(["-DD", "-E", "-m", MEMORY_MB, "-f", "pbx.cfg", "-Y"])
            .arg(&folder);
        command.args(variant.iter().flat_map(|variant| ["-A", variant]));
        let process = command
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("kamailio starts");
        let mut kamailio = Self { process, output };
        kamailio.wait_until_bound(plain.port());
        kamailio
    }

    fn wait_until_bound(&mut self, port: u16) {
        let process = &mut self.process;
        let runs = || process.try_wait().expect("our own child").is_none();
        assert!(
            ports::until_bound(port, PATIENCE_MS, runs),
            "Kamailio did not start:\n{}",
            self.said()
        );
    }

    fn said(&self) -> String {
        let bytes = fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("── Kamailio\n{}", self.said());
        }
        // Its children would outlive a kill. One that has ended already cannot be stopped, and need not be.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}

/// Before either starts: hookswitch trusts Kamailio by it.
pub(crate) fn make_certificate(folder: &Path) {
    fs::create_dir_all(folder).expect("a folder for Kamailio");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-batch",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output()
        .expect("openssl starts");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}
