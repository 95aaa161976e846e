//! What a run counted.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::uas::Seen;

/// Reasons of wrong answers that are kept as text.
const EXAMPLES_MAX: usize = 5;

/// The count of one run. A call is one request here: it is answered when its BYE is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Score {
    /// Requests that were sent.
    pub begun: u64,
    /// Ended as they should: 2xx.
    pub answered: u64,
    /// Ended by another final response, by status.
    pub refused: BTreeMap<u16, u64>,
    /// Not ended within the patience of the run.
    pub lost: u64,
    /// Responses that do not belong to the request whose Call-ID they bear, or that failed the run's inspection.
    pub wrong: u64,
    /// Responses to requests that had ended, or to an INVITE that was answered.
    pub stray: u64,
    /// The first few reasons of `wrong`.
    pub examples: Vec<String>,
    /// Ended within the measured window.
    pub measured: u64,
    /// Times to the final response within the measured window, in microseconds.
    #[serde(skip)]
    pub(crate) latencies: Vec<u32>,
}

impl Score {
    /// Every request ended, and with a 2xx that belongs to it.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.answered == self.begun && self.wrong == 0
    }

    /// Counts a wrong response.
    pub(crate) fn wrong(&mut self, reason: String) {
        self.wrong += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(reason);
        }
    }

    /// The time that `share` (0 to 1) of the measured requests stayed below, in microseconds; 0 if nothing was measured.
    #[must_use]
    pub fn latency_us(&self, share: f64) -> u32 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }
}

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The counts.
    pub score: Score,
    /// Per second of the measured window.
    pub rate: f64,
    /// Median time to the final response (of the INVITE, in calls), in microseconds.
    pub p50_us: u32,
    /// 99th percentile.
    pub p99_us: u32,
    /// CPU of the proxy for 1,000 requests (or calls), in milliseconds, if a process was named.
    pub cpu_ms_per_1000: Option<f64>,
    /// CPU of this generator for 1,000 requests, in milliseconds.
    pub own_cpu_ms_per_1000: f64,
    /// Requests that the PBX got.
    pub pbx: Seen,
    /// Requests that the browsers got.
    pub browsers: Seen,
}

/// The readings at both ends of a measured window.
pub(crate) struct Window {
    pub(crate) took: Duration,
    pub(crate) proxy_cpu: Option<Duration>,
    pub(crate) own_cpu: Duration,
}

impl Outcome {
    pub(crate) fn new(score: Score, window: &Window, pbx: Seen, browsers: Seen) -> Self {
        let per_1000 = |cpu: Duration| cpu.as_secs_f64() * 1e6 / score.measured.max(1) as f64;
        Self {
            rate: score.measured as f64 / window.took.as_secs_f64().max(f64::EPSILON),
            p50_us: score.latency_us(0.50),
            p99_us: score.latency_us(0.99),
            cpu_ms_per_1000: window.proxy_cpu.map(per_1000),
            own_cpu_ms_per_1000: per_1000(window.own_cpu),
            pbx,
            browsers,
            score,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let score = Score {
            latencies: (1..=200).rev().collect(),
            ..Score::default()
        };
        assert_eq!(
            (
                score.latency_us(0.5),
                score.latency_us(0.99),
                score.latency_us(1.0)
            ),
            (100, 198, 200)
        );
        assert_eq!(Score::default().latency_us(0.99), 0);
    }
}
