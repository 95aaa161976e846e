//! One version of the whole chain. A transaction holds the generation that it began with.

use std::{array, sync::Arc};

use crate::{
    context::HookName,
    runner::HookSet,
    version::{Runtime, Version},
};

/// One version of every policy. Instances are freed once the last holder is gone.
pub struct Generation {
    number: u64,
    hooks: HookSet,
    runtime: Runtime,
    versions: Vec<Arc<Version>>,
    chains: [Vec<Arc<Version>>; 6],
}

impl Generation {
    /// `versions` in the order of configuration; chains run by place first.
    pub(crate) fn new(number: u64, versions: Vec<Arc<Version>>) -> Self {
        let mut ordered = versions.clone();
        ordered.sort_by_key(|version| version.policy.spec().place);
        let chains = array::from_fn(|hook| {
            ordered
                .iter()
                .filter(|version| version.hooks.contains(HookName::ALL[hook]))
                .cloned()
                .collect::<Vec<_>>()
        });
        let hooks = HookName::ALL
            .into_iter()
            .filter(|&hook| !chains[hook as usize].is_empty());
        let hooks = hooks.fold(HookSet::default(), HookSet::with);
        let waits = versions
            .iter()
            .any(|version| version.runtime == Runtime::Tokio);
        let runtime = if waits { Runtime::Tokio } else { Runtime::None };
        Self {
            number,
            hooks,
            runtime,
            versions,
            chains,
        }
    }

    /// Counts up from 1 with every swap.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What some policy exports: the others need not be run.
    pub fn hooks(&self) -> HookSet {
        self.hooks
    }

    pub(crate) fn versions(&self) -> &[Arc<Version>] {
        &self.versions
    }

    pub(crate) fn runtime(&self) -> Runtime {
        self.runtime
    }

    /// Those that export this hook, in order.
    pub(crate) fn chain(&self, hook: HookName) -> &[Arc<Version>] {
        &self.chains[hook as usize]
    }
}
