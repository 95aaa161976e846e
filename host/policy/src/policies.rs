//! All policies of a host: loads them, watches their files, and swaps in what changed.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Sender},
    },
    thread,
    time::SystemTime,
};

use arc_swap::ArcSwap;

use crate::{
    engine::Engine,
    generation::Generation,
    loader::{Event, Loader},
    policy::Policy,
    spec::PolicySpec,
    status::{Counters, Draining, LastError, PolicyStatus, Stage, State},
    version::Version,
    watch::Signal,
};

/// All policies of a host. Dropping it ends the watching; generations that are held go on.
pub struct Policies {
    shared: Arc<Shared>,
    events: Sender<Event>,
}

/// What the loader and the readers of the status share.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) entries: Vec<Entry>,
    pub(crate) current: ArcSwap<Generation>,
    pub(crate) draining: Mutex<Vec<Arc<Generation>>>,
}

/// One policy and where its newest files stand.
pub(crate) struct Entry {
    pub(crate) policy: Arc<Policy>,
    progress: Mutex<LoadProgress>,
}

/// Of the newest files seen, and of the version that serves.
#[derive(Clone)]
pub(crate) struct LoadProgress {
    pub(crate) state: State,
    /// Why the newest files do not serve.
    error: Option<LastError>,
    generation: u64,
    active_since: SystemTime,
    reload_ms: u64,
    reloads: u64,
    refused: [u64; Stage::ALL.len()],
}

/// Every policy that cannot be loaded, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// Name and reason of each.
    pub faults: Vec<(String, String)>,
}

impl Policies {
    /// Loads all of them, for a host with these upstreams, then watches their files until this is dropped. Blocks while they are compiled: a component of some KB
    /// takes milliseconds, an interpreter with its library seconds, unless the cache has it.
    ///
    /// # Errors
    /// All that is wrong with any of them; then none serves.
    pub fn start(
        engine: &Engine,
        specs: Vec<PolicySpec>,
        upstreams: Vec<String>,
    ) -> Result<Arc<Self>, StartError> {
        let faults = duplicates(&specs);
        if !faults.is_empty() {
            return Err(StartError { faults });
        }
        let shared = Arc::new(Shared::new(engine.clone(), specs, upstreams.into()));
        let (events, received) = mpsc::channel();
        let (started, result) = mpsc::channel();
        let (theirs, to_watch) = (shared.clone(), events.clone());
        let spawned = thread::Builder::new()
            .name("policy-loader".into())
            .spawn(move || {
                let mut loader = Loader::new(theirs, to_watch);
                let loaded = loader.start();
                let go_on = loaded.is_ok();
                // An error says that the caller is gone.
                let _ = started.send(loaded);
                if go_on {
                    loader.run(&received);
                }
            });
        let failed = |reason: String| StartError {
            faults: vec![("(all)".into(), reason)],
        };
        spawned.map_err(|error| failed(format!("cannot start a thread: {error}")))?;
        result
            .recv()
            .map_err(|_| failed("the loader ended early".into()))??;
        Ok(Arc::new(Self { shared, events }))
    }

    /// The generation for a new transaction.
    pub fn current(&self) -> Arc<Generation> {
        self.shared.current.load_full()
    }

    /// Each policy as it is now, in the order of configuration.
    pub fn status(&self) -> Vec<PolicyStatus> {
        let current = self.current();
        self.shared
            .entries
            .iter()
            .zip(current.versions())
            .map(|(entry, version)| entry.status(version))
            .collect()
    }

    /// Generations that only old transactions hold.
    pub fn draining(&self) -> Vec<Draining> {
        let draining = self.shared.lock_draining();
        // One holder is the list itself.
        draining
            .iter()
            .map(|old| Draining {
                generation: old.number(),
                holders: Arc::strong_count(old) - 1,
            })
            .collect()
    }

    /// Looks at every file now, as if each had changed.
    pub fn reload(&self) {
        // An error says that the loader ended, which it does with the last of `self` only.
        let _ = self.events.send(Event::Files(Signal::Rescan));
    }
}

impl Drop for Policies {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Stop);
    }
}

impl Shared {
    fn new(engine: Engine, specs: Vec<PolicySpec>, upstreams: Arc<[String]>) -> Self {
        let entries = specs
            .into_iter()
            .map(|spec| Entry::new(Policy::new(spec, upstreams.clone(), &engine)))
            .collect();
        let current = ArcSwap::from_pointee(Generation::new(0, Vec::new()));
        Self {
            engine,
            entries,
            current,
            draining: Mutex::default(),
        }
    }

    pub(crate) fn lock_draining(&self) -> MutexGuard<'_, Vec<Arc<Generation>>> {
        self.draining.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(policy: Policy) -> Self {
        let progress = LoadProgress {
            state: State::Seen,
            error: None,
            generation: 0,
            active_since: SystemTime::now(),
            reload_ms: 0,
            reloads: 0,
            refused: Default::default(),
        };
        Self {
            policy: Arc::new(policy),
            progress: Mutex::new(progress),
        }
    }

    pub(crate) fn lock_progress(&self) -> MutexGuard<'_, LoadProgress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest files are those that serve.
    pub(crate) fn accept(&self) {
        let mut progress = self.lock_progress();
        progress.state = State::Active;
        progress.error = None;
    }

    /// A new version serves.
    pub(crate) fn renew(&self, generation: u64, reload_ms: u64) {
        let mut progress = self.lock_progress();
        progress.activate(generation);
        progress.reload_ms = reload_ms;
        progress.reloads += 1;
        self.policy.renewed();
    }

    /// The newest files cannot serve.
    pub(crate) fn refuse(&self, stage: Stage, reason: String) {
        let mut progress = self.lock_progress();
        progress.state = State::Quarantined;
        progress.refused[stage as usize] += 1;
        progress.error = Some(LastError::now(reason));
    }

    fn status(&self, version: &Version) -> PolicyStatus {
        let (policy, spec) = (&self.policy, self.policy.spec());
        let progress = self.lock_progress().clone();
        let counters = Counters {
            reloads: progress.reloads,
            reloads_refused: progress.refused.iter().sum(),
            refused: Stage::ALL.into_iter().zip(progress.refused).collect(),
            ..policy.counters()
        };
        PolicyStatus {
            name: spec.name.clone(),
            place: spec.place,
            tenant: spec.tenant.clone(),
            isolation: spec.isolation,
            state: progress.state,
            digest: version.digests.component.to_string(),
            version: version.digests.whole.to_string(),
            generation: progress.generation,
            hooks: version.hooks.iter().collect(),
            active_since: progress.active_since,
            reload_ms: progress.reload_ms,
            load_error: progress.error,
            last_error: policy.last_error(),
            circuits_open: version.circuits_open(),
            in_flight: policy.hooks_in_flight(),
            counters,
        }
    }
}

impl LoadProgress {
    pub(crate) fn activate(&mut self, generation: u64) {
        self.state = State::Active;
        self.error = None;
        self.generation = generation;
        self.active_since = SystemTime::now();
    }
}

fn duplicates(specs: &[PolicySpec]) -> Vec<(String, String)> {
    let mut names = BTreeSet::new();
    let repeated = specs
        .iter()
        .filter(|spec| !names.insert(spec.name.as_str()));
    repeated
        .map(|spec| {
            (
                spec.name.clone(),
                "there is another policy of this name".to_owned(),
            )
        })
        .collect()
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (policy, reason)) in self.faults.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}policy {policy}: {reason}")?;
        }
        Ok(())
    }
}

impl std::error::Error for StartError {}
