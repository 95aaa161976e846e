//! `log`: lines into the host's log, cut and counted.

use super::State;
use crate::bindings::imported::log::{Host, Level};

impl Host for State {
    fn write(&mut self, level: Level, text: String) {
        if !self.policy.may_log() {
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
