use std::time::Duration;

use hookswitch_sip::{
    flow::{Attachment, ListenerId, Side, Transport, WorkerId},
    registrar::ContactUpdate,
};

use super::*;

const KEY: ClientKey = ClientKey(7);

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
        session: None,
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
    client: ClientKey,
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
        client,
        session: SessionKey(1_000_000 + client.0),
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
    let (key, flow) = (SessionKey(1), flow(1).id);
    match locations.answer(StoreOp::Session { key, flow }, now) {
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
        && locations.clients.is_empty()
        && locations.sessions.is_empty()
        && locations.flows.is_empty()
}

#[test]
fn a_session_that_was_named_is_found_without_a_registration() {
    let (locations, now) = (Locations::new(10), Instant::now());
    let named = |serial| {
        let flow = Arc::unwrap_or_clone(flow(serial));
        let session = Some(SessionKey(99));
        Arc::new(Flow { session, ..flow })
    };
    let reached = |hint| locations.session(SessionKey(99), flow(hint).id, now);
    assert_eq!(locations.opened(&named(1)), []);
    assert_eq!(locations.opened(&named(2)), [flow(1).id]);
    // The network of the first may be gone, and nobody has noticed.
    assert_eq!(reached(1), Some(named(2)));
    locations.heard(&named(1));
    // A tab that was duplicated: each has its own dialogs.
    assert_eq!(reached(1), Some(named(1)));
    assert_eq!(reached(2), Some(named(2)));
    locations.closed(&named(2));
    assert_eq!(locations.opened(&named(3)), [flow(1).id]);
    assert_eq!(reached(2), Some(named(3)));
    locations.closed(&named(1));
    locations.closed(&named(3));
    assert_eq!(reached(1), None);
    assert!(locations.named.is_empty());
}

#[test]
fn a_session_is_found_again_after_a_reconnect() {
    let (locations, now) = (Locations::new(10), Instant::now());
    register(&locations, 1, 1, 60, now);
    assert_eq!(session(&locations, now), Some(flow(1).id));
    locations.closed(&flow(1));
    assert_eq!(session(&locations, now), None);
    register(&locations, 2, 2, 60, now);
    assert_eq!(session(&locations, now), Some(flow(2).id));
    // The old connection's end comes late: it is not this one's.
    locations.closed(&flow(1));
    assert_eq!(session(&locations, now), Some(flow(2).id));
}

/// An SBC registers both over one connection; later each has its own.
#[test]
fn of_several_who_shared_a_connection_each_keeps_its_dialogs() {
    let (locations, now) = (Locations::new(10), Instant::now());
    let key = |client: u64| SessionKey(1_000_000 + client);
    let reached = |key| locations.session(key, flow(1).id, now).map(|flow| flow.id);
    register_as(&locations, "alice", ClientKey(7), 1, 1, 60, now);
    register_as(&locations, "bob", ClientKey(8), 1, 1, 60, now);
    locations.closed(&flow(1));
    register_as(&locations, "alice", ClientKey(7), 2, 2, 60, now);
    // He is away: she is not who is meant.
    assert_eq!(reached(key(8)), None);
    register_as(&locations, "bob", ClientKey(8), 2, 3, 60, now);
    assert_eq!(reached(key(7)), Some(flow(2).id));
    assert_eq!(reached(key(8)), Some(flow(3).id));
    // A caller who hides is one of them: nobody can say which.
    assert_eq!(reached(key(9)), None);
    register_as(&locations, "bob", ClientKey(8), 3, 3, 0, now);
    assert_eq!(reached(key(9)), Some(flow(2).id));
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
    register_as(&locations, "bob", ClientKey(8), 1, 1, 1, Instant::now());
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
            register_as(&locations, &name, ClientKey(user), cseq, user, 60, now);
        }
    };
    all(1, now);
    let later = now + Duration::from_secs(61);
    std::thread::scope(|scope| {
        scope.spawn(|| locations.sweep(later));
        all(2, later);
    });
    let found = |user: &u64| {
        let (key, hint) = (SessionKey(*user), flow(*user).id);
        locations.session(key, hint, later).is_some()
    };
    assert_eq!((0..USERS).filter(found).count() as u64, USERS);
    (0..USERS).for_each(|user| locations.closed(&flow(user)));
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
