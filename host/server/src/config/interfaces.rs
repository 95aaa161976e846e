//! `[[media.interface]]`: where the embedded engine has its ports.

use std::{collections::HashSet, net::IpAddr, ops::RangeInclusive};

use super::{Faults, check::File, raw};

/// Of an interface that names none.
pub const PORTS: RangeInclusive<u16> = 20_000..=29_999;
/// A port for browsers, and a pair for a SIP end.
const PORTS_MIN: u16 = 4;
/// Each worker has a part of the ports of each.
const INTERFACES_MAX: usize = 64;

/// Where media comes in and goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name in `[[upstream]]`.
    pub name: String,
    /// One, or one of each family.
    pub addresses: Vec<MediaAddress>,
    /// Of RTP and RTCP, and of browsers.
    pub ports: RangeInclusive<u16>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaAddress {
    /// The machine's.
    pub bind: IpAddr,
    /// As session descriptions have it: another one behind a NAT.
    pub public: IpAddr,
}

pub(super) fn check(file: &mut File, faults: &mut Faults) -> Vec<Interface> {
    let raw: Vec<(String, raw::Interface)> = file.list("media.interface", faults);
    if raw.len() > INTERFACES_MAX {
        let what = format!("more than {INTERFACES_MAX}");
        faults.push("media.interface", what, "list fewer");
    }
    let mut names = HashSet::new();
    let mut interfaces: Vec<Interface> = Vec::new();
    for (key, raw) in raw {
        if !names.insert(raw.name.clone()) {
            let what = format!("`{}` is taken by another interface", raw.name);
            faults.push(format!("{key}.name"), what, "choose another name");
        }
        let interface = Interface {
            addresses: addresses(&key, &raw, faults),
            ports: ports(&key, raw.ports.as_deref(), faults),
            name: raw.name,
        };
        refuse_shared_ports(&key, &interface, &interfaces, faults);
        interfaces.push(interface);
    }
    interfaces
}

fn addresses(key: &str, raw: &raw::Interface, faults: &mut Faults) -> Vec<MediaAddress> {
    let bound = one_of_each_family(&format!("{key}.addresses"), &raw.addresses, faults);
    let public = one_of_each_family(&format!("{key}.public"), &raw.public, faults);
    if raw.addresses.is_empty() {
        faults.push(
            format!("{key}.addresses"),
            "empty",
            "write an IP address of this machine, or one of each family",
        );
    }
    let is_same_family = |one: IpAddr| move |other: &IpAddr| one.is_ipv4() == other.is_ipv4();
    for public in &public {
        if !bound.iter().any(is_same_family(*public)) && !bound.is_empty() {
            faults.push(
                format!("{key}.public"),
                format!("{public} is of another address family than `addresses`"),
                "add an address of that family",
            );
        }
    }
    let with_public = |bind: IpAddr| MediaAddress {
        bind,
        public: public
            .iter()
            .copied()
            .find(is_same_family(bind))
            .unwrap_or(bind),
    };
    bound.into_iter().map(with_public).collect()
}

fn one_of_each_family(key: &str, texts: &[String], faults: &mut Faults) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        let key = format!("{key}[{i}]");
        match text.parse::<IpAddr>() {
            Err(_) => faults.push(
                key,
                format!("`{text}` is not an address"),
                "write an IP address without a port",
            ),
            Ok(address) if address.is_unspecified() => faults.push(
                key,
                format!("nobody can be told to send to {address}"),
                "write the address itself",
            ),
            Ok(address)
                if addresses
                    .iter()
                    .any(|known| known.is_ipv4() == address.is_ipv4()) =>
            {
                faults.push(
                    key,
                    format!("{address} is a second one of its address family"),
                    "make an interface of its own for it",
                );
            }
            Ok(address) => addresses.push(address),
        }
    }
    addresses
}

fn ports(key: &str, text: Option<&str>, faults: &mut Faults) -> RangeInclusive<u16> {
    let Some(text) = text else {
        return PORTS;
    };
    let range = text.split_once('-').and_then(|(first, last)| {
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first >= 1_024 && last >= first && last - first + 1 >= PORTS_MIN).then_some(first..=last)
    });
    range.unwrap_or_else(|| {
        faults.push(
            format!("{key}.ports"),
            format!("`{text}` is no range of at least {PORTS_MIN} ports above 1023"),
            "write the first and the last one, such as 20000-29999",
        );
        PORTS
    })
}

fn refuse_shared_ports(
    key: &str,
    interface: &Interface,
    others: &[Interface],
    faults: &mut Faults,
) {
    let shares = |other: &&Interface| {
        let mut addresses = interface.addresses.iter();
        let is_taken = addresses.any(|address| {
            let mut theirs = other.addresses.iter();
            theirs.any(|their| their.bind == address.bind)
        });
        is_taken
            && other.ports.start() <= interface.ports.end()
            && interface.ports.start() <= other.ports.end()
    };
    if let Some(other) = others.iter().find(shares) {
        faults.push(
            format!("{key}.ports"),
            format!("`{}` has some of them at the same address", other.name),
            "give each interface an address or ports of its own",
        );
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use expect_test::expect;

    use super::*;
    use crate::config::{Config, Srtp, tests::check};

    #[test]
    fn an_upstream_has_an_interface_by_its_name() {
        let config = Config::parse(
            r#"
            [media]
            workers = 2
            [[media.interface]]
            name = "outside"
            addresses = ["192.0.2.4", "2001:db8::4"]
            public = ["203.0.113.4"]
            [[media.interface]]
            name = "inside"
            addresses = ["10.0.0.4"]
            ports = "30000-30999"
            [[upstream]]
            name = "pbx"
            members = ["10.0.0.10:5060"]
            interface = "inside"
            srtp = "sdes"
            "#,
            Path::new("."),
        )
        .unwrap();
        let relay = config.media.relay.unwrap();
        assert_eq!(relay.workers, Some(2));
        let address = |bind: &str, public: &str| MediaAddress {
            bind: bind.parse().unwrap(),
            public: public.parse().unwrap(),
        };
        let [outside, inside] = relay.interfaces.as_slice() else {
            panic!("{relay:?}");
        };
        assert_eq!(
            outside.addresses,
            [
                address("192.0.2.4", "203.0.113.4"),
                address("2001:db8::4", "2001:db8::4")
            ]
        );
        assert_eq!(outside.ports, PORTS);
        assert_eq!(inside.addresses, [address("10.0.0.4", "10.0.0.4")]);
        assert_eq!(inside.ports, 30_000..=30_999);
        let media = &config.upstreams[0].media;
        assert_eq!((media.interface, media.srtp), (Some(1), Srtp::Sdes));
    }

    #[test]
    fn faults_of_interfaces_are_told() {
        check(
            r#"
            [media]
            workers = 0
            [[media.interface]]
            name = "a"
            addresses = ["192.0.2.4:20000", "0.0.0.0"]
            [[media.interface]]
            name = "a"
            addresses = ["192.0.2.4", "192.0.2.5"]
            public = ["2001:db8::4"]
            ports = "20000"
            [[media.interface]]
            name = "b"
            addresses = ["192.0.2.4"]
            ports = "29999-30010"
            [[media.interface]]
            name = "c"
            addresses = []
            [[upstream]]
            name = "pbx"
            members = ["192.0.2.10:5060"]
            interface = "d"
            srtp = "dtls"
            webrtc = true
            "#,
            expect![[r#"
                13 faults in the configuration
                  media.interface[0].addresses[0]: `192.0.2.4:20000` is not an address; write an IP address without a port
                  media.interface[0].addresses[1]: nobody can be told to send to 0.0.0.0; write the address itself
                  media.interface[1].name: `a` is taken by another interface; choose another name
                  media.interface[1].addresses[1]: 192.0.2.5 is a second one of its address family; make an interface of its own for it
                  media.interface[1].public: 2001:db8::4 is of another address family than `addresses`; add an address of that family
                  media.interface[1].ports: `20000` is no range of at least 4 ports above 1023; write the first and the last one, such as 20000-29999
                  media.interface[2].ports: `a` has some of them at the same address; give each interface an address or ports of its own
                  media.interface[3].addresses: empty; write an IP address of this machine, or one of each family
                  media.workers: 0 is out of range; write a number from 1 to 64
                  upstream[0].interface: no interface `d`; add a [[media.interface]] of that name
                  upstream[0].srtp: `dtls` is no such way; write off or sdes
                  upstream[0].interface: means nothing to who speaks WebRTC; remove it
                  upstream[0].srtp: means nothing to who speaks WebRTC; remove it"#]],
        );
    }
}
