//! Stops running a policy that fails again and again: after some failures in a row it is left alone for a while, then one trial
//! decides. Each failed trial doubles the pause. A failure during which others succeeded is one of its message, not of the policy:
//! it does not count, so that fifty hooks that spin together and end together stop nobody else.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use crate::status::Circuit;

/// Failures in a row that open the circuit.
pub(crate) const FAILURES_IN_A_ROW_MAX: u32 = 10;
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_DOUBLINGS_MAX: u32 = 5;

/// Lock-free: `open_until` is 0 while the policy runs.
pub(crate) struct Breaker {
    start: Instant,
    open_until_ms: AtomicU64,
    failures: AtomicU32,
    pauses: AtomicU32,
    successes: AtomicU64,
}

/// A run that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// The circuit is closed.
    Ordinary,
    /// The one run that decides whether it closes.
    Trial,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            open_until_ms: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            pauses: AtomicU32::new(0),
            successes: AtomicU64::new(0),
        }
    }

    /// `None`: it is not to run now.
    pub(crate) fn permit(&self) -> Option<Permit> {
        match self.open_until_ms.load(Relaxed) {
            0 => Some(Permit::Ordinary),
            until => self.permit_at(until, self.now_ms()),
        }
    }

    /// A trial moves the end of the pause: if nothing comes of it, another may follow.
    fn permit_at(&self, until_ms: u64, now_ms: u64) -> Option<Permit> {
        if now_ms < until_ms {
            return None;
        }
        let next_ms = now_ms + self.pause_ms();
        self.open_until_ms
            .compare_exchange(until_ms, next_ms, Relaxed, Relaxed)
            .ok()
            .map(|_| Permit::Trial)
    }

    /// So far; one that differs at the end of a run tells that others succeeded meanwhile.
    pub(crate) fn successes(&self) -> u64 {
        self.successes.load(Relaxed)
    }

    pub(crate) fn succeeded(&self, permit: Permit) {
        self.successes.fetch_add(1, Relaxed);
        match permit {
            Permit::Ordinary if self.failures.load(Relaxed) == 0 => {}
            Permit::Ordinary => self.failures.store(0, Relaxed),
            Permit::Trial => self.reset(),
        }
    }

    /// The length of the pause in milliseconds, if one begins.
    pub(crate) fn failed(&self, permit: Permit) -> Option<u64> {
        match permit {
            Permit::Trial => Some(self.open()),
            // It began before the circuit opened.
            Permit::Ordinary if self.open_until_ms.load(Relaxed) != 0 => None,
            Permit::Ordinary => {
                let failures = self.failures.fetch_add(1, Relaxed) + 1;
                (failures >= FAILURES_IN_A_ROW_MAX).then(|| self.open())
            }
        }
    }

    /// A new version starts with a clean slate.
    pub(crate) fn reset(&self) {
        self.failures.store(0, Relaxed);
        self.pauses.store(0, Relaxed);
        self.open_until_ms.store(0, Relaxed);
    }

    pub(crate) fn state(&self) -> Circuit {
        match self.open_until_ms.load(Relaxed) {
            0 => Circuit::Closed,
            until if self.now_ms() < until => Circuit::Open,
            _ => Circuit::HalfOpen,
        }
    }

    fn open(&self) -> u64 {
        let pause_ms = self.pause_ms();
        self.open_until_ms.store(self.now_ms() + pause_ms, Relaxed);
        self.pauses.fetch_add(1, Relaxed);
        pause_ms
    }

    fn pause_ms(&self) -> u64 {
        let doublings = self.pauses.load(Relaxed).min(PAUSE_DOUBLINGS_MAX);
        u64::try_from(PAUSE_MIN.as_millis()).unwrap_or(u64::MAX) << doublings
    }

    /// Never 0, which means closed.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed_often() -> Breaker {
        let breaker = Breaker::new();
        let opened: Vec<u64> = (0..FAILURES_IN_A_ROW_MAX)
            .filter_map(|_| breaker.failed(Permit::Ordinary))
            .collect();
        assert_eq!(opened, [250]);
        breaker
    }

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let breaker = Breaker::new();
        for _ in 1..FAILURES_IN_A_ROW_MAX {
            breaker.failed(Permit::Ordinary);
        }
        breaker.succeeded(Permit::Ordinary);
        breaker.failed(Permit::Ordinary);
        assert_eq!(
            (breaker.permit(), breaker.state()),
            (Some(Permit::Ordinary), Circuit::Closed)
        );
        let breaker = failed_often();
        assert_eq!((breaker.permit(), breaker.state()), (None, Circuit::Open));
    }

    #[test]
    fn one_trial_after_the_pause_decides() {
        let breaker = failed_often();
        let until = breaker.open_until_ms.load(Relaxed);
        assert_eq!(breaker.permit_at(until, until - 1), None);
        assert_eq!(breaker.permit_at(until, until), Some(Permit::Trial));
        let moved = breaker.open_until_ms.load(Relaxed);
        assert_eq!(breaker.permit_at(moved, until), None, "one trial at a time");
        breaker.succeeded(Permit::Trial);
        assert_eq!(
            (breaker.permit(), breaker.state()),
            (Some(Permit::Ordinary), Circuit::Closed)
        );
    }

    #[test]
    fn each_failed_trial_doubles_the_pause_up_to_a_limit() {
        let breaker = failed_often();
        let pauses: Vec<u64> = (0..7)
            .filter_map(|_| breaker.failed(Permit::Trial))
            .collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
    }
}
