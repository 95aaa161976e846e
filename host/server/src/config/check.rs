//! From the text to typed values. Each section is read apart from the others, so that one fault does not hide the next.

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{
    Advertised, Capture, Certificate, Cidr, Config, Credentials, Faults, Limits, Listener,
    ListenerKind, Log, LogFormat, Origins, Oversize, Timers, Upstream, Web, numbers::in_range,
    policies, raw,
};

const SECTIONS: &str =
    "server, listener, upstream, routing, policy, admin, log, capture, limits, timers";
const DAY_S: u64 = 24 * 60 * 60;

pub(super) fn check(text: &str, folder: &Path) -> Result<Config, Faults> {
    let mut faults = Faults::default();
    let mut file = match text.parse::<Table>() {
        Ok(table) => File { table, folder },
        Err(error) => {
            faults.push(
                "",
                format!(
                    "not TOML: {}",
                    error.to_string().trim_end().replace('\n', "\n  ")
                ),
                "mend the syntax there",
            );
            return Err(faults);
        }
    };
    let server: raw::Server = file.section("server", &mut faults);
    let listeners = listeners(&mut file, &mut faults);
    let upstreams = upstreams(&mut file, &listeners, &mut faults);
    let routing: raw::Routing = file.section("routing", &mut faults);
    let admin: raw::Admin = file.section("admin", &mut faults);
    let log: raw::Log = file.section("log", &mut faults);
    let config = Config {
        workers: workers(server.workers, &mut faults),
        state_dir: server
            .state_dir
            .map_or_else(default_state_dir, |path| file.path(&path)),
        domains: domains(server.domains),
        drain_max: seconds(
            "server.drain_s_max",
            server.drain_s_max,
            300,
            0..=86_400,
            &mut faults,
        ),
        key_rotation: seconds(
            "server.key_rotation_days",
            server.key_rotation_days,
            30,
            1..=3_650,
            &mut faults,
        ) * DAY_S as u32,
        default_upstream: routing
            .default_upstream
            .and_then(|name| upstream_named(&upstreams, &name, &mut faults)),
        policies: policies::check(file.list("policy", &mut faults), folder, &mut faults),
        admin: admin_address(admin, &mut faults),
        log: check_log(log, &mut faults),
        capture: file
            .optional("capture", &mut faults)
            .and_then(|raw| capture(raw, &file, &mut faults)),
        limits: Limits::check("limits", file.section("limits", &mut faults), &mut faults),
        timers: Timers::check("timers", file.section("timers", &mut faults), &mut faults),
        listeners: listeners
            .into_iter()
            .map(|(_, listener)| listener)
            .collect(),
        upstreams,
    };
    for key in file.table.keys() {
        faults.push(
            key.as_str(),
            "unknown section",
            format!("the sections are {SECTIONS}"),
        );
    }
    if faults.0.is_empty() {
        Ok(config)
    } else {
        Err(faults)
    }
}

/// What of the file has not been read yet.
struct File<'a> {
    table: Table,
    folder: &'a Path,
}

impl File<'_> {
    fn section<T: DeserializeOwned + Default>(&mut self, name: &str, faults: &mut Faults) -> T {
        self.optional(name, faults).unwrap_or_default()
    }

    fn optional<T: DeserializeOwned>(&mut self, name: &str, faults: &mut Faults) -> Option<T> {
        let value = self.table.remove(name)?;
        read(name, value, faults)
    }

    /// The tables of `[[name]]`, each with its key path.
    fn list<T: DeserializeOwned>(&mut self, name: &str, faults: &mut Faults) -> Vec<(String, T)> {
        let tables = match self.table.remove(name) {
            None => return Vec::new(),
            Some(Value::Array(tables)) => tables,
            Some(_) => {
                faults.push(name, "not a list of tables", format!("write [[{name}]]"));
                return Vec::new();
            }
        };
        let path = |index| format!("{name}[{index}]");
        tables
            .into_iter()
            .enumerate()
            .filter_map(|(i, table)| Some((path(i), read(&path(i), table, faults)?)))
            .collect()
    }

    fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }
}

pub(super) fn read<T: DeserializeOwned>(key: &str, value: Value, faults: &mut Faults) -> Option<T> {
    value
        .try_into()
        .map_err(|error| faults.push(key, error.message(), "mend or remove that key"))
        .ok()
}

fn workers(count: Option<i64>, faults: &mut Faults) -> u8 {
    let cores = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(64) as u64;
    let count = count.and_then(|count| in_range("server.workers", count, 1, 64, faults));
    u8::try_from(count.unwrap_or(cores)).unwrap_or(1)
}

fn domains(domains: Option<Vec<String>>) -> Vec<String> {
    domains
        .unwrap_or_default()
        .iter()
        .map(|domain| domain.to_ascii_lowercase())
        .collect()
}

fn seconds(
    key: &str,
    value: Option<i64>,
    standard: u64,
    range: std::ops::RangeInclusive<u64>,
    faults: &mut Faults,
) -> Duration {
    let value = value.and_then(|value| in_range(key, value, *range.start(), *range.end(), faults));
    Duration::from_secs(value.unwrap_or(standard))
}

/// The XDG base directory for state, or the one that systemd hands over.
fn default_state_dir() -> PathBuf {
    let folder = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    folder("STATE_DIRECTORY")
        .or_else(|| Some(folder("XDG_STATE_HOME")?.join("hookswitch")))
        .or_else(|| Some(folder("HOME")?.join(".local/state/hookswitch")))
        .unwrap_or_else(|| PathBuf::from("hookswitch-state"))
}

type Listeners = Vec<(String, Listener)>;

fn listeners(file: &mut File, faults: &mut Faults) -> Listeners {
    if !file.table.contains_key("listener") {
        return standard_listeners();
    }
    let raw: Vec<(String, raw::Listener)> = file.list("listener", faults);
    let mut names = HashSet::new();
    let mut listeners = Listeners::new();
    for (key, raw) in raw {
        if !names.insert(raw.name.clone()) {
            faults.push(
                format!("{key}.name"),
                format!("`{}` is taken by another listener", raw.name),
                "choose another name",
            );
        }
        listeners.extend(listener(&key, raw, file, faults).map(|listener| (key, listener)));
    }
    if listeners.len() > usize::from(u8::MAX) {
        faults.push("listener", "too many", "keep at most 255");
    }
    listeners
}

fn standard_listeners() -> Listeners {
    let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
    let web = Web {
        origins: Origins::SameHost,
        pages: None,
    };
    let listener = |name: &str, port, kind| {
        (
            name.to_owned(),
            Listener {
                name: name.to_owned(),
                address: any(port),
                advertised: None,
                kind,
            },
        )
    };
    vec![
        listener("wss", 8443, ListenerKind::Wss(web, Certificate::SelfSigned)),
        listener("udp", 5060, ListenerKind::Udp),
    ]
}

fn listener(key: &str, raw: raw::Listener, file: &File, faults: &mut Faults) -> Option<Listener> {
    let address = socket_address(&format!("{key}.address"), &raw.address, faults);
    let advertised = raw.advertised.as_deref().and_then(|text| {
        let parsed = advertised(text);
        if parsed.is_none() {
            faults.push(
                format!("{key}.advertised"),
                format!("`{text}` is not a host"),
                "write host, host:port or [IPv6]:port",
            );
        }
        parsed
    });
    let web_keys = [
        ("origins", raw.origins.is_some()),
        ("pages", raw.pages.is_some()),
    ];
    let tls_keys = [
        ("certificate", raw.certificate.is_some()),
        ("key", raw.key.is_some()),
    ];
    let web = Web {
        origins: origins(raw.origins),
        pages: raw.pages.map(|pages| file.path(&pages)),
    };
    let (kind, foreign) = match raw.transport.as_str() {
        "udp" => (
            ListenerKind::Udp,
            web_keys.into_iter().chain(tls_keys).collect(),
        ),
        "ws" => (ListenerKind::Ws(web), Vec::from(tls_keys)),
        "wss" => (
            ListenerKind::Wss(
                web,
                certificate(key, raw.certificate, raw.key, file, faults),
            ),
            Vec::new(),
        ),
        other => {
            faults.push(
                format!("{key}.transport"),
                format!("`{other}` is not a transport"),
                "write wss, ws or udp",
            );
            return None;
        }
    };
    for (name, _) in foreign.into_iter().filter(|(_, present)| *present) {
        faults.push(
            format!("{key}.{name}"),
            format!("means nothing to {}", raw.transport),
            "remove it",
        );
    }
    Some(Listener {
        name: raw.name,
        address: address?,
        advertised,
        kind,
    })
}

fn socket_address(key: &str, text: &str, faults: &mut Faults) -> Option<SocketAddr> {
    let parsed = text.parse().ok();
    if parsed.is_none() {
        faults.push(
            key,
            format!("`{text}` is not an address"),
            "write IP:port, such as 0.0.0.0:5060 or [::]:5060",
        );
    }
    parsed
}

fn advertised(text: &str) -> Option<Advertised> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port.parse().ok()?)),
        Some(_) | None => (text, None),
    };
    let is_v6 = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    let is_name = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    (is_v6 || is_name).then(|| Advertised {
        host: host.to_owned(),
        port,
    })
}

fn origins(listed: Option<Vec<String>>) -> Origins {
    match listed {
        None => Origins::SameHost,
        Some(listed) if listed.iter().any(|origin| origin == "*") => Origins::Any,
        Some(listed) => Origins::Listed(
            listed
                .iter()
                .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
                .collect(),
        ),
    }
}

fn certificate(
    at: &str,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    file: &File,
    faults: &mut Faults,
) -> Certificate {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Certificate::Files {
            certificate: file.path(&certificate),
            key: file.path(&key),
        },
        (None, None) => Certificate::SelfSigned,
        (Some(_), None) => {
            faults.push(
                format!("{at}.key"),
                "missing beside certificate",
                "name the PEM file of the private key",
            );
            Certificate::SelfSigned
        }
        (None, Some(_)) => {
            faults.push(
                format!("{at}.certificate"),
                "missing beside key",
                "name the PEM file of the chain",
            );
            Certificate::SelfSigned
        }
    }
}

fn upstreams(file: &mut File, listeners: &Listeners, faults: &mut Faults) -> Vec<Upstream> {
    let raw: Vec<(String, raw::Upstream)> = file.list("upstream", faults);
    let mut names = HashSet::new();
    let mut upstreams = Vec::new();
    for (key, raw) in raw {
        if !names.insert(raw.name.clone()) {
            faults.push(
                format!("{key}.name"),
                format!("`{}` is taken by another upstream", raw.name),
                "choose another name",
            );
        }
        if raw.name == "web" {
            faults.push(
                format!("{key}.name"),
                "`web` is the browsers' side",
                "choose another name",
            );
        }
        upstreams.extend(upstream(&key, raw, listeners, faults));
    }
    upstreams
}

fn upstream(
    key: &str,
    raw: raw::Upstream,
    listeners: &Listeners,
    faults: &mut Faults,
) -> Option<Upstream> {
    match raw.transport.as_deref() {
        None | Some("udp") => {}
        Some(other) => faults.push(
            format!("{key}.transport"),
            format!("`{other}` is not offered to upstreams"),
            "write udp",
        ),
    }
    if raw.members.is_empty() {
        faults.push(
            format!("{key}.members"),
            "empty",
            "write at least one IP:port",
        );
    }
    let member =
        |(i, text): (usize, &String)| socket_address(&format!("{key}.members[{i}]"), text, faults);
    let members: Vec<SocketAddr> = raw.members.iter().enumerate().filter_map(member).collect();
    let sources = match raw.sources {
        None => members
            .iter()
            .map(|member| Cidr::from(member.ip()))
            .collect(),
        Some(sources) => cidrs(&format!("{key}.sources"), &sources, faults),
    };
    let oversize = match raw.oversize.as_deref() {
        None | Some("fragment") => Oversize::Fragment,
        Some("tcp-then-udp") => Oversize::TcpThenUdp,
        Some("refuse") => Oversize::Refuse,
        Some(other) => {
            faults.push(
                format!("{key}.oversize"),
                format!("`{other}` is no such way"),
                "write fragment, tcp-then-udp or refuse",
            );
            Oversize::Fragment
        }
    };
    let listener = upstream_listener(
        key,
        raw.listener.as_deref(),
        members.first(),
        listeners,
        faults,
    )?;
    Some(Upstream {
        name: raw.name,
        listener,
        members,
        sources,
        oversize,
    })
}

/// The listener that is named, or else the first over UDP of the members' address family.
fn upstream_listener(
    key: &str,
    name: Option<&str>,
    member: Option<&SocketAddr>,
    listeners: &Listeners,
    faults: &mut Faults,
) -> Option<usize> {
    let fits = |listener: &Listener| match name {
        Some(name) => listener.name == name,
        None => member.is_none_or(|member| member.is_ipv4() == listener.address.is_ipv4()),
    };
    let found = listeners
        .iter()
        .position(|(_, listener)| listener.kind == ListenerKind::Udp && fits(listener));
    if found.is_none() {
        let what = name.map_or(
            "no udp listener of its members' address family".to_owned(),
            |name| format!("no udp listener `{name}`"),
        );
        faults.push(
            format!("{key}.listener"),
            what,
            "add a [[listener]] with transport = \"udp\" and name it here",
        );
    }
    found
}

fn cidrs(key: &str, texts: &[String], faults: &mut Faults) -> Vec<Cidr> {
    let mut ranges = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(range) => ranges.push(range),
            Err(error) => faults.push(
                format!("{key}[{i}]"),
                format!("`{text}`: {error}"),
                "write an address or a range such as 192.0.2.0/24",
            ),
        }
    }
    ranges
}

fn upstream_named(upstreams: &[Upstream], name: &str, faults: &mut Faults) -> Option<usize> {
    let found = upstreams.iter().position(|upstream| upstream.name == name);
    if found.is_none() {
        faults.push(
            "routing.default_upstream",
            format!("no upstream `{name}`"),
            "add an [[upstream]] of that name",
        );
    }
    found
}

fn admin_address(raw: raw::Admin, faults: &mut Faults) -> Option<SocketAddr> {
    let text = raw.address.as_deref().unwrap_or("127.0.0.1:9090");
    socket_address("admin.address", text, faults).filter(|_| raw.enabled != Some(false))
}

fn check_log(raw: raw::Log, faults: &mut Faults) -> Log {
    let filter = raw.filter.unwrap_or_else(|| "info".to_owned());
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&filter) {
        faults.push(
            "log.filter",
            error.to_string(),
            "write a level, or target=level separated by commas",
        );
    }
    let format = match raw.format.as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => {
            faults.push(
                "log.format",
                format!("`{other}` is not a format"),
                "write text or json",
            );
            LogFormat::Text
        }
    };
    Log { filter, format }
}

fn capture(raw: raw::Capture, file: &File, faults: &mut Faults) -> Option<Capture> {
    let credentials = match raw.credentials.as_deref() {
        None | Some("redacted") => Credentials::Redacted,
        Some("kept") => Credentials::Kept,
        Some(other) => {
            faults.push(
                "capture.credentials",
                format!("`{other}` is no such way"),
                "write redacted or kept",
            );
            Credentials::Redacted
        }
    };
    let bytes = raw.capture_bytes_max.unwrap_or(64 << 20);
    let capture_bytes_max = in_range("capture.capture_bytes_max", bytes, 1 << 16, 1 << 40, faults)?;
    Some(Capture {
        file: file.path(&raw.file),
        capture_bytes_max,
        credentials,
    })
}
