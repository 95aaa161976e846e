//! Counters and gauges of each worker, written without a lock and rendered in the text format of Prometheus.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hookswitch_sip::proxy::{
    Gauges,
    io::{Cause, DropCause, Ended},
};

macro_rules! series {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $series:literal, $help:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $(#[doc = $help] $variant,)* }

        impl $name {
            const ALL: &[($name, &str, &str)] = &[$(($name::$variant, $series, $help),)*];
        }
    };
}

series! {
    /// What only grows.
    Count {
        Received = "messages_received", "SIP messages taken from the network";
        Sent = "messages_sent", "SIP messages given to the network";
        Malformed = "messages_malformed", "Messages that could not be read, answered or not";
        Forwarded = "messages_placed_elsewhere", "Messages handed to the worker that owns them";
        SendFailed = "sends_failed", "Messages that had nowhere to go";
        DatagramsNotSent = "datagrams_not_sent", "Datagrams that the kernel had no room for";
        Handshakes = "tls_handshakes", "TLS handshakes done";
        HandshakesFailed = "tls_handshakes_failed", "TLS handshakes broken off";
        HandshakesSlow = "handshakes_slow", "Connections closed since neither WebSocket nor page came of them in time";
        Upgrades = "upgrades", "WebSockets opened";
        UpgradesRefused = "upgrades_refused", "WebSocket handshakes refused";
        ConnectionsRefused = "connections_refused", "Connections beyond connections_max or connections_per_address_max";
        ConnectionsIdle = "connections_idle_closed", "Connections closed since nothing was heard";
        ConnectionsUnreadable = "connections_unreadable_closed", "Connections closed since what came on them could not be cut into messages";
        ConnectionsSlow = "connections_slow_closed", "Connections closed since their reader was too slow";
        Dials = "upstream_connects", "Connections to next hops that were begun";
        DialsFailed = "upstream_connects_failed", "Connections to next hops that did not come about";
        Congested = "mailbox_full", "Turns after which mail waited for room in the mailbox of another worker";
        PoliciesSlow = "hooks_slow", "Hooks that did not end in their first poll";
        Panics = "panics", "Messages lost to a fault of ours";
        CaptureDropped = "capture_dropped", "Messages that the capture had no room for";
    }
}

series! {
    /// What goes up and down.
    Gauge {
        Connections = "connections", "Connections open";
        Lines = "upstream_connections", "Connections to next hops, open or on their way";
        Transactions = "transactions", "Server transactions, those included that only absorb retransmissions";
        Unanswered = "transactions_unanswered", "Server transactions without a final response";
        Branches = "branches", "Client transactions running";
        CallRecords = "call_records", "Calls that policies or races keep something of";
        CallsOpen = "calls_open", "Calls answered and not yet ended";
        Asks = "asks", "Hooks, lookups and media waited for";
    }
}

const METHODS: [&str; 14] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "REGISTER",
    "OPTIONS",
    "MESSAGE",
    "SUBSCRIBE",
    "NOTIFY",
    "PUBLISH",
    "INFO",
    "UPDATE",
    "PRACK",
    "other",
];
const CLASSES: [&str; 7] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx"];

/// A table of an enum of `sip`, and the labels of its variants: one that is missing does not compile.
macro_rules! labels {
    ($table:ident, $(#[$doc:meta])* $visibility:vis $name:ident: $enum:ident { $($variant:ident = $label:literal,)* }) => {
        const $table: [$enum; [$($label),*].len()] = [$($enum::$variant),*];

        $(#[$doc])*
        $visibility fn $name(of: $enum) -> &'static str {
            match of { $($enum::$variant => $label,)* }
        }

        const _: () = {
            let mut index = 0;
            while index < $table.len() {
                assert!($table[index] as usize == index, "list them in the order of their enum");
                index += 1;
            }
        };
    };
}

labels! {
    CAUSES,
    /// As labels and the log have it.
    pub(crate) cause_name: Cause {
        Forwarded = "forwarded",
        Policy = "policy",
        PolicyFault = "policy-fault",
        Discarded = "discarded",
        Answered = "answered",
        Refused = "refused",
        Registrar = "registrar",
        Cancelled = "cancelled",
        Timeout = "timeout",
        Unreachable = "unreachable",
        Overload = "overload",
        Credentials = "credentials",
        ClientGone = "client-gone",
    }
}

labels! {
    DROPS,
    drop_name: DropCause {
        StrayResponse = "stray-response",
        StrayAck = "stray-ack",
        ForeignVia = "foreign-via",
        Unanswerable = "unanswerable",
        Overload = "overload",
    }
}

/// Upper bounds of the histogram of transaction times, in milliseconds.
const BUCKETS_MS: [u64; 10] = [1, 2, 5, 10, 50, 100, 500, 1_000, 5_000, 32_000];

/// All workers.
#[derive(Debug)]
pub(crate) struct Metrics {
    workers: Vec<Sheet>,
}

/// One worker's numbers, on cache lines of their own: workers that count must not take them from each other.
#[derive(Debug)]
#[repr(align(128))]
struct Sheet {
    counts: Cells<{ Count::ALL.len() }>,
    gauges: Cells<{ Gauge::ALL.len() }>,
    /// By method, class of status, cause.
    transactions: Cells<{ METHODS.len() * CLASSES.len() * CAUSES.len() }>,
    drops: Cells<{ DROPS.len() }>,
    buckets: Cells<{ BUCKETS_MS.len() + 1 }>,
    took_us: AtomicU64,
}

type Cells<const N: usize> = [AtomicU64; N];

/// One worker's hold on its own numbers.
#[derive(Clone, Debug)]
pub(crate) struct WorkerMetrics {
    all: Arc<Metrics>,
    worker: usize,
}

/// Adds one to a gauge for as long as it lives.
pub(crate) struct Held {
    metrics: WorkerMetrics,
    gauge: Gauge,
}

impl Drop for Held {
    fn drop(&mut self) {
        cell(&self.metrics.sheet().gauges, self.gauge as usize).fetch_sub(1, Relaxed);
    }
}

/// Takes what has no cell of its own: there is none, since every index comes from a table above.
static NOWHERE: AtomicU64 = AtomicU64::new(0);

fn zeros<const N: usize>() -> Cells<N> {
    std::array::from_fn(|_| AtomicU64::new(0))
}

fn cell(cells: &[AtomicU64], index: usize) -> &AtomicU64 {
    cells.get(index).unwrap_or(&NOWHERE)
}

impl Metrics {
    pub(crate) fn new(workers: u8) -> Arc<Self> {
        let sheet = || Sheet {
            counts: zeros(),
            gauges: zeros(),
            transactions: zeros(),
            drops: zeros(),
            buckets: zeros(),
            took_us: AtomicU64::new(0),
        };
        let workers = std::iter::repeat_with(sheet).take(workers.into());
        Arc::new(Self {
            workers: workers.collect(),
        })
    }

    pub(crate) fn of(self: &Arc<Self>, worker: u8) -> WorkerMetrics {
        WorkerMetrics {
            all: Arc::clone(self),
            worker: worker.into(),
        }
    }

    /// Over all workers.
    pub(crate) fn total(&self, gauge: Gauge) -> u64 {
        let of = |sheet: &Sheet| cell(&sheet.gauges, gauge as usize).load(Relaxed);
        self.workers.iter().map(of).sum()
    }

    /// All of it, for Prometheus.
    pub(crate) fn render(&self, out: &mut String) {
        for (count, name, help) in Count::ALL {
            let name = format!("{name}_total");
            self.series(out, &name, "counter", help, |sheet| {
                cell(&sheet.counts, *count as usize).load(Relaxed)
            });
        }
        for (gauge, name, help) in Gauge::ALL {
            self.series(out, name, "gauge", help, |sheet| {
                cell(&sheet.gauges, *gauge as usize).load(Relaxed)
            });
        }
        self.render_transactions(out);
        self.render_drops(out);
        self.render_times(out);
    }

    fn series(
        &self,
        out: &mut String,
        name: &str,
        kind: &str,
        help: &str,
        value: impl Fn(&Sheet) -> u64,
    ) {
        head(out, name, kind, help);
        for (worker, sheet) in self.workers.iter().enumerate() {
            line(out, name, &format!("worker=\"{worker}\""), value(sheet));
        }
    }

    fn render_transactions(&self, out: &mut String) {
        const NAME: &str = "transactions_ended_total";
        head(
            out,
            NAME,
            "counter",
            "Server transactions that came to their end",
        );
        for (worker, sheet) in self.workers.iter().enumerate() {
            for (index, ended) in sheet.transactions.iter().enumerate() {
                let ended = ended.load(Relaxed);
                if ended > 0 {
                    let (method, class, cause) = transaction_labels(index);
                    let labels = format!(
                        "worker=\"{worker}\",method=\"{method}\",class=\"{class}\",cause=\"{cause}\""
                    );
                    line(out, NAME, &labels, ended);
                }
            }
        }
    }

    fn render_drops(&self, out: &mut String) {
        const NAME: &str = "messages_dropped_total";
        head(out, NAME, "counter", "Messages dropped without an answer");
        for (worker, sheet) in self.workers.iter().enumerate() {
            for (cause, dropped) in DROPS.iter().zip(&sheet.drops) {
                let labels = format!("worker=\"{worker}\",cause=\"{}\"", drop_name(*cause));
                line(out, NAME, &labels, dropped.load(Relaxed));
            }
        }
    }

    fn render_times(&self, out: &mut String) {
        const NAME: &str = "transaction_seconds";
        head(
            out,
            NAME,
            "histogram",
            "From a request's first byte to its final response",
        );
        for (worker, sheet) in self.workers.iter().enumerate() {
            let mut sum = 0;
            let bounds = BUCKETS_MS
                .iter()
                .map(|ms| (*ms as f64 / 1_000.0).to_string());
            for (bound, bucket) in bounds.chain(["+Inf".to_owned()]).zip(&sheet.buckets) {
                sum += bucket.load(Relaxed);
                let labels = format!("worker=\"{worker}\",le=\"{bound}\"");
                line(out, "transaction_seconds_bucket", &labels, sum);
            }
            let labels = format!("worker=\"{worker}\"");
            line(out, "transaction_seconds_count", &labels, sum);
            let seconds = sheet.took_us.load(Relaxed) as f64 / 1e6;
            line(out, "transaction_seconds_sum", &labels, seconds);
        }
    }
}

impl WorkerMetrics {
    fn sheet(&self) -> &Sheet {
        &self.all.workers[self.worker]
    }

    pub(crate) fn count(&self, count: Count) {
        cell(&self.sheet().counts, count as usize).fetch_add(1, Relaxed);
    }

    pub(crate) fn hold(&self, gauge: Gauge) -> Held {
        cell(&self.sheet().gauges, gauge as usize).fetch_add(1, Relaxed);
        Held {
            metrics: self.clone(),
            gauge,
        }
    }

    pub(crate) fn total(&self, gauge: Gauge) -> u64 {
        self.all.total(gauge)
    }

    pub(crate) fn proxy(&self, gauges: Gauges, unanswered: usize, calls_open: usize) {
        for (gauge, value) in [
            (Gauge::Transactions, gauges.transactions),
            (Gauge::Unanswered, unanswered),
            (Gauge::Branches, gauges.branches),
            (Gauge::CallRecords, gauges.calls),
            (Gauge::CallsOpen, calls_open),
            (Gauge::Asks, gauges.asks),
        ] {
            cell(&self.sheet().gauges, gauge as usize).store(value as u64, Relaxed);
        }
    }

    pub(crate) fn dropped(&self, cause: DropCause) {
        cell(&self.sheet().drops, cause as usize).fetch_add(1, Relaxed);
    }

    pub(crate) fn ended(&self, ended: &Ended) {
        let sheet = self.sheet();
        cell(&sheet.transactions, transaction_index(ended)).fetch_add(1, Relaxed);
        cell(&sheet.buckets, bucket(ended.took)).fetch_add(1, Relaxed);
        let took = u64::try_from(ended.took.as_micros()).unwrap_or(u64::MAX);
        sheet.took_us.fetch_add(took, Relaxed);
    }
}

fn transaction_index(ended: &Ended) -> usize {
    let other = METHODS.len() - 1;
    let method = METHODS
        .iter()
        .position(|method| *method == ended.method())
        .unwrap_or(other);
    let class = usize::from(ended.status / 100).min(CLASSES.len() - 1);
    (method * CLASSES.len() + class) * CAUSES.len() + ended.cause as usize
}

fn transaction_labels(index: usize) -> (&'static str, &'static str, &'static str) {
    let (rest, cause) = (index / CAUSES.len(), index % CAUSES.len());
    let method = METHODS[rest / CLASSES.len()];
    (
        method,
        CLASSES[rest % CLASSES.len()],
        cause_name(CAUSES[cause]),
    )
}

fn bucket(took: Duration) -> usize {
    let fits = |bound: &u64| took <= Duration::from_millis(*bound);
    BUCKETS_MS.iter().position(fits).unwrap_or(BUCKETS_MS.len())
}

/// The comment lines before a series; writing to a `String` cannot fail.
pub(crate) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(
        out,
        "# HELP hookswitch_{name} {help}\n# TYPE hookswitch_{name} {kind}"
    );
}

/// One sample.
pub(crate) fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(out, "hookswitch_{name} {value}"),
        labels => writeln!(out, "hookswitch_{name}{{{labels}}} {value}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_carry_their_worker() {
        let metrics = Metrics::new(2);
        metrics.of(1).count(Count::Upgrades);
        let held = metrics.of(0).hold(Gauge::Connections);
        let mut out = String::new();
        metrics.render(&mut out);
        assert!(out.contains("hookswitch_upgrades_total{worker=\"0\"} 0\n"));
        assert!(out.contains("hookswitch_upgrades_total{worker=\"1\"} 1\n"));
        assert!(out.contains("hookswitch_connections{worker=\"0\"} 1\n"));
        drop(held);
        assert_eq!(metrics.total(Gauge::Connections), 0);
    }

    #[test]
    fn times_fall_into_their_buckets() {
        assert_eq!(bucket(Duration::from_micros(900)), 0);
        assert_eq!(bucket(Duration::from_millis(1)), 0);
        assert_eq!(bucket(Duration::from_micros(1_001)), 1);
        assert_eq!(bucket(Duration::from_secs(33)), BUCKETS_MS.len());
    }
}
