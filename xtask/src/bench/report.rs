//! Figures of all rounds, as a table for people and JSON for machines.

use std::{collections::BTreeMap, fs, process::Command};

use serde_json::{Value, json};

use super::{
    Effort, Figure,
    subject::{self, Kind},
};

/// What was measured so far.
pub(super) struct Report {
    effort: Effort,
    /// In the order of their first appearance.
    figures: Vec<Figure>,
    values: BTreeMap<(&'static str, Kind), Vec<f64>>,
    notes: Vec<String>,
}

impl Report {
    pub(super) fn new(effort: Effort) -> Self {
        Self {
            effort,
            figures: Vec::new(),
            values: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, kind: Kind, figure: Figure, value: f64) {
        println!(
            "   {:<46} {:>12} {}",
            figure.measure,
            pretty(value),
            figure.unit
        );
        if self
            .figures
            .iter()
            .all(|known| known.measure != figure.measure)
        {
            self.figures.push(figure);
        }
        self.values
            .entry((figure.measure, kind))
            .or_default()
            .push(value);
    }

    /// Something that the reader of the figures has to know.
    pub(super) fn note(&mut self, text: String) {
        println!("   note: {text}");
        self.notes.push(text);
    }

    /// Medians, and how far the rounds lie apart.
    pub(super) fn table(&self) -> String {
        let mut lines = vec![format!(
            "{:<46} {:>5} {:>22} {:>22} {:>22} {:>22} {:>6}",
            "", "unit", "hookswitch", "fresh instances", "Kamailio", "Kamailio, Lua", "ratio"
        )];
        for figure in &self.figures {
            let cell = |kind| {
                self.spread(figure, kind)
                    .map_or("-".to_owned(), |[low, middle, high]| {
                        format!("{} ({}..{})", pretty(middle), pretty(low), pretty(high))
                    })
            };
            let ratio = self
                .ratio(figure)
                .map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            let (reused, fresh) = (cell(Kind::Reused), cell(Kind::Fresh));
            let (peer, lua) = (cell(Kind::Kamailio), cell(Kind::KamailioLua));
            lines.push(format!(
                "{:<46} {:>5} {reused:>22} {fresh:>22} {peer:>22} {lua:>22} {ratio:>6}",
                figure.measure, figure.unit
            ));
        }
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        if self.effort == Effort::Quick {
            lines.push("These are binaries of the dev profile: no figures to quote.".to_owned());
        }
        lines.join("\n")
    }

    pub(super) fn json(&self) -> String {
        let results: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                let median = |kind| self.spread(figure, kind).map(|[_, middle, _]| middle);
                let spread = |kind| self.spread(figure, kind).map(|[low, _, high]| [low, high]);
                json!({
                    "measure": figure.measure, "unit": figure.unit,
                    "ours": median(Kind::Reused), "ours_fresh": median(Kind::Fresh), "peer": median(Kind::Kamailio), "peer_lua": median(Kind::KamailioLua),
                    "ratio": self.ratio(figure),
                    "spread": { "ours": spread(Kind::Reused), "ours_fresh": spread(Kind::Fresh), "peer": spread(Kind::Kamailio), "peer_lua": spread(Kind::KamailioLua) },
                })
            })
            .collect();
        let report = json!({
            "benchmark": "relay", "machine": machine(), "versions": versions(),
            "load": {
                "policies": "10 header rules on request and response, 1,000 prefixes",
                "rounds": self.effort.rounds(), "seconds": self.effort.seconds(), "cargo_profile": self.effort.profile(),
            },
            "results": results, "notes": self.notes,
        });
        format!("{report:#}\n")
    }

    /// Least, median and greatest.
    fn spread(&self, figure: &Figure, kind: Kind) -> Option<[f64; 3]> {
        let mut sorted = self.values.get(&(figure.measure, kind))?.clone();
        sorted.sort_by(f64::total_cmp);
        Some([
            *sorted.first()?,
            *sorted.get(sorted.len() / 2)?,
            *sorted.last()?,
        ])
    }

    fn ratio(&self, figure: &Figure) -> Option<f64> {
        let [[_, ours, _], [_, peer, _]] = [
            self.spread(figure, Kind::Reused)?,
            self.spread(figure, Kind::Kamailio)?,
        ];
        (peer > 0.0).then(|| ours / peer)
    }
}

fn pretty(value: f64) -> String {
    if value >= 1000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

fn machine() -> Value {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let (cpuinfo, kernel) = (read("/proc/cpuinfo"), read("/proc/sys/kernel/osrelease"));
    let cpu = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|name| name.trim_start_matches(['\t', ' ', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    json!({ "cpu": cpu, "cores": cores, "kernel": kernel.trim(), "load_average": read("/proc/loadavg").trim() })
}

fn versions() -> Value {
    let first_line = |command: &mut Command| {
        let output = command.output().ok()?;
        Some(
            String::from_utf8_lossy(&output.stdout)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let kamailio =
        subject::kamailio_program().and_then(|program| first_line(Command::new(program).arg("-v")));
    let commit = first_line(crate::shell::command("git").args(["describe", "--always", "--dirty"]));
    json!({ "hookswitch": commit, "kamailio": kamailio, "rustc": first_line(Command::new("rustc").arg("--version")) })
}
