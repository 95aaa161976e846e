//! One version of the whole chain. A transaction holds the generation that it began with.

use crate::runner::HookSet;

/// One version of every policy, in the chain's order.
pub struct Generation {
    number: u64,
    hooks: HookSet,
}

impl Generation {
    pub(crate) fn empty() -> Self {
        Self {
            number: 1,
            hooks: HookSet::default(),
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
}
