//! A policy over all its versions: what the operator said about it, how it fares, and how many of its hooks run.

use std::{
    array,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use hookswitch_auth::Auth;

use crate::{
    context::HookName,
    engine::Engine,
    fault::{Fault, Health},
    flight::Place,
    spec::{Grants, Limits, PolicySpec},
    status::{Counters, LastError},
};

/// Lines of the host about failures of one policy, each second.
const FAULT_LINES_PER_SECOND_MAX: u32 = 5;

/// Of the lines that a policy may write, one in so many is kept for warnings and errors.
const URGENT_LINES_SHARE: u32 = 4;

/// Whether a line may use what is kept for warnings and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    Usual,
    Urgent,
}

/// Lives as long as the host.
pub(crate) struct Policy {
    spec: PolicySpec,
    upstreams: Arc<[String]>,
    auth: Arc<Auth>,
    in_flight: AtomicU32,
    workers: Box<[Tally]>,
    log: LineRate,
    fault_log: LineRate,
    last_error: Mutex<Option<LastError>>,
}

/// One worker's sums, on cache lines of their own.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Tally {
    calls: [AtomicU64; 6],
    call_ns: AtomicU64,
    slow: AtomicU64,
    pub(crate) instances_made: AtomicU64,
    pub(crate) instances_retired: AtomicU64,
    reported: AtomicU64,
    traps: AtomicU64,
    timeouts: AtomicU64,
    memory: AtomicU64,
    instantiations: AtomicU64,
    decisions: AtomicU64,
    in_flight: AtomicU64,
    pool: AtomicU64,
    circuit_open: AtomicU64,
}

/// So many lines in each second.
#[derive(Default)]
struct LineRate {
    second: AtomicU64,
    lines: AtomicU32,
    dropped: AtomicU64,
}

impl Policy {
    pub(crate) fn new(spec: PolicySpec, upstreams: Arc<[String]>, engine: &Engine) -> Self {
        Self {
            spec,
            upstreams,
            auth: engine.auth().clone(),
            in_flight: AtomicU32::new(0),
            workers: (0..engine.workers()).map(|_| Tally::default()).collect(),
            log: LineRate::default(),
            fault_log: LineRate::default(),
            last_error: Mutex::new(None),
        }
    }

    pub(crate) fn spec(&self) -> &PolicySpec {
        &self.spec
    }

    /// Names of all groups of the configuration.
    pub(crate) fn upstreams(&self) -> &[String] {
        &self.upstreams
    }

    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.spec.limits
    }

    pub(crate) fn grants(&self) -> &Grants {
        &self.spec.grants
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.auth
    }

    pub(crate) fn may_log(&self, urgency: Urgency) -> bool {
        let lines_max = self.spec.limits.log_lines_per_second_max;
        self.log.take(match urgency {
            Urgency::Usual => lines_max - lines_max / URGENT_LINES_SHARE,
            Urgency::Urgent => lines_max,
        })
    }

    pub(crate) fn hooks_in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// For a call that does not end at once. Kept over versions: instances come from one pool.
    pub(crate) fn place(&self) -> Result<Place<'_>, Fault> {
        let places_max = self.spec.limits.hooks_in_flight_max;
        Place::take(&self.in_flight, places_max).ok_or(Fault::InFlight(places_max))
    }

    pub(crate) fn tally(&self, worker: usize) -> &Tally {
        // Runners number themselves below the count of workers.
        &self.workers[worker % self.workers.len()]
    }

    /// A fault, for the sums, the status and the log.
    pub(crate) fn note(&self, worker: usize, hook: HookName, fault: &Fault) {
        self.tally(worker).fault(fault).fetch_add(1, Relaxed);
        if fault.health() == Health::NotRun {
            return;
        }
        if self.fault_log.take(FAULT_LINES_PER_SECOND_MAX) {
            tracing::warn!(policy = self.name(), hook = hook.interface(), %fault, "policy failed");
        }
        self.set_last_error(format!("{}: {fault}", hook.interface()));
    }

    fn set_last_error(&self, text: String) {
        *self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(LastError::now(text));
    }

    pub(crate) fn last_error(&self) -> Option<LastError> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A new version serves: what the one before did is forgotten.
    pub(crate) fn renewed(&self) {
        *self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Sums over all workers; reloads are counted elsewhere.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = Counters {
            log_lines_dropped: self.log.dropped.load(Relaxed),
            ..Counters::default()
        };
        self.workers
            .iter()
            .for_each(|tally| tally.add_to(&mut counters));
        counters
    }
}

impl Tally {
    pub(crate) fn called(&self, hook: HookName, began: Instant) {
        self.calls[hook as usize].fetch_add(1, Relaxed);
        let ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.call_ns.fetch_add(ns, Relaxed);
    }

    pub(crate) fn slow(&self) {
        self.slow.fetch_add(1, Relaxed);
    }

    fn fault(&self, fault: &Fault) -> &AtomicU64 {
        match fault {
            Fault::Reported { .. } => &self.reported,
            Fault::Trap(_) => &self.traps,
            Fault::Cpu(_) | Fault::Wall(_) => &self.timeouts,
            Fault::Memory(_) => &self.memory,
            Fault::Instance(_) => &self.instantiations,
            Fault::Decision(_) => &self.decisions,
            Fault::InFlight(_) => &self.in_flight,
            Fault::Pool => &self.pool,
            Fault::CircuitOpen => &self.circuit_open,
        }
    }

    fn add_to(&self, counters: &mut Counters) {
        let calls: [u64; 6] = array::from_fn(|hook| self.calls[hook].load(Relaxed));
        for hook in HookName::ALL {
            *counters.calls.entry(hook).or_default() += calls[hook as usize];
        }
        counters.call_ns += self.call_ns.load(Relaxed);
        counters.slow += self.slow.load(Relaxed);
        counters.instances_made += self.instances_made.load(Relaxed);
        counters.instances_retired += self.instances_retired.load(Relaxed);
        for (sum, part) in [
            (&mut counters.reported, &self.reported),
            (&mut counters.traps, &self.traps),
            (&mut counters.timeouts, &self.timeouts),
            (&mut counters.memory, &self.memory),
            (&mut counters.instantiations, &self.instantiations),
            (&mut counters.decisions, &self.decisions),
            (&mut counters.in_flight, &self.in_flight),
            (&mut counters.pool, &self.pool),
            (&mut counters.circuit_open, &self.circuit_open),
        ] {
            let part = part.load(Relaxed);
            *sum += part;
            counters.faults += part;
        }
    }
}

impl LineRate {
    fn take(&self, lines_per_second_max: u32) -> bool {
        let second = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        if self.second.swap(second, Relaxed) != second {
            self.lines.store(0, Relaxed);
        }
        // What is dropped takes nothing from those with a higher limit.
        let free = |lines| (lines < lines_per_second_max).then_some(lines + 1);
        let is_free = self.lines.fetch_update(Relaxed, Relaxed, free).is_ok();
        if !is_free {
            self.dropped.fetch_add(1, Relaxed);
        }
        is_free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_find_room_among_many_other_lines() {
        let mut spec = PolicySpec::new("a", "a.wasm");
        spec.limits.log_lines_per_second_max = 40;
        let engine = Engine::new(crate::EngineConfig::default()).unwrap();
        let policy = Policy::new(spec, Arc::default(), &engine);
        let written = |urgency| (0..1_000).filter(|_| policy.may_log(urgency)).count();
        // A new second may begin between them.
        assert!(written(Urgency::Usual) >= 30);
        assert!(written(Urgency::Urgent) >= 10);
    }
}
