//! Where the engine's ports are: as `[[media.interface]]` says, or where the machine's routes lead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hookswitch_media::{
    ports::{Address, Interface},
    sockets::InterfaceId,
};

use crate::{
    config::{self, Config, MEDIA_PORTS, MemberAt},
    state,
};

/// What is bound where.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// The first one is for browsers and for SIP ends that are no upstream.
    pub(super) interfaces: Vec<Interface>,
    /// By the upstreams' index.
    pub(super) upstreams: Vec<InterfaceId>,
}

impl Places {
    /// `configured` may be empty. The routes are those of now: addresses that come later are not seen.
    pub(super) fn of(config: &Config, configured: &[config::Interface]) -> Self {
        if configured.is_empty() {
            return Self::by_routes(config, state::address_towards);
        }
        let mut interfaces: Vec<Interface> = configured.iter().map(interface).collect();
        let upstreams = config.upstreams.iter();
        let mut upstreams: Vec<InterfaceId> = upstreams
            .map(|upstream| id(upstream.media.interface.unwrap_or(0)))
            .collect();
        // They are on the loopback interface, from where no NAT leads back to us.
        let test = config.test_destinations;
        if let Some(test) = test.and_then(|test| upstreams.get_mut(test.upstream)) {
            *test = at(&mut interfaces, Ipv4Addr::LOCALHOST.into());
        }
        Self {
            interfaces,
            upstreams,
        }
    }

    /// `towards` gives the address that the route to another begins at.
    fn by_routes(config: &Config, towards: impl Fn(IpAddr) -> Option<IpAddr>) -> Self {
        let mut main: Vec<IpAddr> = state::ELSEWHERE.into_iter().filter_map(&towards).collect();
        if main.is_empty() {
            main.push(Ipv4Addr::LOCALHOST.into());
        }
        let mut interfaces = vec![by_route("main".to_owned(), main)];
        let upstreams = config.upstreams.iter().map(|upstream| {
            let member = upstream.members.iter().find_map(MemberAt::address);
            let Some(ours) = member.and_then(|member| towards(member.ip())) else {
                return id(0);
            };
            at(&mut interfaces, ours)
        });
        let upstreams = upstreams.collect();
        Self {
            interfaces,
            upstreams,
        }
    }

    /// The addresses of the interface that is for browsers, and what is bound for all of them.
    pub(super) fn web(&self) -> (IpAddr, Vec<IpAddr>) {
        let addresses = self.interfaces.first().map(|first| &first.addresses[..]);
        let addresses = addresses.unwrap_or_default();
        let bind = match addresses {
            [only] => only.bind,
            // Takes IPv4, too.
            _ => Ipv6Addr::UNSPECIFIED.into(),
        };
        (bind, addresses.iter().map(|each| each.public).collect())
    }
}

/// The interface that has this address, or one more.
fn at(interfaces: &mut Vec<Interface>, ours: IpAddr) -> InterfaceId {
    let has = |interface: &Interface| interface.addresses.iter().any(|a| a.bind == ours);
    id(interfaces.iter().position(has).unwrap_or_else(|| {
        interfaces.push(by_route(ours.to_string(), vec![ours]));
        interfaces.len() - 1
    }))
}

fn id(index: usize) -> InterfaceId {
    InterfaceId(u16::try_from(index).unwrap_or(0))
}

fn interface(configured: &config::Interface) -> Interface {
    let addresses = configured.addresses.iter();
    let addresses =
        addresses.map(|&config::MediaAddress { bind, public }| Address { bind, public });
    Interface {
        name: configured.name.clone(),
        addresses: addresses.collect(),
        ports: configured.ports.clone(),
    }
}

fn by_route(name: String, addresses: Vec<IpAddr>) -> Interface {
    let addresses = addresses.into_iter();
    Interface {
        name,
        addresses: addresses
            .map(|address| Address {
                bind: address,
                public: address,
            })
            .collect(),
        ports: MEDIA_PORTS,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(upstreams: &[&str]) -> Config {
        let upstreams = upstreams.iter().enumerate();
        let text: String = upstreams
            .map(|(i, member)| format!("[[upstream]]\nname = \"u{i}\"\nmembers = [\"{member}\"]\n"))
            .collect();
        Config::parse(&text, Path::new(".")).unwrap()
    }

    /// A machine with a network outside and one inside.
    fn towards(remote: IpAddr) -> Option<IpAddr> {
        let IpAddr::V4(remote) = remote else {
            return None;
        };
        let ours = match remote.octets() {
            [127, ..] => Ipv4Addr::LOCALHOST,
            [10, ..] => Ipv4Addr::new(10, 0, 0, 4),
            _ => Ipv4Addr::new(203, 0, 113, 4),
        };
        Some(ours.into())
    }

    #[test]
    fn each_upstream_is_spoken_to_from_where_the_route_to_it_begins() {
        let config = config(&[
            "198.51.100.9:5060",
            "10.0.0.9:5060",
            "127.0.0.1:5060",
            "10.0.0.10:5060",
            "pbx.example",
        ]);
        let places = Places::by_routes(&config, towards);
        let names = places.interfaces.iter().map(|each| each.name.as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["main", "10.0.0.4", "127.0.0.1"]);
        let upstreams = places.upstreams.iter().map(|id| id.0);
        assert_eq!(upstreams.collect::<Vec<_>>(), [0, 1, 2, 1, 0]);
        let main: IpAddr = "203.0.113.4".parse().unwrap();
        assert_eq!(places.web(), (main, vec![main]));
    }

    #[test]
    fn a_machine_without_a_network_has_itself() {
        let places = Places::by_routes(&config(&[]), |_| None);
        let local: IpAddr = Ipv4Addr::LOCALHOST.into();
        assert_eq!(places.web(), (local, vec![local]));
    }
}
