//! Names of things inside one proxy, maps from them, and chance.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, DefaultHasher, Hasher},
};

/// A server transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TxId(pub(super) u64);

/// A branch, by the random number in our Via.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct BranchId(pub(super) u64);

/// A hash of what identifies a server transaction (RFC 3261 §17.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TxKey(pub(super) u64);

/// A hash of Call-ID, From tag and passage: a call, with all the dialogs that its INVITE made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct CallKey(pub(super) u64);

/// A map from numbers that no peer can choose: ours are counted, drawn, or hashed with a secret.
pub(super) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// A set of such numbers.
pub(super) type IdSet<K> = HashSet<K, BuildHasherDefault<IdHasher>>;

/// Spreads one number over the whole word (Fibonacci hashing).
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(32);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// Everything random of one proxy, from its seed: numbers that nobody can guess, and keyed hashes.
pub(super) struct Chance {
    /// Has the seed in it already.
    keyed: DefaultHasher,
    drawn: u64,
}

impl Chance {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        let mut keyed = DefaultHasher::new();
        keyed.write(&seed);
        Self { keyed, drawn: 0 }
    }

    pub(super) fn draw(&mut self) -> u64 {
        self.drawn += 1;
        let mut hasher = self.hasher(b'd');
        hasher.write_u64(self.drawn);
        hasher.finish()
    }

    /// For hashes that nobody can foresee; `purpose` keeps those of different use apart.
    pub(super) fn hasher(&self, purpose: u8) -> DefaultHasher {
        let mut hasher = self.keyed.clone();
        hasher.write_u8(purpose);
        hasher
    }
}

impl std::fmt::Debug for Chance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chance")
            .field("drawn", &self.drawn)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_and_seeds_differ() {
        let draw = |seed: u8| {
            let mut chance = Chance::new([seed; 32]);
            [chance.draw(), chance.draw(), chance.draw()]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_ne!(draw(1)[0], draw(1)[1]);
    }
}
