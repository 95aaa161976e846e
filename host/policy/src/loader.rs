//! The thread that brings new versions to serve: seen, compiled, linked, configured, active; or quarantined, with the version before
//! still active. Loading is done elsewhere, each policy for itself; this thread alone swaps. It also gives up old generations, so
//! that no worker spends its time on that.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use crate::{
    digest::Digest,
    engine,
    generation::Generation,
    load::{self, Files, LoadError},
    policies::{Entry, Shared, StartError},
    spec::{ConfigSource, PolicySpec},
    status::State,
    version::Version,
    watch::{Signal, Stamp, Trail, Watch},
};

/// Looks at all files without being told: some file systems tell nothing.
const RESCAN_INTERVAL: Duration = Duration::from_secs(2);
/// Looks for old generations that nobody holds, while there are some.
const DRAIN_INTERVAL: Duration = Duration::from_millis(100);

/// What reaches the thread.
pub(crate) enum Event {
    Files(Signal),
    Loaded(Box<Loaded>),
    Stop,
}

/// What came of loading one policy.
pub(crate) struct Loaded {
    index: usize,
    began: Instant,
    result: Result<Found, Refusal>,
}

/// What the files are.
enum Found {
    /// Those of the active version.
    Active,
    Fresh(Arc<Version>),
}

struct Refusal {
    refused: Refused,
    error: LoadError,
}

/// The state of the thread.
pub(crate) struct Loader {
    shared: Arc<Shared>,
    seen: Vec<Seen>,
    watch: Watch,
    rescanned: Instant,
    events: Sender<Event>,
}

/// What the loader remembers of one policy's files.
#[derive(Default)]
struct Seen {
    trail: Trail,
    /// Of the files that were read last; `None` in it where one could not be found.
    stamps: Vec<Option<Stamp>>,
    /// Another state of the files, found without being told: read once it has stayed for one more look.
    unsettled: Option<Vec<Option<Stamp>>>,
    /// What was refused, so that it is refused once.
    refused: Option<Refused>,
    loading: Loading,
}

/// Whether a policy is being loaded.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Loading {
    #[default]
    No,
    Yes,
    /// Its files have changed since.
    Again,
}

#[derive(PartialEq, Eq)]
enum Refused {
    Version(Digest),
    Unreadable(String),
}

/// How a change came to be known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The system said that a whole file is there.
    Told,
    /// It was found: somebody may still be writing.
    Found,
}

impl Loader {
    pub(crate) fn new(shared: Arc<Shared>, events: Sender<Event>) -> Self {
        let seen = shared.entries.iter().map(|_| Seen::default()).collect();
        let told = events.clone();
        let watch = Watch::start(move |signal| {
            // An error says that the loader is gone; the watcher soon is, too.
            let _ = told.send(Event::Files(signal));
        });
        Self {
            shared,
            seen,
            watch,
            rescanned: Instant::now(),
            events,
        }
    }

    /// Loads all policies as generation 1. The watch begins first, so that no change goes unseen.
    pub(crate) fn start(&mut self) -> Result<(), StartError> {
        for (entry, seen) in self.shared.entries.iter().zip(&mut self.seen) {
            seen.look(entry.policy.spec());
        }
        self.follow();
        let (mut versions, mut faults) = (Vec::new(), Vec::new());
        for entry in &self.shared.entries {
            let loaded =
                Files::read(&entry.policy).and_then(|files| load(&self.shared, entry, files));
            match loaded {
                Ok(version) => versions.push(Arc::new(version)),
                Err(error) => faults.push((entry.policy.name().to_owned(), error.to_string())),
            }
        }
        if !faults.is_empty() {
            return Err(StartError { faults });
        }
        self.shared
            .entries
            .iter()
            .for_each(|entry| entry.lock_progress().activate(1));
        self.shared
            .current
            .store(Arc::new(Generation::new(1, versions)));
        Ok(())
    }

    /// Until it is told to stop.
    pub(crate) fn run(&mut self, received: &Receiver<Event>) {
        engine::lower_priority();
        loop {
            let interval = if self.drain() {
                DRAIN_INTERVAL
            } else {
                RESCAN_INTERVAL
            };
            let event = match received.recv_timeout(interval) {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(event) => Some(event),
                Err(RecvTimeoutError::Timeout) => None,
            };
            // A fault of ours must not end all reloading.
            if catch_unwind(AssertUnwindSafe(|| self.step(event))).is_err() {
                tracing::error!("the loader of policies panicked; it goes on");
            }
        }
    }

    fn step(&mut self, event: Option<Event>) {
        let mut changed = match event {
            Some(Event::Files(Signal::Rescan)) => {
                self.seen.iter_mut().for_each(Seen::forget);
                self.reload(Cause::Told, |_| true)
            }
            Some(Event::Files(Signal::Changed(paths))) => self.reload(Cause::Told, |trail| {
                paths.iter().any(|path| trail.passes(path))
            }),
            Some(Event::Loaded(loaded)) => {
                self.loaded(*loaded);
                false
            }
            Some(Event::Stop) | None => false,
        };
        if self.rescanned.elapsed() >= RESCAN_INTERVAL {
            self.rescanned = Instant::now();
            changed |= self.reload(Cause::Found, |_| true);
        }
        if changed {
            self.follow();
        }
    }

    fn follow(&mut self) {
        self.watch.follow(self.seen.iter().map(|seen| &seen.trail));
    }

    /// Gives up what nobody holds; says whether something is still held.
    fn drain(&self) -> bool {
        let current = self.shared.current.load();
        let mut draining = self.shared.lock_draining();
        let free = draining.extract_if(.., |old| Arc::strong_count(old) == 1);
        let free: Vec<Arc<Generation>> = free.collect();
        let is_held = !draining.is_empty();
        for version in draining.iter().flat_map(|old| old.versions()) {
            if !current
                .versions()
                .iter()
                .any(|serves| Arc::ptr_eq(serves, version))
            {
                version.drain();
            }
        }
        drop(draining);
        for old in free {
            tracing::debug!(generation = old.number(), "generation retired");
        }
        is_held
    }

    /// Loads the policies whose trail is concerned and whose files are others. Says whether any file was another.
    fn reload(&mut self, cause: Cause, concerns: impl Fn(&Trail) -> bool) -> bool {
        let mut due = Vec::new();
        for (index, (entry, seen)) in self.shared.entries.iter().zip(&mut self.seen).enumerate() {
            let is_concerned = concerns(&seen.trail);
            if seen.loading != Loading::No {
                // Looked at again when it is done; what is only found waits for the next look.
                if is_concerned && cause == Cause::Told {
                    seen.loading = Loading::Again;
                }
            } else if is_concerned && seen.is_due(entry.policy.spec(), cause) {
                due.push(index);
            }
        }
        due.iter().for_each(|&index| self.begin(index));
        !due.is_empty()
    }

    /// Loads one policy on the compile threads; what comes of it returns as an event.
    fn begin(&mut self, index: usize) {
        self.seen[index].loading = Loading::Yes;
        let (shared, events, began) = (self.shared.clone(), self.events.clone(), Instant::now());
        self.shared.engine.spawn_load(move || {
            let loaded = Box::new(Loaded {
                index,
                began,
                result: renew(&shared, index),
            });
            // An error says that the loader is gone: nothing is to be loaded any more.
            let _ = events.send(Event::Loaded(loaded));
        });
    }

    fn loaded(&mut self, loaded: Loaded) {
        let Loaded {
            index,
            began,
            result,
        } = loaded;
        let (entry, seen) = (&self.shared.entries[index], &mut self.seen[index]);
        let again = seen.loading == Loading::Again;
        seen.loading = Loading::No;
        match result {
            Ok(Found::Active) => {
                seen.refused = None;
                entry.accept();
            }
            Ok(Found::Fresh(version)) => {
                seen.refused = None;
                self.swap(index, version, began);
            }
            Err(refusal) => quarantine(entry, seen, refusal),
        }
        let spec = self.shared.entries[index].policy.spec();
        if again && self.seen[index].is_due(spec, Cause::Told) {
            self.begin(index);
            self.follow();
        }
    }

    fn swap(&self, index: usize, version: Arc<Version>, began: Instant) {
        let mut versions = self.shared.current.load().versions().to_vec();
        versions[index] = version;
        let number = self.shared.current.load().number() + 1;
        let next = Arc::new(Generation::new(number, versions));
        let old = self.shared.current.swap(next);
        self.shared.lock_draining().push(old);
        let entry = &self.shared.entries[index];
        let reload_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        entry.renew(number, reload_ms);
        tracing::info!(
            policy = entry.policy.name(),
            generation = number,
            reload_ms,
            "policy reloaded"
        );
    }
}

impl Seen {
    /// Notes the files as they are now.
    fn look(&mut self, spec: &PolicySpec) {
        self.stamps = stamps(spec);
        self.trail = Trail::of(files(spec));
        self.unsettled = None;
    }

    fn forget(&mut self) {
        self.stamps.clear();
        self.refused = None;
    }

    /// Are the files to be read? What was told is read even where the files look as before: a clock's resolution may hide a
    /// change. What was refused is not, since one change is often told more than once.
    fn is_due(&mut self, spec: &PolicySpec, cause: Cause) -> bool {
        let now = stamps(spec);
        let is_settled = self.unsettled.as_ref() == Some(&now);
        let is_due = match cause {
            Cause::Told => now != self.stamps || self.refused.is_none(),
            Cause::Found => now != self.stamps && is_settled,
        };
        if is_due {
            self.look(spec);
        } else {
            self.unsettled = (now != self.stamps).then_some(now);
        }
        is_due
    }
}

/// What the files are now; a panic of ours is one more reason to refuse them.
fn renew(shared: &Shared, index: usize) -> Result<Found, Refusal> {
    let renewed = catch_unwind(AssertUnwindSafe(|| found(shared, index)));
    renewed.unwrap_or_else(|_| Err(unreadable(LoadError::Panic)))
}

fn found(shared: &Shared, index: usize) -> Result<Found, Refusal> {
    let entry = &shared.entries[index];
    let files = Files::read(&entry.policy).map_err(unreadable)?;
    let digest = files.digests.whole;
    let current = shared.current.load();
    let active = current.versions().get(index);
    if active.is_some_and(|version| version.digests.whole == digest) {
        return Ok(Found::Active);
    }
    let version = load(shared, entry, files).map_err(|error| Refusal {
        refused: Refused::Version(digest),
        error,
    })?;
    Ok(Found::Fresh(Arc::new(version)))
}

fn unreadable(error: LoadError) -> Refusal {
    Refusal {
        refused: Refused::Unreadable(error.to_string()),
        error,
    }
}

fn load(shared: &Shared, entry: &Entry, files: Files) -> Result<Version, LoadError> {
    entry.lock_progress().state = State::Seen;
    load::version(&shared.engine, &entry.policy, files, |state| {
        entry.lock_progress().state = state
    })
}

fn quarantine(entry: &Entry, seen: &mut Seen, Refusal { refused, error }: Refusal) {
    let is_told = seen.refused.as_ref() == Some(&refused);
    seen.refused = Some(refused);
    if is_told {
        entry.lock_progress().state = State::Quarantined;
        return;
    }
    entry.refuse(error.stage(), error.to_string());
    tracing::warn!(policy = entry.policy.name(), %error, "policy not reloaded; the version before goes on");
}

fn files(spec: &PolicySpec) -> impl Iterator<Item = &Path> {
    let config = match &spec.config {
        ConfigSource::File(path) => Some(path.as_path()),
        ConfigSource::Inline(_) => None,
    };
    std::iter::once(spec.component.as_path()).chain(config)
}

fn stamps(spec: &PolicySpec) -> Vec<Option<Stamp>> {
    files(spec).map(|file| Stamp::of(file).ok()).collect()
}
