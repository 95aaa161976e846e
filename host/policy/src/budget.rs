//! Holds a guest's call to its CPU budget and to its wall-clock limit. The guest yields at each tick; what it used is added up then.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Sleep, sleep};

use crate::{
    fault::Fault,
    slow_lane::is_on_worker,
    ticker::{SLICE_USED_MIN, TICK, Ticker},
};

/// What one call may use, in milliseconds, and the clock that makes it yield.
#[derive(Clone, Copy)]
pub(crate) struct Budget<'a> {
    pub(crate) cpu_ms_max: u64,
    pub(crate) wall_ms_max: u64,
    /// Where the wall-clock limit counts from.
    pub(crate) began: Instant,
    pub(crate) ticker: &'a Ticker,
}

struct Meter<'a, P> {
    budget: Budget<'a>,
    pended: P,
    cpu: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

/// `pended` is called after each poll that did not end the call, with the CPU that the poll used; its error ends the call.
///
/// The call's own result, or that error, [`Fault::Cpu`] or [`Fault::Wall`]; then the call is dropped, and its store is of no use any
/// more. Away from a worker it needs a tokio runtime around it.
pub(crate) async fn within<T>(
    budget: Budget<'_>,
    pended: impl FnMut(Duration) -> Result<(), Fault>,
    call: impl Future<Output = T>,
) -> Result<T, Fault> {
    let mut call = pin!(call);
    let mut meter = Meter {
        budget,
        pended,
        cpu: Duration::ZERO,
        timer: None,
    };
    poll_fn(move |context| meter.poll(call.as_mut(), context)).await
}

impl<P: FnMut(Duration) -> Result<(), Fault>> Meter<'_, P> {
    fn poll<F: Future>(
        &mut self,
        call: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<Result<F::Output, Fault>> {
        self.budget.ticker.touch();
        let (polled, used) = if is_on_worker() {
            poll_on_worker(call, context)
        } else {
            poll_on_lane(call, context)
        };
        if let Poll::Ready(output) = polled {
            return Poll::Ready(Ok(output));
        }
        if let Err(fault) = (self.pended)(used) {
            return Poll::Ready(Err(fault));
        }
        self.cpu += used;
        if self.cpu > Duration::from_millis(self.budget.cpu_ms_max) {
            return Poll::Ready(Err(Fault::Cpu(self.budget.cpu_ms_max)));
        }
        let wall_ms_max = self.budget.wall_ms_max;
        let left = Duration::from_millis(wall_ms_max).saturating_sub(self.budget.began.elapsed());
        if left.is_zero() {
            return Poll::Ready(Err(Fault::Wall(wall_ms_max)));
        }
        if is_on_worker() {
            // The lane polls it at once.
            return Poll::Pending;
        }
        // A guest that spins is polled each tick; one that waits needs something to wake it.
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(left)));
        timer
            .as_mut()
            .poll(context)
            .map(|()| Err(Fault::Wall(wall_ms_max)))
    }
}

/// Nearly every call ends here, and the thread's clock is a system call: see [`Glance`].
fn poll_on_worker<F: Future>(
    call: Pin<&mut F>,
    context: &mut Context<'_>,
) -> (Poll<F::Output>, Duration) {
    let before = Glance::recent();
    let polled = call.poll(context);
    let used = match polled {
        Poll::Ready(_) => Duration::ZERO,
        Poll::Pending => before.used_since(),
    };
    (polled, used)
}

fn poll_on_lane<F: Future>(
    call: Pin<&mut F>,
    context: &mut Context<'_>,
) -> (Poll<F::Output>, Duration) {
    let before = thread_cpu();
    let polled = call.poll(context);
    (polled, thread_cpu().saturating_sub(before))
}

thread_local! {
    /// Of the call that the worker polls, or polled last.
    static LAST: Cell<Option<Glance>> = const { Cell::new(None) };
}

/// A look at the thread's clock that may be a tick old. What happened since it is known as well as that, and a worker that was made
/// to wait is not taken for one whose guest spins.
#[derive(Clone, Copy)]
struct Glance {
    taken: Instant,
    cpu: Duration,
    asked: Instant,
}

impl Glance {
    fn recent() -> Self {
        let asked = Instant::now();
        let last = LAST.get().filter(|last| asked - last.taken < TICK);
        let glance = Self {
            asked,
            ..last.unwrap_or_else(|| Self {
                taken: asked,
                cpu: thread_cpu(),
                asked,
            })
        };
        LAST.set(Some(glance));
        glance
    }

    /// CPU since it was asked for, at least; three ticks are the most that a guest gets.
    fn used_since(self) -> Duration {
        let used = thread_cpu().saturating_sub(self.cpu);
        used.saturating_sub(self.asked - self.taken).min(3 * TICK)
    }
}

/// On a worker, within a call: has it used what makes it one that spins?
pub(crate) fn slice_is_used_up() -> bool {
    LAST.get()
        .is_none_or(|asked| asked.used_since() >= SLICE_USED_MIN)
}

/// What the calling thread has used.
pub(crate) fn thread_cpu() -> Duration {
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

    #[test]
    fn who_was_made_to_wait_has_not_used_its_slice() {
        Glance::recent();
        std::thread::sleep(5 * TICK);
        assert!(!slice_is_used_up());
        spin_for(2 * TICK);
        assert!(slice_is_used_up());
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
            began: Instant::now(),
            ticker: &ticker(),
        };
        let cpu = thread_cpu();
        assert_eq!(
            within(budget, |_| Ok(()), spin(TICK)).await,
            Err(Fault::Cpu(20))
        );
        assert!(thread_cpu() - cpu < Duration::from_millis(40));
    }

    #[tokio::test]
    async fn what_waits_ends_at_its_wall_clock_limit() {
        let budget = Budget {
            cpu_ms_max: 20,
            wall_ms_max: 30,
            began: Instant::now(),
            ticker: &ticker(),
        };
        assert_eq!(
            within(budget, |_| Ok(()), std::future::pending::<()>()).await,
            Err(Fault::Wall(30))
        );
    }

    #[tokio::test]
    async fn what_returns_is_not_disturbed() {
        let budget = Budget {
            cpu_ms_max: 20,
            wall_ms_max: 1_000,
            began: Instant::now(),
            ticker: &ticker(),
        };
        assert_eq!(
            within(budget, |_| panic!("it did not wait"), async { 7 }).await,
            Ok(7)
        );
    }
}
