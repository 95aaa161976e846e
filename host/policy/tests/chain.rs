//! What the decisions of several policies come to together.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Host, fields, guest::Guest};
use hookswitch_policy::{
    context::{Branch, Hook, HookName, Identity, Outcome, Upgrade},
    spec::{FailureMode, Grant, Place},
};

fn request(name: &'static str, body: &str) -> (&'static str, Vec<u8>) {
    (name, Guest::new(name).request(body).build())
}

fn host(components: &[(&str, Vec<u8>)]) -> Host {
    Host::start(components, |spec| {
        spec.place = match spec.name.as_str() {
            "first" => Place::First,
            "last" => Place::Last,
            _ => Place::Tenant,
        }
    })
    .unwrap()
}

#[test]
fn each_next_hands_on_to_the_next_by_place_then_by_configuration() {
    let stamp = "(call $stamp) (call $next)";
    let host = host(&[
        request("last", stamp),
        request("a", stamp),
        request("first", stamp),
        request("b", stamp),
    ]);
    let finished = host.request();
    assert_eq!(finished.outcome, Outcome::Continue);
    assert_eq!(
        fields(finished),
        "X-Trail: first, X-Trail: a, X-Trail: b, X-Trail: last"
    );
}

#[test]
fn forward_skips_the_rest_of_the_tenants_part_only() {
    let stamp = "(call $stamp) (call $next)";
    let forward = "(call $stamp) (call $decide (i32.const 1))";
    let host = host(&[
        request("a", forward),
        request("b", stamp),
        request("last", stamp),
    ]);
    assert_eq!(fields(host.request()), "X-Trail: a, X-Trail: last");
}

#[test]
fn a_reply_and_a_discard_end_the_chain() {
    let stamp = "(call $stamp) (call $next)";
    let replying = host(&[
        request("a", "(call $reply (i32.const 403))"),
        request("last", stamp),
    ]);
    let finished = replying.request();
    assert_eq!(
        finished.outcome,
        Outcome::Reply {
            status: 403,
            reason: None,
            headers: vec![],
            body: None
        }
    );
    assert_eq!(fields(finished), "");
    let discarding = host(&[
        request("a", "(call $decide (i32.const 3))"),
        request("last", stamp),
    ]);
    assert_eq!(discarding.request().outcome, Outcome::Discard);
}

#[test]
fn what_is_not_exported_is_not_run() {
    let host = host(&[request("a", "(call $stamp) (call $next)")]);
    let hooks = host.policies.current().hooks();
    assert_eq!(
        hooks
            .iter()
            .map(|hook| hook.interface())
            .collect::<Vec<_>>(),
        ["request-hook"]
    );
    assert_eq!(fields(host.run_hook(Hook::Register)), "");
}

#[test]
fn a_policy_of_one_tenant_leaves_the_others_alone() {
    let guest = request("a", "(call $stamp) (call $next)");
    let host = Host::start(&[guest], |spec| spec.tenant = Some("acme".into())).unwrap();
    assert_eq!(fields(host.request()), "");
    let mut given = host.given(Hook::Request);
    given.summary.tenant = "acme".into();
    assert_eq!(fields(host.run(given)), "X-Trail: a");
}

#[test]
fn a_failing_policys_edits_are_undone_and_no_others() {
    let edits = "(call $stamp) (call $target) (call $remember) (call $identify)";
    for failure in ["unreachable", "(call $fault)"] {
        let components = [
            request("a", &format!("{edits} (call $next)")),
            request("b", &format!("{edits} {failure}")),
            request("c", "(call $next)"),
        ];
        let host =
            Host::start(&components, |spec| spec.failure.request = FailureMode::Open).unwrap();
        let finished = host.request();
        assert_eq!(finished.outcome, Outcome::Continue);
        let kept = [("a".to_owned(), Some("pbx".to_owned()))];
        assert_eq!(
            (finished.transaction.as_slice(), finished.call.as_slice()),
            (&kept[..], &kept[..])
        );
        assert_eq!(finished.targets.len(), 1);
        assert_eq!(fields(finished), "X-Trail: a", "after {failure}");
        let identity = Identity {
            name: "a".to_owned(),
            until: None,
        };
        assert_eq!(
            *host.source.applied.lock().unwrap(),
            [(Some(identity), vec![])]
        );
    }
}

#[test]
fn a_closed_failure_ends_the_chain_with_a_fault() {
    let host = host(&[
        request("a", "(call $fault)"),
        request("last", "(call $stamp) (call $next)"),
    ]);
    let finished = host.request();
    let Outcome::Fault { policy, reason } = finished.outcome else {
        panic!("{:?}", finished.outcome)
    };
    assert_eq!((policy.as_str(), reason.as_str()), ("a", "fault a: pbx"));
}

#[test]
fn in_a_dialog_a_failure_is_open_and_targets_are_refused() {
    let trapping = host(&[request("a", "unreachable")]);
    let in_dialog = |host: &Host| {
        let mut given = host.given(Hook::Request);
        given.summary.in_dialog = true;
        host.run(given)
    };
    assert_eq!(in_dialog(&trapping).outcome, Outcome::Continue);
    assert!(matches!(trapping.request().outcome, Outcome::Fault { .. }));
    let routing = host(&[request(
        "a",
        "(if (call $target-refused) (then (call $stamp))) (call $next)",
    )]);
    let finished = in_dialog(&routing);
    assert!(finished.targets.is_empty());
    assert_eq!(fields(finished), "X-Trail: a");
    assert_eq!(routing.request().targets.len(), 1);
}

#[test]
fn a_target_may_have_a_way_of_its_own_for_media() {
    let target = "(call $target) (call $media-direct) (call $next)";
    let finished = host(&[request("a", target)]).request();
    assert_eq!(finished.targets[0].media.as_deref(), Some("direct"));
    let refused = "(call $target) (if (call $media-refused) (then (call $stamp))) (call $next)";
    let finished = host(&[request("a", refused)]).request();
    assert_eq!(finished.targets[0].media, None);
    assert_eq!(fields(finished), "X-Trail: a");
}

#[test]
fn the_proxys_fields_are_protected() {
    let host = host(&[request(
        "a",
        "(if (call $edit-via) (then (call $stamp))) (call $next)",
    )]);
    assert_eq!(fields(host.request()), "X-Trail: a");
}

#[test]
fn what_is_not_granted_is_refused_at_the_call() {
    let guest = request(
        "a",
        "(call $stamp) (call $target) (call $identify) (call $next)",
    );
    let host = Host::start(&[guest], |spec| {
        (spec.grants.edit, spec.grants.route, spec.grants.identify) =
            (Grant::Deny, Grant::Deny, Grant::Deny);
    })
    .unwrap();
    let finished = host.request();
    assert!(finished.targets.is_empty());
    assert_eq!(fields(finished), "");
    assert!(host.source.applied.lock().unwrap().is_empty());
}

#[test]
fn targets_have_a_limit() {
    let host = Host::start(
        &[request(
            "a",
            "(loop $l (br_if $l (i32.eqz (call $target-refused)))) (call $next)",
        )],
        |spec| {
            spec.limits.targets_max = 3;
        },
    );
    assert_eq!(host.unwrap().request().targets.len(), 3);
}

#[test]
fn a_connection_is_accepted_or_refused() {
    let connect = |body: &str| {
        let host = host(&[("a", Guest::new("a").hook("connect-hook", body).build())]);
        host.run_hook(Hook::Connect(Upgrade::default())).outcome
    };
    assert_eq!(connect("(call $decide (i32.const 1))"), Outcome::Continue);
    assert!(matches!(
        connect("(call $reply (i32.const 401))"),
        Outcome::Reply { status: 401, .. }
    ));
    assert!(matches!(
        connect("(call $stamp) unreachable"),
        Outcome::Fault { .. }
    ));
}

#[test]
fn a_branch_is_sent_or_skipped() {
    let branch = |body: &str| {
        let host = host(&[("a", Guest::new("a").hook("branch-hook", body).build())]);
        host.run_hook(Hook::Branch(Branch {
            target: 0,
            uri: "sip:b@example.org".into(),
            upstream: None,
            member: None,
            stage: 0,
        }))
    };
    assert_eq!(fields(branch("(call $stamp) (call $next)")), "X-Trail: a");
    assert_eq!(
        branch("(call $decide (i32.const 1))").outcome,
        Outcome::Discard
    );
}

#[test]
fn a_later_policy_sees_the_status_that_an_earlier_one_set() {
    // The second one answers with 1 more than the status that it sees: parameter 15.
    let components = [
        (
            "a",
            Guest::new("a")
                .hook("response-hook", "(call $set-status (i32.const 480))")
                .build(),
        ),
        (
            "b",
            Guest::new("b")
                .hook(
                    "response-hook",
                    "(call $set-status (i32.add (local.get 15) (i32.const 1)))",
                )
                .build(),
        ),
    ];
    let host = host(&components);
    assert_eq!(
        host.run_hook(Hook::Response(404)).outcome,
        Outcome::Status(481)
    );
    assert_eq!(
        host.run_hook(Hook::Response(200)).outcome,
        Outcome::Status(201),
        "the failure of the first is open"
    );
    let faults: Vec<u64> = host
        .policies
        .status()
        .iter()
        .map(|policy| policy.counters.decisions)
        .collect();
    assert_eq!(faults, [1, 0]);
}

#[test]
fn after_a_failure_new_targets_may_be_set() {
    let guest = Guest::new("a")
        .hook(
            "failure-hook",
            "(call $target) (call $decide (i32.const 1))",
        )
        .build();
    assert_eq!(
        host(&[("a", guest)])
            .run_hook(Hook::Failure(503))
            .targets
            .len(),
        1
    );
}

#[test]
fn a_hook_that_the_configuration_has_no_use_for_is_not_called() {
    // Branch is 3.
    let guest = Guest::new("a")
        .request("(call $stamp) (call $next)")
        .hook("branch-hook", "unreachable")
        .configure("(call $skip (i32.const 3)) (call $decide (i32.const 0))");
    let host = Host::start(&[("a", guest.build())], |_| {}).unwrap();
    let hooks = host.policies.current().hooks();
    assert!(hooks.contains(HookName::Request) && !hooks.contains(HookName::Branch));
    assert_eq!(host.policies.status()[0].hooks, [HookName::Request]);
    assert_eq!(fields(host.request()), "X-Trail: a");
}

#[test]
fn configure_knows_the_upstreams() {
    // Two, the first of three bytes: "pbx".
    let guest = Guest::new("a").request("(call $next)").configure(
        "(call $upstreams (i32.const 2048))
        (if (i32.ne (i32.load (i32.const 2052)) (i32.const 2)) (then unreachable))
        (if (i32.ne (i32.load offset=4 (i32.load (i32.const 2048))) (i32.const 3)) (then unreachable))
        (call $decide (i32.const 0))",
    );
    Host::start(&[("a", guest.build())], |_| {}).unwrap();
}
