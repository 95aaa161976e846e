//! Where a hook goes on that did not end in its first poll: one low-priority thread that gives each a slice in turn. The worker
//! that began it goes on with other messages meanwhile.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    thread,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use crate::{context::Finished, engine};

/// Slices between looks at the timers. The default of tokio counts on tasks far shorter than a guest's slice.
const SLICES_PER_TIMER_LOOK: u32 = 2;

/// A run of a chain that waits for another slice, or for something.
#[must_use = "a run that is dropped never finishes"]
pub struct PendingRun(Pin<Box<dyn Future<Output = Finished> + Send>>);

impl PendingRun {
    pub(crate) fn new(run: Pin<Box<dyn Future<Output = Finished> + Send>>) -> Self {
        Self(run)
    }

    /// Without waiting for what wakes it.
    pub(crate) fn poll_once(&mut self, context: &mut Context<'_>) -> Poll<Finished> {
        self.0.as_mut().poll(context)
    }
}

impl Future for PendingRun {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Finished> {
        self.poll_once(context)
    }
}

/// The thread and its runtime; both end when this is dropped, and with them what still runs.
pub struct SlowLane {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl SlowLane {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .global_queue_interval(1)
            .event_interval(SLICES_PER_TIMER_LOOK)
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new()
            .name("policy-slow".into())
            .spawn(move || {
                engine::lower_priority();
                // An error says that the sender is gone, which is the signal.
                let _ = runtime.block_on(stopped);
            })?;
        Ok(Self {
            handle,
            _stop: stop,
        })
    }

    /// Runs it to its end and then calls `on_done`, both on this thread: hand the result to the worker there, and do no work.
    pub fn spawn(&self, run: PendingRun, on_done: impl FnOnce(Finished) + Send + 'static) {
        self.handle.spawn(async move { on_done(run.await) });
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}
