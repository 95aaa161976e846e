//! Figures of all rounds, as a table for people and JSON for machines.

use std::{collections::BTreeMap, fs, process::Command};

use serde_json::{Value, json};

use super::{Effort, Figure};

/// What a report is about.
pub(super) struct About {
    pub(super) benchmark: &'static str,
    /// For the reader of the figures.
    pub(super) load: &'static str,
    pub(super) effort: Effort,
    /// In the table's order; the ratio is that of `ours` to `peer`.
    pub(super) columns: &'static [Column],
    /// Of the peer: its name, and a command that says its version.
    pub(super) peer: (&'static str, Option<Command>),
}

/// A subject of the measurements.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    /// In the JSON.
    pub(super) key: &'static str,
    /// In the table.
    pub(super) title: &'static str,
}

const OURS: &str = "ours";
const PEER: &str = "peer";

/// What was measured so far.
pub(super) struct Report {
    about: About,
    /// In the order of their first appearance.
    figures: Vec<Figure>,
    /// By measure and column.
    values: BTreeMap<(&'static str, &'static str), Vec<f64>>,
    notes: Vec<String>,
}

impl Report {
    pub(super) fn new(about: About) -> Self {
        Self {
            about,
            figures: Vec::new(),
            values: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, column: Column, figure: Figure, value: f64) {
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
            .entry((figure.measure, column.key))
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
        let titles = self.about.columns.iter();
        let titles: String = titles
            .map(|column| format!(" {:>22}", column.title))
            .collect();
        let mut lines = vec![format!("{:<46} {:>5}{titles} {:>6}", "", "unit", "ratio")];
        for figure in &self.figures {
            let cell = |column: &Column| {
                let cell = self.spread(figure, column.key).map_or(
                    "-".to_owned(),
                    |[low, middle, high]| {
                        format!("{} ({}..{})", pretty(middle), pretty(low), pretty(high))
                    },
                );
                format!(" {cell:>22}")
            };
            let cells: String = self.about.columns.iter().map(cell).collect();
            let ratio = self
                .ratio(figure)
                .map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            lines.push(format!(
                "{:<46} {:>5}{cells} {ratio:>6}",
                figure.measure, figure.unit
            ));
        }
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        if self.about.effort == Effort::Quick {
            lines.push("These are binaries of the dev profile: no figures to quote.".to_owned());
        }
        lines.join("\n")
    }

    pub(super) fn json(&mut self) -> String {
        let results: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| self.result(figure))
            .collect();
        let (peer, version) = &mut self.about.peer;
        let versions = json!({
            "hookswitch": first_line(crate::shell::command("git").args(["describe", "--always", "--dirty"])),
            *peer: version.as_mut().and_then(first_line),
            "rustc": first_line(Command::new("rustc").arg("--version")),
        });
        let About {
            benchmark,
            load,
            effort,
            ..
        } = self.about;
        let report = json!({
            "benchmark": benchmark, "machine": machine(), "versions": versions,
            "load": {
                "what": load, "rounds": effort.rounds(), "seconds": effort.seconds(), "cargo_profile": effort.profile(),
            },
            "results": results, "notes": self.notes,
        });
        format!("{report:#}\n")
    }

    fn result(&self, figure: &Figure) -> Value {
        let mut result = json!({
            "measure": figure.measure, "unit": figure.unit, "ratio": self.ratio(figure), "spread": {},
        });
        for column in self.about.columns {
            let spread = self.spread(figure, column.key);
            result[column.key] = json!(spread.map(|[_, middle, _]| middle));
            result["spread"][column.key] = json!(spread.map(|[low, _, high]| [low, high]));
        }
        result
    }

    /// Least, median and greatest.
    fn spread(&self, figure: &Figure, column: &'static str) -> Option<[f64; 3]> {
        let mut sorted = self.values.get(&(figure.measure, column))?.clone();
        sorted.sort_by(f64::total_cmp);
        Some([
            *sorted.first()?,
            *sorted.get(sorted.len() / 2)?,
            *sorted.last()?,
        ])
    }

    fn ratio(&self, figure: &Figure) -> Option<f64> {
        let [[_, ours, _], [_, peer, _]] = [self.spread(figure, OURS)?, self.spread(figure, PEER)?];
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

/// Of what it prints, on either of its outputs.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().map(ToOwned::to_owned)
}
