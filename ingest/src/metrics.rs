//! Every metric of the service, registered here and nowhere else. The prefix is `weir_ingest_`; labels are bounded.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::histogram::exponential_buckets;
use prometheus_client::registry::Registry;
use prometheus_client::registry::Unit;

type Count = Counter<u64, AtomicU64>;

/// Status of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatusLabel {
    /// HTTP status.
    pub status: u16,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `stored`, `unavailable`, `refused`, or why it was dropped.
    pub outcome: &'static str,
}

/// A rate that was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LimitLabel {
    /// `key` or `address`.
    pub limit: &'static str,
}

/// Kind of a failed insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FailureLabel {
    /// Class of the failure.
    pub class: &'static str,
}

/// A table that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TableLabel {
    /// Name of the table.
    pub table: &'static str,
}

/// Whether something went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// `ok` or `error`.
    pub result: &'static str,
}

impl From<bool> for ResultLabel {
    fn from(is_ok: bool) -> Self {
        Self { result: if is_ok { "ok" } else { "error" } }
    }
}

/// Handles to all metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Answers of the public port.
    pub requests: Family<StatusLabel, Count>,
    /// Events by what became of them.
    pub events: Family<OutcomeLabel, Count>,
    /// Requests that were refused for a rate.
    pub limited_requests: Family<LimitLabel, Count>,
    /// Failed insert attempts.
    pub insert_failures: Family<FailureLabel, Count>,
    /// Rows that ClickHouse refuses for ever.
    pub refused_rows: Family<TableLabel, Count>,
    /// Duration of flushes, retries included.
    pub flush_seconds: Family<ResultLabel, Histogram>,
    /// Events of a flush.
    pub flush_events: Histogram,
    /// Inserts that run now.
    pub inserts_in_flight: Gauge,
    /// Bytes of the spool on disk.
    pub spool_bytes: Gauge,
    /// Bytes of the spool that ClickHouse has not confirmed.
    pub spool_backlog_bytes: Gauge,
    /// Bytes of the spool that could not be read and are kept aside.
    pub spool_damaged_bytes: Count,
    /// Bytes held for unanswered requests.
    pub buffer_bytes: Gauge,
    /// Open connections of the public port.
    pub connections: Gauge,
    /// Whether the last insert or check of ClickHouse succeeded.
    pub clickhouse_up: Gauge,
    /// Generation of the keys in use.
    pub keys_generation: Gauge,
    /// Whether the keys file is unusable, so that older keys are in use.
    pub keys_file_bad: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            events: Family::default(),
            limited_requests: Family::default(),
            insert_failures: Family::default(),
            refused_rows: Family::default(),
            flush_seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.0, 15))
            }),
            flush_events: Histogram::new(exponential_buckets(1.0, 4.0, 9)),
            inserts_in_flight: Gauge::default(),
            spool_bytes: Gauge::default(),
            spool_backlog_bytes: Gauge::default(),
            spool_damaged_bytes: Count::default(),
            buffer_bytes: Gauge::default(),
            connections: Gauge::default(),
            clickhouse_up: Gauge::default(),
            keys_generation: Gauge::default(),
            keys_file_bad: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Counts events with one outcome.
    pub fn count_events(&self, outcome: &'static str, events: usize) {
        if events > 0 {
            self.events.get_or_create(&OutcomeLabel { outcome }).inc_by(events as u64);
        }
    }

    /// Registers every metric under its frozen name.
    pub fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("weir_ingest");
        registry.register("requests", "Answers of the public port", self.requests.clone());
        registry.register("events", "Events by what became of them", self.events.clone());
        registry.register(
            "limited_requests",
            "Requests refused for a rate, by what the rate is of",
            self.limited_requests.clone(),
        );
        registry.register("insert_failures", "Failed insert attempts by class", self.insert_failures.clone());
        registry.register(
            "refused_rows",
            "Rows that ClickHouse refuses for their content",
            self.refused_rows.clone(),
        );
        registry.register_with_unit(
            "flush_duration",
            "Time from the start of a flush to its confirmation",
            Unit::Seconds,
            self.flush_seconds.clone(),
        );
        registry.register("flush_events", "Events of a flush", self.flush_events.clone());
        registry.register("inserts_in_flight", "Flushes that run now", self.inserts_in_flight.clone());
        registry.register_with_unit(
            "spool",
            "Size of the spool on disk",
            Unit::Bytes,
            self.spool_bytes.clone(),
        );
        registry.register_with_unit(
            "spool_backlog",
            "Part of the spool that ClickHouse has not confirmed",
            Unit::Bytes,
            self.spool_backlog_bytes.clone(),
        );
        registry.register_with_unit(
            "spool_damaged",
            "Part of the spool that could not be read and is kept aside",
            Unit::Bytes,
            self.spool_damaged_bytes.clone(),
        );
        registry.register_with_unit(
            "buffer",
            "Memory held for unanswered requests",
            Unit::Bytes,
            self.buffer_bytes.clone(),
        );
        registry.register("connections", "Open connections of the public port", self.connections.clone());
        registry.register(
            "clickhouse_up",
            "Whether ClickHouse answered last time (1) or not (0)",
            self.clickhouse_up.clone(),
        );
        registry.register("keys_generation", "Generation of the keys in use", self.keys_generation.clone());
        registry.register(
            "keys_file_bad",
            "Whether the keys file is unusable (1), so that older keys stay",
            self.keys_file_bad.clone(),
        );
        registry
    }
}

/// The metrics as text, as scrapers read it.
pub fn render(registry: &Arc<Registry>) -> Result<String, std::fmt::Error> {
    let mut output = String::new();
    text::encode(&mut output, registry)?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dashboards and alerts read these names and labels: a change of this text is a change for their owners.
    #[test]
    fn the_exposition_is_frozen() {
        let metrics = Metrics::default();
        metrics.requests.get_or_create(&StatusLabel { status: 200 }).inc();
        metrics.count_events("stored", 3);
        metrics.limited_requests.get_or_create(&LimitLabel { limit: "key" }).inc();
        metrics.insert_failures.get_or_create(&FailureLabel { class: "transient" }).inc();
        metrics.refused_rows.get_or_create(&TableLabel { table: "events_data" }).inc();
        metrics.flush_seconds.get_or_create(&true.into()).observe(0.02);
        metrics.flush_events.observe(50.0);
        let text = render(&Arc::new(metrics.register())).unwrap();
        assert!(text == include_str!("metrics/exposition.txt"), "{text}");
    }
}
