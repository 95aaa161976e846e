//! The policies of `examples/policies/`, in JavaScript, Python and C: under the limits and grants of every policy they load, take their
//! configuration, decide and edit; what they throw costs one message.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    fs,
    path::{self, Path, PathBuf},
    process::Command,
    sync::{LazyLock, Mutex},
    time::SystemTime,
};

use common::{Fields, Folder, Host, fields, rename_over, until};
use expect_test::{Expect, expect};
use hookswitch_policy::{
    Engine, EngineConfig, PolicySpec, StartError,
    context::{Finished, Hook, Outcome, TargetKind},
    spec::{ConfigSource, Grant},
};
use serde_json::{Value, json};

const DAY_S: u64 = 24 * 60 * 60;

/// A component that `cargo xtask build-examples` made in this build's target folder.
fn component(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let found = test
        .ancestors()
        .map(|folder| folder.join(format!("plugins/{name}.wasm")))
        .find(|file| file.exists());
    found.unwrap_or_else(|| panic!("{name}: run `cargo xtask build-examples` first"))
}

/// Starts a policy with every default but its configuration and what `change` changes.
fn start_with(
    path: PathBuf,
    config: Value,
    change: impl Fn(&mut PolicySpec),
) -> Result<Host, StartError> {
    // An interpreter takes seconds to compile: once for all tests, and kept for the next run.
    static ENGINE: LazyLock<Mutex<Engine>> = LazyLock::new(|| {
        let config = EngineConfig {
            instances_max: 200,
            compile_cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled")),
            ..EngineConfig::default()
        };
        Mutex::new(Engine::new(config).unwrap())
    });
    let mut spec = PolicySpec::new("example", path);
    spec.config = ConfigSource::Inline(config);
    change(&mut spec);
    let engine = ENGINE.lock().unwrap();
    Host::on(engine.clone(), Folder::new(), vec![spec])
}

fn start(name: &str, config: Value) -> Host {
    start_with(component(name), config, |_| {}).unwrap_or_else(|error| panic!("{error}"))
}

/// Its configuration is refused, and why.
fn refused(name: &str, config: Value, expected: Expect) {
    let Err(error) = start_with(component(name), config, |_| {}) else {
        panic!("it was taken")
    };
    expected.assert_eq(&error.faults[0].1);
}

/// A request from a browser for `uri`, outside dialogs.
fn request(host: &Host, from: &str, uri: &str, message: &[(&str, &str)]) -> Finished {
    let mut run = host.given(Hook::Request);
    run.summary.request_uri = uri.into();
    run.summary.from_uri = from.into();
    run.summary.side = "web".into();
    run.message = Some(Fields::from(message).boxed());
    host.run(run)
}

fn invite(host: &Host, uri: &str) -> Finished {
    request(host, "sip:alice@example.com", uri, &[])
}

/// A response, in a transaction with what the request's hook left there.
fn response(host: &Host, status: u16, request: &Finished, message: &[(&str, &str)]) -> Finished {
    let mut run = host.given(Hook::Response(status));
    let set = request.transaction.iter().cloned();
    let set = set.filter_map(|(key, value)| Some((key, value?)));
    run.transaction = std::sync::Arc::new(set.collect());
    run.message = Some(Fields::from(message).boxed());
    host.run(run)
}

/// `0 pbx, 1 voicemail`: stages and upstreams.
fn targets(finished: &Finished) -> String {
    let targets = finished.targets.iter().map(|target| match &target.kind {
        TargetKind::Upstream(name) => format!("{} {name}", target.stage),
        other => panic!("{other:?}"),
    });
    targets.collect::<Vec<_>>().join(", ")
}

fn fault(finished: &Finished) -> &str {
    match &finished.outcome {
        Outcome::Fault { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

fn status(finished: &Finished) -> u16 {
    match &finished.outcome {
        Outcome::Reply { status, .. } | Outcome::Status(status) => *status,
        other => panic!("{other:?}"),
    }
}

/// Opening hours of the line `support`.
fn hours(open: Value) -> Value {
    json!({ "lines": ["support"], "open": open, "agents": "pbx", "voicemail": "voicemail", "ring_s": 15 })
}

fn always() -> Value {
    json!({ "mon-sun": ["00:00-24:00"] })
}

/// The name of the weekday in so many days, in UTC.
fn weekday_in(days: u64) -> &'static str {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // The epoch began on a Thursday.
    let weekday = now.unwrap().as_secs() / DAY_S + 3 + days;
    ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][usize::try_from(weekday % 7).unwrap()]
}

#[test]
fn javascript_rings_agents_and_then_voicemail_while_a_line_is_open() {
    let host = start("opening-hours", hours(always()));
    let finished = invite(&host, "sip:support@example.com");
    assert_eq!(targets(&finished), "0 pbx, 1 voicemail");
    let timeouts = finished.timeouts[0];
    assert_eq!((timeouts.stage, timeouts.no_answer_ms), (0, 15_000));
    let other = invite(&host, "sip:bob@example.com");
    assert_eq!((other.outcome, other.targets.len()), (Outcome::Continue, 0));
}

#[test]
fn javascript_says_when_a_closed_line_opens() {
    let host = start(
        "opening-hours",
        hours(json!({ weekday_in(3): ["00:00-24:00"] })),
    );
    let finished = invite(&host, "sip:support@example.com");
    assert_eq!(targets(&finished), "0 voicemail");
    let failed = fields(response(&host, 480, &finished, &[]));
    let seconds = failed.strip_prefix("Retry-After: ").unwrap();
    let seconds: u64 = seconds.parse().unwrap();
    assert!((DAY_S..=3 * DAY_S).contains(&seconds), "{seconds}");
    assert_eq!(fields(response(&host, 200, &finished, &[])), "");
}

#[test]
fn javascript_refuses_a_configuration() {
    let mut wrong = hours(always());
    wrong["voicemail"] = "nowhere".into();
    refused(
        "opening-hours",
        wrong,
        expect!["configure refused: there is no upstream nowhere"],
    );
    refused(
        "opening-hours",
        hours(json!({ "mon": ["9-17"] })),
        expect!["configure refused: 9-17 is no time such as 09:00-17:00"],
    );
    refused(
        "opening-hours",
        json!({}),
        expect!["configure refused: lines must list the users or numbers that have opening hours"],
    );
}

#[test]
fn what_javascript_throws_costs_one_message() {
    let host = start_with(component("opening-hours"), hours(always()), |spec| {
        spec.grants.route = Grant::Deny
    });
    let host = host.unwrap();
    expect!["trapped: wasm trap: wasm `unreachable` instruction executed"]
        .assert_eq(fault(&invite(&host, "sip:support@example.com")));
    let next = invite(&host, "sip:bob@example.com");
    assert_eq!(next.outcome, Outcome::Continue);
}

#[test]
fn javascript_that_is_edited_serves_the_next_call() {
    let folder = Folder::new();
    let path = folder.path("opening-hours.wasm");
    fs::copy(component("opening-hours"), &path).unwrap();
    let host = start_with(path.clone(), hours(always()), |_| {}).unwrap();
    assert_eq!(
        targets(&invite(&host, "sip:support@example.com")),
        "0 pbx, 1 voicemail"
    );
    rename_over(
        &path,
        &edited(
            &folder,
            "addUpstream(config.voicemail, 1)",
            "addUpstream(config.voicemail, 0)",
        ),
    );
    until("reloaded", || {
        targets(&invite(&host, "sip:support@example.com")) == "0 pbx, 0 voicemail"
    });
    rename_over(&path, &edited(&folder, "config = parse(", "config = pars("));
    until("refused", || host.policies.status()[0].load_error.is_some());
    let refusal = host.policies.status().remove(0).load_error.unwrap();
    assert!(refusal.text.contains("pars"), "{}", refusal.text);
    assert_eq!(
        targets(&invite(&host, "sip:support@example.com")),
        "0 pbx, 0 voicemail"
    );
}

/// The component of an edited `opening-hours.js`.
fn edited(folder: &Folder, from: &str, to: &str) -> Vec<u8> {
    let example = path::absolute("../../examples/policies/javascript").unwrap();
    let source = fs::read_to_string(example.join("opening-hours.js")).unwrap();
    assert!(source.contains(from), "{from}");
    folder.write("opening-hours.js", source.replace(from, to).as_bytes());
    fs::copy(example.join("hours.js"), folder.path("hours.js")).unwrap();
    let component = folder.path("edited.wasm");
    let built = Command::new(example.join("node_modules/.bin/componentize-qjs"))
        .args(["--wit", "../../../wit", "--world", "rewriter"])
        .args(["--sync", "--opt-size", "--js"])
        .arg(folder.path("opening-hours.js"))
        .arg("--output")
        .arg(&component)
        .current_dir(&example)
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    fs::read(component).unwrap()
}

#[test]
fn python_makes_e164_of_what_was_dialled() {
    let host = start("e164", json!({ "country": "DE", "sides": { "web": "US" } }));
    let dialled = |uri| fields(invite(&host, uri));
    expect!["Request-URI: sip:+12125550123@example.com"]
        .assert_eq(&dialled("sip:1-212-555-0123@example.com"));
    expect!["Request-URI: tel:+49301234567;ext=1"]
        .assert_eq(&dialled("tel:011-49-30-1234567;ext=1"));
    for kept in [
        "sip:bob@example.com",
        "sip:112@example.com",
        "sip:12125550123@elsewhere.example",
        "urn:service:sos",
    ] {
        assert_eq!(dialled(kept), "");
    }
}

#[test]
fn python_makes_e164_of_who_calls_and_who_answers() {
    let host = start("e164", json!({ "country": "DE" }));
    let identity = (
        "P-Asserted-Identity",
        "\"Reception\" <sip:030-1234567@example.com>",
    );
    let finished = request(
        &host,
        "sip:alice@example.com",
        "sip:bob@example.com",
        &[identity],
    );
    let expected = expect![[r#"P-Asserted-Identity: "Reception" <sip:+49301234567@example.com>"#]];
    let answered = response(&host, 200, &finished, &[identity]);
    expected.assert_eq(&fields(finished));
    expected.assert_eq(&fields(answered));
}

#[test]
fn python_refuses_a_configuration() {
    refused(
        "e164",
        json!({}),
        expect!["configure refused: 'country' is missing"],
    );
    refused(
        "e164",
        json!({ "country": "XX" }),
        expect![
            "configure refused: 'XX' is none of the countries AT, AU, CH, DE, FR, GB, IT, JP, US"
        ],
    );
    refused(
        "e164",
        json!([]),
        expect!["configure refused: list indices must be integers or slices, not str"],
    );
}

#[test]
fn python_with_too_little_memory_is_refused() {
    let started = start_with(component("e164"), json!({ "country": "DE" }), |spec| {
        spec.limits.memory_bytes_max = 1 << 20
    });
    let Err(error) = started else {
        panic!("it was taken")
    };
    expect!["needs more memory than memory_bytes_max = 1048576"].assert_eq(&error.faults[0].1);
}

#[test]
fn what_python_raises_costs_one_message() {
    let host = start_with(component("e164"), json!({ "country": "DE" }), |spec| {
        spec.grants.edit = Grant::Deny
    });
    let host = host.unwrap();
    expect!["trapped: wasm trap: wasm `unreachable` instruction executed"]
        .assert_eq(fault(&invite(&host, "sip:030-1234567@example.com")));
    let next = invite(&host, "sip:bob@example.com");
    assert_eq!(next.outcome, Outcome::Continue);
}

fn rules() -> Value {
    json!([
        "from +4479 divert voicemail",
        "from +447900 allow",
        "from sipvicious discard",
        "from +88 refuse",
        "to +4990 refuse",
        "to +49900123 allow"
    ])
}

#[test]
fn c_decides_by_the_longest_prefix_of_either_number() {
    let host = start("screening", rules());
    let call = |from: &str, to: &str| {
        let (from, to) = (
            format!("sip:{from}@example.com"),
            format!("sip:{to}@example.com"),
        );
        request(&host, &from, &to, &[])
    };
    let diverted = call("+447911123456", "bob");
    assert_eq!(
        (targets(&diverted), &diverted.outcome),
        ("0 voicemail".into(), &Outcome::Continue)
    );
    assert_eq!(call("sipvicious", "100").outcome, Outcome::Discard);
    assert_eq!(status(&call("+8835100", "bob")), 607);
    assert_eq!(status(&call("alice", "+49900555;ext=1")), 403);
    for (from, to) in [
        ("+447900123456", "bob"),
        ("alice", "+49900123"),
        ("+447", "bob"),
    ] {
        let allowed = call(from, to);
        assert_eq!(
            (allowed.outcome, allowed.targets.len()),
            (Outcome::Continue, 0)
        );
    }
}

#[test]
fn c_hides_who_answered_a_diverted_call() {
    let host = start("screening", rules());
    let diverted = request(
        &host,
        "sip:+447911123456@example.com",
        "sip:bob@example.com",
        &[],
    );
    let answer = [
        ("Server", "pbx"),
        ("P-Asserted-Identity", "<sip:voicemail@example.com>"),
    ];
    assert_eq!(
        fields(response(&host, 200, &diverted, &answer)),
        "Server: pbx"
    );
    assert_eq!(status(&response(&host, 503, &diverted, &answer)), 480);
    let other = invite(&host, "sip:bob@example.com");
    let passed = response(&host, 503, &other, &answer);
    assert_eq!(passed.outcome, Outcome::Continue);
    assert!(fields(passed).contains("voicemail"));
}

#[test]
fn c_refuses_a_configuration() {
    refused(
        "screening",
        json!({}),
        expect!["configure refused: the configuration is no array of rules"],
    );
    refused(
        "screening",
        json!(["to +49 refus"]),
        expect![[
            r#"configure refused: rule "to +49 refus": its verdict is none of allow, refuse, discard and divert"#
        ]],
    );
    refused(
        "screening",
        json!(["to +49 divert nowhere"]),
        expect![[
            r#"configure refused: rule "to +49 divert nowhere": divert needs the name of an upstream"#
        ]],
    );
    refused(
        "screening",
        json!(["to +49 refuse", 7]),
        expect![
            "configure refused: the configuration is an array of strings without escapes, and there is something else in it"
        ],
    );
}

#[test]
fn what_c_reports_costs_one_message() {
    let host = start_with(component("screening"), rules(), |spec| {
        spec.grants.route = Grant::Deny
    });
    let host = host.unwrap();
    let diverted = request(
        &host,
        "sip:+447911123456@example.com",
        "sip:bob@example.com",
        &[],
    );
    expect!["fault divert: the host refused the target or the attribute: is `route` granted?"]
        .assert_eq(fault(&diverted));
    assert_eq!(
        invite(&host, "sip:bob@example.com").outcome,
        Outcome::Continue
    );
}
