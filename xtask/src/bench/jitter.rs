//! How evenly relayed audio arrives, while the proxy has nothing else to do and while SIP keeps all its workers busy. Of our proxy alone:
//! rtpengine has no SIP.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    Effort, Figure, binaries, figure, folder,
    report::{Column, Report},
    server::Server,
    write,
};
use crate::shell;

/// Until the load has reached its height.
const SOON: Duration = Duration::from_secs(3);
/// Longer than the calls take to be set up under it.
const LOAD_SECONDS: &str = "40";
const CALLS: &str = "100";

const IDLE: [Figure; 3] = [
    figure(
        "jitter of relayed audio, SIP idle, p50",
        "us",
        "p50_deviation_us",
    ),
    figure(
        "jitter of relayed audio, SIP idle, p99",
        "us",
        "p99_deviation_us",
    ),
    figure("packets lost, SIP idle", "1", "lost"),
];
const BUSY: [Figure; 3] = [
    figure(
        "jitter of relayed audio, SIP busy, p50",
        "us",
        "p50_deviation_us",
    ),
    figure(
        "jitter of relayed audio, SIP busy, p99",
        "us",
        "p99_deviation_us",
    ),
    figure("packets lost, SIP busy", "1", "lost"),
];

/// What was built.
pub(super) struct Bench {
    effort: Effort,
    proxy: PathBuf,
    sip_load: PathBuf,
    media_load: PathBuf,
}

struct Addresses {
    ws: SocketAddr,
    udp: SocketAddr,
    pbx: SocketAddr,
    trunk: SocketAddr,
}

/// Ends what runs beside.
struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bench {
    pub(super) fn build(effort: Effort) -> Result<Self> {
        let names = ["hookswitch", "hookswitch-load", "hookswitch-media-load"];
        let [proxy, sip_load, media_load] = binaries(effort, names)?;
        Ok(Self {
            effort,
            proxy,
            sip_load,
            media_load,
        })
    }

    /// Both, on a server of their own each.
    pub(super) fn measure(&self, column: Column, report: &mut Report) -> Result<()> {
        for (figures, is_busy) in [(IDLE, false), (BUSY, true)] {
            let (server, at) = self.start()?;
            let mut beside = is_busy.then(|| self.keep_busy(&at)).transpose()?;
            let outcome = self.listen(&at).with_context(|| server.log())?;
            if let Some(Beside(load)) = &mut beside {
                ensure!(load.try_wait()?.is_none(), "the load has ended before");
            }
            for figure in figures {
                let value = outcome[figure.field].as_f64();
                let value = value.with_context(|| format!("no {}", figure.field))?;
                report.add(column, figure, value);
            }
        }
        Ok(())
    }

    fn start(&self) -> Result<(Server, Addresses)> {
        let folder = folder()?.join("jitter");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        // Upstreams are told apart by their addresses.
        let udp = |address| UdpSocket::bind((address, 0))?.local_addr();
        let at = Addresses {
            ws: TcpListener::bind("127.0.0.1:0")?.local_addr()?,
            udp: udp("127.0.0.1")?,
            pbx: udp("127.0.0.1")?,
            trunk: udp("127.0.0.2")?,
        };
        let file = folder.join("hookswitch.toml");
        write(&file, &config(&at))?;
        let mut command = Command::new(&self.proxy);
        command.arg("run").arg(file).current_dir(&folder);
        let answers = || TcpStream::connect(at.ws).is_ok();
        let server = Server::start("hookswitch", command, &folder, answers)?;
        Ok((server, at))
    }

    /// Registrations end at the proxy.
    fn keep_busy(&self, at: &Addresses) -> Result<Beside> {
        let mut command = shell::command(&self.sip_load);
        command.args([
            "register",
            "--browsers",
            "64",
            "--window",
            "64",
            "--tls",
            "no",
        ]);
        command.args(["--door", &at.ws.to_string(), "--seconds", LOAD_SECONDS]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let load = Beside(command.spawn()?);
        sleep(SOON);
        Ok(load)
    }

    fn listen(&self, at: &Addresses) -> Result<Value> {
        let mut command = shell::command(&self.media_load);
        command.args(["sip", "--calls", CALLS, "--proxy", &at.udp.to_string()]);
        command.args([
            "--trunk",
            &at.trunk.to_string(),
            "--pbx",
            &at.pbx.to_string(),
        ]);
        command.args(["--seconds", &self.effort.seconds().to_string()]);
        Ok(serde_json::from_str(&shell::read(&mut command)?)?)
    }
}

fn config(at: &Addresses) -> String {
    let Addresses {
        ws,
        udp,
        pbx,
        trunk,
    } = at;
    format!(
        r#"[server]
state_dir = "state"
domains = ["localhost"]
[[listener]]
name = "ws"
transport = "ws"
address = "{ws}"
[[listener]]
name = "udp"
transport = "udp"
address = "{udp}"
[[upstream]]
name = "pbx"
members = ["{pbx}"]
[[upstream]]
name = "trunk"
members = ["{trunk}"]
[routing]
default_upstream = "pbx"
[media]
mode = "relay"
workers = 1
[[media.interface]]
name = "loopback"
addresses = ["127.0.0.1"]
[admin]
enabled = false
[log]
filter = "warn"
"#
    )
}
