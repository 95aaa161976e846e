//! Metrics of how calls sounded that are over: what each kind of end sent, and how it arrived. Written by media workers without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use hookswitch_media::{engine::CallReport, relay::StreamStats, sdp::Kind};

use crate::metrics::{head, line};

/// Upper bounds of the histogram of scores, in tenths.
const SCORES: [u64; 7] = [20, 25, 30, 35, 40, 42, 45];

/// By who sent: a browser, a SIP end.
#[derive(Debug, Default)]
pub(super) struct Quality {
    ends: [End; 2],
    ended: AtomicU64,
    died: AtomicU64,
}

#[derive(Debug, Default)]
struct End {
    packets: AtomicU64,
    lost: AtomicU64,
    jitter: Times,
    round_trip: Times,
    scores: [AtomicU64; SCORES.len()],
    score_tenths: AtomicU64,
}

/// Of streams that are over.
#[derive(Debug, Default)]
struct Times {
    count: AtomicU64,
    sum_us: AtomicU64,
}

impl Times {
    fn add(&self, time: Duration) {
        self.count.fetch_add(1, Relaxed);
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(us, Relaxed);
    }
}

impl End {
    fn add(&self, kind: &Kind, stats: &StreamStats) {
        self.packets.fetch_add(stats.packets, Relaxed);
        self.lost.fetch_add(stats.lost, Relaxed);
        if stats.packets == 0 || *kind != Kind::Audio {
            return;
        }
        self.jitter.add(stats.jitter);
        if let Some(round_trip) = stats.round_trip {
            self.round_trip.add(round_trip);
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let tenths = (stats.mean_opinion_score() * 10.0).round() as u64;
        self.score_tenths.fetch_add(tenths, Relaxed);
        let bucket = SCORES.iter().position(|bound| tenths <= *bound);
        if let Some(bucket) = bucket.and_then(|at| self.scores.get(at)) {
            bucket.fetch_add(1, Relaxed);
        }
    }
}

impl Quality {
    /// A call is over.
    pub(super) fn add(&self, report: &CallReport) {
        let over = match report.died {
            None => &self.ended,
            Some(_) => &self.died,
        };
        over.fetch_add(1, Relaxed);
        let [browser, sip] = &self.ends;
        for leg in &report.legs {
            let end = if leg.web { browser } else { sip };
            leg.sent
                .iter()
                .for_each(|sent| end.add(&sent.kind, &sent.stats));
        }
    }

    pub(super) fn render(&self, out: &mut String) {
        let name = "media_calls_over_total";
        head(
            out,
            name,
            "counter",
            "Calls that ended, or whose media died",
        );
        line(out, name, "how=\"ended\"", self.ended.load(Relaxed));
        line(out, name, "how=\"died\"", self.died.load(Relaxed));
        self.counter(
            out,
            "media_sent_packets_total",
            "Packets that ends of calls which are over sent",
            |end| &end.packets,
        );
        self.counter(
            out,
            "media_sent_lost_total",
            "Packets that did not arrive here",
            |end| &end.lost,
        );
        self.times(
            out,
            "media_jitter_seconds",
            "Between an end and us, at the end of each stream",
            |end| &end.jitter,
        );
        self.times(
            out,
            "media_round_trip_seconds",
            "Between us and whoever hears the end, at the end of each stream",
            |end| &end.round_trip,
        );
        self.scores(out);
    }

    /// With their labels.
    fn ends(&self) -> impl Iterator<Item = (&'static str, &End)> {
        ["sender=\"browser\"", "sender=\"sip\""]
            .into_iter()
            .zip(&self.ends)
    }

    fn counter(&self, out: &mut String, name: &str, help: &str, of: fn(&End) -> &AtomicU64) {
        head(out, name, "counter", help);
        for (sender, end) in self.ends() {
            line(out, name, sender, of(end).load(Relaxed));
        }
    }

    fn times(&self, out: &mut String, name: &str, help: &str, of: fn(&End) -> &Times) {
        head(out, name, "summary", help);
        for (sender, end) in self.ends() {
            let times = of(end);
            let sum_s = times.sum_us.load(Relaxed) as f64 / 1e6;
            line(out, &format!("{name}_sum"), sender, sum_s);
            line(
                out,
                &format!("{name}_count"),
                sender,
                times.count.load(Relaxed),
            );
        }
    }

    fn scores(&self, out: &mut String) {
        let name = "media_score";
        head(
            out,
            name,
            "histogram",
            "How each stream of sound was, a mean opinion score",
        );
        for (sender, end) in self.ends() {
            let mut count = 0;
            for (bound, bucket) in SCORES.iter().zip(&end.scores) {
                count += bucket.load(Relaxed);
                let labels = format!("{sender},le=\"{}\"", *bound as f64 / 10.0);
                line(out, "media_score_bucket", &labels, count);
            }
            let labels = format!("{sender},le=\"+Inf\"");
            line(out, "media_score_bucket", &labels, count);
            line(out, "media_score_count", sender, count);
            let sum = end.score_tenths.load(Relaxed) as f64 / 10.0;
            line(out, "media_score_sum", sender, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use hookswitch_media::engine::{LegReport, Stage, StreamReport};

    use super::*;

    #[test]
    fn calls_are_summed_by_who_sent() {
        let quality = Quality::default();
        let leg = |web, kind, packets, lost| LegReport {
            web,
            sent: vec![StreamReport {
                kind,
                stats: StreamStats {
                    packets,
                    lost,
                    jitter: Duration::from_millis(4),
                    round_trip: Some(Duration::from_millis(30)).filter(|_| web),
                    ..StreamStats::default()
                },
            }],
            refused: 0,
            diagnosis: None,
        };
        quality.add(&CallReport {
            call: "c".into(),
            died: None,
            duration: Duration::ZERO,
            stage: Stage::Answered,
            legs: vec![
                leg(true, Kind::Audio, 100, 0),
                leg(false, Kind::Audio, 90, 10),
            ],
        });
        quality.add(&CallReport {
            call: "d".into(),
            died: Some("silence".to_owned()),
            duration: Duration::ZERO,
            stage: Stage::Answered,
            legs: vec![leg(true, Kind::Video, 50, 1), leg(false, Kind::Audio, 0, 0)],
        });
        let mut out = String::new();
        quality.render(&mut out);
        for expected in [
            "media_calls_over_total{how=\"ended\"} 1",
            "media_calls_over_total{how=\"died\"} 1",
            "media_sent_packets_total{sender=\"browser\"} 150",
            "media_sent_lost_total{sender=\"sip\"} 10",
            "media_jitter_seconds_sum{sender=\"browser\"} 0.004",
            "media_jitter_seconds_count{sender=\"sip\"} 1",
            "media_round_trip_seconds_sum{sender=\"browser\"} 0.03",
            "media_round_trip_seconds_count{sender=\"sip\"} 0",
            "media_score_bucket{sender=\"browser\",le=\"4.2\"} 0",
            "media_score_bucket{sender=\"browser\",le=\"4.5\"} 1",
            "media_score_bucket{sender=\"sip\",le=\"4\"} 1",
            "media_score_count{sender=\"sip\"} 1",
            "media_score_sum{sender=\"browser\"} 4.4",
        ] {
            assert!(
                out.contains(&format!("hookswitch_{expected}\n")),
                "{expected}: {out}"
            );
        }
    }
}
