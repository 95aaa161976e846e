//! How one version of a policy fares with each source of messages. What a peer's messages break is held against that peer alone: its
//! calls leave the workers while one of them spins, and are not run for a while when they keep failing. All others go on.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Instant,
};

use crate::breaker::{Breaker, Turn};

/// Sources are told apart as far as so many groups, by a hash that nobody outside can know: a table that cannot be filled.
const GROUPS: usize = 256;

pub(crate) struct Sources {
    start: Instant,
    hash: RandomState,
    groups: Box<[Group]>,
}

/// The sources whose addresses fall together, on cache lines of their own.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Group {
    spinning: AtomicU32,
    breaker: Breaker,
}

/// One source for the time of a call.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    start: Instant,
    group: &'a Group,
}

/// A call that used up a slice.
pub(crate) struct Spinning<'a>(&'a Group);

impl Sources {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            hash: RandomState::new(),
            groups: (0..GROUPS).map(|_| Group::default()).collect(),
        }
    }

    pub(crate) fn of(&self, address: IpAddr) -> Source<'_> {
        let hash = self.hash.hash_one(network(address));
        // The remainder is below the count of groups, which is a u64 everywhere.
        let index = (hash % GROUPS as u64) as usize;
        Source {
            start: self.start,
            group: &self.groups[index],
        }
    }

    /// Groups whose calls are not run now.
    pub(crate) fn open(&self) -> usize {
        let groups = self.groups.iter();
        groups.filter(|group| group.breaker.is_open()).count()
    }
}

impl<'a> Source<'a> {
    pub(crate) fn permits(&self) -> bool {
        self.group.breaker.permits(|| self.now_ms())
    }

    pub(crate) fn succeeded(&self) {
        self.group.breaker.succeeded(|| self.now_ms());
    }

    pub(crate) fn failed(&self) -> Turn {
        self.group.breaker.failed(self.now_ms())
    }

    /// Does one of its calls spin? Guests that spin seldom spin alone, and each would cost its worker a slice.
    pub(crate) fn is_spinning(&self) -> bool {
        self.group.spinning.load(Relaxed) > 0
    }

    /// Until the guard is dropped.
    pub(crate) fn spins(&self) -> Spinning<'a> {
        self.group.spinning.fetch_add(1, Relaxed);
        Spinning(self.group)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Spinning<'_> {
    fn drop(&mut self) {
        self.0.spinning.fetch_sub(1, Relaxed);
    }
}

/// What one peer cannot change at will: an IPv6 host has the whole of its /64 (RFC 4291 §2.5.4).
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_one_network() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("192.0.2.7"), network("::ffff:192.0.2.7"));
        assert_ne!(network("192.0.2.7"), network("192.0.2.8"));
    }
}
