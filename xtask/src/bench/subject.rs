//! The servers that are measured: their configurations, their starts and their ends.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{Bench, PREFIXES, report::Column, server::Server, write};
use crate::shell;

/// What Debian calls the peer and its modules.
pub(super) const KAMAILIO_PACKAGES: &str =
    "kamailio kamailio-tls-modules kamailio-websocket-modules kamailio-lua-modules";
const KAMAILIO_MODULES: &str = "/usr/lib/x86_64-linux-gnu/kamailio/modules";
const KAMAILIO_CONFIG: &str = include_str!("../../../tests/load/kamailio/kamailio.cfg");
const KAMAILIO_LUA: &str = include_str!("../../../tests/load/kamailio/kamailio.lua");
/// Transactions linger there; with less it runs out.
const KAMAILIO_SHARED_MB: &str = "2048";
const KAMAILIO_PRIVATE_MB: &str = "32";

/// Ten rules: seven on requests, three on responses. `kamailio.cfg` says the same in its language.
const HEADER_RULES: &str = r#"{"rules":[
    {"on":"request","set":{"X-Tenant":"acme"}},
    {"on":"request","set":{"X-Region":"eu-central"}},
    {"on":"request","add":{"X-Trace":"edge-1"}},
    {"on":"request","remove":"X-Internal"},
    {"on":"request","remove":"User-Agent"},
    {"on":"request","set":{"Organization":"Acme"}},
    {"on":"request","when":{"header":{"name":"X-Debug","exists":true}},"add":{"X-Debugged":"yes"}},
    {"on":"response","set":{"Server":"edge"}},
    {"on":"response","remove":"X-Powered-By"},
    {"on":"response","add":{"X-Edge":"edge-1"}}]}"#;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// hookswitch, an instance of a policy for many messages.
    Reused,
    /// hookswitch, an instance of a policy for each message.
    Fresh,
    /// The peer, its policy in its own language.
    Kamailio,
    /// The peer, its policy in Lua.
    KamailioLua,
}

/// By [`Kind`].
pub(super) const COLUMNS: [Column; 4] = [
    Column {
        key: "ours",
        title: "hookswitch",
    },
    Column {
        key: "ours_fresh",
        title: "fresh instances",
    },
    Column {
        key: "peer",
        title: "Kamailio",
    },
    Column {
        key: "peer_lua",
        title: "Kamailio, Lua",
    },
];

impl Kind {
    pub(super) fn column(self) -> Column {
        let [reused, fresh, kamailio, lua] = COLUMNS;
        match self {
            Self::Reused => reused,
            Self::Fresh => fresh,
            Self::Kamailio => kamailio,
            Self::KamailioLua => lua,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reused => "hookswitch",
            Self::Fresh => "hookswitch, fresh instances",
            Self::Kamailio => "Kamailio",
            Self::KamailioLua => "Kamailio, Lua",
        }
    }

    pub(super) fn is_peer(self) -> bool {
        match self {
            Self::Reused | Self::Fresh => false,
            Self::Kamailio | Self::KamailioLua => true,
        }
    }
}

/// Who keeps the registrations of the browsers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Registrar {
    /// The server that is measured.
    Own,
    /// The PBX, which learns the way to the browsers by Path.
    Pbx,
}

/// A server that runs until this is dropped.
pub(super) struct Running {
    pub(super) kind: Kind,
    pub(super) server: Server,
    pub(super) ports: Ports,
}

impl Running {
    pub(super) fn start(kind: Kind, registrar: Registrar, bench: &Bench) -> Result<Self> {
        let folder = bench.folder.join(format!("{kind:?}"));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let ports = Ports::free()?;
        let command = match kind {
            Kind::Reused => hookswitch(bench, &folder, &ports, registrar, "reuse")?,
            Kind::Fresh => hookswitch(bench, &folder, &ports, registrar, "message")?,
            Kind::Kamailio => kamailio(&folder, &ports, registrar)?,
            Kind::KamailioLua => {
                let mut command = kamailio(&folder, &ports, registrar)?;
                command.args(["-A", "LUA"]);
                command
            }
        };
        let answers = || TcpStream::connect(ports.wss).is_ok();
        let server = Server::start(kind.name(), command, &folder, answers)?;
        // Kamailio listens before its workers are up.
        sleep(Duration::from_secs(1));
        Ok(Self {
            kind,
            server,
            ports,
        })
    }
}

pub(super) fn kamailio_is_here() -> bool {
    kamailio_program().is_some()
        && ["websocket.so", "tls.so", "app_lua.so"]
            .iter()
            .all(|module| Path::new(KAMAILIO_MODULES).join(module).exists())
}

pub(super) fn kamailio_program() -> Option<PathBuf> {
    shell::which("kamailio")
        .or_else(|| Some(PathBuf::from("/usr/sbin/kamailio")).filter(|file| file.exists()))
}

/// Addresses on loopback.
pub(super) struct Ports {
    /// Where browsers connect to.
    pub(super) wss: SocketAddr,
    /// The same without TLS.
    pub(super) ws: SocketAddr,
    /// Where the PBX sends its requests.
    pub(super) udp: SocketAddr,
    /// Where the PBX is to listen.
    pub(super) pbx: SocketAddr,
}

impl Ports {
    /// Free a moment ago, which is all that can be known.
    fn free() -> Result<Self> {
        let any = (Ipv4Addr::LOCALHOST, 0);
        let (udp, pbx) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
        let (wss, ws) = (TcpListener::bind(any)?, TcpListener::bind(any)?);
        Ok(Self {
            wss: wss.local_addr()?,
            ws: ws.local_addr()?,
            udp: udp.local_addr()?,
            pbx: pbx.local_addr()?,
        })
    }
}

fn hookswitch(
    bench: &Bench,
    folder: &Path,
    ports: &Ports,
    registrar: Registrar,
    isolation: &str,
) -> Result<Command> {
    let routes: Vec<String> = prefixes()
        .map(|prefix| format!(r#"{{"prefix":"{prefix}","upstreams":["pbx"]}}"#))
        .collect();
    write(
        &folder.join("prefix-router.json"),
        &format!(r#"{{"routes":[{}]}}"#, routes.join(",")),
    )?;
    write(&folder.join("header-rules.json"), HEADER_RULES)?;
    let Ports { wss, ws, udp, pbx } = ports;
    // One line a transaction is what hookswitch logs and Kamailio does not: both are silent here.
    let mut config = format!(
        r#"[server]
state_dir = "state"
domains = ["localhost"]
[[listener]]
name = "wss"
transport = "wss"
address = "{wss}"
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
[media]
mode = "direct"
[admin]
enabled = false
[log]
filter = "warn"
"#
    );
    match registrar {
        Registrar::Own => {}
        Registrar::Pbx => config.push_str("[registrar]\nupstream = \"pbx\"\n"),
    }
    for policy in &bench.policies {
        let name = policy
            .file_stem()
            .and_then(|name| name.to_str())
            .context("a policy's name")?;
        let component = policy.display().to_string();
        config.push_str(&format!(
            "[[policy]]\nname = {name:?}\ncomponent = {component:?}\nconfig_file = \"{name}.json\"\nisolation = \"{isolation}\"\n"
        ));
    }
    let file = folder.join("hookswitch.toml");
    write(&file, &config)?;
    let mut command = Command::new(&bench.proxy);
    command.arg("run").arg(file).current_dir(folder);
    Ok(command)
}

fn kamailio(folder: &Path, ports: &Ports, registrar: Registrar) -> Result<Command> {
    let place = folder.display().to_string();
    let children = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .to_string();
    let mut config = KAMAILIO_CONFIG.to_owned();
    let names = [
        ("CHILDREN", children),
        ("UDP", ports.udp.to_string()),
        ("PBX", ports.pbx.to_string()),
        ("WSS", ports.wss.to_string()),
        ("WS", ports.ws.to_string()),
        ("FOLDER", place),
    ];
    let mut lua = KAMAILIO_LUA.to_owned();
    for (name, value) in names {
        let name = format!("@{name}@");
        (config, lua) = (config.replace(&name, &value), lua.replace(&name, &value));
    }
    if registrar == Registrar::Pbx {
        lua = lua.replace("RELAY = false", "RELAY = true");
    }
    write(&folder.join("kamailio.cfg"), &config)?;
    write(&folder.join("kamailio.lua"), &lua)?;
    certificate(folder)?;
    let (tables, next) = (
        folder.join("tables"),
        ports.pbx.to_string().replace(':', "\\:"),
    );
    fs::create_dir_all(&tables)?;
    write(
        &tables.join("version"),
        "table_name(string) table_version(int)\nmtrees:2\n",
    )?;
    let rows: String = prefixes()
        .zip(1..)
        .map(|(prefix, id)| format!("{id}:prefixes:{prefix}:sip\\:{next}\n"))
        .collect();
    write(
        &tables.join("mtrees"),
        &format!("id(int,auto) tname(string) tprefix(string) tvalue(string)\n{rows}"),
    )?;
    let mut command = Command::new(kamailio_program().context("kamailio")?);
    command.args([
        "-DD",
        "-E",
        "-m",
        KAMAILIO_SHARED_MB,
        "-M",
        KAMAILIO_PRIVATE_MB,
    ]);
    command
        .arg("-f")
        .arg(folder.join("kamailio.cfg"))
        .arg("-Y")
        .arg(folder);
    if registrar == Registrar::Pbx {
        command.args(["-A", "RELAY"]);
    }
    Ok(command)
}

/// Of the kind that hookswitch makes for itself: ECDSA on P-256.
fn certificate(folder: &Path) -> Result<()> {
    let mut openssl = shell::command("openssl");
    openssl.args(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost"
            .split(' '),
    );
    openssl
        .arg("-keyout")
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("cert.pem"))
        .stderr(Stdio::null());
    ensure!(
        openssl.status().context("run openssl")?.success(),
        "openssl made no certificate"
    );
    Ok(())
}

/// As the generator dials them.
fn prefixes() -> impl Iterator<Item = String> {
    (0..PREFIXES).map(|n| format!("49{n:03}"))
}
