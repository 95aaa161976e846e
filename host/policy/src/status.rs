//! What an operator sees of the policies: plain data for `/api/policies` and the metrics.

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Serialize, Serializer};

use crate::{
    context::HookName,
    spec::{Isolation, Place},
};

/// One policy as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyStatus {
    /// Of the configuration.
    pub name: String,
    /// Its part of the chain.
    pub place: Place,
    /// Whose messages run it; every tenant's if `None`.
    pub tenant: Option<String>,
    /// How long an instance lives.
    pub isolation: Isolation,
    /// Of the newest file seen; the active one is told by `digest`.
    pub state: State,
    /// SHA-256 of the active component in hex.
    pub digest: String,
    /// SHA-256 over component, configuration and grants of the active version in hex.
    pub version: String,
    /// The number of the generation that brought the active version.
    pub generation: u64,
    /// What it exports and its configuration has a use for.
    pub hooks: Vec<HookName>,
    /// Since the active version serves, in seconds of the Unix epoch.
    #[serde(serialize_with = "unix_seconds")]
    pub active_since: SystemTime,
    /// From the change seen to the new version serving; of the last reload that worked.
    pub reload_ms: u64,
    /// Why the newest file is not the active one; none once it is.
    pub load_error: Option<LastError>,
    /// What failed last in the active version.
    pub last_error: Option<LastError>,
    /// Groups of sources, of 256, on whose messages it kept failing: most of these are not shown to it for a while.
    pub circuits_open: usize,
    /// Hooks that spin or wait now.
    pub in_flight: u32,
    /// Since the start.
    pub counters: Counters,
}

/// An error and when it came up.
#[derive(Clone, Debug, Serialize)]
pub struct LastError {
    /// For people.
    pub text: String,
    /// In seconds of the Unix epoch.
    #[serde(serialize_with = "unix_seconds")]
    pub at: SystemTime,
}

impl LastError {
    pub(crate) fn now(text: String) -> Self {
        Self {
            text,
            at: SystemTime::now(),
        }
    }
}

/// Where the newest version of a policy's file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Read, and different from the active one.
    Seen,
    /// Machine code is there.
    Compiled,
    /// Its imports and exports are what the contract says.
    Linked,
    /// One instance was made and took its configuration.
    Configured,
    /// Serves new transactions.
    Active,
    /// Refused; the version before it serves.
    Quarantined,
}

/// Sums since the start, over all versions of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Calls by hook.
    pub calls: BTreeMap<HookName, u64>,
    /// Time in calls, in nanoseconds, instances made for them included.
    pub call_ns: u64,
    /// Calls that did not end in their first poll.
    pub slow: u64,
    /// Calls that failed, for whatever reason.
    pub faults: u64,
    /// Faults: the policy said so itself.
    pub reported: u64,
    /// Faults: the guest trapped.
    pub traps: u64,
    /// Faults: over the CPU budget or the wall-clock limit.
    pub timeouts: u64,
    /// Faults: over the memory limit.
    pub memory: u64,
    /// Faults: no instance could be made or configured.
    pub instantiations: u64,
    /// Faults: a decision that the contract does not allow.
    pub decisions: u64,
    /// Faults: too many in flight.
    pub in_flight: u64,
    /// Faults: all instances that there may be were in use.
    pub pool: u64,
    /// Faults: not run, since the circuit was open.
    pub circuit_open: u64,
    /// Instances made.
    pub instances_made: u64,
    /// Instances given up.
    pub instances_retired: u64,
    /// Log lines dropped by the rate limit.
    pub log_lines_dropped: u64,
    /// New versions that came to serve.
    pub reloads: u64,
    /// New versions that were refused.
    pub reloads_refused: u64,
    /// The same, by what refused them.
    pub refused: BTreeMap<Stage, u64>,
}

impl Counters {
    /// Faults by cause.
    pub fn causes(&self) -> [(&'static str, u64); 9] {
        [
            ("reported", self.reported),
            ("trap", self.traps),
            ("timeout", self.timeouts),
            ("memory", self.memory),
            ("instantiation", self.instantiations),
            ("decision", self.decisions),
            ("in-flight", self.in_flight),
            ("pool", self.pool),
            ("circuit-open", self.circuit_open),
        ]
    }
}

/// What can refuse a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// A file cannot be read, or is no JSON.
    Read,
    /// It is no component.
    Compile,
    /// Its imports or exports are not what the contract says.
    Link,
    /// It did not take its configuration.
    Configure,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Compile, Self::Link, Self::Configure];

    /// As in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Compile => "compile",
            Self::Link => "link",
            Self::Configure => "configure",
        }
    }
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Seen,
        Self::Compiled,
        Self::Linked,
        Self::Configured,
        Self::Active,
        Self::Quarantined,
    ];

    /// As in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Compiled => "compiled",
            Self::Linked => "linked",
            Self::Configured => "configured",
            Self::Active => "active",
            Self::Quarantined => "quarantined",
        }
    }
}

/// A generation that no longer serves new transactions, while old ones hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Draining {
    /// Its number.
    pub generation: u64,
    /// Who holds it.
    pub holders: usize,
}

fn unix_seconds<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(
        at.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64(),
    )
}
