//! Ways to what is stored: values by key, in shards of which each has a lock of its own. Who holds one takes no other lock.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

const SHARDS: usize = 64;

/// The values of each key, in the order in which they were put there; a key without any takes no room.
#[derive(Debug)]
pub(super) struct Index<K, V> {
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<K, Vec<V>>>>,
}

impl<K: Eq + Hash, V: Clone> Index<K, V> {
    pub(super) fn new() -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS);
        Self {
            hasher: RandomState::new(),
            shards: shards.collect(),
        }
    }

    /// One that is not there yet.
    pub(super) fn insert(&self, key: K, value: V) {
        let mut shard = self.shard(&key);
        // Most keys have one value.
        let values = shard.entry(key).or_insert_with(|| Vec::with_capacity(1));
        values.push(value);
    }

    pub(super) fn remove(&self, key: &K, is_it: impl Fn(&V) -> bool) {
        let mut shard = self.shard(key);
        if let Some(values) = shard.get_mut(key) {
            values.retain(|value| !is_it(value));
            if values.is_empty() {
                shard.remove(key);
            }
        }
    }

    pub(super) fn get(&self, key: &K) -> Vec<V> {
        self.shard(key).get(key).cloned().unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let lock = |shard: &Mutex<HashMap<K, Vec<V>>>| shard.lock().unwrap().is_empty();
        self.shards.iter().all(lock)
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, HashMap<K, Vec<V>>> {
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
