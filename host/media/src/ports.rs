//! The sockets of a media worker: one port for all browsers, and a pair of ports for each SIP leg, out of the ranges of its interfaces.
//!
//! Knows nothing of what goes through them.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
};

use mio::{Interest, Registry, Token, net::UdpSocket};
use socket2::{Domain, Socket, Type};

use crate::sockets::{InterfaceId, OpenError, Pair, SocketId, Sockets};

/// Ports of the range that somebody else has are passed over, up to so many at once.
const BINDS_MAX: usize = 64;
/// What the kernel may keep of the browsers' datagrams while the worker is busy; it may grant less.
const WEB_BUFFER_BYTES: usize = 4 << 20;

/// Where SIP ends reach a worker.
#[derive(Clone, Debug)]
pub struct Interface {
    /// For messages.
    pub name: String,
    /// At most one of each family. The first one serves ends of an unknown family.
    pub addresses: Vec<Address>,
    /// Of this worker alone: see [`Interface::part`].
    pub ports: RangeInclusive<u16>,
}

/// One of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Ours.
    pub bind: IpAddr,
    /// As the far ends see it: another one behind a NAT.
    pub public: IpAddr,
}

impl Interface {
    /// What one of several workers has of it: the same addresses, and a share of the ports.
    #[must_use]
    pub fn part(&self, worker: u16, workers: u16) -> Interface {
        let (first, pairs) = pairs(&self.ports);
        let share = pairs / workers.max(1);
        let first = first + 2 * share * worker;
        #[allow(clippy::reversed_empty_ranges)]
        let ports = match share {
            0 => 1..=0,
            _ => first..=first + 2 * share - 1,
        };
        Interface {
            ports,
            ..self.clone()
        }
    }
}

/// The first even port, and how many pairs begin there.
fn pairs(ports: &RangeInclusive<u16>) -> (u16, u16) {
    let first = u32::from(*ports.start()).next_multiple_of(2);
    let pairs = (u32::from(*ports.end()) + 1).saturating_sub(first) / 2;
    let narrow = |n: u32| u16::try_from(n).unwrap_or(0);
    (narrow(first), narrow(pairs))
}

/// See the module.
#[derive(Debug)]
pub struct Ports {
    registry: Registry,
    ranges: Vec<Range>,
    /// By [`SocketId`].
    sockets: Vec<Option<Open>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Open {
    socket: UdpSocket,
    bound: SocketAddr,
}

#[derive(Debug)]
struct Range {
    interface: Interface,
    /// The lower ones of pairs that we do not use, that which was given back last behind the others.
    free: VecDeque<u16>,
}

impl Ports {
    /// Readiness goes to this registry, with the number of the [`SocketId`] as token.
    #[must_use]
    pub fn new(registry: Registry, interfaces: Vec<Interface>) -> Ports {
        let range = |interface: Interface| {
            let (first, pairs) = pairs(&interface.ports);
            let free = (0..pairs).map(|i| first + 2 * i).collect();
            Range { interface, free }
        };
        Ports {
            registry,
            ranges: interfaces.into_iter().map(range).collect(),
            sockets: Vec::new(),
            free: Vec::new(),
        }
    }

    /// The port of the browsers. An unspecified IPv6 address takes IPv4, too.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open_web(&mut self, bind: SocketAddr) -> io::Result<(SocketId, SocketAddr)> {
        let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, None)?;
        if bind.is_ipv6() {
            socket.set_only_v6(bind.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
        }
        socket.set_nonblocking(true)?;
        // A smaller one serves, too.
        let _ = socket.set_recv_buffer_size(WEB_BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(WEB_BUFFER_BYTES);
        socket.bind(&bind.into())?;
        let socket = UdpSocket::from_std(socket.into());
        let bound = socket.local_addr()?;
        Ok((self.add(socket)?, bound))
    }

    fn add(&mut self, mut socket: UdpSocket) -> io::Result<SocketId> {
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.sockets.push(None);
                u32::try_from(self.sockets.len() - 1).map_err(io::Error::other)?
            }
        };
        let bound = socket.local_addr()?;
        self.registry
            .register(&mut socket, Token(id as usize), Interest::READABLE)?;
        if let Some(place) = self.sockets.get_mut(id as usize) {
            *place = Some(Open { socket, bound });
        }
        Ok(SocketId(id))
    }

    /// Gives where it was bound.
    fn remove(&mut self, id: SocketId) -> Option<SocketAddr> {
        let mut open = self.sockets.get_mut(id.0 as usize)?.take()?;
        self.free.push(id.0);
        // It closes anyway.
        let _ = self.registry.deregister(&mut open.socket);
        Some(open.bound)
    }

    fn get(&self, id: SocketId) -> Option<&Open> {
        self.sockets.get(id.0 as usize)?.as_ref()
    }

    /// The next datagram, if one is there: how long it is, cut at the buffer's end, and whence it came.
    pub fn receive(&self, id: SocketId, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let (len, from) = self.get(id)?.socket.recv_from(buffer).ok()?;
        Some((len, SocketAddr::new(from.ip().to_canonical(), from.port())))
    }

    /// Sends a datagram, or drops it: media that waits is worth nothing. Gives whether it went.
    pub fn send(&self, id: SocketId, to: SocketAddr, bytes: &[u8]) -> bool {
        self.get(id).is_some_and(|open| {
            let to = match (open.bound, to) {
                // A socket of both families knows IPv4 so.
                (SocketAddr::V6(_), SocketAddr::V4(to)) => {
                    SocketAddr::new(to.ip().to_ipv6_mapped().into(), to.port())
                }
                (SocketAddr::V4(_) | SocketAddr::V6(_), to) => to,
            };
            open.socket.send_to(bytes, to).is_ok()
        })
    }

    /// Two neighbouring ports, of which `low` is the first.
    fn bind(&mut self, address: IpAddr, low: u16) -> io::Result<(SocketId, SocketId)> {
        let rtp = UdpSocket::bind(SocketAddr::new(address, low))?;
        let rtcp = UdpSocket::bind(SocketAddr::new(address, low + 1))?;
        let rtp = self.add(rtp)?;
        let rtcp = self.add(rtcp).inspect_err(|_| {
            self.remove(rtp);
        })?;
        Ok((rtp, rtcp))
    }

    /// Binds the next free pair. One that somebody else has is tried again when all others were.
    fn bind_next(&mut self, on: usize, address: IpAddr) -> Option<(SocketId, SocketId, u16)> {
        let tries = self.ranges.get(on)?.free.len().min(BINDS_MAX);
        for _ in 0..tries {
            let low = self.ranges.get_mut(on)?.free.pop_front()?;
            match self.bind(address, low) {
                Ok((rtp, rtcp)) => return Some((rtp, rtcp, low)),
                Err(_) => self.ranges.get_mut(on)?.free.push_back(low),
            }
        }
        None
    }
}

impl Sockets for Ports {
    fn open(&mut self, on: InterfaceId, remote: Option<IpAddr>) -> Result<Pair, OpenError> {
        let at = usize::from(on.0);
        let Some(range) = self.ranges.get(at) else {
            return Err(OpenError::Exhausted(on.0.to_string()));
        };
        let name = &range.interface.name;
        let mut addresses = range.interface.addresses.iter();
        let address = match remote.map(|remote| remote.to_canonical().is_ipv4()) {
            Some(v4) => addresses.find(|address| address.bind.is_ipv4() == v4),
            None => addresses.next(),
        };
        let Some(&Address { bind, public }) = address else {
            let v4 = remote.is_some_and(|remote| remote.to_canonical().is_ipv4());
            let family = if v4 { "IPv4" } else { "IPv6" };
            return Err(OpenError::Family(name.clone(), family));
        };
        let exhausted = OpenError::Exhausted(name.clone());
        let (rtp, rtcp, low) = self.bind_next(at, bind).ok_or(exhausted)?;
        let public = SocketAddr::new(public, low);
        Ok(Pair { rtp, rtcp, public })
    }

    fn close(&mut self, pair: Pair) {
        self.remove(pair.rtcp);
        let Some(bound) = self.remove(pair.rtp) else {
            return;
        };
        let mut ranges = self.ranges.iter_mut();
        let range = ranges.find(|range| {
            let mut addresses = range.interface.addresses.iter();
            let is_ours = addresses.any(|address| address.bind == bound.ip());
            is_ours && range.interface.ports.contains(&bound.port())
        });
        if let Some(range) = range {
            range.free.push_back(bound.port());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const ON: InterfaceId = InterfaceId(0);

    fn ports(range: RangeInclusive<u16>) -> (mio::Poll, Ports) {
        let poll = mio::Poll::new().unwrap();
        let public = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
        let interface = Interface {
            name: "inside".into(),
            addresses: vec![Address {
                bind: LOCAL,
                public,
            }],
            ports: range,
        };
        let registry = poll.registry().try_clone().unwrap();
        (poll, Ports::new(registry, vec![interface]))
    }

    #[test]
    fn opens_pairs_until_the_range_is_used_up_and_again_when_one_is_closed() {
        let (_poll, mut ports) = ports(22_001..=22_006);
        let first = ports.open(ON, Some(LOCAL)).unwrap();
        assert_eq!(first.public, "203.0.113.1:22002".parse().unwrap());
        let second = ports.open(ON, None).unwrap();
        assert_eq!(second.public.port(), 22_004);
        let exhausted = OpenError::Exhausted("inside".into());
        assert_eq!(ports.open(ON, None), Err(exhausted));
        ports.close(first);
        let again = ports.open(ON, None).unwrap();
        assert_eq!(again.public.port(), 22_002);
        ports.close(again);
        ports.close(second);
        assert_eq!(ports.sockets.iter().flatten().count(), 0);
    }

    #[test]
    fn passes_over_a_port_that_somebody_else_has() {
        let _other = std::net::UdpSocket::bind((LOCAL, 22_011)).unwrap();
        let (_poll, mut ports) = ports(22_010..=22_013);
        let pair = ports.open(ON, None).unwrap();
        assert_eq!(pair.public.port(), 22_012);
        assert!(ports.open(ON, None).is_err());
    }

    #[test]
    fn says_which_family_an_interface_lacks() {
        let (_poll, mut ports) = ports(22_020..=22_030);
        let v6 = Some(IpAddr::V6(Ipv6Addr::LOCALHOST));
        let error = OpenError::Family("inside".into(), "IPv6");
        assert_eq!(ports.open(ON, v6), Err(error));
    }

    #[test]
    fn workers_share_a_range_without_a_common_port() {
        let (_poll, ports) = ports(10_001..=10_021);
        let interface = &ports.ranges[0].interface;
        let parts: Vec<_> = (0..3).map(|i| interface.part(i, 3).ports).collect();
        assert_eq!(parts, [10_002..=10_007, 10_008..=10_013, 10_014..=10_019]);
        assert!(interface.part(0, 50).ports.is_empty());
        assert_eq!(super::pairs(&(65_534..=65_535)), (65_534, 1));
        assert_eq!(super::pairs(&(0..=65_535)), (0, 32_768));
    }

    #[test]
    fn one_socket_serves_both_families() {
        let (_poll, mut ports) = ports(1..=1);
        let Ok((web, bound)) = ports.open_web("[::]:0".parse().unwrap()) else {
            return;
        };
        let peer = std::net::UdpSocket::bind((LOCAL, 0)).unwrap();
        peer.send_to(b"hello", (LOCAL, bound.port())).unwrap();
        let mut buffer = [0; 10];
        let received = loop {
            if let Some(received) = ports.receive(web, &mut buffer) {
                break received;
            }
        };
        assert_eq!(received, (5, peer.local_addr().unwrap()));
        assert!(ports.send(web, received.1, b"back"));
        assert_eq!(peer.recv(&mut buffer).unwrap(), 4);
    }
}
