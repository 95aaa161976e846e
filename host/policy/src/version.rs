//! One version of a policy: a component and its configuration, and the instances that stand ready for each worker.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use crate::{
    budget::{Budget, within},
    decision::{Rules, Step},
    digest::Digest,
    engine::Engine,
    fault::Fault,
    flight::Flight,
    instance::{Argument, Blueprint, Call, Instance},
    journal::Journal,
    policy::Policy,
    runner::HookSet,
    sources::Sources,
    spec::Isolation,
};

/// Instances that stand ready for one worker. One is enough but for calls that did not end at once.
const IDLE_MAX: usize = 4;

/// Shared by the generations that have it.
pub(crate) struct Version {
    pub(crate) policy: Arc<Policy>,
    pub(crate) digests: Digests,
    pub(crate) hooks: HookSet,
    pub(crate) runtime: Runtime,
    /// The number of the generation that brought it.
    pub(crate) generation: u64,
    pub(crate) active_since: SystemTime,
    engine: Engine,
    blueprint: Blueprint,
    sources: Sources,
    idle: Box<[Idle]>,
}

/// What tells versions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digests {
    /// Of the component's file.
    pub(crate) component: Digest,
    /// Of component, configuration and grants.
    pub(crate) whole: Digest,
}

/// What its calls need around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// Nothing: no import waits.
    None,
    /// A tokio runtime: WASI can sleep.
    Tokio,
}

/// One worker's, on a cache line of its own. The lock is taken by another thread only when a slow call gives its instance back.
#[derive(Default)]
#[repr(align(128))]
struct Idle(Mutex<Vec<Instance>>);

/// What a version is made of.
pub(crate) struct Parts {
    pub(crate) policy: Arc<Policy>,
    pub(crate) digests: Digests,
    pub(crate) hooks: HookSet,
    pub(crate) runtime: Runtime,
    pub(crate) generation: u64,
    pub(crate) blueprint: Blueprint,
}

impl Version {
    pub(crate) fn new(engine: Engine, parts: Parts) -> Self {
        let idle = (0..engine.workers()).map(|_| Idle::default()).collect();
        let Parts {
            policy,
            digests,
            hooks,
            runtime,
            generation,
            blueprint,
        } = parts;
        let active_since = SystemTime::now();
        Self {
            policy,
            digests,
            hooks,
            runtime,
            generation,
            active_since,
            engine,
            blueprint,
            sources: Sources::new(),
            idle,
        }
    }

    /// Makes one instance and lets it take its configuration; the first worker will use it.
    pub(crate) async fn self_test(&self) -> Result<(), Fault> {
        let instance = self.make(0, |_| Ok(())).await?;
        self.give_back(0, instance);
        Ok(())
    }

    /// Groups of sources whose messages are not shown to it now.
    pub(crate) fn circuits_open(&self) -> usize {
        self.sources.open()
    }

    /// Calls a hook. The journal comes back with the edits of the call in it, whatever came of it.
    pub(crate) async fn call(
        &self,
        worker: usize,
        call: &Call,
        journal: Box<Journal>,
    ) -> (Box<Journal>, Result<Step, Fault>) {
        let source = self.sources.of(journal.source.address());
        let mut flight = match Flight::begin(&self.policy, source, worker) {
            Ok(flight) => flight,
            Err(fault) => return (journal, Err(fault)),
        };
        let (journal, result) = match flight.leave_a_worker_to_others().await {
            Ok(()) => self.call_instance(worker, call, journal, &mut flight).await,
            Err(fault) => (journal, Err(fault)),
        };
        self.policy.tally(worker).called(call.hook(), flight.began);
        flight.ended(result.as_ref().err());
        (journal, result)
    }

    async fn call_instance(
        &self,
        worker: usize,
        call: &Call,
        journal: Box<Journal>,
        flight: &mut Flight<'_>,
    ) -> (Box<Journal>, Result<Step, Fault>) {
        let mut instance = match self.check_out(worker, flight).await {
            Ok(instance) => instance,
            Err(fault) => return (journal, Err(fault)),
        };
        instance.lend(journal);
        let limits = self.policy.limits();
        let budget = Budget {
            cpu_ms_max: limits.cpu_ms_max,
            wall_ms_max: limits.wall_ms_max,
            began: flight.began,
            ticker: self.engine.ticker(),
        };
        let pended = |used| flight.pended(used);
        let returned = within(budget, pended, instance.call(call)).await;
        let journal = instance.take_back();
        let answer = match returned {
            // Both leave the store unusable: the instance ends here.
            Err(fault) => return (journal, Err(fault)),
            Ok(Err(error)) => return (journal, Err(instance.trap(&error))),
            Ok(Ok(answer)) => answer,
        };
        self.give_back(worker, instance);
        let rules = Rules {
            names: journal.names.as_ref(),
            body_bytes_max: limits.body_bytes_max,
            status: status(call),
        };
        let step = match answer {
            Ok(answer) => rules.step(answer),
            Err(fault) => Err(Fault::Reported {
                code: fault.code,
                detail: fault.detail,
            }),
        };
        (journal, step)
    }

    async fn check_out(&self, worker: usize, flight: &mut Flight<'_>) -> Result<Instance, Fault> {
        let ready = match self.policy.spec().isolation {
            Isolation::Reuse => self.lock_idle(worker).pop(),
            Isolation::Message => None,
        };
        match ready {
            Some(instance) => Ok(instance),
            None => self.make(worker, |used| flight.pended(used)).await,
        }
    }

    async fn make(
        &self,
        worker: usize,
        pended: impl FnMut(Duration) -> Result<(), Fault>,
    ) -> Result<Instance, Fault> {
        let ms_max = self.policy.limits().configure_ms_max;
        let budget = Budget {
            cpu_ms_max: ms_max,
            wall_ms_max: ms_max,
            began: Instant::now(),
            ticker: self.engine.ticker(),
        };
        let made = within(
            budget,
            pended,
            self.blueprint.instantiate(&self.policy, worker),
        );
        match made.await {
            Ok(made) => made,
            Err(Fault::Cpu(_) | Fault::Wall(_)) => Err(Fault::Instance(format!(
                "not configured within configure_ms_max = {ms_max}"
            ))),
            Err(fault) => Err(fault),
        }
    }

    fn give_back(&self, worker: usize, instance: Instance) {
        if self.policy.spec().isolation == Isolation::Message || instance.is_spent() {
            return;
        }
        let mut idle = self.lock_idle(worker);
        if idle.len() < IDLE_MAX {
            idle.push(instance);
        }
    }

    fn lock_idle(&self, worker: usize) -> std::sync::MutexGuard<'_, Vec<Instance>> {
        // Runners number themselves below the count of workers.
        self.idle[worker % self.idle.len()]
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn status(call: &Call) -> u16 {
    match call.argument {
        Argument::Response(status) | Argument::Failure(status) => status,
        Argument::Connect(_) | Argument::Register | Argument::Request | Argument::Branch(_) => 0,
    }
}
