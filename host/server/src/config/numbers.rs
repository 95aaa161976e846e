//! `[limits]` and `[timers]`: every number with its default and its range, in one table each.

use std::time::Duration;

use toml::{Table, Value};

use super::Faults;

macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident = $default:literal in $least:literal..=$most:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: u64,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            pub(super) fn check(section: &str, mut raw: Table, faults: &mut Faults) -> Self {
                let mut checked = Self::default();
                $(if let Some(value) = raw.remove(stringify!($field)) {
                    let key = format!("{section}.{}", stringify!($field));
                    checked.$field = number(&key, &value, $least, $most, faults).unwrap_or($default);
                })*
                for key in raw.keys() {
                    faults.push(format!("{section}.{key}"), "unknown key", concat!("the keys are", $(" ", stringify!($field)),*));
                }
                checked
            }
        }
    };
}

numbers! {
    /// Of every queue, table and message.
    Limits {
        /// A whole message, in bytes.
        message_bytes_max = 65_535 in 1_024..=1_048_576,
        /// Header fields of a message.
        header_count_max = 256 in 16..=4_096,
        /// One header field, in bytes.
        header_line_bytes_max = 8_192 in 256..=65_536,
        /// A body, in bytes.
        body_bytes_max = 65_535 in 1_024..=1_048_576,
        /// Connections of all workers together.
        connections_max = 100_000 in 1..=10_000_000,
        /// Of them, those from one address, or from one IPv6 network of 64 bits. Raise it behind a balancer that hides its clients.
        connections_per_address_max = 10_000 in 1..=10_000_000,
        /// TLS handshakes and upgrades under way, of all workers together; more wait in the kernel.
        handshakes_in_flight_max = 1_024 in 1..=1_000_000,
        /// From accept to the end of the upgrade, or of the first page.
        handshake_ms_max = 10_000 in 100..=120_000,
        /// A WebSocket that sends nothing, not even an answer to our ping, for this long is closed.
        idle_s_max = 120 in 1..=86_400,
        /// A TCP or TLS connection on which nothing was heard for this long is closed; phones refresh their registration within an hour.
        stream_idle_s_max = 4_000 in 1..=86_400,
        /// Bytes that wait for a slow reader before its connection is closed.
        connection_queue_bytes_max = 262_144 in 65_536..=67_108_864,
        /// Messages that wait for one worker, and as many from it.
        mailbox_messages_max = 8_192 in 16..=1_000_000,
        /// Transactions of one worker; 503 beyond.
        transactions_max = 100_000 in 16..=10_000_000,
        /// Calls of one worker; 503 beyond.
        calls_max = 100_000 in 16..=10_000_000,
        /// Addresses of record with a binding.
        registrations_max = 1_000_000 in 1..=100_000_000,
        /// Bindings of one address of record.
        contacts_max = 10 in 1..=1_000,
        /// Addresses for which a policy keeps attributes without a connection, of all workers together and for each UDP listener.
        datagram_sources_max = 100_000 in 16..=10_000_000,
    }
}

numbers! {
    /// RFC 3261 Table 4, and ours.
    Timers {
        /// Round-trip estimate T1.
        t1_ms = 500 in 10..=10_000,
        /// Longest retransmission interval T2.
        t2_ms = 4_000 in 10..=60_000,
        /// Longest life of a message in the network T4.
        t4_ms = 5_000 in 10..=60_000,
        /// Timer C: an INVITE that only rings.
        timer_c_s = 185 in 181..=3_600,
        /// 100 Trying at the latest.
        trying_ms = 200 in 1..=200,
        /// Until the first response of a branch; then the next stage is tried. 0: timer B or F alone.
        first_response_ms = 0 in 0..=32_000,
        /// Until the final response of a stage. 0: timer C alone.
        no_answer_s = 0 in 0..=3_600,
    }
}

impl Limits {
    /// From accept to the end of the upgrade, or of the first page.
    #[must_use]
    pub fn handshake_max(&self) -> Duration {
        Duration::from_millis(self.handshake_ms_max)
    }

    /// How long a connection may be silent.
    #[must_use]
    pub fn idle_max(&self) -> Duration {
        Duration::from_secs(self.idle_s_max)
    }

    /// How long a connection of a phone or a PBX may be silent.
    #[must_use]
    pub fn stream_idle_max(&self) -> Duration {
        Duration::from_secs(self.stream_idle_s_max)
    }
}

/// What is no number is not shown: it may be a secret in the wrong place.
fn number(key: &str, value: &Value, least: u64, most: u64, faults: &mut Faults) -> Option<u64> {
    let Some(number) = value.as_integer() else {
        let remedy = format!("write a number from {least} to {most}");
        faults.push(key, "not a number", remedy);
        return None;
    };
    in_range(key, number, least, most, faults)
}

/// `value`, if it lies within the range.
pub(super) fn in_range(
    key: &str,
    value: i64,
    least: u64,
    most: u64,
    faults: &mut Faults,
) -> Option<u64> {
    let checked = u64::try_from(value)
        .ok()
        .filter(|value| (least..=most).contains(value));
    if checked.is_none() {
        faults.push(
            key,
            format!("{value} is out of range"),
            format!("write a number from {least} to {most}"),
        );
    }
    checked
}

/// A limit as a length.
#[must_use]
pub fn length(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
