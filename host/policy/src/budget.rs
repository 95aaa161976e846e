//! Holds a guest's call to its CPU budget and to its wall-clock limit. The guest yields at each tick; what it used is added up then.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Sleep, sleep};

use crate::{
    fault::Fault,
    ticker::{TICK, Ticker},
};

/// What one call may use, in milliseconds, and the clock that makes it yield.
#[derive(Clone, Copy)]
pub(crate) struct Budget<'a> {
    pub(crate) cpu_ms_max: u64,
    pub(crate) wall_ms_max: u64,
    pub(crate) ticker: &'a Ticker,
}

struct Meter<'a, P, S> {
    budget: Budget<'a>,
    /// Called at the first poll that does not end the call; what it returns is kept until the call ended.
    pending: Option<P>,
    slow_guard: Option<S>,
    began: Instant,
    cpu: Duration,
    polls: u32,
    timer: Option<Pin<Box<Sleep>>>,
}

/// `pending` is called once, when the call did not end in its first poll; what it returns is dropped when the call ended.
///
/// The call's own result, or [`Fault::Cpu`] or [`Fault::Wall`]; then the call is dropped, and its store is of no use any more.
///
/// Its second poll and those after it need a tokio runtime around them.
pub(crate) async fn within<T, S>(
    budget: Budget<'_>,
    pending: impl FnOnce() -> S,
    call: impl Future<Output = T>,
) -> Result<T, Fault> {
    let mut call = pin!(call);
    let pending = Some(pending);
    let mut meter = Meter {
        budget,
        pending,
        slow_guard: None,
        began: Instant::now(),
        cpu: Duration::ZERO,
        polls: 0,
        timer: None,
    };
    poll_fn(move |context| meter.poll(call.as_mut(), context)).await
}

impl<P: FnOnce() -> S, S> Meter<'_, P, S> {
    fn poll<F: Future>(
        &mut self,
        call: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<Result<F::Output, Fault>> {
        self.budget.ticker.touch();
        self.polls = self.polls.saturating_add(1);
        let polled = if self.polls == 1 {
            self.first_poll(call, context)
        } else {
            self.later_poll(call, context)
        };
        if let Poll::Ready(output) = polled {
            return Poll::Ready(Ok(output));
        }
        if let Some(pending) = self.pending.take() {
            self.slow_guard = Some(pending());
        }
        if self.cpu > Duration::from_millis(self.budget.cpu_ms_max) {
            return Poll::Ready(Err(Fault::Cpu(self.budget.cpu_ms_max)));
        }
        let left =
            Duration::from_millis(self.budget.wall_ms_max).saturating_sub(self.began.elapsed());
        if left.is_zero() {
            return Poll::Ready(Err(Fault::Wall(self.budget.wall_ms_max)));
        }
        if self.polls == 1 {
            // The timer belongs to the runtime of the second poll; see that there is one.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        // A guest that spins is polled each tick; one that waits needs something to wake it.
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(left)));
        timer
            .as_mut()
            .poll(context)
            .map(|()| Err(Fault::Wall(self.budget.wall_ms_max)))
    }

    /// Nearly every call ends here, and the thread's clock is a system call. The time that passed will do: it is more than what was
    /// used only where the worker was made to wait, and two ticks are the most that a guest gets.
    fn first_poll<F: Future>(
        &mut self,
        call: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let polled = call.poll(context);
        if polled.is_pending() {
            self.cpu = self.began.elapsed().min(2 * TICK);
        }
        polled
    }

    fn later_poll<F: Future>(
        &mut self,
        call: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let before = thread_cpu();
        let polled = call.poll(context);
        self.cpu += thread_cpu().saturating_sub(before);
        polled
    }
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spin_for(slice: Duration) {
        let end = thread_cpu() + slice;
        while thread_cpu() < end {}
    }

    async fn spin(slice: Duration) {
        loop {
            spin_for(slice);
            tokio::task::yield_now().await;
        }
    }

    /// Ends with its engine, which is gone at once: these calls yield by themselves.
    fn ticker() -> Ticker {
        Ticker::start(&wasmtime::Engine::default()).unwrap()
    }

    #[tokio::test]
    async fn what_spins_ends_at_its_cpu_budget() {
        let budget = Budget {
            cpu_ms_max: 20,
            wall_ms_max: 60_000,
            ticker: &ticker(),
        };
        let cpu = thread_cpu();
        assert_eq!(within(budget, || (), spin(TICK)).await, Err(Fault::Cpu(20)));
        assert!(thread_cpu() - cpu < Duration::from_millis(40));
    }

    #[tokio::test]
    async fn what_waits_ends_at_its_wall_clock_limit() {
        let budget = Budget {
            cpu_ms_max: 20,
            wall_ms_max: 30,
            ticker: &ticker(),
        };
        assert_eq!(
            within(budget, || (), std::future::pending::<()>()).await,
            Err(Fault::Wall(30))
        );
    }

    #[tokio::test]
    async fn what_returns_is_not_disturbed() {
        let budget = Budget {
            cpu_ms_max: 20,
            wall_ms_max: 1_000,
            ticker: &ticker(),
        };
        assert_eq!(
            within(budget, || panic!("it did not wait"), async { 7 }).await,
            Ok(7)
        );
    }
}
