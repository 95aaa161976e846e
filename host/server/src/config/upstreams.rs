//! `[[upstream]]`.

use std::{collections::HashSet, time::Duration};

use hookswitch_sip::{
    flow::{ListenerId, Transport},
    proxy::config::Way,
};
use rustls::pki_types::ServerName;

use super::{
    Announce, Cidr, ClientCertificates, Faults, Keepalive, KeepaliveBy, Listener, ListenerKind,
    Media, MemberAt, Oversize, Upstream, UpstreamMedia, UpstreamTls, check::File,
    listeners::Listeners, media, numbers::in_range, raw, registrations,
};
use crate::source::transport_name;

/// Sides that are no upstream, as policies name them.
const RESERVED: [(&str, &str); 2] = [
    ("web", "the browsers' side"),
    ("stranger", "the side of who belongs to no upstream"),
];

pub(super) fn check(
    file: &mut File,
    listeners: &Listeners,
    media: &Media,
    faults: &mut Faults,
) -> Vec<Upstream> {
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
        if let Some((name, side)) = RESERVED.iter().find(|(name, _)| *name == raw.name) {
            faults.push(
                format!("{key}.name"),
                format!("`{name}` is {side}"),
                "choose another name",
            );
        }
        let media = media::of_upstream(&key, &raw, media, faults);
        upstreams.extend(upstream(&key, raw, media, file, listeners, faults));
    }
    upstreams
}

fn upstream(
    key: &str,
    mut raw: raw::Upstream,
    media: UpstreamMedia,
    file: &File,
    listeners: &Listeners,
    faults: &mut Faults,
) -> Option<Upstream> {
    let login = registrations::login(key, &mut raw, file, faults);
    let speaks = Speaks::of(key, raw.transport.as_deref(), faults);
    refuse_foreign_keys(key, &raw, speaks, faults);
    if raw.members.is_empty() {
        faults.push(
            format!("{key}.members"),
            "empty",
            "write at least one IP:port or name",
        );
    }
    let member = |(i, text): (usize, &String)| member(&format!("{key}.members[{i}]"), text, faults);
    let members: Vec<_> = raw.members.iter().enumerate().filter_map(member).collect();
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
    let announce = match raw.announce.as_deref() {
        None | Some("path") => Announce::Path,
        Some("contact") => Announce::Contact,
        Some(other) => {
            faults.push(
                format!("{key}.announce"),
                format!("`{other}` is no such way"),
                "write path or contact",
            );
            Announce::Path
        }
    };
    let sources = raw.sources.as_ref();
    let sources = sources.map(|sources| cidrs(&format!("{key}.sources"), sources, faults));
    let keepalive = keepalive(key, &raw, faults);
    let number = |name: &str, value: Option<i64>, standard, least, most, faults: &mut Faults| {
        let value =
            value.and_then(|value| in_range(&format!("{key}.{name}"), value, least, most, faults));
        value.unwrap_or(standard)
    };
    let connections_max = number("connections_max", raw.connections_max, 1, 1, 64, faults);
    let connect_ms = number(
        "connect_ms_max",
        raw.connect_ms_max,
        4_000,
        50,
        60_000,
        faults,
    );
    let idle_s = number("idle_s_max", raw.idle_s_max, 600, 1, 86_400, faults);
    let ways = match speaks {
        Speaks::Auto => {
            refuse_what_dns_cannot_choose_for(key, &members, faults);
            ways_of_auto(key, listeners, faults)
        }
        Speaks::This(transport) => {
            let name = raw.listener.as_deref();
            let listener = listener_of(key, name, transport, &members, listeners, faults);
            listener.map_or(Vec::new(), |listener| vec![way(transport, listener)])
        }
    };
    if ways.is_empty() {
        return None;
    }
    let certificates = certificates(key, &raw.certificates, &ways, listeners, faults);
    let tls = speaks.may_be(Transport::Tls);
    let tls = tls.then(|| tls_of(key, &raw, file, faults));
    Some(Upstream {
        name: raw.name,
        ways,
        tls,
        members,
        sources,
        certificates,
        oversize,
        announce,
        connections_max: u8::try_from(connections_max).unwrap_or(1),
        connect_max: Duration::from_millis(connect_ms),
        idle_max: Duration::from_secs(idle_s),
        keepalive,
        login,
        media,
    })
}

/// An address with its port; else a name, or an address without a port, which is one, too.
fn member(key: &str, text: &str, faults: &mut Faults) -> Option<MemberAt> {
    if let Ok(address) = text.parse() {
        return Some(MemberAt::Address(address));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse::<u16>())),
        None => (text, None),
    };
    let is_name = matches!(ServerName::try_from(host), Ok(ServerName::DnsName(_)));
    // Digits alone are an address with a slip of the pen.
    let is_name = is_name && host.bytes().any(|byte| byte.is_ascii_alphabetic());
    match port.transpose() {
        Ok(port) if is_name => Some(MemberAt::Name {
            host: host.to_owned(),
            port,
        }),
        Ok(_) | Err(_) => {
            faults.push(
                key,
                format!("`{text}` is neither an address nor a name"),
                "write IP:port, name or name:port, such as 192.0.2.1:5060 or pbx.example.org",
            );
            None
        }
    }
}

/// What its configuration says of the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    This(Transport),
    /// Whatever DNS prefers.
    Auto,
}

impl Speaks {
    fn of(key: &str, text: Option<&str>, faults: &mut Faults) -> Self {
        match text {
            None | Some("udp") => Self::This(Transport::Udp),
            Some("tcp") => Self::This(Transport::Tcp),
            Some("tls") => Self::This(Transport::Tls),
            Some("auto") => Self::Auto,
            Some(other) => {
                faults.push(
                    format!("{key}.transport"),
                    format!("`{other}` is not offered to upstreams"),
                    "write udp, tcp, tls or auto",
                );
                Self::This(Transport::Udp)
            }
        }
    }

    fn may_be(self, transport: Transport) -> bool {
        match self {
            Self::This(this) => this == transport,
            Self::Auto => true,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::This(transport) => transport_name(transport),
            Self::Auto => "auto",
        }
    }
}

/// Those that we have a listener for, in the order in which they are tried where DNS has no NAPTR.
fn ways_of_auto(key: &str, listeners: &Listeners, faults: &mut Faults) -> Vec<Way> {
    let transports = [Transport::Udp, Transport::Tcp, Transport::Tls];
    let ways = transports.into_iter().filter_map(|transport| {
        let speaks = |(_, listener): &(String, Listener)| listener.kind.transport() == transport;
        Some(way(transport, listeners.iter().position(speaks)?))
    });
    let ways: Vec<Way> = ways.collect();
    if ways.is_empty() {
        faults.push(
            format!("{key}.transport"),
            "no listener for udp, tcp or tls",
            "add a [[listener]] for what it may be",
        );
    }
    ways
}

/// RFC 3263 §4.1: an address or a port would leave nothing to DNS; of several names each might want another transport.
fn refuse_what_dns_cannot_choose_for(key: &str, members: &[MemberAt], faults: &mut Faults) {
    match members {
        [MemberAt::Name { port: None, .. }] => {}
        _ => faults.push(
            format!("{key}.members"),
            "`transport = \"auto\"` is for one name without a port",
            "write that name alone, or another transport",
        ),
    }
}

fn way(transport: Transport, listener: usize) -> Way {
    let listener = ListenerId(u8::try_from(listener).unwrap_or(u8::MAX));
    Way {
        transport,
        listener,
    }
}

fn tls_of(key: &str, raw: &raw::Upstream, file: &File, faults: &mut Faults) -> UpstreamTls {
    if let Some(name) = &raw.server_name
        && ServerName::try_from(name.as_str()).is_err()
    {
        faults.push(
            format!("{key}.server_name"),
            format!("`{name}` is not a name"),
            "write the name in its certificate, such as pbx.example.org",
        );
    }
    let own = match (&raw.certificate, &raw.key) {
        (Some(certificate), Some(key)) => Some((file.path(certificate), file.path(key))),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            faults.push(
                format!("{key}.certificate"),
                "certificate and key go together",
                "name the PEM files of both",
            );
            None
        }
    };
    UpstreamTls {
        ca: raw.ca.as_ref().map(|ca| file.path(ca)),
        server_name: raw.server_name.clone(),
        own,
    }
}

fn refuse_foreign_keys(key: &str, raw: &raw::Upstream, speaks: Speaks, faults: &mut Faults) {
    let is_udp = speaks.may_be(Transport::Udp);
    let is_tls = speaks.may_be(Transport::Tls);
    let is_stream = is_tls || speaks.may_be(Transport::Tcp);
    let keys = [
        ("listener", raw.listener.is_some(), speaks != Speaks::Auto),
        ("oversize", raw.oversize.is_some(), is_udp),
        ("connections_max", raw.connections_max.is_some(), is_stream),
        ("ca", raw.ca.is_some(), is_tls),
        ("server_name", raw.server_name.is_some(), is_tls),
        ("certificate", raw.certificate.is_some(), is_tls),
        ("key", raw.key.is_some(), is_tls),
    ];
    for (name, is_there, is_wanted) in keys {
        if is_there && !is_wanted {
            faults.push(
                format!("{key}.{name}"),
                format!("means nothing to {}", speaks.name()),
                "remove it",
            );
        }
    }
}

fn keepalive(key: &str, raw: &raw::Upstream, faults: &mut Faults) -> Option<Keepalive> {
    let by = match raw.keepalive.as_deref() {
        None if raw.keepalive_s.is_none() => return None,
        None | Some("crlf") => KeepaliveBy::Crlf,
        Some("options") => KeepaliveBy::Options,
        Some(other) => {
            faults.push(
                format!("{key}.keepalive"),
                format!("`{other}` is no such way"),
                "write crlf or options",
            );
            KeepaliveBy::Crlf
        }
    };
    let every = raw
        .keepalive_s
        .and_then(|seconds| in_range(&format!("{key}.keepalive_s"), seconds, 1, 3_600, faults));
    Some(Keepalive {
        every: Duration::from_secs(every.unwrap_or(25)),
        by,
    })
}

/// The listener that is named, or else the first of its transport and of the members' address family.
fn listener_of(
    key: &str,
    name: Option<&str>,
    transport: Transport,
    members: &[MemberAt],
    listeners: &Listeners,
    faults: &mut Faults,
) -> Option<usize> {
    let first = members.first().and_then(MemberAt::address);
    let fits = |listener: &Listener| match name {
        Some(name) => listener.name == name,
        None => first.is_none_or(|first| first.is_ipv4() == listener.address.is_ipv4()),
    };
    let found = listeners
        .iter()
        .position(|(_, listener)| listener.kind.transport() == transport && fits(listener));
    if found.is_none() {
        let transport = transport_name(transport);
        let what = name.map_or(
            format!("no {transport} listener of its members' address family"),
            |name| format!("no {transport} listener `{name}`"),
        );
        faults.push(
            format!("{key}.listener"),
            what,
            format!("add a [[listener]] with transport = \"{transport}\" and name it here"),
        );
    }
    let address = listeners.get(found?)?.1.address;
    let addresses = members.iter().map(MemberAt::address).enumerate();
    for (i, member) in addresses.filter_map(|(i, address)| Some((i, address?))) {
        if member.is_ipv4() != address.is_ipv4() {
            faults.push(
                format!("{key}.members[{i}]"),
                format!("{member} is of another address family than its listener {address}"),
                "make an upstream of its own for each family",
            );
        }
    }
    found
}

/// In lower case. They are shown at its own listener, or at any if it is not spoken to over TLS.
fn certificates(
    key: &str,
    names: &[String],
    ways: &[Way],
    listeners: &Listeners,
    faults: &mut Faults,
) -> Vec<String> {
    let own = ways.iter().find(|way| way.transport == Transport::Tls);
    let is_own = |at: usize| own.is_none_or(|own| usize::from(own.listener.0) == at);
    let asks = |(at, (_, listener)): (usize, &(String, Listener))| match &listener.kind {
        ListenerKind::Tls(_, ClientCertificates::Optional(_) | ClientCertificates::Required(_)) => {
            is_own(at)
        }
        ListenerKind::Tls(_, ClientCertificates::NotAsked)
        | ListenerKind::Udp
        | ListenerKind::Tcp
        | ListenerKind::Ws(_)
        | ListenerKind::Wss(..) => false,
    };
    if !names.is_empty() && !listeners.iter().enumerate().any(asks) {
        faults.push(
            format!("{key}.certificates"),
            "its listener asks for no certificates",
            "add client_ca to a [[listener]] with transport = \"tls\"",
        );
    }
    for (i, name) in names.iter().enumerate() {
        if !matches!(
            ServerName::try_from(name.as_str()),
            Ok(ServerName::DnsName(_))
        ) {
            faults.push(
                format!("{key}.certificates[{i}]"),
                format!("`{name}` is not a name"),
                "write the domain that is in its certificate, such as sip.carrier.example",
            );
        }
    }
    names.iter().map(|name| name.to_ascii_lowercase()).collect()
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
