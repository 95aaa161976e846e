//! The location service in memory, shared by all workers: bindings by address of record, and the ways to them from a client's token,
//! from a dialog's session and from a closed flow. The rules are `registrar`'s; `disk` brings bindings over a restart.

pub(crate) mod disk;
mod index;

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use hookswitch_sip::{
    flow::{Flow, FlowId, SessionKey},
    proxy::io::{StoreOp, StoreReply},
    registrar::{self, Aor, Binding, RegisterUpdate},
    token::ClientKey,
};

use self::{
    disk::{Disk, Restored},
    index::Index,
};

/// Locks are held for one address of record, and for a part of them while what is over is swept.
const SHARDS: usize = 64;

/// All bindings of this process.
#[derive(Debug)]
pub(crate) struct Locations {
    hasher: RandomState,
    bindings: Vec<Mutex<HashMap<Aor, Vec<Binding>>>>,
    clients: Index<ClientKey, Aor>,
    sessions: Index<SessionKey, Aor>,
    flows: Index<FlowId, Aor>,
    /// Connections whose clients named their session, whether or not they registered.
    named: Index<SessionKey, Arc<Named>>,
    /// Addresses of record with a binding.
    registrations: AtomicUsize,
    registrations_max: usize,
    disk: Option<Disk>,
}

/// A connection whose client named its session.
#[derive(Debug)]
struct Named {
    flow: Arc<Flow>,
    /// Its client opened another since anything was heard on it: it is another tab of that session, or a network that is gone.
    is_doubted: AtomicBool,
}

impl Locations {
    pub(crate) fn new(registrations_max: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            bindings: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
            clients: Index::new(),
            sessions: Index::new(),
            flows: Index::new(),
            named: Index::new(),
            registrations: AtomicUsize::new(0),
            registrations_max,
            disk: None,
        }
    }

    /// With what was on the disk, which gets all that changes from now on.
    pub(crate) fn on_disk(registrations_max: usize, disk: Disk, restored: Restored) -> Self {
        let mut locations = Self::new(registrations_max);
        for (aor, bindings) in restored {
            if bindings.is_empty() {
                // Over while nobody ran: the file forgets it, too.
                disk.note(&aor, &[]);
                continue;
            }
            let mut shard = lock(locations.shard(&aor));
            locations.changed(&aor, &[], &bindings);
            shard.insert(aor, bindings);
        }
        locations.disk = Some(disk);
        locations
    }

    /// Returns when all is on the disk, if there is one.
    pub(crate) fn close(&self) {
        self.disk.iter().for_each(Disk::close);
    }

    /// Removes all bindings of an address of record. Says whether it had any.
    pub(crate) fn remove(&self, aor: &Aor) -> bool {
        let mut shard = lock(self.shard(aor));
        let removed = shard.remove(aor).unwrap_or_default();
        self.changed(aor, &removed, &[]);
        !removed.is_empty()
    }

    /// Addresses of record with a binding.
    pub(crate) fn registrations(&self) -> usize {
        self.registrations.load(Relaxed)
    }

    /// Answers the proxy; `None` where it expects no answer.
    pub(crate) fn answer(&self, op: StoreOp, now: Instant) -> StoreReply {
        match op {
            StoreOp::Register { aor, update } => self.register(&aor, &update, now),
            StoreOp::Lookup { aor } => StoreReply::Bindings(self.lookup(&aor, now)),
            StoreOp::Session { key, flow } => StoreReply::Session(self.session(key, flow, now)),
            StoreOp::Client { key } => {
                StoreReply::Bindings(self.binding(key, now).into_iter().collect())
            }
            StoreOp::FlowClosed { flow } => {
                self.unreachable(flow);
                StoreReply::Bindings(Vec::new())
            }
        }
    }

    /// A connection is up. Those that its client had before are doubted until something is heard on them: they are to be asked.
    pub(crate) fn opened(&self, flow: &Arc<Flow>) -> Vec<FlowId> {
        let Some(session) = flow.session else {
            return Vec::new();
        };
        let earlier = self.named.get(&session);
        let named = Named {
            flow: Arc::clone(flow),
            is_doubted: AtomicBool::new(false),
        };
        self.named.insert(session, Arc::new(named));
        let doubt = |named: Arc<Named>| {
            named.is_doubted.store(true, Relaxed);
            named.flow.id
        };
        earlier.into_iter().map(doubt).collect()
    }

    /// Its peer is there.
    pub(crate) fn heard(&self, flow: &Flow) {
        let of_session = flow.session.map(|session| self.named.get(&session));
        for named in of_session.into_iter().flatten() {
            if named.flow.id == flow.id {
                named.is_doubted.store(false, Relaxed);
            }
        }
    }

    /// It is gone.
    pub(crate) fn closed(&self, flow: &Flow) {
        if let Some(session) = flow.session {
            self.named.remove(&session, |each| each.flow.id == flow.id);
        }
        self.unreachable(flow.id);
    }

    /// Bindings on this flow are so until they are refreshed.
    fn unreachable(&self, flow: FlowId) {
        for aor in self.flows.get(&flow) {
            if let Some(bindings) = lock(self.shard(&aor)).get_mut(&aor) {
                registrar::flow_closed(bindings, flow);
            }
            self.flows.remove(&flow, |each| *each == aor);
        }
    }

    /// Forgets what is over.
    pub(crate) fn sweep(&self, now: Instant) {
        for shard in &self.bindings {
            lock(shard).retain(|aor, bindings| {
                if bindings.iter().all(|binding| binding.expires_at > now) {
                    return true;
                }
                let before = bindings.clone();
                bindings.retain(|binding| binding.expires_at > now);
                self.changed(aor, &before, bindings);
                !bindings.is_empty()
            });
        }
    }

    /// A page of them for people, in order: at most `max`.
    pub(crate) fn list(&self, max: usize) -> Vec<(Aor, Vec<Binding>)> {
        let mut listed: Vec<_> = Vec::new();
        for shard in &self.bindings {
            let room = max.saturating_sub(listed.len());
            let shard = lock(shard);
            listed.extend(
                shard
                    .iter()
                    .take(room)
                    .map(|(aor, bindings)| (aor.clone(), bindings.clone())),
            );
        }
        listed.sort_by(|(a, _), (b, _)| a.cmp(b));
        listed
    }

    fn register(&self, aor: &Aor, update: &RegisterUpdate, now: Instant) -> StoreReply {
        let mut shard = lock(self.shard(aor));
        let before = shard.get(aor).cloned().unwrap_or_default();
        if before.is_empty() && self.registrations() >= self.registrations_max {
            let reason = "Too many registrations".to_owned();
            return StoreReply::Refused {
                status: 500,
                reason,
            };
        }
        let mut after = before.clone();
        let applied = registrar::apply(&mut after, update, now);
        if after.is_empty() {
            shard.remove(aor);
        } else {
            shard.insert(aor.clone(), after.clone());
        }
        self.changed(aor, &before, &after);
        drop(shard);
        match applied {
            Ok(()) => StoreReply::Bindings(after),
            Err(error) => StoreReply::Refused {
                status: error.status(),
                reason: error.to_string(),
            },
        }
    }

    fn lookup(&self, aor: &Aor, now: Instant) -> Vec<Binding> {
        let shard = lock(self.shard(aor));
        let current = shard.get(aor).into_iter().flatten();
        current
            .filter(|binding| binding.expires_at > now)
            .cloned()
            .collect()
    }

    /// By a connection that named it, else by what is registered.
    fn session(&self, key: SessionKey, hint: FlowId, now: Instant) -> Option<Arc<Flow>> {
        let named = self.named.get(&key);
        let is_it = |each: &&Arc<Named>| each.flow.id == hint && !each.is_doubted.load(Relaxed);
        // Of a tab that was duplicated each has its own dialogs; else the newest is the one whose network is there.
        if let Some(found) = named.iter().find(is_it).or(named.last()) {
            return Some(Arc::clone(&found.flow));
        }
        self.users_of(key, hint).into_iter().find_map(|aor| {
            let shard = lock(self.shard(&aor));
            registrar::flow_of_session(shard.get(&aor)?, key, hint, now)
        })
    }

    /// Whose clients a session may be of. Its own key has the first word, also while its client is away: the connection `hint` may have
    /// carried others, as that of an SBC does, who meanwhile come by connections of their own and must not get its requests. So where
    /// the key says nothing, as that of a caller who hides, the connection counts if it can mean nobody but one.
    fn users_of(&self, key: SessionKey, hint: FlowId) -> Vec<Aor> {
        let users = self.sessions.get(&key);
        if !users.is_empty() {
            return users;
        }
        let users = hint.session().map(|serial| self.sessions.get(&serial));
        users.filter(|users| users.len() == 1).unwrap_or_default()
    }

    fn binding(&self, key: ClientKey, now: Instant) -> Option<Binding> {
        let aor = self.clients.get(&key).pop()?;
        let shard = lock(self.shard(&aor));
        let is_it = |binding: &&Binding| binding.client == key && binding.expires_at > now;
        shard.get(&aor)?.iter().find(is_it).cloned()
    }

    /// Brings the indices, the count and the disk from `before` to `after`, under the lock of the bindings: an index that lags behind would take
    /// away what a newer registration has just put there. Whoever holds a lock of an index takes none of bindings.
    fn changed(&self, aor: &Aor, before: &[Binding], after: &[Binding]) {
        match (before.is_empty(), after.is_empty()) {
            (true, false) => drop(self.registrations.fetch_add(1, Relaxed)),
            (false, true) => drop(self.registrations.fetch_sub(1, Relaxed)),
            (true, true) | (false, false) => {}
        }
        if let Some(disk) = self.disk.as_ref().filter(|_| before != after) {
            disk.note(aor, after);
        }
        follow(&self.clients, aor, before, after, |b| vec![b.client]);
        follow(&self.sessions, aor, before, after, |b| b.sessions.clone());
        follow(&self.flows, aor, before, after, |binding| {
            connection(binding).into_iter().collect()
        });
    }

    fn shard(&self, aor: &Aor) -> &Mutex<HashMap<Aor, Vec<Binding>>> {
        &self.bindings[self.hasher.hash_one(aor) as usize % SHARDS]
    }
}

/// Brings an index from `before` to `after`.
fn follow<K: Copy + Eq + Hash>(
    index: &Index<K, Aor>,
    aor: &Aor,
    before: &[Binding],
    after: &[Binding],
    keys: impl Fn(&Binding) -> Vec<K>,
) {
    let of = |bindings: &[Binding]| bindings.iter().flat_map(&keys).collect::<HashSet<_>>();
    let (old, new) = (of(before), of(after));
    for key in old.difference(&new) {
        index.remove(key, |each| each == aor);
    }
    for key in new.difference(&old) {
        index.insert(*key, aor.clone());
    }
}

/// A flow that can close: a datagram flow never does.
fn connection(binding: &Binding) -> Option<FlowId> {
    let flow = binding.flow.as_ref()?.id;
    matches!(flow, FlowId::Connection { .. }).then_some(flow)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
