//! What one call of a hook costs: `cargo run --release -p hookswitch-policy --example hook_cost -- POLICY.wasm [CONFIG.json]`.
//!
//! Runs `on-request` of one policy, reused and fresh, on one thread and on a message of a few fields.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::env;

use common::{Fields, Folder, Host};
use hookswitch_policy::{
    PolicySpec,
    context::Hook,
    spec::{ConfigSource, Isolation},
};

const CALLS: u32 = 20_000;

fn main() {
    let mut arguments = env::args_os().skip(1);
    let Some(component) = arguments.next() else {
        panic!("usage: hook_cost POLICY.wasm [CONFIG.json]")
    };
    let config = arguments.next();
    for isolation in [Isolation::Reuse, Isolation::Message] {
        let mut spec = PolicySpec::new("measured", &component);
        spec.isolation = isolation;
        if let Some(config) = &config {
            spec.config = ConfigSource::File(config.into());
        }
        let host = Host::with(Folder::new(), vec![spec]).unwrap_or_else(|error| panic!("{error}"));
        measure(&host, 1_000);
        let ns = measure(&host, CALLS);
        let counters = host.policies.status().remove(0).counters;
        println!(
            "{isolation:?}: {ns} ns of CPU a call; {} faults, {} slow, {} instances",
            counters.faults, counters.slow, counters.instances_made
        );
    }
}

fn measure(host: &Host, calls: u32) -> i64 {
    let began = cpu_ns();
    for _ in 0..calls {
        let mut run = host.given(Hook::Request);
        run.summary.request_uri = "sip:+4930123456@example.org".into();
        run.summary.from_uri = "sip:alice@example.org".into();
        run.summary.to_uri = "sip:bob@example.org".into();
        run.summary.call_id = "a84b4c76e66710@pc33.example.org".into();
        run.summary.side = "web".into();
        let message = Fields(vec![
            ("User-Agent".into(), "bench".into()),
            ("Subject".into(), "cost".into()),
        ]);
        run.message = Some(message.boxed());
        drop(host.run(run));
    }
    (cpu_ns() - began) / i64::from(calls)
}

/// Of this thread.
fn cpu_ns() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}
