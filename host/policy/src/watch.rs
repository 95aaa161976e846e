//! Tells when a file may have changed: a policy's, or the one that names the policies. It watches folders, since a file is most often replaced, and every folder in which a
//! symbolic link stands on the way to the file: Kubernetes swaps such a link. It reads no file.

use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{self, Component, Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind},
};

/// Links on the way to one file; as many as Linux follows.
const LINKS_MAX: usize = 40;

/// Where no event tells of a change, it is found this late at most.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Watches one file until it is dropped.
pub struct FileWatch(Sender<Heard>);

/// What reaches the thread of one file.
enum Heard {
    File(Signal),
    Stop,
}

impl FileWatch {
    /// Calls `changed`, on a thread of its own, each time that something whole has come to stand at the path of `file`.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(file: PathBuf, changed: impl FnMut() + Send + 'static) -> io::Result<Self> {
        let (signals, received) = mpsc::channel();
        let told = signals.clone();
        let mut watch = Watch::start(move |signal| {
            // An error says that the watch is over.
            let _ = told.send(Heard::File(signal));
        });
        let trail = Trail::of([file.as_path()]);
        watch.follow(std::iter::once(&trail));
        let seen = Stamp::of(&file).ok();
        thread::Builder::new()
            .name("file-watch".to_owned())
            .spawn(move || follow_one(&file, watch, trail, seen, &received, changed))?;
        Ok(Self(signals))
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        // An error says that the thread has ended already.
        let _ = self.0.send(Heard::Stop);
    }
}

fn follow_one(
    file: &Path,
    mut watch: Watch,
    mut trail: Trail,
    mut seen: Option<Stamp>,
    received: &Receiver<Heard>,
    mut changed: impl FnMut(),
) {
    loop {
        let is_told = match received.recv_timeout(LOOK_EVERY) {
            Ok(Heard::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Heard::File(Signal::Changed(paths)))
                if !paths.iter().any(|path| trail.passes(path)) =>
            {
                continue;
            }
            Ok(Heard::File(Signal::Changed(_))) => true,
            Ok(Heard::File(Signal::Rescan)) | Err(RecvTimeoutError::Timeout) => false,
        };
        let now = Stamp::of(file).ok();
        // One that is away is being replaced.
        if now.is_none() || (!is_told && now == seen) {
            continue;
        }
        seen = now;
        trail = Trail::of([file]);
        watch.follow(std::iter::once(&trail));
        changed();
    }
}

/// What the system told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Something whole stands at one of these paths.
    Changed(Vec<PathBuf>),
    /// Anything may have changed.
    Rescan,
}

/// The folders that are watched now.
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
}

/// The way to a file: every name whose replacement changes what is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trail(BTreeSet<PathBuf>);

/// What tells that a file is another one, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Watch {
    /// Without a watcher of the system's files are still looked at now and then.
    pub(crate) fn start(tell: impl Fn(Signal) + Send + 'static) -> Self {
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Some(signal) = signal(event) {
                tell(signal);
            }
        });
        let watcher = watcher.map_err(
            |error| tracing::warn!(%error, "files are not watched, only looked at now and then"),
        );
        Self {
            watcher: watcher.ok(),
            folders: BTreeSet::new(),
        }
    }

    /// Watches the folders of these trails, and no others. A folder may have been replaced by another of its name: all are
    /// watched anew.
    pub(crate) fn follow<'a>(&mut self, trails: impl Iterator<Item = &'a Trail>) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let folders: BTreeSet<PathBuf> = trails
            .flat_map(Trail::folders)
            .map(Path::to_owned)
            .collect();
        for gone in self.folders.difference(&folders) {
            // The folder itself may be gone, and its watch with it.
            let _ = watcher.unwatch(gone);
        }
        for folder in &folders {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::warn!(folder = %folder.display(), %error, "folder is not watched, only looked at now and then");
            }
        }
        self.folders = folders;
    }
}

impl Trail {
    /// Follows the links as they stand now; what does not exist is part of the trail as well.
    pub(crate) fn of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut trail = Self::default();
        files.into_iter().for_each(|file| trail.add(file));
        trail
    }

    pub(crate) fn passes(&self, path: &Path) -> bool {
        self.0.contains(path)
    }

    fn folders(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().filter_map(|path| path.parent())
    }

    fn add(&mut self, file: &Path) {
        let Ok(absolute) = path::absolute(file) else {
            return;
        };
        let mut rest: VecDeque<OsString> = names(&absolute);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            let path = at.join(&name);
            match fs::read_link(&path) {
                Ok(target) if links < LINKS_MAX => {
                    links += 1;
                    self.0.insert(path);
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    names(&target)
                        .into_iter()
                        .rev()
                        .for_each(|name| rest.push_front(name));
                }
                Ok(_) | Err(_) => at = path,
            }
        }
        self.0.insert(at);
    }
}

impl Stamp {
    pub(crate) fn of(file: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(file)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// The names of a path, without its root and its dots.
fn names(path: &Path) -> VecDeque<OsString> {
    let named = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    named.map(|part| part.as_os_str().to_owned()).collect()
}

/// Of all that happens in a folder, what leaves a whole file behind: a writer closed it, or something took its name. A file that
/// was only created is still being written, unless it is a link.
fn signal(event: notify::Result<Event>) -> Option<Signal> {
    let event = match event {
        Ok(event) if event.need_rescan() => return Some(Signal::Rescan),
        Ok(event) => event,
        Err(_) => return Some(Signal::Rescan),
    };
    let is_whole = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(_)) => true,
        EventKind::Create(_) => event.paths.iter().any(|path| is_link(path)),
        EventKind::Any
        | EventKind::Access(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => false,
    };
    is_whole.then_some(Signal::Changed(event.paths))
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink() || metadata.nlink() > 1)
}
