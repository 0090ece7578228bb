//! Metrics of the operator, prefix `weir_operator_`. Labels are closed enums; no name of a stack is a label.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    /// Nothing had to be done.
    Settled,
    /// Steps were done and nothing is waited for.
    Applied,
    /// A step waits.
    Waiting,
    /// Something failed that is retried.
    Failed,
    /// Somebody has to act.
    Stalled,
    /// The deadline of the pass was reached.
    Abandoned,
}

/// Label of [`Outcome`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabel {
    outcome: Outcome,
}

/// Label of a closed list of words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindLabel {
    kind: &'static str,
}

/// Every metric, cheap to clone.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    passes: Family<OutcomeLabel, Counter>,
    pass_seconds: Histogram,
    actions: Family<KindLabel, Counter>,
    holds: Family<KindLabel, Counter>,
    errors: Family<KindLabel, Counter>,
    leader: Gauge,
    stacks: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("weir_operator");
        let metrics = Self {
            passes: Family::default(),
            pass_seconds: Histogram::new(exponential_buckets(0.001, 3.0, 11)),
            actions: Family::default(),
            holds: Family::default(),
            errors: Family::default(),
            leader: Gauge::default(),
            stacks: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "build",
            "Version of the operator",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register("passes", "Reconciles by outcome", metrics.passes.clone());
        registry.register("pass_duration_seconds", "Duration of a reconcile", metrics.pass_seconds.clone());
        registry.register("actions", "Steps done, by kind", metrics.actions.clone());
        registry.register("holds", "Waits met, by reason", metrics.holds.clone());
        registry.register("errors", "Errors by the step that failed", metrics.errors.clone());
        registry.register("leader", "1 while this process leads", metrics.leader.clone());
        registry.register("stacks", "Stacks that are served", metrics.stacks.clone());
        Self { registry, ..metrics }
    }

    /// Counts a pass.
    pub(crate) fn pass(&self, outcome: Outcome, duration: Duration) {
        self.passes.get_or_create(&OutcomeLabel { outcome }).inc();
        self.pass_seconds.observe(duration.as_secs_f64());
    }

    /// Counts a step that was done.
    pub(crate) fn action(&self, kind: &'static str) {
        self.actions.get_or_create(&KindLabel { kind }).inc();
    }

    /// Counts a wait.
    pub(crate) fn hold(&self, reason: &'static str) {
        self.holds.get_or_create(&KindLabel { kind: reason }).inc();
    }

    /// Counts an error.
    pub(crate) fn error(&self, step: &'static str) {
        self.errors.get_or_create(&KindLabel { kind: step }).inc();
    }

    /// Says whether this process leads.
    pub(crate) fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Says how many stacks are served.
    pub(crate) fn set_stacks(&self, count: usize) {
        self.stacks.set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
    }

    /// Renders the text that `/metrics` answers.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
            // Writing to a String cannot fail; the scraper sees an empty, well-formed answer if encoding did.
            let _infallible = writeln!(text, "# EOF");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_carries_the_prefix_and_the_labels() {
        let metrics = Metrics::new();
        metrics.pass(Outcome::Settled, Duration::from_millis(2));
        metrics.action("Apply");
        let text = metrics.render();
        assert!(text.contains("weir_operator_passes_total{outcome=\"Settled\"} 1"), "{text}");
        assert!(text.contains("weir_operator_actions_total{kind=\"Apply\"} 1"), "{text}");
    }
}
