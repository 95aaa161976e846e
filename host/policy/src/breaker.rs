//! Stops running a policy on messages that keep making it fail, for a while. There is one breaker for each group of sources, so
//! that nobody can stop a policy for others. A burst of failures opens nothing: they are cheap, and only time tells a bad message
//! from a bad policy.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// Failures until the circuit may open.
const FAILURES_MIN: u32 = 20;
/// From the first failure until the circuit may open.
const FAILING_MS_MIN: u64 = 1_000;
/// More than this share of the calls must have failed since the first failure.
const FAILED_PERCENT_MIN: u64 = 90;
/// After so long, calls are counted anew.
const WINDOW_MS: u64 = 10_000;
/// How long the circuit stays open if no trial succeeds.
const OPEN_MS: u64 = 5_000;
/// While it is open, one call of so many runs all the same: the first that succeeds closes it.
const TRIAL_EVERY: u32 = 8;

/// Times are milliseconds of the caller's clock.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// Has there been a failure? While there was none, nothing is counted and nothing locked.
    is_troubled: AtomicBool,
    window: Mutex<Window>,
}

/// What came of calls since the first failure.
#[derive(Debug, Default)]
struct Window {
    since_ms: u64,
    calls: u32,
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until_ms: u64,
    asked: u32,
}

/// Whether a failure was the one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The circuit opened.
    Opened,
    /// It is as it was.
    Same,
}

impl Breaker {
    /// May a call run now?
    pub(crate) fn permits(&self, now_ms: impl FnOnce() -> u64) -> bool {
        if !self.is_troubled.load(Relaxed) {
            return true;
        }
        let mut window = self.lock();
        let Some(open) = &mut window.open else {
            return true;
        };
        if now_ms() >= open.until_ms {
            self.forget(&mut window);
            return true;
        }
        open.asked = open.asked.wrapping_add(1);
        open.asked.is_multiple_of(TRIAL_EVERY)
    }

    pub(crate) fn succeeded(&self, now_ms: impl FnOnce() -> u64) {
        if !self.is_troubled.load(Relaxed) {
            return;
        }
        let mut window = self.lock();
        if window.open.is_some() || window.is_over(now_ms()) {
            self.forget(&mut window);
        } else {
            window.calls = window.calls.saturating_add(1);
        }
    }

    pub(crate) fn failed(&self, now_ms: u64) -> Turn {
        let mut window = self.lock();
        if window.failures == 0 || window.is_over(now_ms) {
            *window = Window {
                since_ms: now_ms,
                ..Window::default()
            };
            self.is_troubled.store(true, Relaxed);
        }
        window.calls = window.calls.saturating_add(1);
        window.failures = window.failures.saturating_add(1);
        if window.open.is_some() || !window.is_too_much(now_ms) {
            return Turn::Same;
        }
        window.open = Some(Open {
            until_ms: now_ms + OPEN_MS,
            asked: 0,
        });
        Turn::Opened
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_troubled.load(Relaxed) && self.lock().open.is_some()
    }

    fn forget(&self, window: &mut Window) {
        *window = Window::default();
        self.is_troubled.store(false, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn is_over(&self, now_ms: u64) -> bool {
        self.open.is_none() && now_ms >= self.since_ms + WINDOW_MS
    }

    fn is_too_much(&self, now_ms: u64) -> bool {
        let share_percent = u64::from(self.failures) * 100 / u64::from(self.calls.max(1));
        self.failures >= FAILURES_MIN
            && now_ms >= self.since_ms + FAILING_MS_MIN
            && share_percent >= FAILED_PERCENT_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails once every 50 ms from `from_ms` on until it opens; when that was.
    fn opened(breaker: &Breaker, from_ms: u64) -> Option<u64> {
        (from_ms..from_ms + WINDOW_MS)
            .step_by(50)
            .find(|&now| breaker.failed(now) == Turn::Opened)
    }

    #[test]
    fn a_burst_opens_nothing_and_failing_for_long_does() {
        let breaker = Breaker::default();
        for _ in 0..1_000 {
            assert_eq!(breaker.failed(5), Turn::Same);
        }
        assert!(breaker.permits(|| 5) && !breaker.is_open());
        assert_eq!(opened(&Breaker::default(), 7), Some(7 + FAILING_MS_MIN));
    }

    #[test]
    fn successes_among_the_failures_keep_it_closed() {
        let breaker = Breaker::default();
        for now in (0..3 * WINDOW_MS).step_by(10) {
            assert_eq!(breaker.failed(now), Turn::Same);
            if now % 50 == 0 {
                breaker.succeeded(|| now);
            }
        }
    }

    #[test]
    fn while_open_some_calls_run_and_the_first_success_closes_it() {
        let breaker = Breaker::default();
        let at = opened(&breaker, 0).unwrap();
        let run = (0..80).filter(|_| breaker.permits(|| at + 1)).count();
        assert_eq!(run, 10);
        for _ in 0..run {
            assert_eq!(breaker.failed(at + 2), Turn::Same, "no longer for that");
        }
        assert!(breaker.is_open());
        breaker.succeeded(|| at + 3);
        assert!(!breaker.is_open() && breaker.permits(|| at + 3));
    }

    #[test]
    fn it_closes_by_itself_and_opens_again_as_late_as_before() {
        let breaker = Breaker::default();
        let at = opened(&breaker, 0).unwrap() + OPEN_MS;
        assert!(breaker.permits(|| at) && !breaker.is_open());
        assert_eq!(opened(&breaker, at), Some(at + FAILING_MS_MIN));
    }
}
