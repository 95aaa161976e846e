//! From the name of an upstream to its members, as RFC 3263 §4 says: NAPTR where DNS may choose the transport, then SRV, then
//! addresses; a name with a port has addresses alone.

use std::{net::IpAddr, time::Instant};

use futures_util::future::join_all;
use hickory_resolver::{
    net::NetError,
    proto::{
        ProtoError,
        rr::{Name, RecordType, rdata::NAPTR, rdata::SRV},
    },
};
use hookswitch_sip::{
    flow::Transport,
    proxy::config::{Member, Way},
};
use thiserror::Error;

use super::{
    RETRY_AFTER,
    lookup::{Lookup, Records},
};

/// Members that one name leads to.
const MEMBERS_MAX: usize = 32;

/// A way to an upstream, and the addresses that can be reached by it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub(super) way: Way,
    pub(super) family: Family,
}

/// Of addresses.
#[derive(Clone, Copy, Debug)]
pub(super) enum Family {
    V4,
    V6,
}

/// Where a name leads.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) way: Way,
    /// In an order that does not depend on that of the answers.
    pub(super) members: Vec<Member>,
    pub(super) until: Instant,
    /// Of the services, if it was found by these.
    targets: Vec<Target>,
}

/// Where a service is (RFC 2782), and the addresses that it had when they were known last.
#[derive(Clone, Debug)]
struct Target {
    name: Name,
    addresses: Vec<IpAddr>,
}

/// Why it leads nowhere.
#[derive(Debug, Error)]
pub(super) enum NotFound {
    #[error("{0}")]
    Failed(#[from] NetError),
    #[error("no such name: {0}")]
    Name(#[from] ProtoError),
    /// RFC 2782: a target of "." says so.
    #[error("SRV says that the service is not there")]
    Refused,
    #[error("no address of the listener's family")]
    NoAddress,
}

/// A service that may be asked for, and by what it is reached.
struct Service {
    name: Name,
    reach: Reach,
}

/// `reaches` are those of the upstream: one, or several of which DNS may choose. `before` is what was found last.
pub(super) async fn locate(
    lookup: &Lookup,
    host: &str,
    port: Option<u16>,
    reaches: &[Reach],
    before: Option<&Found>,
) -> Result<Found, NotFound> {
    let name = Name::from_utf8(host)?;
    let &[first, ..] = reaches else {
        return Err(NotFound::NoAddress);
    };
    let is_plain = port.is_some() || lookup.is_in_hosts(&name);
    let mut services = Vec::new();
    if !is_plain {
        services = by_preference(lookup, &name, host, reaches).await?;
    }
    for Service { name, reach } in &services {
        let records = lookup.services(name).await?;
        if !records.records.is_empty() {
            let before = before.map_or(&[][..], |before| &before.targets);
            return at_services(lookup, *reach, records, before).await;
        }
    }
    let reach = services.first().map_or(first, |service| service.reach);
    let port = port.unwrap_or(default_port(reach.way.transport));
    let found = lookup.addresses(&name, reach.family.record()).await?;
    let members = found.records.iter().map(|ip| Member {
        address: (*ip, port).into(),
        priority: 0,
        weight: 0,
    });
    in_order(reach.way, members.collect(), found.until, Vec::new())
}

/// RFC 3263 §4.1: what NAPTR offers, the best first; without that, the services of the transports in our order.
async fn by_preference(
    lookup: &Lookup,
    name: &Name,
    host: &str,
    reaches: &[Reach],
) -> Result<Vec<Service>, NotFound> {
    if reaches.len() > 1 {
        let mut pointers = lookup.pointers(name).await?.records;
        pointers.sort_by_key(|pointer| (pointer.order, pointer.preference));
        let usable = pointers.iter().filter_map(|naptr| pointed(naptr, reaches));
        let services: Vec<Service> = usable.collect();
        if !services.is_empty() {
            return Ok(services);
        }
    }
    let service = |reach: &Reach| {
        let prefix = match reach.way.transport {
            Transport::Udp => "_sip._udp",
            Transport::Tcp => "_sip._tcp",
            Transport::Tls => "_sips._tcp",
            // No upstream speaks these (RFC 7118 has no SRV).
            Transport::Ws | Transport::Wss => return None,
        };
        let name = Name::from_utf8(format!("{prefix}.{host}"));
        Some(name.map(|name| Service {
            name,
            reach: *reach,
        }))
    };
    let services = reaches.iter().filter_map(service);
    Ok(services.collect::<Result<_, _>>()?)
}

/// What of a NAPTR leads to SRV by one of our ways.
fn pointed(naptr: &NAPTR, reaches: &[Reach]) -> Option<Service> {
    let transport = match naptr.services.to_ascii_uppercase().as_slice() {
        b"SIP+D2U" => Transport::Udp,
        b"SIP+D2T" => Transport::Tcp,
        b"SIPS+D2T" => Transport::Tls,
        _ => return None,
    };
    let leads_to_srv = naptr.flags.eq_ignore_ascii_case(b"s") && naptr.regexp.is_empty();
    let mut reaches = reaches.iter().filter(|_| leads_to_srv);
    let reach = *reaches.find(|reach| reach.way.transport == transport)?;
    let name = naptr.replacement.clone();
    Some(Service { name, reach })
}

/// RFC 2782. A target of which nobody answers is where it was `before`; if nothing is known of any, that is an error.
async fn at_services(
    lookup: &Lookup,
    reach: Reach,
    services: Records<SRV>,
    before: &[Target],
) -> Result<Found, NotFound> {
    let offered = services.records.iter().filter(|srv| !srv.target.is_root());
    let offered: Vec<&SRV> = offered.collect();
    if offered.is_empty() {
        return Err(NotFound::Refused);
    }
    let found = offered
        .iter()
        .map(|srv| lookup.addresses(&srv.target, reach.family.record()));
    let found = join_all(found).await;
    let (mut members, mut targets) = (Vec::new(), Vec::new());
    let (mut until, mut failed) = (services.until, None);
    for (srv, found) in offered.into_iter().zip(found) {
        let name = srv.target.clone();
        let addresses = match found {
            Ok(found) => {
                until = until.min(found.until);
                found.records
            }
            Err(error) => {
                tracing::warn!(name = %name, %error, "a target of SRV is taken to be where it was");
                until = until.min(Instant::now() + RETRY_AFTER);
                failed = Some(error);
                let known = before.iter().find(|target| target.name == name);
                known.map_or_else(Vec::new, |target| target.addresses.clone())
            }
        };
        members.extend(of_target(srv, &addresses));
        targets.push(Target { name, addresses });
    }
    match failed {
        Some(error) if members.is_empty() => Err(error.into()),
        Some(_) | None => in_order(reach.way, members, until, targets),
    }
}

/// The addresses of one target share its weight.
fn of_target<'f>(srv: &'f SRV, addresses: &'f [IpAddr]) -> impl Iterator<Item = Member> + 'f {
    let shares = u16::try_from(addresses.len()).unwrap_or(u16::MAX);
    addresses.iter().map(move |ip| Member {
        address: (*ip, srv.port).into(),
        priority: srv.priority,
        weight: srv.weight.div_ceil(shares),
    })
}

fn in_order(
    way: Way,
    mut members: Vec<Member>,
    until: Instant,
    targets: Vec<Target>,
) -> Result<Found, NotFound> {
    members.sort_unstable_by_key(|member| (member.priority, member.address, member.weight));
    members.dedup_by_key(|member| member.address);
    members.truncate(MEMBERS_MAX);
    match members.is_empty() {
        true => Err(NotFound::NoAddress),
        false => Ok(Found {
            way,
            members,
            until,
            targets,
        }),
    }
}

/// RFC 3261 §18.1.1.
fn default_port(transport: Transport) -> u16 {
    match transport {
        Transport::Tls => 5061,
        Transport::Udp | Transport::Tcp | Transport::Ws | Transport::Wss => 5060,
    }
}

impl Family {
    fn record(self) -> RecordType {
        match self {
            Self::V4 => RecordType::A,
            Self::V6 => RecordType::AAAA,
        }
    }
}

#[cfg(test)]
mod tests {
    use hookswitch_sip::flow::ListenerId;

    use super::*;

    async fn found(host: &str, port: Option<u16>, transport: Transport) -> Option<Vec<String>> {
        let reach = Reach {
            way: Way {
                transport,
                listener: ListenerId(0),
            },
            family: Family::V4,
        };
        let found = locate(&Lookup::new(&[]), host, port, &[reach], None).await;
        let members = found.ok()?.members.into_iter();
        Some(members.map(|member| member.address.to_string()).collect())
    }

    /// Nobody need be asked for these.
    #[tokio::test]
    async fn names_of_the_machine_have_the_port_of_the_transport() {
        for (transport, port, expected) in [
            (Transport::Udp, None, "127.0.0.1:5060"),
            (Transport::Tcp, None, "127.0.0.1:5060"),
            (Transport::Tls, None, "127.0.0.1:5061"),
            (Transport::Tls, Some(5062), "127.0.0.1:5062"),
        ] {
            let found = found("localhost", port, transport).await;
            assert_eq!(found, Some(vec![expected.to_owned()]));
        }
        // RFC 6761 §6.4: there is no such name.
        assert_eq!(found("pbx.invalid", None, Transport::Udp).await, None);
    }
}
