//! Why a call of a hook failed.

use thiserror::Error;

/// A failed call. Its text reaches the log and the status; the failure mode decides about the message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Fault {
    /// The policy said so itself; its instance is kept.
    #[error("fault {code}: {detail}")]
    Reported { code: String, detail: String },
    /// The guest trapped.
    #[error("trapped: {0}")]
    Trap(String),
    /// It used more CPU than `cpu_ms_max`.
    #[error("ran longer than cpu_ms_max = {0}")]
    Cpu(u64),
    /// It did not return within `wall_ms_max`.
    #[error("did not return within wall_ms_max = {0}")]
    Wall(u64),
    /// It wanted more memory than `memory_bytes_max` and then trapped.
    #[error("needs more memory than memory_bytes_max = {0}")]
    Memory(usize),
    /// No instance could be made, or it refused its configuration.
    #[error("no instance: {0}")]
    Instance(String),
    /// All instances that there may be are in use.
    #[error("no instance: the pool of all policies is empty")]
    Pool,
    /// It decided what the contract does not allow.
    #[error("decided what it may not: {0}")]
    Decision(String),
    /// `hooks_in_flight_max` calls are under way.
    #[error("more than hooks_in_flight_max = {0} at once")]
    InFlight(u32),
    /// It kept failing on messages from there.
    #[error("not run: it kept failing on messages from this address")]
    CircuitOpen,
}

/// What a fault says about the health of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It ran as it should, even if it reported a fault: that may be the message's.
    Sound,
    /// It counts towards opening the circuit.
    Broken,
    /// It was not run.
    NotRun,
}

impl Fault {
    pub(crate) fn health(&self) -> Health {
        match self {
            Self::Reported { .. } => Health::Sound,
            Self::Trap(_)
            | Self::Cpu(_)
            | Self::Wall(_)
            | Self::Memory(_)
            | Self::Instance(_)
            | Self::Decision(_) => Health::Broken,
            Self::InFlight(_) | Self::Pool | Self::CircuitOpen => Health::NotRun,
        }
    }
}
