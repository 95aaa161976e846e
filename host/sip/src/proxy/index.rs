//! Who waits for something at a place: branches at a destination, transactions at their client's connection.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

/// Sets of `V` by `K`; a key without values takes no room.
#[derive(Debug)]
pub(super) struct Index<K, V> {
    sets: HashMap<K, BTreeSet<V>>,
}

impl<K: Eq + Hash, V: Copy + Ord> Index<K, V> {
    pub(super) fn new() -> Self {
        Self {
            sets: HashMap::new(),
        }
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        self.sets.entry(key).or_default().insert(value);
    }

    /// Does nothing if it is not there.
    pub(super) fn remove(&mut self, key: &K, value: V) {
        if let Some(set) = self.sets.get_mut(key) {
            set.remove(&value);
            if set.is_empty() {
                self.sets.remove(key);
            }
        }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }

    /// All at `key`, in their order.
    pub(super) fn at(&self, key: &K) -> Vec<V> {
        self.sets.get(key).into_iter().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_with_its_last_value() {
        let mut index = Index::new();
        for value in [3, 1, 2] {
            index.insert("here", value);
        }
        index.insert("there", 9);
        assert_eq!(index.at(&"here"), [1, 2, 3]);
        for value in [1, 2, 3, 4] {
            index.remove(&"here", value);
        }
        assert_eq!((index.at(&"here"), index.len()), (Vec::new(), 1));
    }
}
