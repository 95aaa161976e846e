//! The thread that brings new versions to serve: seen, compiled, linked, configured, active; or quarantined, with the version before
//! still active. It also gives up old generations, so that no worker spends its time on that.

use std::{
    collections::BTreeSet,
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

/// The state of the thread.
pub(crate) struct Loader {
    shared: Arc<Shared>,
    seen: Vec<Seen>,
    watch: Watch,
    rescanned: Instant,
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
    pub(crate) fn new(shared: Arc<Shared>, signals: Sender<Signal>) -> Self {
        let seen = shared.entries.iter().map(|_| Seen::default()).collect();
        Self {
            shared,
            seen,
            watch: Watch::start(signals),
            rescanned: Instant::now(),
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
                Files::read(&entry.policy).and_then(|files| load(&self.shared, entry, files, 1));
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
            .for_each(|entry| entry.lock_progress().state = State::Active);
        self.shared
            .current
            .store(Arc::new(Generation::new(1, versions)));
        Ok(())
    }

    /// Until it is told to stop.
    pub(crate) fn run(&mut self, received: &Receiver<Signal>) {
        engine::lower_priority();
        loop {
            let interval = if self.drain() {
                DRAIN_INTERVAL
            } else {
                RESCAN_INTERVAL
            };
            let mut changed = match received.recv_timeout(interval) {
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Signal::Rescan) => {
                    self.seen.iter_mut().for_each(Seen::forget);
                    self.reload(Cause::Told, |_| true)
                }
                Ok(Signal::Changed(paths)) => self.reload(Cause::Told, |trail| {
                    paths.iter().any(|path| trail.passes(path))
                }),
                Err(RecvTimeoutError::Timeout) => false,
            };
            if self.rescanned.elapsed() >= RESCAN_INTERVAL {
                self.rescanned = Instant::now();
                changed |= self.reload(Cause::Found, |_| true);
            }
            if changed {
                self.follow();
            }
        }
    }

    fn follow(&mut self) {
        self.watch.follow(self.seen.iter().map(|seen| &seen.trail));
    }

    /// Gives up what nobody holds; says whether something is still held.
    fn drain(&self) -> bool {
        let mut draining = self.shared.lock_draining();
        let free = draining.extract_if(.., |old| Arc::strong_count(old) == 1);
        let free: Vec<Arc<Generation>> = free.collect();
        let is_held = !draining.is_empty();
        drop(draining);
        for old in free {
            tracing::debug!(generation = old.number(), "generation retired");
        }
        is_held
    }

    /// Reads the policies whose trail is concerned and whose files are others, and swaps in what can serve. Says whether any file
    /// was another.
    fn reload(&mut self, cause: Cause, concerns: impl Fn(&Trail) -> bool) -> bool {
        let began = Instant::now();
        let number = self.shared.current.load().number() + 1;
        let (mut fresh, mut changed) = (Vec::new(), false);
        for (index, (entry, seen)) in self.shared.entries.iter().zip(&mut self.seen).enumerate() {
            if !concerns(&seen.trail) || !seen.is_due(entry.policy.spec(), cause) {
                continue;
            }
            changed = true;
            let active = self
                .shared
                .current
                .load()
                .versions()
                .get(index)
                .map(|version| version.digests.whole);
            if let Some(version) = renew(&self.shared, entry, seen, active, number) {
                fresh.push((index, version));
            }
        }
        if !fresh.is_empty() {
            self.swap(number, fresh, began);
        }
        changed
    }

    fn swap(&self, number: u64, fresh: Vec<(usize, Version)>, began: Instant) {
        let mut versions = self.shared.current.load().versions().to_vec();
        let renewed: BTreeSet<usize> = fresh.iter().map(|(index, _)| *index).collect();
        for (index, version) in fresh {
            versions[index] = Arc::new(version);
        }
        let old = self
            .shared
            .current
            .swap(Arc::new(Generation::new(number, versions)));
        self.shared.lock_draining().push(old);
        let reload_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        for entry in renewed
            .iter()
            .filter_map(|&index| self.shared.entries.get(index))
        {
            let mut progress = entry.lock_progress();
            progress.state = State::Active;
            progress.reload_ms = reload_ms;
            progress.reloads += 1;
            entry.policy.renewed();
            tracing::info!(
                policy = entry.policy.name(),
                generation = number,
                reload_ms,
                "policy reloaded"
            );
        }
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

/// The new version, if the files are another one and it can serve.
fn renew(
    shared: &Shared,
    entry: &Entry,
    seen: &mut Seen,
    active: Option<Digest>,
    number: u64,
) -> Option<Version> {
    let files = match Files::read(&entry.policy) {
        Ok(files) => files,
        Err(error) => {
            quarantine(entry, seen, Refused::Unreadable(error.to_string()), &error);
            return None;
        }
    };
    let digest = files.digests.whole;
    if active == Some(digest) {
        seen.refused = None;
        entry.lock_progress().state = State::Active;
        return None;
    }
    match load(shared, entry, files, number) {
        Ok(version) => {
            seen.refused = None;
            Some(version)
        }
        Err(error) => {
            quarantine(entry, seen, Refused::Version(digest), &error);
            None
        }
    }
}

fn load(shared: &Shared, entry: &Entry, files: Files, number: u64) -> Result<Version, LoadError> {
    entry.lock_progress().state = State::Seen;
    load::version(&shared.engine, &entry.policy, files, number, |state| {
        entry.lock_progress().state = state
    })
}

fn quarantine(entry: &Entry, seen: &mut Seen, refused: Refused, error: &LoadError) {
    let mut progress = entry.lock_progress();
    progress.state = State::Quarantined;
    if seen.refused.as_ref() == Some(&refused) {
        return;
    }
    progress.refused += 1;
    seen.refused = Some(refused);
    entry
        .policy
        .set_last_error(format!("not reloaded: {error}"));
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
