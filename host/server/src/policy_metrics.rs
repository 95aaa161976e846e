//! Policies as Prometheus reads them.

use hookswitch_policy::status::{PolicyStatus, State};

use crate::metrics::{head, line};

type Number = fn(&PolicyStatus) -> f64;

/// With one sample for each policy.
const NUMBERS: [(&str, &str, &str, Number); 8] = [
    (
        "policy_call_seconds_total",
        "counter",
        "Time in hooks",
        |policy| policy.counters.call_ns as f64 / 1e9,
    ),
    (
        "policy_slow_total",
        "counter",
        "Hooks that did not end in their first poll",
        |policy| policy.counters.slow as f64,
    ),
    (
        "policy_instances_made_total",
        "counter",
        "Instances made",
        |policy| policy.counters.instances_made as f64,
    ),
    (
        "policy_reloads_total",
        "counter",
        "New versions that came to serve",
        |policy| policy.counters.reloads as f64,
    ),
    (
        "policy_in_flight",
        "gauge",
        "Hooks that spin or wait",
        |policy| f64::from(policy.in_flight),
    ),
    (
        "policy_circuits_open",
        "gauge",
        "Groups of sources whose messages are mostly not shown to it",
        |policy| policy.circuits_open as f64,
    ),
    (
        "policy_generation",
        "gauge",
        "The generation that brought the version that serves",
        |policy| policy.generation as f64,
    ),
    (
        "policy_reload_seconds",
        "gauge",
        "The last reload, from seen to serving",
        |policy| policy.reload_ms as f64 / 1e3,
    ),
];

pub(crate) fn render(policies: &[PolicyStatus], out: &mut String) {
    for (name, kind, help, number) in NUMBERS {
        head(out, name, kind, help);
        for policy in policies {
            line(out, name, &labels(policy, None), number(policy));
        }
    }
    head(out, "policy_calls_total", "counter", "Hooks run");
    for policy in policies {
        for (hook, calls) in &policy.counters.calls {
            let hook = hook.interface().trim_end_matches("-hook");
            let labels = labels(policy, Some(("hook", hook)));
            line(out, "policy_calls_total", &labels, calls);
        }
    }
    head(out, "policy_faults_total", "counter", "Hooks that failed");
    for policy in policies {
        for (cause, count) in policy.counters.causes() {
            let labels = labels(policy, Some(("cause", cause)));
            line(out, "policy_faults_total", &labels, count);
        }
    }
    let name = "policy_reloads_refused_total";
    head(out, name, "counter", "New versions that were refused");
    for policy in policies {
        for (stage, count) in &policy.counters.refused {
            let labels = labels(policy, Some(("stage", stage.name())));
            line(out, name, &labels, count);
        }
    }
    let help = "1 for where the newest file stands, 0 for the other states";
    head(out, "policy_state", "gauge", help);
    for policy in policies {
        for state in State::ALL {
            let labels = labels(policy, Some(("state", state.name())));
            line(
                out,
                "policy_state",
                &labels,
                u8::from(policy.state == state),
            );
        }
    }
}

fn labels(policy: &PolicyStatus, more: Option<(&str, &str)>) -> String {
    let name = &policy.name;
    match more {
        Some((label, value)) => format!("policy=\"{name}\",{label}=\"{value}\""),
        None => format!("policy=\"{name}\""),
    }
}
