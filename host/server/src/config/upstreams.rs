//! `[[upstream]]`.

use std::{collections::HashSet, net::SocketAddr};

use super::{
    Announce, Cidr, Faults, Listener, ListenerKind, Oversize, Upstream,
    check::{File, socket_address},
    listeners::Listeners,
    raw,
};

/// Sides that are no upstream, as policies name them.
const RESERVED: [(&str, &str); 2] = [
    ("web", "the browsers' side"),
    ("stranger", "the side of who belongs to no upstream"),
];

pub(super) fn check(file: &mut File, listeners: &Listeners, faults: &mut Faults) -> Vec<Upstream> {
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
    let member = |(i, text): (usize, &String)| {
        Some((
            i,
            socket_address(&format!("{key}.members[{i}]"), text, faults)?,
        ))
    };
    let numbered: Vec<(usize, SocketAddr)> =
        raw.members.iter().enumerate().filter_map(member).collect();
    let members: Vec<SocketAddr> = numbered.iter().map(|(_, member)| *member).collect();
    let sources = match raw.sources {
        None => members
            .iter()
            .map(|member| Cidr::from(member.ip()))
            .collect(),
        Some(sources) => cidrs(&format!("{key}.sources"), &sources, faults),
    };
    let oversize = match raw.oversize.as_deref() {
        None | Some("fragment") => Oversize::Fragment,
        Some("refuse") => Oversize::Refuse,
        Some(other) => {
            faults.push(
                format!("{key}.oversize"),
                format!("`{other}` is no such way"),
                "write fragment or refuse",
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
    let (listener, address) = upstream_listener(
        key,
        raw.listener.as_deref(),
        members.first(),
        listeners,
        faults,
    )?;
    for (i, member) in &numbered {
        if member.is_ipv4() != address.is_ipv4() {
            faults.push(
                format!("{key}.members[{i}]"),
                format!("{member} is of another address family than its listener {address}"),
                "make an upstream of its own for each family",
            );
        }
    }
    Some(Upstream {
        name: raw.name,
        listener,
        members,
        sources,
        oversize,
        announce,
    })
}

/// The listener that is named, or else the first over UDP of the first member's address family.
fn upstream_listener(
    key: &str,
    name: Option<&str>,
    member: Option<&SocketAddr>,
    listeners: &Listeners,
    faults: &mut Faults,
) -> Option<(usize, SocketAddr)> {
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
    let address = listeners.get(found?)?.1.address;
    Some((found?, address))
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
