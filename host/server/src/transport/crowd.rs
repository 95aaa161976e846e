//! How many connections each address has: nobody is to take all of them. Of all workers together, looked at when a connection is opened
//! or closed and never for a message.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Connections by the address of their peer.
#[derive(Debug)]
pub(crate) struct Crowd {
    connections: Mutex<HashMap<IpAddr, u64>>,
    connections_per_address_max: u64,
}

/// Counts one connection for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Crowd {
    pub(crate) fn new(connections_per_address_max: u64) -> Arc<Self> {
        Arc::new(Self {
            connections: Mutex::default(),
            connections_per_address_max,
        })
    }

    /// `None` if this peer has as many as it may have.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Counted> {
        let address = network(peer);
        let mut connections = self.lock();
        let count = connections.entry(address).or_default();
        if *count >= self.connections_per_address_max {
            return None;
        }
        *count += 1;
        drop(connections);
        Some(Counted {
            crowd: Arc::clone(self),
            address,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, u64>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.crowd.lock().entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// One household has a whole network of 64 bits (RFC 6177), and chooses from it at will.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(peer) => Ipv6Addr::from_bits(peer.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let crowd = Crowd::new(2);
        let enter = |peer: &str| crowd.enter(peer.parse().unwrap());
        let first = enter("192.0.2.1").unwrap();
        let _second = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        drop(first);
        assert!(enter("192.0.2.1").is_some());
        let _six = [enter("2001:db8::1"), enter("2001:db8::2")].map(Option::unwrap);
        assert!(enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::3").is_some());
        assert_eq!(crowd.lock().len(), 2);
    }
}
