//! Looks from the admin endpoint at calls that are up: who waits for which media worker, and what it says as JSON.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use hookswitch_media::engine::{CallReport, LegReport, Stage, StreamReport};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// Who waits, by the number of each look: no more than there are connections to the endpoint, for each worker.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    looks: u64,
    by_number: HashMap<u64, oneshot::Sender<Vec<CallReport>>>,
}

impl Looks {
    /// The number of a new one, and where its answer comes out.
    pub(super) fn begin(&self) -> (u64, oneshot::Receiver<Vec<CallReport>>) {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.looks += 1;
        let number = waiting.looks;
        waiting.by_number.insert(number, sender);
        (number, receiver)
    }

    /// `None` where there will be no answer.
    pub(super) fn end(&self, number: u64, seen: Option<Vec<CallReport>>) {
        let waits = self.waiting().by_number.remove(&number);
        if let Some((waits, seen)) = waits.zip(seen) {
            // Whoever asked may be gone.
            let _ = waits.send(seen);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call, as the endpoint shows it.
pub(super) fn shown(report: &CallReport) -> Value {
    let legs: Vec<_> = report.legs.iter().map(leg).collect();
    json!({
        "call": *report.call,
        "stage": match report.stage {
            Stage::Ringing => "ringing",
            Stage::Answered => "answered",
        },
        "duration_s": report.duration.as_secs(),
        "legs": legs,
    })
}

fn leg(leg: &LegReport) -> Value {
    let sent: Vec<_> = leg.sent.iter().map(stream).collect();
    json!({
        "end": if leg.web { "browser" } else { "sip" },
        "sent": sent,
        "refused": leg.refused,
        "silent_because": leg.diagnosis,
    })
}

fn stream(stream: &StreamReport) -> Value {
    let stats = &stream.stats;
    let ms = |time: std::time::Duration| time.as_millis();
    json!({
        "kind": stream.kind.as_str(),
        "packets": stats.packets,
        "bytes": stats.bytes,
        "lost": stats.lost,
        "jitter_ms": ms(stats.jitter),
        "there": {
            "lost": stats.reported_lost,
            "jitter_ms": stats.reported_jitter.map(ms),
            "round_trip_ms": stats.round_trip.map(ms),
        },
        "score": (stats.mean_opinion_score() * 10.0).round() / 10.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_finds_whoever_waits_and_nobody_waits_for_none() {
        let looks = Looks::default();
        let ((one, mut first), (other, mut second)) = (looks.begin(), looks.begin());
        looks.end(other, Some(Vec::new()));
        assert!(second.try_recv().unwrap().is_empty());
        assert!(first.try_recv().is_err());
        looks.end(one, None);
        assert!(first.try_recv().is_err());
        assert!(looks.waiting().by_number.is_empty());
    }
}
