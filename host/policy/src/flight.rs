//! One call of a hook under way: what it occupies while it lasts, and what came of it. A call that ends in its first poll occupies
//! nothing.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use crate::{
    breaker::Turn,
    fault::{Fault, Health},
    policy::Policy,
    slow_lane,
    sources::{Source, Spinning},
    ticker::SLICE_USED_MIN,
};

/// One place of `hooks_in_flight_max`.
pub(crate) struct Place<'a>(&'a AtomicU32);

pub(crate) struct Flight<'a> {
    pub(crate) began: Instant,
    policy: &'a Policy,
    source: Source<'a>,
    worker: usize,
    place: Option<Place<'a>>,
    spinning: Option<Spinning<'a>>,
}

impl<'a> Flight<'a> {
    /// Leave to call the policy now.
    pub(crate) fn begin(
        policy: &'a Policy,
        source: Source<'a>,
        worker: usize,
    ) -> Result<Self, Fault> {
        if !source.permits() {
            return Err(Fault::CircuitOpen);
        }
        Ok(Self {
            began: Instant::now(),
            policy,
            source,
            worker,
            place: None,
            spinning: None,
        })
    }

    /// Where calls of this source spin already, this one does not begin on the worker.
    pub(crate) async fn leave_a_worker_to_others(&mut self) -> Result<(), Fault> {
        if self.source.is_spinning() && slow_lane::is_on_worker() {
            self.pended(Duration::ZERO)?;
            slow_lane::reached().await;
        }
        Ok(())
    }

    /// A poll did not end the call, and used so much CPU.
    ///
    /// # Errors
    /// [`Fault::InFlight`]: it must not go on.
    pub(crate) fn pended(&mut self, used: Duration) -> Result<(), Fault> {
        if self.place.is_none() {
            self.place = Some(self.policy.place()?);
            self.policy.tally(self.worker).slow();
        }
        if used >= SLICE_USED_MIN && self.spinning.is_none() {
            self.spinning = Some(self.source.spins());
        }
        Ok(())
    }

    /// What came of it, for the circuit.
    pub(crate) fn ended(self, fault: Option<&Fault>) {
        match fault.map_or(Health::Sound, Fault::health) {
            Health::Sound => self.source.succeeded(),
            Health::Broken if self.source.failed() == Turn::Opened => tracing::warn!(
                policy = self.policy.name(),
                "policy keeps failing on messages from some address; most of them are not shown to it for a while"
            ),
            Health::Broken | Health::NotRun => {}
        }
    }
}

impl<'a> Place<'a> {
    /// One of so many, if one is free.
    pub(crate) fn take(taken: &'a AtomicU32, places_max: u32) -> Option<Self> {
        if taken.fetch_add(1, Relaxed) >= places_max {
            taken.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Self(taken))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
