//! Every timer of one proxy: a heap of deadlines, with lazy deletion.
//!
//! Nearly no timer of SIP fires with something left to do, so none is ever taken out: whoever it belongs to is gone, or in a state in
//! which it means nothing, when it comes up. An entry is a few words; starting one is an append in most cases, since most start later
//! than all others.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

/// Deadlines of `T`, earliest first; those of one instant in the order in which they were started.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    heap: BinaryHeap<Reverse<(Instant, u64, Entry<T>)>>,
    started: u64,
}

/// Takes no part in the order: `started` is never twice the same.
#[derive(Debug)]
struct Entry<T>(T);

impl<T> PartialEq for Entry<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<T> Eq for Entry<T> {}
impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Entry<T> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            started: 0,
        }
    }

    pub(crate) fn start(&mut self, at: Instant, timer: T) {
        self.started += 1;
        self.heap.push(Reverse((at, self.started, Entry(timer))));
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// The earliest that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.next_at()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, Entry(timer)))| timer)
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn fire_in_order_of_time_then_of_start() {
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut timers = Timers::new();
        for (ms, name) in [(20, "c"), (10, "a"), (10, "b"), (30, "d")] {
            timers.start(at(ms), name);
        }
        assert_eq!(timers.next_at(), Some(at(10)));
        let due: Vec<_> = std::iter::from_fn(|| timers.pop_due(at(20))).collect();
        assert_eq!(due, ["a", "b", "c"]);
        assert_eq!((timers.len(), timers.next_at()), (1, Some(at(30))));
    }
}
