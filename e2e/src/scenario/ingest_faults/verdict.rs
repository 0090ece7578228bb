//! Rows against acknowledged events, id by id.

use std::{
    collections::HashSet,
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use uuid::Uuid;

use super::super::mebibytes;
use crate::{load::Outcome, standalone::Standalone};

/// How long a spool may take to bring its records to ClickHouse after a fault.
const REPLAY: Duration = Duration::from_mins(1);

/// Sums of a run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    acknowledged: u64,
    rows: usize,
    retried: u64,
    faults: u64,
    peak_bytes: u64,
    /// Processes of ingest that were ended.
    pub(super) ended: u64,
}

impl Tally {
    pub(super) fn add(&mut self, outcome: &Outcome, rows: usize, peak_bytes: u64) {
        self.acknowledged += outcome.acknowledged;
        self.rows += rows;
        self.retried += outcome.retried;
        self.faults += 1;
        self.peak_bytes = self.peak_bytes.max(peak_bytes);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, rows, retried, faults, peak_bytes, ended } = self;
        let peak = mebibytes(*peak_bytes);
        write!(
            formatter,
            "{faults} faults under load: {acknowledged} events acknowledged = {rows} rows, 0 doubled; \
             {retried} requests retried, {ended} ingest processes ended, peak {peak:.0} MiB"
        )
    }
}

/// Waits until every acknowledged event is a row, checks that each is one once and that there are no others, and counts.
pub(super) async fn rows_are(weir: &Standalone, event: &str, acknowledged: &[Uuid]) -> anyhow::Result<usize> {
    let wanted: HashSet<Uuid> = acknowledged.iter().copied().collect();
    ensure!(wanted.len() == acknowledged.len(), "the load sent an id twice");
    let started = Instant::now();
    loop {
        let rows = rows(weir, event).await?;
        let found: HashSet<Uuid> = rows.iter().copied().collect();
        let lost = wanted.difference(&found).count();
        if lost == 0 || started.elapsed() > REPLAY {
            ensure!(lost == 0, "{lost} of {} acknowledged events are no rows", wanted.len());
            ensure!(rows.len() == found.len(), "{} events are doubled for readers", rows.len() - found.len());
            let strange = found.difference(&wanted).count();
            ensure!(strange == 0, "{strange} rows are no acknowledged events");
            return Ok(rows.len());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn rows(weir: &Standalone, event: &str) -> anyhow::Result<Vec<Uuid>> {
    let text = weir.query(&format!("SELECT uuid FROM {{database}}.events WHERE event = '{event}'")).await?;
    text.lines().map(|line| line.parse().with_context(|| format!("not an id: {line}"))).collect()
}
