//! What a policy that misbehaves costs: its own message, and nothing of the others'.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use common::{Folder, Host, Peer, engine_of, fields, guest::Guest, until};
use hookswitch_policy::{
    PolicySpec, Progress, Runner,
    context::{Finished, Hook, Outcome, Run},
    spec::{FailureMode, Isolation},
    status::PolicyStatus,
};

fn host(guest: Guest, change: impl Fn(&mut PolicySpec)) -> Host {
    Host::start(&[("a", guest.build())], change).unwrap()
}

fn status(host: &Host) -> PolicyStatus {
    host.policies.status().remove(0)
}

fn reason(finished: Finished) -> String {
    match finished.outcome {
        Outcome::Fault { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

/// Stamps once for each call that its instance has served.
const COUNT: &str = "(local $n i32) (local.set $n (call $count))
    (loop $l (call $stamp) (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $l (local.get $n))) (call $next)";

#[test]
fn an_instance_serves_many_messages() {
    let host = host(Guest::new("a").request(COUNT), |_| {});
    for _ in 0..2 {
        fields(host.request());
    }
    assert_eq!(fields(host.request()), "X-Trail: a, X-Trail: a, X-Trail: a");
    assert_eq!(status(&host).counters.instances_made, 1);
}

#[test]
fn an_instance_for_each_message_remembers_nothing() {
    let host = host(Guest::new("a").request(COUNT), |spec| {
        spec.isolation = Isolation::Message
    });
    for _ in 0..3 {
        assert_eq!(fields(host.request()), "X-Trail: a");
    }
    let counters = status(&host).counters;
    assert_eq!(
        (counters.instances_made, counters.instances_retired),
        (4, 4),
        "with the one of the self-test"
    );
}

#[test]
fn an_instance_is_given_up_after_a_thousand_calls() {
    let host = host(
        Guest::new("a").request("(drop (call $count)) (call $next)"),
        |_| {},
    );
    for _ in 0..1_000 {
        host.request();
    }
    let counters = status(&host).counters;
    assert_eq!(
        (counters.instances_made, counters.instances_retired),
        (1, 1)
    );
    host.request();
    assert_eq!(status(&host).counters.instances_made, 2);
}

#[test]
fn an_instance_that_grew_is_given_up() {
    let host = host(
        Guest::new("a").request("(drop (memory.grow (i32.const 17))) (call $next)"),
        |_| {},
    );
    host.request();
    host.request();
    assert_eq!(status(&host).counters.instances_retired, 2);
}

#[test]
fn a_trap_costs_one_message_and_its_instance() {
    let body =
        "(if (i32.eq (call $count) (i32.const 2)) (then unreachable)) (call $stamp) (call $next)";
    let host = host(Guest::new("a").request(body), |_| {});
    assert_eq!(fields(host.request()), "X-Trail: a");
    assert_eq!(
        reason(host.request()),
        "trapped: wasm trap: wasm `unreachable` instruction executed"
    );
    assert_eq!(fields(host.request()), "X-Trail: a");
    let status = status(&host);
    assert_eq!(
        (
            status.counters.traps,
            status.counters.faults,
            status.counters.instances_retired
        ),
        (1, 1, 1)
    );
    assert!(
        status
            .last_error
            .unwrap()
            .text
            .starts_with("request-hook: trapped")
    );
    assert_eq!(status.circuits_open, 0);
}

#[test]
fn a_reported_fault_keeps_the_instance() {
    let host = host(Guest::new("a").request("(call $fault)"), |_| {});
    for _ in 0..20 {
        assert_eq!(reason(host.request()), "fault a: pbx");
    }
    let status = status(&host);
    assert_eq!(
        (
            status.counters.reported,
            status.counters.instances_made,
            status.circuits_open
        ),
        (20, 1, 0)
    );
}

#[test]
fn a_loop_leaves_its_worker_at_the_next_tick_and_ends_at_its_cpu_budget() {
    let host = host(
        Guest::new("a").request("(call $spin) unreachable"),
        |spec| spec.limits.wall_ms_max = 10_000,
    );
    let given = host.given(Hook::Request);
    let Progress::Pending(pending) = host.runner.run(&host.policies.current(), given) else {
        panic!("it ended")
    };
    let (done, result) = mpsc::channel();
    host.engine
        .slow_lane()
        .spawn(pending, move |finished| done.send(finished).unwrap());
    let finished = result.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(reason(finished), "ran longer than cpu_ms_max = 50");
    let status = status(&host);
    assert_eq!(
        (
            status.counters.timeouts,
            status.counters.slow,
            status.in_flight
        ),
        (1, 1, 0)
    );
}

#[test]
fn a_loop_goes_on_being_preempted_after_an_idle_time() {
    let host = host(Guest::new("a").request("(call $spin) unreachable"), |_| {});
    thread::sleep(Duration::from_millis(300));
    assert!(matches!(
        host.runner
            .run(&host.policies.current(), host.given(Hook::Request)),
        Progress::Pending(_)
    ));
}

#[test]
fn what_waits_ends_at_its_wall_clock_limit() {
    let host = host(
        Guest::new("a")
            .sleeps()
            .request("(call $sleep) (call $next)"),
        |spec| spec.limits.wall_ms_max = 50,
    );
    let began = Instant::now();
    assert_eq!(
        reason(host.request()),
        "did not return within wall_ms_max = 50"
    );
    assert!(began.elapsed() >= Duration::from_millis(50));
}

#[test]
fn memory_has_a_limit() {
    let host = host(Guest::new("a").request("(call $eat) unreachable"), |spec| {
        spec.limits.memory_bytes_max = 4 << 20
    });
    assert_eq!(
        reason(host.request()),
        "needs more memory than memory_bytes_max = 4194304"
    );
    assert_eq!(status(&host).counters.memory, 1);
}

#[test]
fn memory_that_a_policy_begins_with_has_the_same_limit() {
    let guest = Guest::new("a").request("(call $next)").build();
    let started = Host::start(&[("a", guest)], |spec| {
        spec.limits.memory_bytes_max = 1 << 16
    });
    let error = started.err().unwrap().to_string();
    let named = "needs more memory than memory_bytes_max = 65536";
    assert!(error.contains(named), "{error}");
}

#[test]
fn beyond_the_limit_in_flight_the_failure_mode_applies_at_once() {
    let host = host(
        Guest::new("a")
            .sleeps()
            .request("(call $sleep) (call $next)"),
        |spec| {
            spec.limits.hooks_in_flight_max = 2;
        },
    );
    let generation = host.policies.current();
    let begin = || host.runner.run(&generation, host.given(Hook::Request));
    let waiting = [begin(), begin()];
    assert!(
        waiting
            .iter()
            .all(|progress| matches!(progress, Progress::Pending(_)))
    );
    assert_eq!(status(&host).in_flight, 2);
    let Progress::Done(finished) = begin() else {
        panic!("it waits")
    };
    assert_eq!(
        reason(finished),
        "more than hooks_in_flight_max = 2 at once"
    );
    drop(waiting);
    assert_eq!(status(&host).in_flight, 0);
}

/// Sound while the request is in a dialog: parameter 10.
fn bad_outside_dialogs(deed: &str) -> Guest {
    Guest::new("a").request(&format!(
        "(if (i32.eqz (local.get 10)) (then {deed})) (call $next)"
    ))
}

/// A request of this source.
fn from(host: &Host, source: u8, in_dialog: bool) -> Run {
    let mut given = host.given(Hook::Request);
    given.source = Peer::new(source);
    given.summary.in_dialog = in_dialog;
    given
}

#[test]
fn what_keeps_failing_is_not_run_for_its_source_alone() {
    let host = host(bad_outside_dialogs("unreachable"), |spec| {
        spec.failure.in_dialog = FailureMode::Closed
    });
    for _ in 0..100 {
        assert!(
            reason(host.request()).starts_with("trapped"),
            "a burst opens nothing"
        );
    }
    until("open", || {
        thread::sleep(Duration::from_millis(20));
        drop(host.request());
        status(&host).circuits_open == 1
    });
    let mut refused = 0;
    for _ in 0..70 {
        refused += u32::from(reason(host.request()).starts_with("not run"));
    }
    assert!(refused > 50, "{refused} of 70");
    // Another source may share its group; most do not.
    let others =
        (8..40).filter(|&other| host.run(from(&host, other, true)).outcome == Outcome::Continue);
    assert!(others.count() > 24);
    until("closed by a sound one", || {
        host.run(from(&host, 7, true)).outcome == Outcome::Continue
            && status(&host).circuits_open == 0
    });
}

#[test]
fn fifty_loops_at_once_leave_the_worker_to_the_others() {
    // Default limits: some loops end at the CPU budget, some at the clock.
    let host = host(bad_outside_dialogs("(call $spin)"), |_| {});
    let generation = host.policies.current();
    let (done, results) = mpsc::channel();
    let begun_here = cpu();
    for _ in 0..50 {
        let Progress::Pending(pending) = host.runner.run(&generation, from(&host, 7, false)) else {
            panic!("it ended")
        };
        let done = done.clone();
        host.engine
            .slow_lane()
            .spawn(pending, move |finished| done.send(finished).unwrap());
    }
    // One loop may use up three ticks of the worker; the others use none of it.
    let begun_here = cpu() - begun_here;
    assert!(
        begun_here < Duration::from_millis(10),
        "{begun_here:?} of the worker"
    );
    assert_eq!(status(&host).in_flight, 50);
    let ended_here = (8..40)
        .map(|other| host.runner.run(&generation, from(&host, other, true)))
        .filter(|progress| matches!(progress, Progress::Done(_)));
    assert!(
        ended_here.count() > 24,
        "the same hook of the same policy, other sources"
    );
    assert_eq!(host.run(from(&host, 7, true)).outcome, Outcome::Continue);
    let spinning = status(&host).in_flight;
    assert!(
        spinning > 40,
        "a sound one of the same source waited for {} loops",
        50 - spinning
    );
    for _ in 0..50 {
        let reason = reason(results.recv_timeout(Duration::from_secs(20)).unwrap());
        assert!(reason.contains("_ms_max"), "{reason}");
    }
    assert_eq!(status(&host).in_flight, 0);
}

/// What this thread has used.
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        now.tv_sec.try_into().unwrap(),
        now.tv_nsec.try_into().unwrap(),
    )
}

/// Takes some ten milliseconds.
const SLOW_CONFIGURE: &str = "(local $i i32) (local.set $i (i32.const 30000000))
    (loop $l (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1))))) (call $decide (i32.const 0))";

fn slow_host(workers: usize, body: &str, change: impl Fn(&mut PolicySpec)) -> Host {
    let guest = Guest::new("a").request(body).configure(SLOW_CONFIGURE);
    let folder = Folder::new();
    let mut spec = PolicySpec::new("a", folder.write("a.wasm", &guest.build()));
    change(&mut spec);
    Host::on(engine_of(workers, 200), folder, vec![spec]).unwrap()
}

#[test]
fn a_slow_configure_is_never_waited_for_by_a_message() {
    let host = slow_host(4, "(drop (call $count)) (call $next)", |_| {});
    assert_eq!(
        status(&host).counters.instances_made,
        4,
        "one for each worker"
    );
    let generation = host.policies.current();
    for worker in 0..4 {
        let runner = Runner::new(host.engine.clone(), worker);
        // On a busy machine a call may happen to be interrupted.
        let is_served_at_once = (0..10).any(|_| {
            let progress = runner.run(&generation, host.given(Hook::Request));
            matches!(progress, Progress::Done(_))
        });
        assert!(is_served_at_once, "worker {worker}");
    }
    for _ in 0..5_000 {
        assert_eq!(host.request().outcome, Outcome::Continue);
    }
    // One call of some thousands may happen to be interrupted for two ticks.
    let counters = status(&host).counters;
    assert!(counters.slow < 20, "{counters:?}");
    until("retired", || status(&host).counters.instances_retired >= 1);
}

#[test]
fn after_traps_the_next_messages_wait_for_one_maker() {
    let body = "(if (i32.eqz (local.get 10)) (then unreachable)) (call $next)";
    let host = slow_host(1, body, |spec| spec.limits.wall_ms_max = 120_000);
    for _ in 0..5 {
        assert!(reason(host.run(from(&host, 7, false))).starts_with("trapped"));
    }
    let (done, results) = mpsc::channel();
    for source in 8..40 {
        run_anyhow(&host, from(&host, source, true), &done);
    }
    let outcomes: Vec<Outcome> = results.into_iter().take(32).collect();
    assert!(
        outcomes.iter().all(|outcome| *outcome == Outcome::Continue),
        "{outcomes:?}"
    );
    let made = status(&host).counters.instances_made;
    assert!(made < 20, "{made} for five traps and 32 messages");
}

#[test]
fn what_cannot_be_served_fresh_is_refused_at_once_and_the_rest_is_served() {
    let host = slow_host(1, COUNT, |spec| {
        spec.isolation = Isolation::Message;
        spec.limits.wall_ms_max = 120_000;
    });
    let (done, results) = mpsc::channel();
    for _ in 0..200 {
        run_anyhow(&host, host.given(Hook::Request), &done);
    }
    let outcomes: Vec<Outcome> = results.into_iter().take(200).collect();
    let served = outcomes
        .iter()
        .filter(|outcome| **outcome == Outcome::Continue)
        .count();
    let refused = status(&host).counters.in_flight;
    assert!(
        served >= 64 && served as u64 + refused == 200,
        "{served} served, {refused} refused"
    );
}

/// Its outcome is sent, sooner or later.
fn run_anyhow(host: &Host, run: Run, done: &mpsc::Sender<Outcome>) {
    match host.runner.run(&host.policies.current(), run) {
        Progress::Done(finished) => done.send(finished.outcome).unwrap(),
        Progress::Pending(pending) => {
            let done = done.clone();
            host.engine.slow_lane().spawn(pending, move |finished| {
                done.send(finished.outcome).unwrap()
            });
        }
    }
}

#[test]
fn an_empty_pool_is_not_the_policys_fault() {
    let guest = Guest::new("a")
        .sleeps()
        .request("(call $sleep) (call $next)");
    let folder = Folder::new();
    let spec = PolicySpec::new("a", folder.write("a.wasm", &guest.build()));
    // The one that loading it left behind.
    let host = Host::on(engine_of(1, 1), folder, vec![spec]).unwrap();
    let generation = host.policies.current();
    let waiting = host.runner.run(&generation, host.given(Hook::Request));
    let (done, outcomes) = mpsc::channel();
    run_anyhow(&host, host.given(Hook::Request), &done);
    let outcome = outcomes.recv_timeout(Duration::from_secs(20)).unwrap();
    let Outcome::Fault { reason, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(reason, "no instance: the pool of all policies is empty");
    assert_eq!(
        (
            status(&host).counters.pool,
            status(&host).last_error.is_none()
        ),
        (1, true)
    );
    drop(waiting);
}

#[test]
fn the_log_has_a_rate() {
    let body = "(local $n i32) (local.set $n (i32.const 500))
        (loop $l (call $say) (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $l (local.get $n))) (call $next)";
    let logs = tracing_subscriber::fmt()
        .with_writer(std::io::sink)
        .finish();
    tracing::subscriber::with_default(logs, || {
        let host = host(Guest::new("a").request(body), |_| {});
        host.request();
        let dropped = status(&host).counters.log_lines_dropped;
        assert!((300..=450).contains(&dropped), "{dropped}");
    });
}
