//! One line of the log for each call that was relayed: how long it was, and how it sounded. On a thread of its own, for the log may wait.

use std::{
    io,
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use hookswitch_media::{
    engine::{CallReport, LegReport},
    relay::StreamStats,
};

use crate::observe::printable;

/// What `[log] filter` names for these lines.
const CALLS: &str = "hookswitch::media";
/// That wait for the log.
const REPORTS_MAX: usize = 1_024;

/// Until the last sender is gone.
pub(super) fn start() -> io::Result<SyncSender<Box<CallReport>>> {
    let (reports, waiting) = sync_channel::<Box<CallReport>>(REPORTS_MAX);
    let thread = thread::Builder::new().name("media-reports".to_owned());
    thread.spawn(move || waiting.iter().for_each(|report| log(&report)))?;
    Ok(reports)
}

fn log(report: &CallReport) {
    let call = printable(&report.call);
    let duration_s = report.duration.as_secs();
    let legs: Vec<_> = report.legs.iter().map(told).collect();
    let legs = legs.join("; ");
    match &report.died {
        None => tracing::info!(target: CALLS, %call, duration_s, legs, "media is over"),
        Some(reason) => {
            tracing::warn!(target: CALLS, %call, duration_s, legs, reason, "a call has no media any more");
        }
    }
}

/// What one end sent, and how that arrived at the other one.
fn told(leg: &LegReport) -> String {
    let end = if leg.web { "browser" } else { "SIP end" };
    let mut told = end.to_owned();
    for stream in &leg.sent {
        let stats = &stream.stats;
        told += &format!(
            ": {} {} packets, {} lost, jitter {} ms{}, score {:.1}",
            stats.packets,
            stream.kind.as_str(),
            stats.lost,
            stats.jitter.as_millis(),
            there(stats),
            stats.mean_opinion_score(),
        );
    }
    if leg.refused > 0 {
        told += &format!(", {} refused", leg.refused);
    }
    match &leg.diagnosis {
        None => told,
        Some(diagnosis) => told + ", " + diagnosis,
    }
}

/// What the other end says of it.
fn there(stats: &StreamStats) -> String {
    let mut told = String::new();
    if let (Some(lost), Some(jitter)) = (stats.reported_lost, stats.reported_jitter) {
        let jitter_ms = jitter.as_millis();
        told += &format!(", there {lost} lost, jitter {jitter_ms} ms");
    }
    if let Some(round_trip) = stats.round_trip {
        told += &format!(", round trip {} ms", round_trip.as_millis());
    }
    told
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hookswitch_media::{engine::StreamReport, sdp::Kind};

    use super::*;

    #[test]
    fn a_leg_is_told_in_plain_words() {
        let mut stream = StreamReport {
            kind: Kind::Audio,
            stats: StreamStats {
                packets: 1_500,
                lost: 3,
                jitter: Duration::from_millis(4),
                ..StreamStats::default()
            },
        };
        let mut leg = LegReport {
            web: true,
            sent: vec![stream.clone()],
            refused: 0,
            diagnosis: None,
        };
        assert_eq!(
            told(&leg),
            "browser: 1500 audio packets, 3 lost, jitter 4 ms, score 4.4"
        );
        stream.stats.reported_lost = Some(5);
        stream.stats.reported_jitter = Some(Duration::from_millis(6));
        stream.stats.round_trip = Some(Duration::from_millis(40));
        leg.sent = vec![stream];
        assert_eq!(
            told(&leg),
            "browser: 1500 audio packets, 3 lost, jitter 4 ms, there 5 lost, jitter 6 ms, round trip 40 ms, score 4.4"
        );
        (leg.web, leg.sent, leg.refused) = (false, Vec::new(), 7);
        leg.diagnosis = Some("nothing came".to_owned());
        assert_eq!(told(&leg), "SIP end, 7 refused, nothing came");
    }
}
