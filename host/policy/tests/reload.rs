//! A file changes, and the next message runs the new one; or says why not.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::{Folder, Host, fields, guest::Guest, rename_over, until};
use hookswitch_policy::{
    Engine, EngineConfig, Policies, PolicySpec,
    context::Hook,
    spec::ConfigSource,
    status::{PolicyStatus, State},
};

fn version(name: &'static str) -> Vec<u8> {
    Guest::new(name)
        .request("(call $stamp) (call $next)")
        .build()
}

fn host(folder: Folder, component: &str) -> Host {
    let spec = PolicySpec::new("a", folder.path(component));
    Host::with(folder, vec![spec]).unwrap()
}

fn status(host: &Host) -> PolicyStatus {
    host.policies.status().remove(0)
}

fn wait_for(host: &Host, stamp: &str) -> Duration {
    wait_for_trail(host, &format!("X-Trail: {stamp}"))
}

fn wait_for_trail(host: &Host, trail: &str) -> Duration {
    until(trail, || fields(host.request()) == trail)
}

#[test]
fn a_file_that_is_renamed_over_is_reloaded() {
    let folder = Folder::new();
    let path = folder.write("a.wasm", &version("one"));
    let host = host(folder, "a.wasm");
    assert_eq!(fields(host.request()), "X-Trail: one");
    let first = status(&host);
    rename_over(&path, &version("two"));
    wait_for(&host, "two");
    let second = status(&host);
    assert_eq!(
        (
            first.generation,
            second.generation,
            second.counters.reloads,
            second.state
        ),
        (1, 2, 1, State::Active)
    );
    assert_ne!(first.digest, second.digest);
    assert_eq!(host.policies.current().number(), 2);
}

#[test]
fn a_file_that_is_written_in_place_is_reloaded_once_it_is_closed() {
    use std::io::Write;
    let folder = Folder::new();
    let path = folder.write("a.wasm", &version("one"));
    let host = host(folder, "a.wasm");
    let bytes = version("two");
    let mut file = fs::File::create(&path).unwrap();
    for half in bytes.chunks(bytes.len() / 2) {
        file.write_all(half).unwrap();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(fields(host.request()), "X-Trail: one");
    }
    drop(file);
    wait_for(&host, "two");
    assert_eq!(
        status(&host).counters.reloads_refused,
        0,
        "half of it was read"
    );
}

#[test]
fn a_link_that_is_swapped_as_kubernetes_does_is_followed() {
    let folder = Folder::new();
    for (data, stamp) in [("..1", "one"), ("..2", "two"), ("..3", "three")] {
        fs::create_dir(folder.path(data)).unwrap();
        folder.write(&format!("{data}/a.wasm"), &version(stamp));
    }
    symlink("..1", folder.path("..data")).unwrap();
    symlink("..data/a.wasm", folder.path("a.wasm")).unwrap();
    let host = host(folder, "a.wasm");
    for (data, stamp) in [("..2", "two"), ("..3", "three")] {
        symlink(data, host.folder.path("..data_tmp")).unwrap();
        fs::rename(host.folder.path("..data_tmp"), host.folder.path("..data")).unwrap();
        wait_for(&host, stamp);
    }
}

#[test]
fn a_link_in_another_folder_on_the_way_is_followed() {
    let folder = Folder::new();
    for data in ["one", "two", "elsewhere"] {
        fs::create_dir(folder.path(data)).unwrap();
    }
    folder.write("one/a.wasm", &version("one"));
    folder.write("two/a.wasm", &version("two"));
    symlink(folder.path("one"), folder.path("elsewhere/current")).unwrap();
    symlink("elsewhere/current/a.wasm", folder.path("a.wasm")).unwrap();
    let host = host(folder, "a.wasm");
    let link = host.folder.path("elsewhere/current");
    fs::remove_file(&link).unwrap();
    symlink(host.folder.path("two"), &link).unwrap();
    wait_for(&host, "two");
}

#[test]
fn the_configurations_file_is_reloaded_too() {
    // Stamps when the JSON is longer than two bytes.
    let configure = "(global.set $calls (local.get 1)) (call $decide (i32.const 0))";
    let body =
        "(if (i32.gt_u (global.get $calls) (i32.const 2)) (then (call $stamp))) (call $next)";
    let folder = Folder::new();
    let mut spec = PolicySpec::new(
        "a",
        folder.write(
            "a.wasm",
            &Guest::new("a").request(body).configure(configure).build(),
        ),
    );
    let config = folder.write("a.json", b"{}");
    spec.config = ConfigSource::File(config.clone());
    let host = Host::with(folder, vec![spec]).unwrap();
    assert_eq!(fields(host.request()), "");
    fs::write(&config, b"{\"broken\"").unwrap();
    until("refused", || status(&host).state == State::Quarantined);
    fs::write(&config, b"{\"a\": 1}").unwrap();
    wait_for(&host, "a");
}

#[test]
fn what_is_broken_is_refused_and_the_version_before_goes_on() {
    let folder = Folder::new();
    let path = folder.write("a.wasm", &version("one"));
    let host = host(folder, "a.wasm");
    let good = version("two");
    let broken = [
        (good[..good.len() / 2].to_vec(), "half of one"),
        (b"not wasm".to_vec(), "no WebAssembly"),
        (
            Guest::new("a")
                .request("(call $next)")
                .configure("unreachable")
                .build(),
            "configure trapped",
        ),
        (
            wat::parse_str(r#"(component (import "wasi:http/types@0.2.0" (instance)))"#).unwrap(),
            "wasi:http/types",
        ),
    ];
    for (count, (bytes, reason)) in (1..).zip(&broken) {
        rename_over(&path, bytes);
        until(reason, || status(&host).counters.reloads_refused == count);
        let status = status(&host);
        assert_eq!(
            (status.state, status.counters.reloads),
            (State::Quarantined, 0)
        );
        let text = status.load_error.unwrap().text;
        assert!(text.contains(reason), "{text}");
        assert_eq!(fields(host.request()), "X-Trail: one");
    }
    rename_over(&path, &good);
    wait_for(&host, "two");
    assert_eq!(
        (status(&host).state, status(&host).load_error.is_none()),
        (State::Active, true)
    );
}

#[test]
fn a_transaction_keeps_the_generation_that_it_began_with() {
    let folder = Folder::new();
    let path = folder.write("a.wasm", &version("one"));
    let host = host(folder, "a.wasm");
    let began_with = host.policies.current();
    rename_over(&path, &version("two"));
    wait_for(&host, "two");
    assert_eq!(
        fields(host.run_in(&began_with, host.given(Hook::Request))),
        "X-Trail: one"
    );
    let draining = host.policies.draining();
    assert_eq!(
        (draining.len(), draining[0].generation, draining[0].holders),
        (1, 1, 1)
    );
    let made = status(&host).counters.instances_made;
    drop(began_with);
    until("retired", || host.policies.draining().is_empty());
    assert_eq!(
        status(&host).counters.instances_retired,
        made - 1,
        "its instances are freed with it"
    );
}

fn retired(host: &Host) -> Vec<u64> {
    let status = host.policies.status();
    let counters = status.iter().map(|status| &status.counters);
    counters
        .map(|counters| counters.instances_retired)
        .collect()
}

#[test]
fn other_policies_keep_their_instances_over_a_reload() {
    let folder = Folder::new();
    let path = folder.write("a.wasm", &version("one"));
    let other = folder.write("b.wasm", &version("b"));
    let host = Host::with(
        folder,
        vec![PolicySpec::new("a", &path), PolicySpec::new("b", &other)],
    )
    .unwrap();
    rename_over(&path, &version("two"));
    until("two", || {
        fields(host.request()) == "X-Trail: two, X-Trail: b"
    });
    until("retired", || retired(&host)[0] > 0);
    assert_eq!(retired(&host)[1], 0);
}

#[test]
fn a_new_version_is_not_blamed_for_the_one_before() {
    let folder = Folder::new();
    let path = folder.write("a.wasm", &Guest::new("a").request("unreachable").build());
    let host = host(folder, "a.wasm");
    until("open", || {
        thread::sleep(Duration::from_millis(20));
        drop(host.request());
        status(&host).circuits_open == 1
    });
    let old = host.policies.current();
    rename_over(&path, &version("two"));
    until("reloaded", || status(&host).counters.reloads == 1);
    for _ in 0..50 {
        drop(host.run_in(&old, host.given(Hook::Request)));
        assert_eq!(fields(host.request()), "X-Trail: two");
    }
    assert_eq!(status(&host).circuits_open, 0);
}

#[test]
fn a_fault_of_the_active_version_does_not_hide_why_the_newest_is_refused() {
    let folder = Folder::new();
    let path = folder.write("a.wasm", &Guest::new("a").request("(call $fault)").build());
    let host = host(folder, "a.wasm");
    rename_over(&path, b"not wasm");
    until("refused", || status(&host).state == State::Quarantined);
    drop(host.request());
    let status = status(&host);
    assert_eq!(
        status.last_error.unwrap().text,
        "request-hook: fault a: pbx"
    );
    let text = status.load_error.unwrap().text;
    assert!(text.contains("no WebAssembly"), "{text}");
}

#[test]
fn a_policy_that_takes_long_to_configure_delays_no_other() {
    let folder = Folder::new();
    let slow = folder.write("a.wasm", &version("one"));
    let other = folder.write("b.wasm", &version("b"));
    let host = Host::with(
        folder,
        vec![PolicySpec::new("a", &slow), PolicySpec::new("b", &other)],
    )
    .unwrap();
    let spinning = Guest::new("a")
        .request("(call $next)")
        .configure("(call $spin) unreachable");
    rename_over(&slow, &spinning.build());
    until("being configured", || status(&host).state == State::Linked);
    rename_over(&other, &version("two"));
    wait_for_trail(&host, "X-Trail: one, X-Trail: two");
    assert_eq!(
        status(&host).state,
        State::Linked,
        "the slow one is not done yet"
    );
    until("refused", || status(&host).state == State::Quarantined);
    let text = status(&host).load_error.unwrap().text;
    assert_eq!(text, "not configured within configure_ms_max = 5000");
}

#[test]
fn old_versions_keep_no_instances_that_nobody_uses() {
    let folder = Folder::new();
    let path = folder.write("a.wasm", &version("one"));
    let host = host(folder, "a.wasm");
    let mut held = Vec::new();
    for count in 0..5 {
        held.push(host.policies.current());
        let stamp = if count % 2 == 0 { "two" } else { "one" };
        rename_over(&path, &version(stamp));
        wait_for(&host, stamp);
    }
    until("swept", || {
        let counters = status(&host).counters;
        counters.instances_made - counters.instances_retired == 1
    });
    let stamps = held
        .iter()
        .map(|old| fields(host.run_in(old, host.given(Hook::Request))));
    assert!(
        stamps.eq(["one", "two", "one", "two", "one"].map(|stamp| format!("X-Trail: {stamp}")))
    );
}

#[test]
fn many_reloads_lose_no_request() {
    let folder = Folder::new();
    let path = folder.write("a.wasm", &version("one"));
    let host = Arc::new(host(folder, "a.wasm"));
    let versions = [version("one"), version("two")];
    let theirs = host.clone();
    let writer = thread::spawn(move || {
        for count in 1..=20_u64 {
            rename_over(&path, &versions[usize::try_from(count % 2).unwrap()]);
            until("reloaded", || {
                theirs.policies.current().number() == count + 1
            });
        }
    });
    while !writer.is_finished() {
        let finished = fields(host.request());
        assert!(
            ["X-Trail: one", "X-Trail: two"].contains(&finished.as_str()),
            "{finished}"
        );
    }
    writer.join().unwrap();
    assert_eq!(status(&host).counters.faults, 0);
    until("retired", || host.policies.draining().is_empty());
}

#[test]
fn compiled_code_is_kept_and_what_is_damaged_is_compiled_again() {
    let folder = Folder::new();
    let path = folder.write("a.wasm", &version("one"));
    let cache = folder.path("cache");
    let start = || {
        let engine = Engine::new(EngineConfig {
            workers: 1,
            instances_max: 20,
            compile_cache: Some(cache.clone()),
            ..EngineConfig::default()
        })
        .unwrap();
        Policies::start(&engine, vec![PolicySpec::new("a", &path)], Vec::new()).unwrap();
    };
    start();
    let entries: Vec<_> = fs::read_dir(&cache)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(entries.len(), 1);
    assert_eq!(
        fs::metadata(&cache).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let whole = fs::read(&entries[0]).unwrap();
    let written = fs::metadata(&entries[0]).unwrap().ino();
    start();
    assert_eq!(
        fs::metadata(&entries[0]).unwrap().ino(),
        written,
        "used as it is"
    );
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 1;
    for damaged in [altered, whole[..whole.len() - 1].to_vec(), Vec::new()] {
        fs::write(&entries[0], damaged).unwrap();
        start();
        assert!(
            fs::read(&entries[0]).unwrap().len() == whole.len(),
            "compiled again"
        );
    }
}

#[test]
fn a_cache_that_others_may_write_to_is_refused() {
    let folder = Folder::new();
    let cache = folder.path("cache");
    fs::create_dir(&cache).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
    let Err(error) = Engine::new(EngineConfig {
        compile_cache: Some(cache),
        ..EngineConfig::default()
    }) else {
        panic!("it was taken")
    };
    assert!(error.to_string().contains("chmod 700"), "{error}");
}

/// Not a limit of its own: shown with `--nocapture`.
#[test]
fn a_small_component_serves_soon_after_its_file_is_whole() {
    let folder = Folder::new();
    let path = folder.write("a.wasm", &version("one"));
    let host = host(folder, "a.wasm");
    let mut took: Vec<Duration> = (0..10)
        .map(|count| {
            let stamp = if count % 2 == 0 { "two" } else { "one" };
            let bytes = version(stamp);
            let began = Instant::now();
            rename_over(&path, &bytes);
            wait_for(&host, stamp);
            began.elapsed()
        })
        .collect();
    took.sort();
    println!(
        "from write to first new answer: median {:?}, worst {:?}",
        took[5], took[9]
    );
    assert!(took[5] < Duration::from_secs(5));
}
