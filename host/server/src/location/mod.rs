//! The location service in memory, shared by all workers: bindings by address of record, and the ways to them from a session's token
//! and from a closed flow. The rules are `registrar::apply`'s; `disk` brings bindings over a restart.

pub(crate) mod disk;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use hookswitch_sip::{
    flow::{Flow, FlowId},
    proxy::io::{StoreOp, StoreReply},
    registrar::{self, Aor, Binding, RegisterUpdate},
    token::SessionKey,
};

use self::disk::{Disk, Restored};

/// Locks are held for one address of record, and for a part of them while what is over is swept.
const SHARDS: usize = 64;

/// All bindings of this process.
#[derive(Debug)]
pub(crate) struct Locations {
    hasher: RandomState,
    bindings: Vec<Mutex<HashMap<Aor, Vec<Binding>>>>,
    sessions: Vec<Mutex<HashMap<SessionKey, Aor>>>,
    flows: Vec<Mutex<HashMap<FlowId, HashSet<Aor>>>>,
    /// Addresses of record with a binding.
    registrations: AtomicUsize,
    registrations_max: usize,
    disk: Option<Disk>,
}

fn shards<T: Default>() -> Vec<Mutex<T>> {
    std::iter::repeat_with(Mutex::default)
        .take(SHARDS)
        .collect()
}

impl Locations {
    pub(crate) fn new(registrations_max: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            bindings: shards(),
            sessions: shards(),
            flows: shards(),
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
            let mut shard = lock(locations.shard(&locations.bindings, &aor));
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
        let mut shard = lock(self.shard(&self.bindings, aor));
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
            StoreOp::Session { key } => StoreReply::Session(self.session(key, now)),
            StoreOp::Client { key } => {
                StoreReply::Bindings(self.binding(key, now).into_iter().collect())
            }
            StoreOp::FlowClosed { flow } => {
                self.flow_closed(flow);
                StoreReply::Bindings(Vec::new())
            }
        }
    }

    /// Bindings on this flow are unreachable until they are refreshed.
    pub(crate) fn flow_closed(&self, flow: FlowId) {
        let aors = lock(self.shard(&self.flows, &flow)).remove(&flow);
        for aor in aors.into_iter().flatten() {
            if let Some(bindings) = lock(self.shard(&self.bindings, &aor)).get_mut(&aor) {
                registrar::flow_closed(bindings, flow);
            }
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
        let mut shard = lock(self.shard(&self.bindings, aor));
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
        let shard = lock(self.shard(&self.bindings, aor));
        let current = shard.get(aor).into_iter().flatten();
        current
            .filter(|binding| binding.expires_at > now)
            .cloned()
            .collect()
    }

    fn session(&self, key: SessionKey, now: Instant) -> Option<Arc<Flow>> {
        self.binding(key, now)?.flow
    }

    fn binding(&self, key: SessionKey, now: Instant) -> Option<Binding> {
        let aor = lock(self.shard(&self.sessions, &key)).get(&key).cloned()?;
        let shard = lock(self.shard(&self.bindings, &aor));
        let is_it = |binding: &&Binding| binding.session == key && binding.expires_at > now;
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
        let sessions =
            |bindings: &[Binding]| bindings.iter().map(|b| b.session).collect::<BTreeSet<_>>();
        let (old, new) = (sessions(before), sessions(after));
        for key in old.difference(&new) {
            lock(self.shard(&self.sessions, key)).remove(key);
        }
        for key in new.difference(&old) {
            lock(self.shard(&self.sessions, key)).insert(*key, aor.clone());
        }
        let (old, new) = (connections(before), connections(after));
        for flow in old.difference(&new) {
            let mut shard = lock(self.shard(&self.flows, flow));
            if let Some(aors) = shard.get_mut(flow) {
                aors.remove(aor);
                if aors.is_empty() {
                    shard.remove(flow);
                }
            }
        }
        for flow in new.difference(&old) {
            lock(self.shard(&self.flows, flow))
                .entry(*flow)
                .or_default()
                .insert(aor.clone());
        }
    }

    fn shard<'a, T>(&self, shards: &'a [T], key: &impl Hash) -> &'a T {
        &shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

/// Flows that can close: a datagram flow never does.
fn connections(bindings: &[Binding]) -> HashSet<FlowId> {
    let flows = bindings
        .iter()
        .filter_map(|binding| Some(binding.flow.as_ref()?.id));
    flows
        .filter(|flow| matches!(flow, FlowId::Connection { .. }))
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hookswitch_sip::{
        flow::{Attachment, ListenerId, Side, Transport, WorkerId},
        registrar::ContactUpdate,
    };

    use super::*;

    const KEY: SessionKey = SessionKey(7);

    fn flow(serial: u64) -> Arc<Flow> {
        Arc::new(Flow {
            id: FlowId::Connection {
                worker: WorkerId(0),
                serial,
            },
            transport: Transport::Wss,
            listener: ListenerId(0),
            peer: ([192, 0, 2, 1], 5000).into(),
            side: Side::Web,
            attachment: Attachment::default(),
        })
    }

    fn register(
        locations: &Locations,
        cseq: u32,
        serial: u64,
        expires_s: u64,
        now: Instant,
    ) -> StoreReply {
        register_as(locations, "alice", KEY, cseq, serial, expires_s, now)
    }

    fn register_as(
        locations: &Locations,
        user: &str,
        session: SessionKey,
        cseq: u32,
        serial: u64,
        expires_s: u64,
        now: Instant,
    ) -> StoreReply {
        let contact = ContactUpdate {
            uri: "sip:x@a.invalid;transport=ws".into(),
            expires: Duration::from_secs(expires_s),
            q: 1000,
            instance: None,
            reg_id: None,
            session,
        };
        let update = RegisterUpdate::Contacts {
            call_id: "c".into(),
            cseq,
            contacts: vec![contact],
            flow: flow(serial),
            path: Vec::new(),
            contacts_max: 10,
        };
        let op = StoreOp::Register {
            aor: Aor::new(user, ""),
            update,
        };
        locations.answer(op, now)
    }

    fn session(locations: &Locations, now: Instant) -> Option<FlowId> {
        match locations.answer(StoreOp::Session { key: KEY }, now) {
            StoreReply::Session(flow) => flow.map(|flow| flow.id),
            other => panic!("{other:?}"),
        }
    }

    fn is_empty(locations: &Locations) -> bool {
        locations.registrations() == 0
            && locations
                .bindings
                .iter()
                .all(|shard| lock(shard).is_empty())
            && locations
                .sessions
                .iter()
                .all(|shard| lock(shard).is_empty())
            && locations.flows.iter().all(|shard| lock(shard).is_empty())
    }

    #[test]
    fn a_session_is_found_again_after_a_reconnect() {
        let (locations, now) = (Locations::new(10), Instant::now());
        register(&locations, 1, 1, 60, now);
        assert_eq!(session(&locations, now), Some(flow(1).id));
        locations.flow_closed(flow(1).id);
        assert_eq!(session(&locations, now), None);
        register(&locations, 2, 2, 60, now);
        assert_eq!(session(&locations, now), Some(flow(2).id));
        // The old connection's end comes late: it is not this one's.
        locations.flow_closed(flow(1).id);
        assert_eq!(session(&locations, now), Some(flow(2).id));
    }

    #[test]
    fn what_was_over_before_a_restart_is_forgotten_by_memory_and_disk() {
        let folder = std::env::temp_dir().join(format!("hookswitch-over-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("registrations.redb");
        let open = || Disk::open(&file, Vec::new(), &|_, _| None).unwrap();
        let (disk, restored) = open();
        let locations = Locations::on_disk(10, disk, restored);
        register(&locations, 1, 1, 0, Instant::now());
        register_as(&locations, "bob", SessionKey(8), 1, 1, 1, Instant::now());
        locations.close();
        drop(locations);
        std::thread::sleep(Duration::from_millis(1_100));
        let (disk, restored) = open();
        assert_eq!(restored.len(), 1, "{restored:?}");
        let locations = Locations::on_disk(10, disk, restored);
        assert!(is_empty(&locations));
        locations.close();
        drop(locations);
        let (disk, restored) = open();
        disk.close();
        assert!(restored.is_empty(), "{restored:?}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn nothing_is_left_of_what_is_over_or_removed() {
        let (locations, now) = (Locations::new(10), Instant::now());
        register(&locations, 1, 1, 60, now);
        assert_eq!(session(&locations, now + Duration::from_secs(61)), None);
        locations.sweep(now + Duration::from_secs(59));
        assert_eq!(locations.registrations(), 1);
        locations.sweep(now + Duration::from_secs(61));
        assert!(is_empty(&locations));
        register(&locations, 2, 1, 60, now);
        register(&locations, 3, 1, 0, now);
        assert!(is_empty(&locations));
    }

    #[test]
    fn a_sweep_takes_nothing_of_those_who_register_meanwhile() {
        const USERS: u64 = 10_000;
        let (locations, now) = (Locations::new(USERS as usize), Instant::now());
        let all = |cseq, now| {
            for user in 0..USERS {
                let name = format!("user{user}");
                register_as(&locations, &name, SessionKey(user), cseq, user, 60, now);
            }
        };
        all(1, now);
        let later = now + Duration::from_secs(61);
        std::thread::scope(|scope| {
            scope.spawn(|| locations.sweep(later));
            all(2, later);
        });
        let found = |user: &u64| locations.session(SessionKey(*user), later).is_some();
        assert_eq!((0..USERS).filter(found).count() as u64, USERS);
        (0..USERS).for_each(|user| locations.flow_closed(flow(user).id));
        assert_eq!((0..USERS).filter(found).count(), 0);
        assert_eq!(locations.registrations() as u64, USERS);
    }

    #[test]
    fn a_full_store_refuses_newcomers_alone() {
        let (locations, now) = (Locations::new(1), Instant::now());
        register(&locations, 1, 1, 60, now);
        let op = StoreOp::Register {
            aor: Aor::new("bob", ""),
            update: RegisterUpdate::Query,
        };
        assert!(matches!(
            locations.answer(op, now),
            StoreReply::Refused { status: 500, .. }
        ));
        assert!(
            matches!(register(&locations, 2, 1, 60, now), StoreReply::Bindings(bindings) if bindings.len() == 1)
        );
    }
}
