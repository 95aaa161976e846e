//! Who waits for something at a place: branches at a destination, transactions at their client's connection.

use std::{collections::BTreeSet, ops::Bound};

/// Sets of `V` by `K`, as pairs in one tree: most keys have a value or two, and neither come nor go with an allocation.
#[derive(Debug)]
pub(super) struct Index<K, V> {
    pairs: BTreeSet<(K, V)>,
}

impl<K: Copy + Ord, V: Copy + Ord + Default> Index<K, V> {
    pub(super) fn new() -> Self {
        Self {
            pairs: BTreeSet::new(),
        }
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        self.pairs.insert((key, value));
    }

    /// Does nothing if it is not there.
    pub(super) fn remove(&mut self, key: &K, value: V) {
        self.pairs.remove(&(*key, value));
    }

    /// How many pairs there are.
    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// All at `key`, in their order.
    pub(super) fn at(&self, key: &K) -> Vec<V> {
        // Values are numbers: their default is the least.
        let from = Bound::Included((*key, V::default()));
        let pairs = self.pairs.range((from, Bound::Unbounded));
        pairs
            .take_while(|(at, _)| at == key)
            .map(|(_, value)| *value)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_own_values() {
        let mut index = Index::new();
        for value in [3, 1, 0, 2] {
            index.insert("here", value);
        }
        index.insert("before", 8);
        index.insert("there", 9);
        assert_eq!(index.at(&"here"), [0, 1, 2, 3]);
        for value in [0, 1, 2, 3, 4] {
            index.remove(&"here", value);
        }
        assert_eq!((index.at(&"here"), index.len()), (Vec::new(), 2));
    }
}
