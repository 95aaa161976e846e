//! Every timer of one proxy, with lazy deletion.
//!
//! Nearly no timer of SIP fires with something left to do, so none is ever taken out: whoever it belongs to is gone, or in a state in
//! which it means nothing, when it comes up. And nearly all run for one of a few durations, so those of one duration stand in a queue
//! in the order in which they end: starting one is an append, whatever their number. The few others are in a heap.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

/// Durations that have a queue of their own; beyond them the heap does.
const QUEUES_MAX: usize = 32;

/// Deadlines of `T`, earliest first; those of one instant in the order in which they were started.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    queues: Vec<(Duration, VecDeque<Entry<T>>)>,
    others: BinaryHeap<Reverse<Entry<T>>>,
    started: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Instant,
    /// Never twice the same.
    serial: u64,
    timer: T,
}

impl<T> Entry<T> {
    fn due(&self) -> (Instant, u64) {
        (self.at, self.serial)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.due() == other.due()
    }
}
impl<T> Eq for Entry<T> {}
impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due().cmp(&other.due())
    }
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Self {
            queues: Vec::new(),
            others: BinaryHeap::new(),
            started: 0,
        }
    }

    /// For a duration that many timers have.
    pub(crate) fn start(&mut self, now: Instant, after: Duration, timer: T) {
        let at = now + after;
        let known = self
            .queues
            .iter()
            .position(|(duration, _)| *duration == after);
        if known.is_none() && self.queues.len() < QUEUES_MAX {
            self.queues.push((after, VecDeque::new()));
        }
        let queue = match known {
            Some(at) => self.queues.get_mut(at),
            None => self.queues.last_mut(),
        };
        let queue = queue.filter(|(duration, queue)| {
            // A clock that went back would break the order.
            *duration == after && queue.back().is_none_or(|last| last.at <= at)
        });
        self.started += 1;
        let entry = Entry {
            at,
            serial: self.started,
            timer,
        };
        match queue {
            Some((_, queue)) => queue.push_back(entry),
            None => self.others.push(Reverse(entry)),
        }
    }

    /// For any other.
    pub(crate) fn start_at(&mut self, at: Instant, timer: T) {
        self.started += 1;
        self.others.push(Reverse(Entry {
            at,
            serial: self.started,
            timer,
        }));
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        let queued = self
            .queues
            .iter()
            .filter_map(|(_, queue)| queue.front())
            .map(|entry| entry.at);
        queued
            .chain(self.others.peek().map(|Reverse(entry)| entry.at))
            .min()
    }

    /// The earliest that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        let fronts = self.queues.iter().map(|(_, queue)| queue);
        let fronts = fronts
            .enumerate()
            .filter_map(|(at, queue)| Some((queue.front()?.due(), at)));
        let queued = fronts.min();
        let other = self.others.peek().map(|Reverse(entry)| entry.due());
        let is_queued = match (queued, other) {
            (Some((queued, _)), Some(other)) => queued < other,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let (due, _) = if is_queued { queued?.0 } else { other? };
        if due > now {
            return None;
        }
        if is_queued {
            let (_, queue) = self.queues.get_mut(queued?.1)?;
            queue.pop_front().map(|entry| entry.timer)
        } else {
            self.others.pop().map(|Reverse(entry)| entry.timer)
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.queues
            .iter()
            .map(|(_, queue)| queue.len())
            .sum::<usize>()
            + self.others.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn fire_in_order_of_time_then_of_start() {
        #[expect(
            clippy::disallowed_methods,
            reason = "a beginning for the virtual clock"
        )]
        let t0 = Instant::now();
        let mut timers = Timers::new();
        timers.start(t0, 20 * MS, "c");
        timers.start_at(t0 + 10 * MS, "a");
        timers.start(t0, 10 * MS, "b");
        timers.start(t0 + 5 * MS, 20 * MS, "d");
        timers.start_at(t0 + 25 * MS, "e");
        timers.start(t0, 10 * MS, "b2");
        assert_eq!((timers.next_at(), timers.len()), (Some(t0 + 10 * MS), 6));
        let due: Vec<_> = std::iter::from_fn(|| timers.pop_due(t0 + 20 * MS)).collect();
        assert_eq!(due, ["a", "b", "b2", "c"]);
        let due: Vec<_> = std::iter::from_fn(|| timers.pop_due(t0 + 25 * MS)).collect();
        assert_eq!((due, timers.next_at()), (vec!["d", "e"], None));
    }

    #[test]
    fn a_clock_that_goes_back_and_too_many_durations_do_no_harm() {
        #[expect(
            clippy::disallowed_methods,
            reason = "a beginning for the virtual clock"
        )]
        let t0 = Instant::now();
        let mut timers = Timers::new();
        timers.start(t0 + 10 * MS, MS, 11);
        timers.start(t0, MS, 1);
        for ms in (2..=80).rev().filter(|ms| *ms != 11) {
            timers.start(t0, ms * MS, ms);
        }
        let all: Vec<_> = std::iter::from_fn(|| timers.pop_due(t0 + 80 * MS)).collect();
        assert_eq!(all, (1..=80).collect::<Vec<_>>());
    }
}
