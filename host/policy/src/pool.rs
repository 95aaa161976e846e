//! How many instances there may be at once: the pool that they come from is reserved at the start.

use thiserror::Error;

use crate::{shelf::READY_MAX, spec::PolicySpec};

/// Of all policies. Each instance reserves 4 GiB of address space, of which there are 128 TiB.
pub const INSTANCES_MAX: u64 = 10_000;
/// Versions of a policy that have instances ready at the same time: the active one, the one that is being loaded, and old ones
/// that transactions still use. What the older ones have beyond that is swept away.
const VERSIONS_WITH_INSTANCES: u64 = 4;

/// The limits of the policies add up to too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the policies may need {instances} instances at once; {INSTANCES_MAX} are the most")]
pub struct TooManyInstances {
    /// What they may need.
    pub instances: u64,
}

/// The instances that these policies may need: for hooks that spin or wait, and ready for each worker.
///
/// # Errors
/// More than [`INSTANCES_MAX`]: lower `hooks_in_flight_max` or the count of workers.
pub fn instances_needed(workers: usize, specs: &[PolicySpec]) -> Result<u32, TooManyInstances> {
    // One runs on the worker and one is being made.
    let for_each_worker = READY_MAX as u64 + 2;
    let ready = VERSIONS_WITH_INSTANCES * for_each_worker * workers as u64;
    let policies = specs
        .iter()
        .map(|spec| u64::from(spec.limits.hooks_in_flight_max) + ready);
    let instances = policies.fold(1, u64::saturating_add);
    u32::try_from(instances)
        .ok()
        .filter(|_| instances <= INSTANCES_MAX)
        .ok_or(TooManyInstances { instances })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_add_up_and_have_a_limit() {
        let mut spec = PolicySpec::new("a", "a.wasm");
        spec.limits.hooks_in_flight_max = 100;
        assert_eq!(instances_needed(2, &[spec.clone(), spec.clone()]), Ok(297));
        spec.limits.hooks_in_flight_max = 20_000;
        assert_eq!(
            instances_needed(2, &[spec]),
            Err(TooManyInstances { instances: 20_049 })
        );
    }
}
