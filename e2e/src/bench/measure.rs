//! One measurement: a load, what it cost, and whether what was acknowledged is stored.

use std::time::Duration;

use super::{
    generator::{Load, Outcome, float},
    subject::{Stored, Subject},
};
use crate::standalone::Usage;

/// One line of the table, added up over its slices.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) connections: usize,
    pub(super) outcome: Outcome,
    pub(super) service: Option<Duration>,
    pub(super) clickhouse: Option<Duration>,
    pub(super) generator: Duration,
    pub(super) peak_bytes: Option<u64>,
    /// What the load added; nothing when it cannot be counted.
    pub(super) stored: Option<Stored>,
}

impl Line {
    pub(super) fn new(name: String, connections: usize) -> Self {
        Self { name, connections, ..Self::default() }
    }

    /// Runs one slice of load and adds what it did and cost.
    pub(super) async fn measure(&mut self, subject: &Subject, load: Load) -> anyhow::Result<()> {
        let stored = subject.stored().await?;
        let (before, own) = (subject.used()?, Usage::of(std::process::id())?);
        let outcome = tokio::task::spawn_blocking(move || load.run()).await??;
        let (after, own_after) = (subject.used()?, Usage::of(std::process::id())?);
        subject.settle().await?;
        let settled = subject.used()?;
        self.outcome.add(outcome);
        self.generator += own_after.cpu.saturating_sub(own.cpu);
        add(&mut self.service, spent(before.service, after.service));
        add(&mut self.clickhouse, spent(before.clickhouse, settled.clickhouse));
        self.peak_bytes = self.peak_bytes.max(after.service.map(|usage| usage.peak_bytes));
        self.count(stored, subject.stored().await?);
        Ok(())
    }

    fn count(&mut self, before: Option<Stored>, after: Option<Stored>) {
        let (Some(before), Some(after)) = (before, after) else { return };
        let sum = self.stored.get_or_insert_default();
        sum.rows += after.rows.saturating_sub(before.rows);
        sum.events += after.events.saturating_sub(before.events);
        sum.inserts += after.inserts.saturating_sub(before.inserts);
    }

    /// Seconds of CPU for a million acknowledged events.
    pub(super) fn per_million(&self, spent: Duration) -> f64 {
        spent.as_secs_f64() * 1e6 / float(self.outcome.acknowledged)
    }

    /// What is wrong with the rows, in one sentence; nothing when they are those that were acknowledged.
    pub(super) fn fault(&self) -> Option<String> {
        let Self { name, connections, outcome, stored, .. } = self;
        let place = format!("{name} over {connections} connections");
        if outcome.acknowledged == 0 {
            return Some(format!("{place}: nothing was acknowledged"));
        }
        if outcome.lost > 0 {
            return Some(format!("{place}: {} events were never acknowledged", outcome.lost));
        }
        let Stored { rows, events, .. } = (*stored)?;
        let equal = events == outcome.acknowledged && rows == events;
        let acknowledged = outcome.acknowledged;
        (!equal)
            .then(|| format!("{place}: {acknowledged} events acknowledged, {events} stored in {rows} rows"))
    }
}

fn spent(before: Option<Usage>, after: Option<Usage>) -> Option<Duration> {
    Some(after?.cpu.saturating_sub(before?.cpu))
}

fn add(sum: &mut Option<Duration>, slice: Option<Duration>) {
    if let Some(slice) = slice {
        *sum.get_or_insert_default() += slice;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(acknowledged: u64, events: u64, rows: u64) -> Line {
        let stored = Some(Stored { rows, events, inserts: 1 });
        Line { outcome: Outcome { acknowledged, ..Outcome::default() }, stored, ..Line::default() }
    }

    #[test]
    fn acknowledged_events_are_rows_each_once() {
        assert_eq!(line(50, 50, 50).fault(), None);
        assert!(line(50, 49, 49).fault().unwrap().contains("49 stored"));
        assert!(line(50, 50, 51).fault().unwrap().contains("51 rows"));
        assert!(line(0, 0, 0).fault().is_some());
    }
}
