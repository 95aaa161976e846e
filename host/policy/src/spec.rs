//! What an operator says about a policy: where it stands, what it may do and spend, and what a failure means. Plain data; nothing
//! is read or checked here.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::context::HookName;

/// One policy of the chain. [`PolicySpec::new`] has the defaults.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySpec {
    /// Unique; stands in logs, metrics and faults.
    pub name: String,
    /// Its part of the chain.
    #[serde(default)]
    pub place: Place,
    /// Only messages of this tenant run it; `None`: of every tenant.
    #[serde(default)]
    pub tenant: Option<String>,
    /// The component's file; watched.
    pub component: PathBuf,
    /// Where `configure` gets its JSON from.
    #[serde(default)]
    pub config: ConfigSource,
    /// How long an instance lives.
    #[serde(default)]
    pub isolation: Isolation,
    /// What a failure of each hook means.
    #[serde(default)]
    pub failure: FailureModes,
    /// What it may spend.
    #[serde(default)]
    pub limits: Limits,
    /// What it may do.
    #[serde(default)]
    pub grants: Grants,
}

impl PolicySpec {
    /// A policy with every default.
    pub fn new(name: impl Into<String>, component: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            place: Place::default(),
            tenant: None,
            component: component.into(),
            config: ConfigSource::default(),
            isolation: Isolation::default(),
            failure: FailureModes::default(),
            limits: Limits::default(),
            grants: Grants::default(),
        }
    }
}

/// The part of the chain that a policy belongs to; in each part the order of configuration counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The operator's, before the tenant's.
    First,
    /// The tenant's: what `forward` cuts short.
    #[default]
    Tenant,
    /// The operator's, after the tenant's.
    Last,
}

/// Where `lifecycle.configure` gets its JSON from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigSource {
    /// In the host's own configuration.
    Inline(serde_json::Value),
    /// A JSON file of its own; watched.
    File(PathBuf),
}

impl Default for ConfigSource {
    fn default() -> Self {
        Self::Inline(serde_json::Value::Object(serde_json::Map::new()))
    }
}

/// How long an instance lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Serves many messages, one at a time.
    #[default]
    Reuse,
    /// A fresh instance for each call of a hook.
    Message,
}

/// What a failure of a hook means for its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureMode {
    /// The message fails: a request is answered 500.
    Closed,
    /// As if the policy were not there.
    Open,
}

/// A mode for each hook that may stop its message. A response always passes: who waits for it must get one. In a dialog the default
/// is open: a broken policy must not keep calls from ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FailureModes {
    /// `on-connect`
    pub connect: FailureMode,
    /// `on-register`
    pub register: FailureMode,
    /// `on-request` outside dialogs.
    pub request: FailureMode,
    /// `on-request` and `on-branch` in a dialog.
    pub in_dialog: FailureMode,
    /// `on-branch` outside dialogs.
    pub branch: FailureMode,
    /// `on-failure`
    pub failure: FailureMode,
}

impl Default for FailureModes {
    fn default() -> Self {
        use FailureMode::{Closed, Open};
        Self {
            connect: Closed,
            register: Closed,
            request: Closed,
            in_dialog: Open,
            branch: Open,
            failure: Open,
        }
    }
}

impl FailureModes {
    /// The mode for a hook, in a dialog or not.
    pub fn of(&self, hook: HookName, in_dialog: bool) -> FailureMode {
        match hook {
            HookName::Connect => self.connect,
            HookName::Register => self.register,
            HookName::Request | HookName::Branch if in_dialog => self.in_dialog,
            HookName::Request => self.request,
            HookName::Branch => self.branch,
            HookName::Response => FailureMode::Open,
            HookName::Failure => self.failure,
        }
    }
}

/// What a policy may spend. Times in milliseconds, sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// CPU of one hook.
    pub cpu_ms_max: u64,
    /// From the call of one hook to its return.
    pub wall_ms_max: u64,
    /// CPU, and elapsed time too, for making and configuring one instance.
    pub configure_ms_max: u64,
    /// Linear memory of one instance.
    pub memory_bytes_max: usize,
    /// Hooks that spin or wait at once, over all workers; one more fails at once.
    pub hooks_in_flight_max: u32,
    /// Targets that one run may set.
    pub targets_max: usize,
    /// Attributes that one hook may set, over source, transaction and call.
    pub attributes_max: usize,
    /// Key and value of one attribute.
    pub attribute_bytes_max: usize,
    /// Name and value of one header field that it sets.
    pub header_bytes_max: usize,
    /// A body that it sets or answers with.
    pub body_bytes_max: usize,
    /// One line of its log; the rest is cut.
    pub log_line_bytes_max: usize,
    /// Lines each second, over all workers; more are counted and dropped.
    pub log_lines_per_second_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_ms_max: 50,
            wall_ms_max: 1_000,
            configure_ms_max: 5_000,
            memory_bytes_max: 64 << 20,
            hooks_in_flight_max: 64,
            targets_max: 64,
            attributes_max: 64,
            attribute_bytes_max: 4 << 10,
            header_bytes_max: 8 << 10,
            body_bytes_max: 64 << 10,
            log_line_bytes_max: 1 << 10,
            log_lines_per_second_max: 100,
        }
    }
}

/// Whether a policy may do something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// It may.
    #[default]
    Allow,
    /// `not-granted` at the call.
    Deny,
}

/// What a policy may do beyond reading and deciding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Edit the current message.
    pub edit: Grant,
    /// Set targets.
    pub route: Grant,
    /// Name the peer: `source.set-identity`.
    pub identify: Grant,
    /// Realms and issuers that it may ask `auth` about; none unless they are named.
    pub auth: Vec<String>,
}
