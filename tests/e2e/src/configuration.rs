//! The files that a hookswitch under test reads.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, process::Command};

use serde_json::json;

use crate::{
    DOMAIN,
    account::{Transport, password_of},
    built,
    far::Rtp,
    here, kamailio, made,
};

/// Everybody who has a password.
const USERS: [&str; 4] = ["alice", "bob", "carol", "desk"];
const ISSUER: &str = "https://idp.example.com/";
const AUDIENCE: &str = "sip";
const POLICIES: [&str; 4] = ["header-rules", "prefix-router", "digest-auth", "jwt-auth"];

/// What a hookswitch under test does beside listening.
#[derive(Clone, Copy, Debug)]
pub enum Setup {
    /// Registers everybody, and sends numbers that begin with 9 to the PBX; both by policies.
    Policies(RulesAt),
    /// What the demo does.
    Demo,
    /// Registers who has a user's password, on disk.
    Registrar,
    /// Registers who has a user's password, and has an rtpengine between browsers and phones. Phones that are called are offered this.
    Media(Nodes, Rtp),
    /// The same, but is itself between them, and nothing of that is configured.
    Engine(Rtp),
    /// As with policies, and browsers are told to send media over TCP.
    OverTcp,
    /// Registers who has a token of an identity provider.
    Tokens,
    /// Sends everything to a PBX that is the registrar, which learns of browsers by this.
    Relay(Announce, Upstream),
    /// Registers who has a user's password, on disk, and sends what it does not know to a PBX.
    Beside(Upstream),
}

/// The rtpengines that there are.
#[derive(Clone, Copy, Debug)]
pub enum Nodes {
    /// One, over UDP.
    Udp(SocketAddr),
    /// One, over WebSocket.
    WebSocket(SocketAddr),
    /// Two, over UDP.
    Two(SocketAddr, SocketAddr),
}

/// How a PBX learns the way to a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announce {
    /// RFC 3327.
    Path,
    /// By a Contact of ours.
    Contact,
}

/// Where the PBX is.
#[derive(Clone, Copy, Debug)]
pub struct Upstream {
    /// Its listener.
    pub address: SocketAddr,
    /// By what.
    pub transport: Transport,
}

pub(crate) fn edge_rules(value: &str) -> String {
    json!({"rules": [{"on": "request", "set": {"X-Edge": value}}]}).to_string()
}

/// Where the rules of `header-rules` stand.
#[derive(Clone, Copy, Debug)]
pub enum RulesAt {
    /// In a file of their own.
    File,
    /// In the main file.
    MainFile,
}

/// How the line with the rules begins in the main file.
pub(crate) const INLINE: &str = "config = ";

/// A table of TOML that says what [`edge_rules`] does.
pub(crate) fn inline_rules(value: &str) -> String {
    format!("{INLINE}{{ rules = [{{ on = \"request\", set = {{ X-Edge = \"{value}\" }} }}] }}")
}

pub(crate) fn copy_components(folder: &Path) {
    let target = built()
        .parent()
        .expect("target above target/debug")
        .to_path_buf();
    for policy in POLICIES {
        let component = made(target.join("plugins").join(format!("{policy}.wasm")));
        fs::copy(component, folder.join(format!("{policy}.wasm")))
            .expect("the component is copied");
    }
}

/// Writes everything that a hookswitch reads; `pbx` is for [`Setup::Policies`].
pub(crate) fn write_configuration(folder: &Path, setup: Setup, pbx: SocketAddr) {
    copy_components(folder);
    copy_pages(&folder.join("pages"));
    let write = |name: &str, text: String| {
        fs::write(folder.join(name), text).expect("a file of the configuration")
    };
    write("header-rules.json", edge_rules("one"));
    write(
        "prefix-router.json",
        json!({"routes": [{"prefix": "9", "upstreams": ["pbx"], "strip": 1}]}).to_string(),
    );
    let user = |name: &str| {
        let password = password_of(name);
        format!("[[user]]\nname = \"{name}\"\npassword = \"{password}\"\n")
    };
    write("users.toml", USERS.map(user).concat());
    if let Setup::Relay(..) | Setup::Beside(_) = setup {
        kamailio::make_certificate(&folder.join("kamailio"));
    }
    if let Setup::Tokens = setup {
        issue_tokens(folder);
    }
    if let Setup::Demo = setup {
        copy_demo(folder);
    }
    write("hookswitch.toml", main_file(setup, pbx));
}

fn main_file(setup: Setup, pbx: SocketAddr) -> String {
    let parts = match setup {
        Setup::Demo => return demo(),
        Setup::Policies(rules) => [policies(pbx, rules), String::new()],
        Setup::Registrar => [registrar(), String::new()],
        Setup::Media(nodes, rtp) => [registrar(), media(nodes, rtp)],
        Setup::Engine(rtp) => [registrar(), engine(rtp)],
        Setup::OverTcp => [policies(pbx, RulesAt::File), OVER_TCP.to_owned()],
        Setup::Tokens => [tokens(), String::new()],
        Setup::Relay(announce, pbx) => [upstream(announce, pbx), relay()],
        Setup::Beside(pbx) => [upstream(Announce::Path, pbx), registrar() + DEFAULT],
    };
    let mut text = LISTENERS.replace("@DOMAIN@", DOMAIN) + &parts.concat();
    if !text.contains("[media]") {
        text += DIRECT;
    }
    text
}

/// As it is shipped, but at any ports, and with a ladder for when a test fails.
fn demo() -> String {
    let text = fs::read_to_string(here().join(DEMO).join("hookswitch.toml"));
    let text = text.expect("the demo's configuration");
    let anywhere = |line: &str| match line.starts_with("address = ") {
        true => "address = \"127.0.0.1:0\"\n".to_owned(),
        false => format!("{line}\n"),
    };
    text.lines().map(anywhere).collect::<String>() + CAPTURE
}

/// What its policies read.
pub(crate) fn copy_demo(folder: &Path) {
    for file in ["header-rules.json", "prefix-router.json"] {
        fs::copy(here().join(DEMO).join(file), folder.join(file)).expect("a file of the demo");
    }
}

const DEMO: &str = "../../examples/softphone/demo";

const CAPTURE: &str = "
[capture]
file = \"capture.pcap\"
";

/// The pages with SIP.js and with JsSIP, side by side.
fn copy_pages(folder: &Path) {
    fs::create_dir_all(folder).expect("a folder for the pages");
    for pages in ["../../examples/softphone/dist", "dist"] {
        for page in fs::read_dir(made(here().join(pages))).expect("a folder") {
            let page = page.expect("a file").path();
            let name = page.file_name().expect("a file has a name");
            fs::copy(&page, folder.join(name)).expect("the page is copied");
        }
    }
}

/// Gives what listens the addresses that it has, so that a second start has them again.
pub(crate) fn pin(file: &Path, addresses: &BTreeMap<String, SocketAddr>) {
    let text = fs::read_to_string(file).expect("the configuration is there");
    let mut name = "";
    let pinned = text.lines().map(|line| {
        let named = line
            .strip_prefix("name = ")
            .map(|name| name.trim_matches('"'));
        let section = (line == "[admin]").then_some("admin");
        name = named.or(section).unwrap_or(name);
        match addresses.get(name) {
            Some(address) if line.starts_with("address = ") => format!("address = \"{address}\"\n"),
            Some(_) | None => format!("{line}\n"),
        }
    });
    let pinned: String = pinned.collect();
    fs::write(file, pinned).expect("the configuration can be written");
}

const LISTENERS: &str = r#"
[server]
workers = 2
state_dir = "state"
domains = ["@DOMAIN@"]

[admin]
address = "127.0.0.1:0"

[capture]
file = "capture.pcap"

[[listener]]
name = "wss"
transport = "wss"
address = "127.0.0.1:0"
pages = "pages"

[[listener]]
name = "udp"
transport = "udp"
address = "127.0.0.1:0"

[[listener]]
name = "tcp"
transport = "tcp"
address = "127.0.0.1:0"

[[listener]]
name = "tls"
transport = "tls"
address = "127.0.0.1:0"
"#;

/// Both ends of these tests say what the other one understands.
const DIRECT: &str = "
[media]
mode = \"direct\"
";

const OVER_TCP: &str = "
[media]
ice = [\"tcp\"]
";

const DEFAULT: &str = "
[routing]
default_upstream = \"pbx\"
";

fn policies(pbx: SocketAddr, rules: RulesAt) -> String {
    let rules = match rules {
        RulesAt::File => "config_file = \"header-rules.json\"".to_owned(),
        RulesAt::MainFile => inline_rules("one"),
    };
    format!(
        r#"
[[upstream]]
name = "pbx"
members = ["{pbx}"]

[test_destinations]
enabled = true

[[policy]]
name = "header-rules"
component = "header-rules.wasm"
{rules}

[[policy]]
name = "prefix-router"
component = "prefix-router.wasm"
config_file = "prefix-router.json"
"#
    )
}

/// With what comes without being asked for: the shipped defaults must do for every phone.
fn registrar() -> String {
    format!(
        r#"
[registrar]
store = "disk"

[[auth.realm]]
name = "{DOMAIN}"
users = "users.toml"

[[policy]]
name = "digest-auth"
component = "digest-auth.wasm"
config = {{ realm = "{DOMAIN}", remember = "connection" }}
grants = {{ auth = ["{DOMAIN}"] }}
"#
    )
}

fn media(nodes: Nodes, rtp: Rtp) -> String {
    let nodes = match nodes {
        Nodes::Udp(one) => format!("\"udp:{one}\""),
        Nodes::WebSocket(one) => format!("\"ws:{one}\""),
        Nodes::Two(one, other) => format!("\"udp:{one}\", \"udp:{other}\""),
    };
    format!("{}rtpengine = [{nodes}]\n", engine(rtp))
}

fn engine(rtp: Rtp) -> String {
    let settings = match rtp {
        Rtp::Plain => "",
        Rtp::Sdes => "srtp = \"sdes\"\n",
    };
    format!("\n[media]\n{settings}")
}

/// Its keys and tokens come from `issuer.mjs`.
fn tokens() -> String {
    format!(
        r#"
[[auth.issuer]]
name = "idp"
issuer = "{ISSUER}"
audience = ["{AUDIENCE}"]
keys_file = "keys.json"

[[policy]]
name = "jwt-auth"
component = "jwt-auth.wasm"
config = {{ issuer = "idp" }}
grants = {{ auth = ["idp"] }}
"#
    )
}

fn issue_tokens(folder: &Path) {
    let issued = Command::new("node")
        .arg(here().join("issuer.mjs"))
        .arg(folder)
        .args([ISSUER, AUDIENCE])
        .args(USERS)
        .status()
        .expect("node starts");
    assert!(issued.success(), "no tokens: {issued}");
}

fn relay() -> String {
    r#"
[registrar]
store = "disk"
upstream = "pbx"
"#
    .to_owned()
}

fn upstream(announce: Announce, Upstream { address, transport }: Upstream) -> String {
    let announce = match announce {
        Announce::Path => "path",
        Announce::Contact => "contact",
    };
    let name = transport.name();
    let trust = match transport {
        Transport::Tls => "ca = \"kamailio/cert.pem\"\nserver_name = \"localhost\"\n",
        Transport::Udp | Transport::Tcp => "",
    };
    format!(
        r#"
[[upstream]]
name = "pbx"
members = ["{address}"]
transport = "{name}"
announce = "{announce}"
{trust}"#
    )
}
