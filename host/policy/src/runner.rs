//! One for each worker: runs a hook's chain as far as it goes without waiting.

use std::{sync::Arc, task::Poll};

use crate::{
    chain,
    context::{Finished, HookName, Run},
    engine::Engine,
    generation::Generation,
    slow_lane::PendingRun,
    version::Runtime,
};

/// Runs hooks for one worker.
#[derive(Clone)]
pub struct Runner {
    engine: Engine,
    worker: usize,
}

/// How far a run came.
pub enum Progress {
    /// To its end.
    Done(Finished),
    /// It waits: for [`SlowLane::spawn`](crate::SlowLane::spawn).
    Pending(PendingRun),
}

/// A set of hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookSet(u8);

impl Runner {
    /// `worker` is below [`EngineConfig::workers`](crate::EngineConfig::workers); a higher one shares the instances of another.
    pub fn new(engine: Engine, worker: usize) -> Self {
        let worker = worker % engine.workers();
        Self { engine, worker }
    }

    /// Runs the chain of one hook. Takes some microseconds where no guest spins or waits. A policy that spins takes two milliseconds
    /// at most, and none while a message of the same source makes it spin already.
    pub fn run(&self, generation: &Arc<Generation>, run: Run) -> Progress {
        let mut pending =
            PendingRun::new(Box::pin(chain::run(generation.clone(), self.worker, run)));
        let _runtime = match generation.runtime() {
            Runtime::None => None,
            Runtime::Tokio => Some(self.engine.slow_lane().handle().enter()),
        };
        match pending.begin() {
            Poll::Ready(finished) => Progress::Done(finished),
            Poll::Pending => Progress::Pending(pending),
        }
    }
}

impl HookSet {
    /// Is it in?
    pub fn contains(self, hook: HookName) -> bool {
        self.0 & (1 << hook as u8) != 0
    }

    /// In the order of [`HookName::ALL`].
    pub fn iter(self) -> impl Iterator<Item = HookName> {
        HookName::ALL
            .into_iter()
            .filter(move |&hook| self.contains(hook))
    }

    /// Those that are not in the other.
    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// With this one in it.
    #[must_use]
    pub fn with(self, hook: HookName) -> Self {
        Self(self.0 | 1 << hook as u8)
    }
}
