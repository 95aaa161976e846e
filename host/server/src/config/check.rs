//! From the text to typed values. Each section is read apart from the others, so that one fault does not hide the next.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use hookswitch_policy::pool::instances_needed;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{
    Capture, Config, Credentials, Dns, Faults, Limits, Log, LogFormat, Registrar, Store, Timers,
    Upstream, auth, destinations, listeners, media, numbers::in_range, policies, raw,
    registrations, turn, upstreams,
};

const SECTIONS: &str = "server, listener, upstream, registration, media, turn, routing, registrar, auth, dns, test_destinations, policy, admin, log, capture, limits, timers";
const DNS_PORT: u16 = 53;
const DAY_S: u64 = 24 * 60 * 60;

pub(super) fn check(text: &str, folder: &Path) -> Result<Config, Faults> {
    let mut faults = Faults::default();
    let mut file = match text.parse::<Table>() {
        Ok(table) => File { table, folder },
        Err(error) => {
            faults.push(
                "",
                format!("not TOML: {}", shown(&error, text)),
                "mend the syntax there",
            );
            return Err(faults);
        }
    };
    let server: raw::Server = file.section("server", &mut faults);
    let mut listeners = listeners::check(&mut file, &mut faults);
    let media = media::check(&mut file, &mut faults);
    let mut upstreams = upstreams::check(&mut file, &listeners, &media, &mut faults);
    let registrations = registrations::check(&mut file, &upstreams, &mut faults);
    let test_destinations =
        destinations::check(&mut file, &mut listeners, &mut upstreams, &mut faults);
    let media = media.for_upstreams(&upstreams);
    let routing: raw::Routing = file.section("routing", &mut faults);
    let admin: raw::Admin = file.section("admin", &mut faults);
    let log: raw::Log = file.section("log", &mut faults);
    let policies = policies::check(file.list("policy", &mut faults), folder, &mut faults);
    let auth = auth::check(&mut file, &policies, &mut faults);
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
        default_upstream: routing.default_upstream.and_then(|name| {
            upstream_named("routing.default_upstream", &upstreams, &name, &mut faults)
        }),
        registrar: registrar(
            file.section("registrar", &mut faults),
            &upstreams,
            &mut faults,
        ),
        policies,
        auth,
        turn: file
            .optional("turn", &mut faults)
            .and_then(|raw| turn::check(raw, &file, &mut faults)),
        test_destinations,
        dns: dns(file.section("dns", &mut faults), &mut faults),
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
        registrations,
        media,
    };
    if let Err(error) = instances_needed(config.workers.into(), &config.policies) {
        faults.push(
            "policy",
            error.to_string(),
            "lower limits.hooks_in_flight_max of policies, or server.workers",
        );
    }
    if config.limits.message_bytes_max > config.limits.connection_queue_bytes_max {
        faults.push(
            "limits.connection_queue_bytes_max",
            "smaller than message_bytes_max: a long message would close the connection that it is for",
            "make it at least as large",
        );
    }
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

/// The error with the line that it speaks of, unless there is a password in the file: it may reach over lines.
fn shown(error: &toml::de::Error, file: &str) -> String {
    let error = error.to_string();
    let number = |line: &str| line.split_once(" | ")?.0.parse::<u32>().ok();
    let is_shown = |line: &&str| number(line).is_none() || !file.contains("password");
    let lines: Vec<_> = error.lines().filter(is_shown).collect();
    lines.join("\n  ")
}

/// What of the file has not been read yet.
pub(super) struct File<'a> {
    pub(super) table: Table,
    folder: &'a Path,
}

impl File<'_> {
    pub(super) fn section<T: DeserializeOwned + Default>(
        &mut self,
        name: &str,
        faults: &mut Faults,
    ) -> T {
        self.optional(name, faults).unwrap_or_default()
    }

    fn optional<T: DeserializeOwned>(&mut self, name: &str, faults: &mut Faults) -> Option<T> {
        let value = self.table.remove(name)?;
        read(name, value, faults)
    }

    /// The value of a key, or of `section.key`.
    fn take(&mut self, name: &str) -> Option<Value> {
        match name.split_once('.') {
            None => self.table.remove(name),
            Some((section, key)) => {
                let section = self.table.get_mut(section)?.as_table_mut()?;
                section.remove(key)
            }
        }
    }

    /// A section of which all that is known was taken.
    pub(super) fn rest_of(&mut self, section: &str, keys: &str, faults: &mut Faults) {
        match self.table.remove(section) {
            None => {}
            Some(Value::Table(rest)) => rest.keys().for_each(|key| {
                faults.push(
                    format!("{section}.{key}"),
                    "unknown key",
                    format!("the keys are {keys}"),
                );
            }),
            Some(_) => faults.push(section, "not a table", format!("write [{section}]")),
        }
    }

    /// The tables of `[[name]]`, each with its key path.
    pub(super) fn list<T: DeserializeOwned>(
        &mut self,
        name: &str,
        faults: &mut Faults,
    ) -> Vec<(String, T)> {
        let tables = match self.take(name) {
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

    pub(super) fn path(&self, path: &Path) -> PathBuf {
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

pub(super) fn socket_address(key: &str, text: &str, faults: &mut Faults) -> Option<SocketAddr> {
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

pub(super) fn upstream_named(
    key: &str,
    upstreams: &[Upstream],
    name: &str,
    faults: &mut Faults,
) -> Option<usize> {
    let found = upstreams.iter().position(|upstream| upstream.name == name);
    if found.is_none() {
        faults.push(
            key,
            format!("no upstream `{name}`"),
            "add an [[upstream]] of that name",
        );
    }
    found
}

fn registrar(raw: raw::Registrar, upstreams: &[Upstream], faults: &mut Faults) -> Registrar {
    let named = |name: String| upstream_named("registrar.upstream", upstreams, &name, faults);
    let upstream = raw.upstream.and_then(named);
    let store = match raw.store.as_deref() {
        None | Some("memory") => Store::Memory,
        Some("disk") => Store::Disk,
        Some(other) => {
            faults.push(
                "registrar.store",
                format!("`{other}` is no such place"),
                "write memory or disk",
            );
            Store::Memory
        }
    };
    let mut expires = |key, value, standard| {
        let key = format!("registrar.expires_s_{key}");
        seconds(&key, value, standard, 1..=DAY_S * 365, faults)
    };
    let checked = Registrar {
        upstream,
        store,
        expires_min: expires("min", raw.expires_s_min, 60),
        expires_default: expires("default", raw.expires_s_default, 600),
        expires_max: expires("max", raw.expires_s_max, 3_600),
    };
    let order = [
        checked.expires_min,
        checked.expires_default,
        checked.expires_max,
    ];
    if !order.is_sorted() {
        faults.push(
            "registrar.expires_s_default",
            "not between expires_s_min and expires_s_max",
            "put the three in order",
        );
    }
    checked
}

fn dns(raw: raw::Dns, faults: &mut Faults) -> Dns {
    let mut servers = Vec::new();
    for (i, text) in raw.servers.iter().enumerate() {
        let address = text.parse().map(|ip| SocketAddr::new(ip, DNS_PORT));
        match address.or_else(|_| text.parse()) {
            Ok(server) => servers.push(server),
            Err(_) => faults.push(
                format!("dns.servers[{i}]"),
                format!("`{text}` is not an address"),
                "write IP or IP:port",
            ),
        }
    }
    Dns { servers }
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
