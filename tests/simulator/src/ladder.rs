//! The picture of a run: one line for each message, with what is random replaced by short names.

use std::{collections::BTreeMap, time::Duration};

use crate::wire::{self, Msg};

/// What is printed, and what has been.
#[derive(Debug, Default)]
pub struct Ladder {
    lines: Vec<String>,
    /// Times are told from here.
    epoch: Duration,
    muted: bool,
    /// Header fields that each line shows.
    pub shown: Vec<String>,
    /// Show the line that the proxy logs at the end of each server transaction.
    pub show_ended: bool,
    /// Show asks to the store and to media too.
    pub show_asks: bool,
    /// Show what media hears of the branches that it was asked about.
    pub show_news: bool,
    names: BTreeMap<String, String>,
    counts: BTreeMap<char, usize>,
}

/// The address that all listeners of the simulated proxy advertise.
pub const PROXY_HOST: &str = "198.51.100.1";

impl Ladder {
    /// Says nothing until `unmute`.
    pub fn mute(&mut self) {
        self.muted = true;
    }

    /// Speaks from now on, and counts time from now.
    pub fn unmute(&mut self, now: Duration) {
        self.muted = false;
        self.epoch = now;
    }

    /// Speaks again.
    pub fn speak(&mut self) {
        self.muted = false;
    }

    /// A message leaves `from` for `to`; `fate` is empty, or what becomes of it.
    pub fn message(&mut self, now: Duration, from: &str, to: &str, bytes: &[u8], fate: &str) {
        if self.muted {
            return;
        }
        let Some(msg) = Msg::parse(bytes) else {
            return self.note(
                now,
                &format!("{from} → {to} {:?}{fate}", String::from_utf8_lossy(bytes)),
            );
        };
        let mut line = match msg.status() {
            Some(status) => format!("{from} → {to} {status} {}", msg.method()),
            None => format!("{from} → {to} {} {}", msg.method(), self.uri(msg.uri())),
        };
        for name in self.shown.clone() {
            line.push_str(&self.field(&msg, &name));
        }
        line.push_str(fate);
        self.note(now, &line);
    }

    /// Anything else that is worth a line.
    pub fn note(&mut self, now: Duration, text: &str) {
        if !self.muted {
            self.lines.push(format!(
                "{}ms {text}\n",
                (now.saturating_sub(self.epoch)).as_millis()
            ));
        }
    }

    /// All lines so far.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.concat()
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Has nothing happened?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn field(&mut self, msg: &Msg, name: &str) -> String {
        if name == "body" {
            return if msg.body.is_empty() {
                String::new()
            } else {
                format!(" [body {}]", msg.body.trim_end())
            };
        }
        if name == "reason" {
            let reason = msg
                .start
                .splitn(3, ' ')
                .nth(2)
                .filter(|_| msg.status().is_some());
            return reason
                .map(|reason| format!(" ({reason})"))
                .unwrap_or_default();
        }
        let values: Vec<String> = match name {
            "Via" | "Route" | "Record-Route" => msg
                .all(name)
                .iter()
                .map(|value| self.value(value))
                .collect(),
            _ => msg
                .headers
                .iter()
                .filter(|(n, _)| n.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.clone())
                .collect(),
        };
        let values: Vec<String> = values.iter().map(|value| self.tag(value)).collect();
        if values.is_empty() {
            String::new()
        } else {
            format!(" [{name}: {}]", values.join(", "))
        }
    }

    /// A Via, Route or Record-Route with short names for our tokens and branches.
    fn value(&mut self, value: &str) -> String {
        let branch = wire::param(value, "branch").filter(|branch| !branch.starts_with("z9hG4bK-"));
        match branch {
            Some(branch) => {
                let short = self.short('b', &branch);
                value.replace(&branch, &short)
            }
            None => self.uri(value),
        }
    }

    /// A URI whose user is one of our tokens.
    fn uri(&mut self, uri: &str) -> String {
        let user = wire::user_of(wire::uri_of(uri)).to_owned();
        if user.len() < 24 || !uri.contains(PROXY_HOST) {
            return uri.to_owned();
        }
        let short = self.short('T', &user);
        uri.replace(&user, &short)
    }

    /// A To or From with a tag that is not an agent's.
    fn tag(&mut self, value: &str) -> String {
        match wire::param(value, "tag").filter(|tag| !tag.starts_with("tag-") && tag.len() > 4) {
            Some(tag) => {
                let short = self.short('t', &tag);
                value.replace(&tag, &short)
            }
            None => value.to_owned(),
        }
    }

    fn short(&mut self, kind: char, long: &str) -> String {
        let count = self.counts.entry(kind).or_default();
        self.names
            .entry(long.to_owned())
            .or_insert_with(|| {
                *count += 1;
                format!("{kind}{count}")
            })
            .clone()
    }
}
