//! All policies of a host: loads them, watches their files, and swaps in what changed.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;

use crate::{
    engine::Engine,
    generation::Generation,
    spec::PolicySpec,
    status::{Draining, PolicyStatus},
};

/// All policies of a host.
pub struct Policies {
    current: ArcSwap<Generation>,
}

/// Every policy that cannot be loaded, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// Name and reason of each.
    pub faults: Vec<(String, String)>,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (policy, reason)) in self.faults.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}policy {policy}: {reason}")?;
        }
        Ok(())
    }
}

impl std::error::Error for StartError {}

impl Policies {
    /// Loads all of them, then watches their files until this is dropped.
    ///
    /// # Errors
    /// All that is wrong with any of them; then none serves.
    pub fn start(engine: &Engine, specs: Vec<PolicySpec>) -> Result<Arc<Self>, StartError> {
        let _ = (engine, specs);
        Ok(Arc::new(Self {
            current: ArcSwap::from_pointee(Generation::empty()),
        }))
    }

    /// The generation for a new transaction.
    pub fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// Each policy as it is now, in the order of configuration.
    pub fn status(&self) -> Vec<PolicyStatus> {
        Vec::new()
    }

    /// Generations that only old transactions hold.
    pub fn draining(&self) -> Vec<Draining> {
        Vec::new()
    }

    /// Looks at every file now, as if each had changed.
    pub fn reload(&self) {}
}
