//! One line of the log for each call that was relayed: how long it was, and how it sounded. On a thread of its own, for the log may wait.

use std::{
    io,
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use hookswitch_media::engine::{CallReport, LegReport};

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
        told += &format!(
            ": {} packets, {} lost, jitter {} ms, score {:.1}",
            stream.packets,
            stream.lost,
            stream.jitter.as_millis(),
            stream.mean_opinion_score(),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hookswitch_media::relay::StreamStats;

    use super::*;

    #[test]
    fn a_leg_is_told_in_plain_words() {
        let stream = StreamStats {
            packets: 1_500,
            lost: 3,
            jitter: Duration::from_millis(4),
            ..StreamStats::default()
        };
        let mut leg = LegReport {
            web: true,
            sent: vec![stream],
            refused: 0,
            diagnosis: None,
        };
        assert_eq!(
            told(&leg),
            "browser: 1500 packets, 3 lost, jitter 4 ms, score 4.4"
        );
        (leg.web, leg.sent, leg.refused) = (false, Vec::new(), 7);
        leg.diagnosis = Some("nothing came".to_owned());
        assert_eq!(told(&leg), "SIP end, 7 refused, nothing came");
    }
}
