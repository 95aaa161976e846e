//! Whose datagram it is, on the one port that all browsers of a media worker share: checks say it by our ufrag, all else by its source.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

use super::{Class, Peer};
use crate::stun;

/// Sources that one leg may have at once. The one that was checked longest ago goes first.
const ADDRESSES_MAX: usize = 8;
/// So long after its last check, an address may become another leg's.
const KEPT: Duration = Duration::from_secs(30);

/// By what each leg is found; `L` names one.
#[derive(Debug)]
pub struct Demux<L> {
    ufrags: HashMap<String, L>,
    addresses: HashMap<Peer, Owner<L>>,
    legs: HashMap<L, Leg>,
}

#[derive(Debug)]
struct Owner<L> {
    leg: L,
    checked: Instant,
}

/// What to forget with a leg.
#[derive(Debug, Default)]
struct Leg {
    ufrags: Vec<String>,
    addresses: Vec<Peer>,
}

impl<L> Default for Demux<L> {
    fn default() -> Demux<L> {
        Demux {
            ufrags: HashMap::new(),
            addresses: HashMap::new(),
            legs: HashMap::new(),
        }
    }
}

impl<L: Copy + Eq + Hash> Demux<L> {
    /// Checks that name this ufrag of ours are this leg's from now on.
    pub fn insert(&mut self, ufrag: &str, leg: L) {
        self.ufrags.insert(ufrag.to_owned(), leg);
        let known = self.legs.entry(leg).or_default();
        known.ufrags.push(ufrag.to_owned());
    }

    /// Of the ufrags of a leg, those that are not to be kept are nobody's from now on.
    pub(crate) fn retain(&mut self, leg: L, keep: impl Fn(&str) -> bool) {
        let Some(known) = self.legs.get_mut(&leg) else {
            return;
        };
        for ufrag in known.ufrags.extract_if(.., |ufrag| !keep(ufrag)) {
            self.ufrags.remove(&ufrag);
        }
    }

    /// Nothing is this leg's any more.
    pub fn remove(&mut self, leg: L) {
        let Some(known) = self.legs.remove(&leg) else {
            return;
        };
        for ufrag in known.ufrags {
            if self.ufrags.get(&ufrag) == Some(&leg) {
                self.ufrags.remove(&ufrag);
            }
        }
        for address in known.addresses {
            self.forget(address, leg);
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn find(&self, from: impl Into<Peer>, datagram: &[u8]) -> Option<L> {
        match Class::of(datagram) {
            Class::Stun => self.ufrags.get(stun::asked_ufrag(datagram)?).copied(),
            Class::Dtls | Class::Rtp | Class::Rtcp => {
                self.addresses.get(&from.into()).map(|owner| owner.leg)
            }
            Class::Other => None,
        }
    }

    /// A check from this address was good for this leg. Another leg that was checked from it lately keeps it: the source of one
    /// datagram may be a lie, and whoever has a call of his own could else take the packets of another's.
    pub fn learn(&mut self, now: Instant, from: impl Into<Peer>, leg: L) {
        let from = from.into();
        let Some(known) = self.legs.get_mut(&leg) else {
            return;
        };
        match self.addresses.get_mut(&from) {
            Some(owner) if owner.leg == leg => {
                owner.checked = now;
                return;
            }
            Some(owner) if now.duration_since(owner.checked) < KEPT => return,
            Some(_) | None => {}
        }
        let oldest = known
            .addresses
            .iter()
            .copied()
            .min_by_key(|address| self.addresses.get(address).map(|owner| owner.checked));
        known.addresses.push(from);
        let oldest = oldest.filter(|_| known.addresses.len() > ADDRESSES_MAX);
        if let Some(oldest) = oldest {
            known.addresses.retain(|address| *address != oldest);
            self.forget(oldest, leg);
        }
        let checked = now;
        self.addresses.insert(from, Owner { leg, checked });
    }

    /// How many legs, ufrags and addresses there are.
    pub(crate) fn sizes(&self) -> [usize; 3] {
        [self.legs.len(), self.ufrags.len(), self.addresses.len()]
    }

    fn forget(&mut self, address: Peer, leg: L) {
        if self.addresses.get(&address).is_some_and(|o| o.leg == leg) {
            self.addresses.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::stun::{Builder, Kind, attribute};

    const RTP: &[u8] = &[0x80, 0];

    fn at(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn check(ufrag: &str) -> Vec<u8> {
        let username = format!("{ufrag}:them");
        Builder::new(Kind::Request, [7; 12])
            .attribute(attribute::USERNAME, username.as_bytes())
            .finish()
    }

    #[test]
    fn finds_by_ufrag_and_then_by_address() {
        let (mut demux, now) = (Demux::default(), Instant::now());
        demux.insert("aaaa", 1);
        demux.insert("bbbb", 2);
        demux.insert("cccc", 1);
        assert_eq!(demux.find(at(1), &check("aaaa")), Some(1));
        assert_eq!(demux.find(at(1), &check("cccc")), Some(1));
        assert_eq!(demux.find(at(1), &check("dddd")), None);
        assert_eq!(demux.find(at(1), RTP), None);
        demux.learn(now, at(1), 1);
        assert_eq!(demux.find(at(1), RTP), Some(1));
        assert_eq!(demux.find(at(2), RTP), None);
        demux.remove(1);
        assert_eq!(demux.find(at(1), RTP), None);
        assert_eq!(demux.find(at(1), &check("cccc")), None);
        assert_eq!(demux.find(at(1), &check("bbbb")), Some(2));
    }

    #[test]
    fn nobody_takes_an_address_that_is_in_use() {
        let (mut demux, now) = (Demux::default(), Instant::now());
        demux.insert("aaaa", 1);
        demux.insert("bbbb", 2);
        demux.learn(now, at(1), 1);
        demux.learn(now + Duration::from_secs(29), at(1), 2);
        assert_eq!(demux.find(at(1), RTP), Some(1));
        demux.learn(now + Duration::from_secs(30), at(1), 2);
        assert_eq!(demux.find(at(1), RTP), Some(2));
        demux.remove(1);
        assert_eq!(demux.find(at(1), RTP), Some(2), "it is not 1's any more");
    }

    #[test]
    fn a_leg_has_no_more_addresses_than_its_limit() {
        let (mut demux, now) = (Demux::default(), Instant::now());
        demux.insert("aaaa", 1);
        for port in 1..=1000 {
            let now = now + Duration::from_millis(u64::from(port));
            demux.learn(now, at(port), 1);
            demux.learn(now, at(1), 1);
        }
        assert_eq!(demux.addresses.len(), ADDRESSES_MAX);
        assert_eq!(demux.find(at(1), RTP), Some(1));
        assert_eq!(demux.find(at(1000), RTP), Some(1));
        demux.remove(1);
        assert!(demux.addresses.is_empty() && demux.ufrags.is_empty() && demux.legs.is_empty());
    }

    #[test]
    fn learns_nothing_of_a_leg_that_is_gone() {
        let mut demux = Demux::default();
        demux.learn(Instant::now(), at(1), 1);
        assert_eq!(demux.find(at(1), RTP), None);
    }
}
