use super::*;
use crate::flow::{Attachment, ListenerId, Side, Transport, WorkerId};

fn flow(serial: u64) -> Arc<Flow> {
    Arc::new(Flow {
        id: FlowId::Connection {
            worker: WorkerId(0),
            serial,
        },
        transport: Transport::Wss,
        listener: ListenerId(0),
        peer: "192.0.2.1:40000".parse().unwrap(),
        side: Side::Web,
        session: None,
        attachment: Attachment::default(),
    })
}

fn contact(uri: &str, expires: u64) -> ContactUpdate {
    ContactUpdate {
        uri: uri.to_owned(),
        expires: Duration::from_secs(expires),
        q: 1000,
        instance: None,
        reg_id: None,
        client: ClientKey::new("sip:alice", [uri.as_bytes()]),
        session: SessionKey::registered("sip:alice", uri.as_bytes()),
    }
}

fn register(call_id: &str, cseq: u32, contacts: Vec<ContactUpdate>) -> RegisterUpdate {
    RegisterUpdate::Contacts {
        call_id: call_id.to_owned(),
        cseq,
        contacts,
        flow: flow(u64::from(cseq)),
        path: Vec::new(),
        contacts_max: 2,
    }
}

fn uris(bindings: &[Binding]) -> Vec<&str> {
    bindings
        .iter()
        .map(|binding| binding.contact.as_str())
        .collect()
}

#[test]
fn contacts_are_added_refreshed_and_removed() {
    let (mut bindings, now) = (Vec::new(), Instant::now());
    apply(
        &mut bindings,
        &register("c", 1, vec![contact("sip:a@h", 60), contact("sip:b@h", 60)]),
        now,
    )
    .unwrap();
    apply(
        &mut bindings,
        &register("c", 2, vec![contact("sip:a@h", 90)]),
        now,
    )
    .unwrap();
    assert_eq!(uris(&bindings), ["sip:a@h", "sip:b@h"]);
    assert_eq!(bindings[0].expires_at, now + Duration::from_secs(90));
    assert_eq!(
        bindings[0].flow,
        Some(flow(2)),
        "a refresh moves the binding to the flow that it came on"
    );
    apply(
        &mut bindings,
        &register("c", 3, vec![contact("sip:a@h", 0)]),
        now,
    )
    .unwrap();
    assert_eq!(uris(&bindings), ["sip:b@h"]);
}

#[test]
fn bindings_end() {
    let (mut bindings, now) = (Vec::new(), Instant::now());
    apply(
        &mut bindings,
        &register("c", 1, vec![contact("sip:a@h", 60)]),
        now,
    )
    .unwrap();
    apply(
        &mut bindings,
        &RegisterUpdate::Query,
        now + Duration::from_secs(59),
    )
    .unwrap();
    assert_eq!(bindings.len(), 1);
    apply(
        &mut bindings,
        &RegisterUpdate::Query,
        now + Duration::from_secs(60),
    )
    .unwrap();
    assert!(bindings.is_empty());
}

#[test]
fn an_older_register_changes_nothing() {
    let (mut bindings, now) = (Vec::new(), Instant::now());
    apply(
        &mut bindings,
        &register("c", 5, vec![contact("sip:a@h", 60)]),
        now,
    )
    .unwrap();
    let older = register("c", 5, vec![contact("sip:b@h", 60), contact("sip:a@h", 0)]);
    assert_eq!(
        apply(&mut bindings, &older, now),
        Err(RegisterError::OutOfOrder)
    );
    assert_eq!(uris(&bindings), ["sip:a@h"], "all of it or nothing");
    let wildcard = RegisterUpdate::RemoveAll {
        call_id: "c".to_owned(),
        cseq: 4,
    };
    assert_eq!(
        apply(&mut bindings, &wildcard, now),
        Err(RegisterError::OutOfOrder)
    );
    // A client that started again has a new Call-ID and counts from 1.
    apply(
        &mut bindings,
        &register("d", 1, vec![contact("sip:a@h", 60)]),
        now,
    )
    .unwrap();
    assert_eq!(bindings[0].call_id, "d");
}

#[test]
fn a_wildcard_removes_all() {
    let (mut bindings, now) = (Vec::new(), Instant::now());
    apply(
        &mut bindings,
        &register("c", 1, vec![contact("sip:a@h", 60), contact("sip:b@h", 60)]),
        now,
    )
    .unwrap();
    apply(
        &mut bindings,
        &RegisterUpdate::RemoveAll {
            call_id: "c".to_owned(),
            cseq: 2,
        },
        now,
    )
    .unwrap();
    assert!(bindings.is_empty());
}

/// A page that is loaded again comes with a new Contact each time.
#[test]
fn who_is_gone_makes_room() {
    let (mut bindings, now) = (Vec::new(), Instant::now());
    let load = |bindings: &mut Vec<Binding>, page: u32, expires| {
        let contacts = vec![contact(&format!("sip:{page}@h"), expires)];
        apply(bindings, &register(&page.to_string(), page, contacts), now)
    };
    load(&mut bindings, 1, 600).unwrap();
    load(&mut bindings, 2, 60).unwrap();
    flow_closed(&mut bindings, flow(1).id);
    flow_closed(&mut bindings, flow(2).id);
    load(&mut bindings, 3, 60).unwrap();
    assert_eq!(uris(&bindings), ["sip:1@h", "sip:3@h"]);
    load(&mut bindings, 4, 60).unwrap();
    assert_eq!(uris(&bindings), ["sip:3@h", "sip:4@h"]);
    let refused = load(&mut bindings, 5, 60);
    assert_eq!(refused, Err(RegisterError::TooManyContacts));
    assert_eq!(uris(&bindings), ["sip:3@h", "sip:4@h"]);
}

#[test]
fn contacts_are_limited() {
    let (mut bindings, now) = (Vec::new(), Instant::now());
    let three = ["sip:a@h", "sip:b@h", "sip:c@h"]
        .map(|uri| contact(uri, 60))
        .to_vec();
    assert_eq!(
        apply(&mut bindings, &register("c", 1, three), now),
        Err(RegisterError::TooManyContacts)
    );
    assert!(bindings.is_empty());
}

#[test]
fn an_instance_keeps_one_binding_for_each_reg_id() {
    let (mut bindings, now) = (Vec::new(), Instant::now());
    let of = |uri: &str, instance: &str, reg_id| ContactUpdate {
        instance: Some(instance.to_owned()),
        reg_id,
        ..contact(uri, 60)
    };
    // A page that was reloaded comes with a new Contact.
    apply(
        &mut bindings,
        &register("c", 1, vec![of("sip:a@1.invalid", "urn:uuid:1", Some(1))]),
        now,
    )
    .unwrap();
    apply(
        &mut bindings,
        &register("d", 1, vec![of("sip:b@2.invalid", "urn:uuid:1", Some(1))]),
        now,
    )
    .unwrap();
    assert_eq!(uris(&bindings), ["sip:b@2.invalid"]);
    apply(
        &mut bindings,
        &register("d", 2, vec![of("sip:c@3.invalid", "urn:uuid:1", Some(2))]),
        now,
    )
    .unwrap();
    assert_eq!(uris(&bindings), ["sip:b@2.invalid", "sip:c@3.invalid"]);
}

#[test]
fn a_closed_flow_leaves_the_binding_unreachable() {
    let (mut bindings, now) = (Vec::new(), Instant::now());
    apply(
        &mut bindings,
        &register("c", 1, vec![contact("sip:a@h", 60)]),
        now,
    )
    .unwrap();
    assert!(!flow_closed(&mut bindings, flow(2).id));
    assert!(flow_closed(&mut bindings, flow(1).id));
    assert_eq!((bindings.len(), bindings[0].flow.as_ref()), (1, None));
}

#[test]
fn addresses_of_record() {
    assert_eq!(
        Aor::new("alice", "Example.COM").as_str(),
        "sip:alice@example.com"
    );
    assert_eq!(Aor::new("alice", "").as_str(), "sip:alice");
}

/// Of the client of serial `page`, on a connection of its own.
fn page(bindings: &mut Vec<Binding>, page: u32, contact: ContactUpdate, now: Instant) {
    let update = register(&format!("page{page}"), page, vec![contact]);
    apply(bindings, &update, now).unwrap();
}

/// Where the session of connection `serial` is reached.
fn reached(bindings: &[Binding], serial: u64, now: Instant) -> Option<Arc<Flow>> {
    flow_of_session(bindings, SessionKey(0), flow(serial).id, now)
}

#[test]
fn a_session_follows_its_client_from_connection_to_connection() {
    let (mut bindings, now) = (Vec::new(), Instant::now());
    for serial in 1..=3 {
        page(&mut bindings, serial, contact("sip:a@h", 60), now);
        flow_closed(&mut bindings, flow(u64::from(serial) - 1).id);
    }
    let own = contact("sip:a@h", 60).session;
    let [one, two, three] = [1, 2, 3].map(SessionKey);
    assert_eq!(bindings[0].sessions, [own, three, two, one]);
    assert_eq!(reached(&bindings, 1, now), Some(flow(3)));
    assert_eq!(reached(&bindings, 4, now), None);
    assert_eq!(reached(&bindings, 1, now + Duration::from_secs(60)), None);
    flow_closed(&mut bindings, flow(3).id);
    assert_eq!(reached(&bindings, 1, now), None);
    for serial in 4..40 {
        page(&mut bindings, serial, contact("sip:a@h", 60), now);
    }
    assert_eq!(bindings[0].sessions.len(), 24);
    assert_eq!(bindings[0].session(), own);
    // After a restart that forgot everything its Contact leads to it.
    let gone = flow(99).id;
    assert_eq!(flow_of_session(&bindings, own, gone, now), Some(flow(39)));
}

#[test]
fn a_session_follows_its_instance_to_another_flow() {
    let (mut bindings, now) = (Vec::new(), Instant::now());
    let of_instance = |reg_id| ContactUpdate {
        instance: Some("urn:uuid:1".to_owned()),
        reg_id: Some(reg_id),
        ..contact("sip:a@h", 60)
    };
    page(&mut bindings, 1, of_instance(1), now);
    page(&mut bindings, 2, of_instance(2), now);
    assert_eq!(reached(&bindings, 1, now), Some(flow(1)));
    flow_closed(&mut bindings, flow(1).id);
    assert_eq!(reached(&bindings, 1, now), Some(flow(2)));
}

/// It outlives the binding that it came from.
#[test]
fn the_only_client_that_is_there_stands_in_for_the_only_one_that_is_missing() {
    let (mut bindings, now) = (Vec::new(), Instant::now());
    page(&mut bindings, 1, contact("sip:1@h", 60), now);
    flow_closed(&mut bindings, flow(1).id);
    page(&mut bindings, 2, contact("sip:2@h", 120), now);
    assert_eq!(reached(&bindings, 1, now), Some(flow(2)));
    let later = now + Duration::from_secs(61);
    apply(&mut bindings, &RegisterUpdate::Query, later).unwrap();
    assert_eq!(uris(&bindings), ["sip:2@h"]);
    assert_eq!(reached(&bindings, 1, later), Some(flow(2)));
}

#[test]
fn nobody_stands_in_for_one_of_several() {
    let (mut bindings, now) = (Vec::new(), Instant::now());
    page(&mut bindings, 1, contact("sip:1@h", 60), now);
    page(&mut bindings, 2, contact("sip:2@h", 60), now);
    flow_closed(&mut bindings, flow(1).id);
    flow_closed(&mut bindings, flow(2).id);
    let mut update = register("page3", 3, vec![contact("sip:3@h", 60)]);
    if let RegisterUpdate::Contacts { contacts_max, .. } = &mut update {
        *contacts_max = 3;
    }
    apply(&mut bindings, &update, now).unwrap();
    assert_eq!(bindings.len(), 3);
    assert_eq!(reached(&bindings, 1, now), None);
    assert_eq!(reached(&bindings, 2, now), None);
}

/// Of one user, too.
#[test]
fn of_two_clients_on_one_connection_each_keeps_its_dialogs() {
    let (mut bindings, now) = (Vec::new(), Instant::now());
    let both = vec![contact("sip:1@h", 60), contact("sip:2@h", 60)];
    apply(&mut bindings, &register("c", 1, both), now).unwrap();
    flow_closed(&mut bindings, flow(1).id);
    let of_second = contact("sip:2@h", 60).session;
    let reached = |bindings: &[Binding]| flow_of_session(bindings, of_second, flow(1).id, now);
    apply(
        &mut bindings,
        &register("c", 2, vec![contact("sip:1@h", 60)]),
        now,
    )
    .unwrap();
    assert_eq!(reached(&bindings), None);
    apply(
        &mut bindings,
        &register("c", 3, vec![contact("sip:2@h", 60)]),
        now,
    )
    .unwrap();
    assert_eq!(reached(&bindings), Some(flow(3)));
}
