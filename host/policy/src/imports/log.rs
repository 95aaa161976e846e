//! `log`: lines into the host's log, cut and counted.

use super::State;
use crate::{
    bindings::imported::log::{Host, Level},
    policy::Urgency,
};

impl Host for State {
    fn write(&mut self, level: Level, text: String) {
        if !is_enabled(level) || !self.policy.may_log(urgency(level)) {
            return;
        }
        let policy = self.policy.name();
        let text = cut(&text, self.limits().log_line_bytes_max);
        match level {
            Level::Trace => tracing::trace!(target: "policy", policy, "{text}"),
            Level::Debug => tracing::debug!(target: "policy", policy, "{text}"),
            Level::Info => tracing::info!(target: "policy", policy, "{text}"),
            Level::Warn => tracing::warn!(target: "policy", policy, "{text}"),
            Level::Error => tracing::error!(target: "policy", policy, "{text}"),
        }
    }
}

/// A line that nobody would see costs nothing of the rate.
fn is_enabled(level: Level) -> bool {
    match level {
        Level::Trace => tracing::enabled!(target: "policy", tracing::Level::TRACE),
        Level::Debug => tracing::enabled!(target: "policy", tracing::Level::DEBUG),
        Level::Info => tracing::enabled!(target: "policy", tracing::Level::INFO),
        Level::Warn => tracing::enabled!(target: "policy", tracing::Level::WARN),
        Level::Error => tracing::enabled!(target: "policy", tracing::Level::ERROR),
    }
}

fn urgency(level: Level) -> Urgency {
    match level {
        Level::Trace | Level::Debug | Level::Info => Urgency::Usual,
        Level::Warn | Level::Error => Urgency::Urgent,
    }
}

/// At most so many bytes, in whole characters, and one line: a line break would forge another entry.
fn cut(text: &str, bytes_max: usize) -> String {
    let end = (0..=bytes_max.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(0);
    text[..end]
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn lines_are_cut_at_a_character_and_stay_one_line() {
        assert_eq!(cut("grüße", 3), "gr");
        assert_eq!(cut("a\nb\u{1b}c", 100), "a b c");
        assert_eq!(cut("", 0), "");
    }
}
