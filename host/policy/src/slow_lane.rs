//! Where a hook goes on that did not end in its first poll, while its worker goes on with other messages. Two threads: on the first a
//! run waits, or ends soon; once it has used up a slice it moves to the second, which has low priority and gives those that spin a
//! slice in turn. So what spins makes only what spins wait.
//!
//! Both hold no more runs than there are places: `hooks_in_flight_max` of all policies.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, Waker},
    thread,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use crate::{budget::thread_cpu, context::Finished, engine, ticker::SLICE_USED_MIN};

thread_local! {
    static ON_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// A run of a chain that waits for another slice, or for something.
#[must_use = "a run that is dropped never finishes"]
pub struct PendingRun(Job<Finished>);

/// Work that is done in slices.
pub(crate) type Job<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl PendingRun {
    pub(crate) fn new(run: Job<Finished>) -> Self {
        Self(run)
    }

    /// On a worker, once: the lane polls it again at once, with a waker of its own.
    pub(crate) fn begin(&mut self) -> Poll<Finished> {
        ON_WORKER.set(true);
        let polled = self.poll_guarded(&mut Context::from_waker(Waker::noop()));
        ON_WORKER.set(false);
        polled
    }

    /// A panic of ours costs this run.
    fn poll_guarded(&mut self, context: &mut Context<'_>) -> Poll<Finished> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context)));
        polled.unwrap_or_else(|_| Poll::Ready(Finished::broken()))
    }
}

impl Future for PendingRun {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Finished> {
        self.poll_guarded(context)
    }
}

/// Does a worker poll the run that asks? Then it must not spin, and there may be no runtime.
pub(crate) fn is_on_worker() -> bool {
    ON_WORKER.get()
}

/// Waits until the run is on the lane.
pub(crate) async fn reached() {
    poll_fn(|_| {
        if is_on_worker() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}

/// The threads and their runtimes; they end when this is dropped, and with them what still runs.
pub struct SlowLane {
    first: Lane,
    spinning: Lane,
}

struct Lane {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl SlowLane {
    pub(crate) fn start() -> io::Result<Self> {
        Ok(Self {
            first: Lane::start("policy-slow", || {})?,
            spinning: Lane::start("policy-spinning", engine::lower_priority)?,
        })
    }

    /// Runs it to its end and then calls `on_done`, both on these threads: hand the result to the worker there, and do no work.
    pub fn spawn(&self, run: PendingRun, on_done: impl FnOnce(Finished) + Send + 'static) {
        self.spawn_job(Box::pin(run), on_done);
    }

    pub(crate) fn spawn_job<T: Send + 'static>(
        &self,
        job: Job<T>,
        on_done: impl FnOnce(T) + Send + 'static,
    ) {
        let spinning = self.spinning.handle.clone();
        self.first.handle.spawn(async move {
            match until_it_spins(job).await {
                Ok(done) => on_done(done),
                Err(job) => drop(spinning.spawn(async move { on_done(job.await) })),
            }
        });
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.first.handle
    }
}

impl Lane {
    fn start(name: &str, prepare: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name(name.into()).spawn(move || {
            prepare();
            // An error says that the sender is gone, which is the signal.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self {
            handle,
            _stop: stop,
        })
    }
}

/// The job's result, or the job once it has used half a slice without an end.
async fn until_it_spins<T>(job: Job<T>) -> Result<T, Job<T>> {
    let mut job = Some(job);
    poll_fn(move |context| {
        let mut polled = job
            .take()
            .expect("there until this is ready, and not polled after that");
        let before = thread_cpu();
        match polled.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending if thread_cpu().saturating_sub(before) >= SLICE_USED_MIN => {
                Poll::Ready(Err(polled))
            }
            Poll::Pending => {
                job = Some(polled);
                Poll::Pending
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;
    use crate::context::Outcome;

    #[test]
    fn a_panic_of_ours_ends_its_run_with_a_fault() {
        let broken = || PendingRun::new(Box::pin(async { panic!("as the test wants") }));
        let Poll::Ready(finished) = broken().begin() else {
            panic!("it waits")
        };
        assert!(matches!(finished.outcome, Outcome::Fault { .. }));
        let (done, result) = mpsc::channel();
        let lane = SlowLane::start().unwrap();
        lane.spawn(broken(), move |finished| {
            done.send(finished.outcome).unwrap()
        });
        let outcome = result.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(matches!(outcome, Outcome::Fault { .. }));
    }
}
