//! `[[listener]]`.

use std::{collections::HashSet, net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    Advertised, Certificate, ClientCertificates, Faults, Listener, ListenerKind, Origins, Web,
    check::{File, socket_address},
    numbers::in_range,
    raw,
};

pub(super) type Listeners = Vec<(String, Listener)>;

pub(super) fn check(file: &mut File, faults: &mut Faults) -> Listeners {
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
                flow_timer: None,
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
    let foreign = foreign_keys(&raw);
    let flow_timer_key = format!("{key}.flow_timer_s");
    let flow_timer = raw.flow_timer_s;
    let flow_timer = flow_timer.and_then(|s| in_range(&flow_timer_key, s, 1, 86_400, faults));
    let kind = match raw.transport.as_str() {
        "udp" => ListenerKind::Udp,
        "tcp" => ListenerKind::Tcp,
        "tls" => ListenerKind::Tls(
            certificate(key, raw.certificate, raw.key, file, faults),
            client_certificates(
                key,
                raw.client_ca,
                raw.client_certificate.as_deref(),
                file,
                faults,
            ),
        ),
        "ws" => ListenerKind::Ws(web(raw.origins, raw.pages, file)),
        "wss" => ListenerKind::Wss(
            web(raw.origins, raw.pages, file),
            certificate(key, raw.certificate, raw.key, file, faults),
        ),
        other => {
            faults.push(
                format!("{key}.transport"),
                format!("`{other}` is not a transport"),
                "write wss, ws, tls, tcp or udp",
            );
            return None;
        }
    };
    for name in foreign {
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
        flow_timer: flow_timer.map(Duration::from_secs),
    })
}

/// Keys that mean nothing to its transport.
fn foreign_keys(raw: &raw::Listener) -> Vec<&'static str> {
    let (wants_web, wants_tls, wants_clients) = match raw.transport.as_str() {
        "ws" => (true, false, false),
        "wss" => (true, true, false),
        "tls" => (false, true, true),
        _ => (false, false, false),
    };
    // A flow over UDP would be kept alive by STUN.
    let wants_connections = raw.transport != "udp";
    let keys = [
        ("origins", raw.origins.is_some(), wants_web),
        ("pages", raw.pages.is_some(), wants_web),
        ("certificate", raw.certificate.is_some(), wants_tls),
        ("key", raw.key.is_some(), wants_tls),
        ("client_ca", raw.client_ca.is_some(), wants_clients),
        (
            "client_certificate",
            raw.client_certificate.is_some(),
            wants_clients,
        ),
        (
            "flow_timer_s",
            raw.flow_timer_s.is_some(),
            wants_connections,
        ),
    ];
    keys.into_iter()
        .filter(|(_, is_there, is_wanted)| *is_there && !is_wanted)
        .map(|(name, ..)| name)
        .collect()
}

fn web(listed: Option<Vec<String>>, pages: Option<PathBuf>, file: &File) -> Web {
    Web {
        origins: origins(listed),
        pages: pages.map(|pages| file.path(&pages)),
    }
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

fn client_certificates(
    at: &str,
    ca: Option<PathBuf>,
    wanted: Option<&str>,
    file: &File,
    faults: &mut Faults,
) -> ClientCertificates {
    match (ca.map(|ca| file.path(&ca)), wanted) {
        (None, None) => ClientCertificates::NotAsked,
        (Some(ca), None | Some("required")) => ClientCertificates::Required(ca),
        (Some(ca), Some("optional")) => ClientCertificates::Optional(ca),
        (Some(_), Some(other)) => {
            faults.push(
                format!("{at}.client_certificate"),
                format!("`{other}` is no such way"),
                "write required or optional",
            );
            ClientCertificates::NotAsked
        }
        (None, Some(_)) => {
            faults.push(
                format!("{at}.client_ca"),
                "missing beside client_certificate",
                "name the PEM file of the CA that signs them",
            );
            ClientCertificates::NotAsked
        }
    }
}
