//! One version of a policy: a component and its configuration, and the instances that stand ready for each worker.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{
    budget::{Budget, thread_cpu, within},
    decision::{Rules, Step},
    digest::Digest,
    engine::Engine,
    fault::Fault,
    flight::Flight,
    instance::{Argument, Blueprint, Call, Instance},
    journal::Journal,
    policy::Policy,
    runner::HookSet,
    shelf::{Maker, READY_MAX, Shelf, Taken},
    sources::Sources,
    spec::Isolation,
};

/// An instance that takes more CPU than this to make is made off the workers, ahead of need.
const MADE_ON_WORKER_MAX: Duration = Duration::from_micros(500);
/// So many are made before that is believed.
const MEASURED_MIN: usize = 3;

/// Shared by the generations that have it.
pub(crate) struct Version {
    pub(crate) policy: Arc<Policy>,
    pub(crate) digests: Digests,
    /// Those that it exports and its configuration has a use for.
    pub(crate) hooks: HookSet,
    pub(crate) runtime: Runtime,
    engine: Engine,
    blueprint: Blueprint,
    sources: Sources,
    shelves: Box<[Shelf]>,
    /// CPU that making an instance takes.
    make_ns: AtomicU64,
    is_draining: AtomicBool,
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

/// What a version is made of.
pub(crate) struct Parts {
    pub(crate) policy: Arc<Policy>,
    pub(crate) digests: Digests,
    pub(crate) hooks: HookSet,
    pub(crate) runtime: Runtime,
    pub(crate) blueprint: Blueprint,
}

impl Version {
    pub(crate) fn new(engine: Engine, parts: Parts) -> Self {
        let shelves = (0..engine.workers()).map(|_| Shelf::default()).collect();
        let Parts {
            policy,
            digests,
            hooks,
            runtime,
            blueprint,
        } = parts;
        Self {
            policy,
            digests,
            hooks,
            runtime,
            engine,
            blueprint,
            sources: Sources::new(),
            shelves,
            make_ns: AtomicU64::new(0),
            is_draining: AtomicBool::new(false),
        }
    }

    /// Makes an instance for each worker and lets it take its configuration, which may have no use for some hooks.
    pub(crate) async fn make_ready(&mut self) -> Result<(), Fault> {
        let mut skipped = HookSet::default();
        let mut make = Duration::MAX;
        for (worker, shelf) in self.shelves.iter().enumerate() {
            let before = thread_cpu();
            let instance = self.make(worker, |_| Ok(())).await?;
            make = make.min(thread_cpu().saturating_sub(before));
            skipped = instance.skipped();
            shelf.put(instance);
        }
        // The first one takes longest: its code is not in any cache yet.
        for _ in self.shelves.len()..MEASURED_MIN {
            if make <= MADE_ON_WORKER_MAX {
                break;
            }
            let before = thread_cpu();
            drop(self.make(0, |_| Ok(())).await?);
            make = make.min(thread_cpu().saturating_sub(before));
        }
        self.hooks = self.hooks.without(skipped);
        let ns = u64::try_from(make.as_nanos()).unwrap_or(u64::MAX);
        self.make_ns.store(ns, Relaxed);
        if self.isolation() == Isolation::Message && !self.is_dear() {
            self.shelves.iter().for_each(|shelf| drop(shelf.take()));
        }
        Ok(())
    }

    /// Another version serves new transactions; this one keeps no instances ready that nobody uses.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Relaxed);
        self.shelves.iter().for_each(Shelf::sweep);
    }

    /// Groups of sources whose messages are not shown to it now.
    pub(crate) fn circuits_open(&self) -> usize {
        self.sources.open()
    }

    /// Calls a hook. The journal comes back with the edits of the call in it, whatever came of it.
    pub(crate) async fn call(
        self: &Arc<Self>,
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
        self: &Arc<Self>,
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

    async fn check_out(
        self: &Arc<Self>,
        worker: usize,
        flight: &mut Flight<'_>,
    ) -> Result<Instance, Fault> {
        let shelf = self.shelf(worker);
        if self.is_dear() {
            return self.check_out_dear(worker, flight).await;
        }
        let ready = match self.isolation() {
            Isolation::Reuse => shelf.take(),
            Isolation::Message => None,
        };
        match ready {
            Some(instance) => Ok(instance),
            None => self.make(worker, |used| flight.pended(used)).await,
        }
    }

    /// Never makes one itself: many that did so at once would all be late.
    async fn check_out_dear(
        self: &Arc<Self>,
        worker: usize,
        flight: &mut Flight<'_>,
    ) -> Result<Instance, Fault> {
        let awaited = match self.shelf(worker).take_or_wait() {
            Taken::Ready(instance) if self.isolation() == Isolation::Reuse => return Ok(instance),
            Taken::Ready(instance) | Taken::Last(instance) => {
                self.order(worker);
                return Ok(instance);
            }
            Taken::Awaited(awaited) => awaited,
        };
        self.order(worker);
        let limits = self.policy.limits();
        let budget = Budget {
            cpu_ms_max: limits.cpu_ms_max,
            wall_ms_max: limits.wall_ms_max,
            began: flight.began,
            ticker: self.engine.ticker(),
        };
        match within(budget, |used| flight.pended(used), awaited).await? {
            Ok(made) => made,
            Err(_) => Err(Fault::Instance("the host ends".into())),
        }
    }

    /// Has instances made on the slow lane, unless that is being done.
    fn order(self: &Arc<Self>, worker: usize) {
        if self.shelf(worker).begin_making() == Maker::Busy {
            return;
        }
        let version = Arc::downgrade(self);
        let make = async move {
            while let Some(version) = version.upgrade() {
                let made = version.make(worker, |_| Ok(())).await;
                if version.shelf(worker).made(made, version.ready_min()) == Maker::Idle {
                    break;
                }
            }
        };
        self.engine.slow_lane().spawn_job(Box::pin(make), |()| {});
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

    fn give_back(self: &Arc<Self>, worker: usize, instance: Instance) {
        let shelf = self.shelf(worker);
        match self.isolation() {
            Isolation::Message => {}
            Isolation::Reuse if !instance.is_spent() => shelf.put(instance),
            // It serves on until another one is made.
            Isolation::Reuse if self.is_dear() && shelf.is_empty() => {
                shelf.put(instance);
                self.order(worker);
            }
            Isolation::Reuse => {}
        }
    }

    fn is_dear(&self) -> bool {
        Duration::from_nanos(self.make_ns.load(Relaxed)) > MADE_ON_WORKER_MAX
    }

    /// What the shelf of a dear version is filled up to.
    fn ready_min(&self) -> usize {
        if self.is_draining.load(Relaxed) {
            return 0;
        }
        match self.isolation() {
            Isolation::Reuse => 1,
            Isolation::Message => READY_MAX,
        }
    }

    fn isolation(&self) -> Isolation {
        self.policy.spec().isolation
    }

    fn shelf(&self, worker: usize) -> &Shelf {
        // Runners number themselves below the count of workers.
        &self.shelves[worker % self.shelves.len()]
    }
}

fn status(call: &Call) -> u16 {
    match call.argument {
        Argument::Response(status) | Argument::Failure(status) => status,
        Argument::Connect(_) | Argument::Register | Argument::Request | Argument::Branch(_) => 0,
    }
}
