//! Registrations on disk (redb), so that a restart brings them back. Messages see memory alone: what changes is handed to one thread,
//! which writes the changes of a tenth of a second in one transaction. A crash costs what changed within that time.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use hookswitch_sip::{
    flow::{Flow, FlowId, SessionKey},
    registrar::{Aor, Binding},
    token::ClientKey,
};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

/// Bindings by address of record, as JSON.
const BINDINGS: TableDefinition<&str, &[u8]> = TableDefinition::new("bindings");
const WRITE_EVERY: Duration = Duration::from_millis(100);
/// After a write that failed.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The open file and the thread that writes it.
#[derive(Debug)]
pub(crate) struct Disk {
    changes: Arc<Changes>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Names by `ListenerId`, which is not the same after a change of the configuration.
    listeners: Vec<Arc<str>>,
}

/// What a restart finds.
pub(crate) type Restored = Vec<(Aor, Vec<Binding>)>;

/// The flow of a listener and peer, if there still is that listener.
pub(crate) type DatagramFlow<'a> = &'a dyn Fn(&str, SocketAddr) -> Option<Arc<Flow>>;

#[derive(Debug, Default)]
struct Changes {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

/// As many at most as there are registrations: of one address of record the latest counts.
#[derive(Debug, Default)]
struct Waiting {
    changed: HashMap<Aor, Vec<Stored>>,
    is_closing: bool,
}

/// A binding as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    contact: String,
    q: u16,
    expires_unix_s: u64,
    call_id: String,
    cseq: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reg_id: Option<u32>,
    #[serde(alias = "session")]
    client: u64,
    /// By which dialogs that are up find it again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sessions: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    path: Vec<String>,
    /// Listener and peer of a datagram flow; no connection outlives the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    datagram: Option<(String, SocketAddr)>,
}

impl Disk {
    /// Opens or makes the file and reads what is in it and not over.
    ///
    /// # Errors
    /// The file is not what we wrote, or another process has it.
    pub(crate) fn open(
        file: &Path,
        listeners: Vec<Arc<str>>,
        datagram_flow: DatagramFlow<'_>,
    ) -> Result<(Self, Restored)> {
        let open = || -> Result<(Database, Restored)> {
            let database = Database::create(file)?;
            let restored = read(&database, datagram_flow)?;
            Ok((database, restored))
        };
        let (database, restored) = open().with_context(|| {
            format!(
                "registrar.store: {} cannot be read; move it away to begin with no registrations",
                file.display()
            )
        })?;
        let changes = Arc::<Changes>::default();
        let written = Arc::clone(&changes);
        let writer = thread::Builder::new()
            .name("registrations".to_owned())
            .spawn(move || write(&database, &written))?;
        let disk = Self {
            changes,
            writer: Mutex::new(Some(writer)),
            listeners,
        };
        Ok((disk, restored))
    }

    /// `bindings` are all that `aor` has now.
    pub(crate) fn note(&self, aor: &Aor, bindings: &[Binding]) {
        let clock = Clock::now();
        let stored = bindings
            .iter()
            .map(|binding| self.stored(binding, clock))
            .collect();
        self.changes.lock().changed.insert(aor.clone(), stored);
        self.changes.wake.notify_one();
    }

    /// Returns when everything is written.
    pub(crate) fn close(&self) {
        self.changes.lock().is_closing = true;
        self.changes.wake.notify_one();
        let writer = self.writer.lock().map(|mut writer| writer.take());
        if let Ok(Some(writer)) = writer
            && writer.join().is_err()
        {
            tracing::error!("the thread that writes registrations has panicked");
        }
    }

    fn stored(&self, binding: &Binding, clock: Clock) -> Stored {
        let datagram = binding.flow.as_ref().and_then(|flow| match flow.id {
            FlowId::Datagram { listener, peer } => {
                let name = self.listeners.get(usize::from(listener.0))?;
                Some((name.to_string(), peer))
            }
            FlowId::Connection { .. } => None,
        });
        Stored {
            contact: binding.contact.clone(),
            q: binding.q,
            expires_unix_s: clock.unix_s(binding.expires_at),
            call_id: binding.call_id.clone(),
            cseq: binding.cseq,
            instance: binding.instance.clone(),
            reg_id: binding.reg_id,
            client: binding.client.0,
            sessions: binding.sessions.iter().map(|session| session.0).collect(),
            path: binding.path.clone(),
            datagram,
        }
    }
}

impl Changes {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to write; `None` if there never will be.
    fn take(&self) -> Option<HashMap<Aor, Vec<Stored>>> {
        let idle = |waiting: &mut Waiting| waiting.changed.is_empty() && !waiting.is_closing;
        let waiting = self.wake.wait_while(self.lock(), idle);
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let changed = std::mem::take(&mut waiting.changed);
        (!changed.is_empty()).then_some(changed)
    }

    /// What could not be written waits again, unless it has changed since. Says whether there is a next time.
    fn put_back(&self, batch: HashMap<Aor, Vec<Stored>>) -> bool {
        let mut waiting = self.lock();
        for (aor, stored) in batch {
            waiting.changed.entry(aor).or_insert(stored);
        }
        !waiting.is_closing
    }
}

fn write(database: &Database, changes: &Changes) {
    while let Some(batch) = changes.take() {
        let pause = match commit(database, &batch) {
            Ok(()) => WRITE_EVERY,
            Err(error) => {
                tracing::error!("registrations are not written: {error:#}");
                if !changes.put_back(batch) {
                    return;
                }
                TRY_AGAIN_AFTER
            }
        };
        if !changes.lock().is_closing {
            thread::sleep(pause);
        }
    }
}

fn commit(database: &Database, batch: &HashMap<Aor, Vec<Stored>>) -> Result<()> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(BINDINGS)?;
        for (aor, stored) in batch {
            if stored.is_empty() {
                table.remove(aor.as_str())?;
            } else {
                table.insert(aor.as_str(), serde_json::to_vec(stored)?.as_slice())?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn read(database: &Database, datagram_flow: DatagramFlow<'_>) -> Result<Restored> {
    // A new file has no table yet.
    let transaction = database.begin_write()?;
    transaction.open_table(BINDINGS)?;
    transaction.commit()?;
    let clock = Clock::now();
    let mut restored = Vec::new();
    for entry in database.begin_read()?.open_table(BINDINGS)?.iter()? {
        let (aor, stored) = entry?;
        let stored: Vec<Stored> = serde_json::from_slice(stored.value())
            .with_context(|| format!("the bindings of {}", aor.value()))?;
        let bindings: Vec<Binding> = stored
            .into_iter()
            .filter_map(|stored| stored.binding(clock, datagram_flow))
            .collect();
        restored.push((Aor::canonical(aor.value()), bindings));
    }
    Ok(restored)
}

impl Stored {
    /// `None` if it is over.
    fn binding(self, clock: Clock, datagram_flow: DatagramFlow<'_>) -> Option<Binding> {
        let expires_at = clock.instant(self.expires_unix_s)?;
        let flow = self
            .datagram
            .and_then(|(listener, peer)| datagram_flow(&listener, peer));
        Some(Binding {
            contact: self.contact,
            q: self.q,
            expires_at,
            call_id: self.call_id,
            cseq: self.cseq,
            instance: self.instance,
            reg_id: self.reg_id,
            client: ClientKey(self.client),
            sessions: self.sessions.into_iter().map(SessionKey).collect(),
            path: self.path,
            flow,
        })
    }
}

/// One moment on both clocks: an `Instant` means nothing to another process.
#[derive(Clone, Copy)]
struct Clock {
    instant: Instant,
    since_epoch: Duration,
}

impl Clock {
    fn now() -> Self {
        Self {
            instant: Instant::now(),
            since_epoch: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }

    fn unix_s(self, at: Instant) -> u64 {
        (self.since_epoch + at.saturating_duration_since(self.instant)).as_secs()
    }

    /// `None` if that is over.
    fn instant(self, unix_s: u64) -> Option<Instant> {
        let left = Duration::from_secs(unix_s).checked_sub(self.since_epoch)?;
        self.instant.checked_add(left)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("hookswitch-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn open(file: &Path) -> Result<(Disk, Restored)> {
        Disk::open(file, Vec::new(), &|_, _| None)
    }

    fn binding(expires_at: Instant) -> Binding {
        Binding {
            contact: "sip:x@a.invalid".into(),
            q: 500,
            expires_at,
            call_id: "c".into(),
            cseq: 7,
            instance: Some("urn:uuid:1".into()),
            reg_id: Some(1),
            client: ClientKey(9),
            sessions: vec![SessionKey(8), SessionKey(7)],
            path: vec!["<sip:edge;lr>".into()],
            flow: None,
        }
    }

    #[test]
    fn what_was_written_comes_back_without_what_is_over() {
        let folder = folder("disk");
        let file = folder.join("registrations.redb");
        let (disk, restored) = open(&file).unwrap();
        assert!(restored.is_empty());
        let [alice, bob] = ["alice", "bob"].map(|user| Aor::new(user, "example.com"));
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(60));
        disk.note(&alice, &[binding(later), binding(now)]);
        disk.note(&bob, &[binding(later)]);
        disk.note(&bob, &[]);
        disk.close();
        drop(disk);

        let (disk, restored) = open(&file).unwrap();
        disk.close();
        let [(aor, bindings)] = restored.as_slice() else {
            panic!("{restored:?}");
        };
        assert_eq!((aor, bindings.len()), (&alice, 1));
        let left = bindings[0].expires_at - Instant::now();
        assert!((57..=60).contains(&left.as_secs()), "{left:?}");
        assert_eq!(
            Binding {
                expires_at: later,
                ..bindings[0].clone()
            },
            binding(later)
        );
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_crash_keeps_what_was_written_before() {
        let folder = folder("crash");
        let file = folder.join("registrations.redb");
        let (disk, _) = open(&file).unwrap();
        let alice = Aor::new("alice", "");
        disk.note(&alice, &[binding(Instant::now() + Duration::from_secs(60))]);
        // The file as another process would find it, had this one been killed.
        let found = (0..1_000).any(|_| {
            thread::sleep(Duration::from_millis(10));
            let copy = folder.join("copy.redb");
            std::fs::copy(&file, &copy).unwrap();
            open(&copy).is_ok_and(|(disk, restored)| {
                disk.close();
                restored.len() == 1
            })
        });
        assert!(found, "not written");
        disk.close();
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_refused_by_name() {
        let folder = folder("foreign");
        let file = folder.join("registrations.redb");
        std::fs::write(&file, "not a database").unwrap();
        let error = format!("{:#}", open(&file).unwrap_err());
        assert!(error.starts_with("registrar.store: "), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
