//! Hostile bodies and clients: the right status, memory within its cap, and nobody else's events harmed.

mod bomb;
mod client;
mod corpus;
mod fuzz;
mod lz_string;
mod slow;

use std::{collections::HashSet, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use uuid::Uuid;

use self::{client::Stranger, corpus::Case};
use super::{Plan, mebibytes};
use crate::{
    report::announce,
    standalone::{Options, Programs, Standalone},
};

/// Memory that the service may hold for unanswered requests.
const BUFFER_BYTES: u64 = 64 << 20;
/// What the service may use besides.
const BASE_BYTES: u64 = 64 << 20;
/// A rise of the peak that is worth a line.
const RISE_BYTES: u64 = 4 << 20;

pub(super) async fn run(folder: &Path, plan: Plan) -> anyhow::Result<String> {
    let mut weir = Standalone::start(Options::new(Programs::find()?, folder)).await?;
    let buffer = BUFFER_BYTES.to_string();
    // A batch of 120 months makes 120 parts, for which a busy machine needs more than the usual deadline.
    let environment = [("WEIR_BUFFER_MAX_BYTES", buffer.as_str()), ("WEIR_CLICKHOUSE_TIMEOUT_MS", "30000")];
    let service = weir.add(&environment)?;
    weir.wait_ready(service).await?;
    let address = weir.url(service).trim_start_matches("http://").to_owned();
    let slow = tokio::spawn(async move { slow::trickle(&address, plan.pick(20, 500)).await });

    let mut faults = 0_usize;
    let cases = corpus::all(weir.key())?;
    let stranger = Stranger::new(weir.url(service));
    let mut corpus_peak = 0;
    for case in &cases {
        if let Err(fault) = check(&weir, &stranger, case).await {
            let fault = format!("{} on {}: {fault:#}", case.name, case.path);
            announce(&format!("      {fault}"));
            faults += 1;
        }
        let peak = weir.usage(service)?.peak_bytes;
        if peak > corpus_peak + RISE_BYTES {
            announce(&format!("      peak {:.0} MiB with {} on {}", mebibytes(peak), case.name, case.path));
        }
        corpus_peak = peak;
    }
    let time = plan.pick(Duration::from_secs(15), Duration::from_mins(10));
    let fuzzed = fuzz::run(&weir.url(service), weir.key(), plan.seed, time).await?;
    valid_events_are_rows(&weir, &fuzzed.valid).await?;
    let slow = slow.await.context("the slow clients panicked")??;
    ensure!(faults == 0, "{faults} of {} bodies, see above", cases.len());
    let peak = weir.usage(service)?.peak_bytes;
    ensure!(
        peak <= BASE_BYTES + BUFFER_BYTES,
        "the service used {:.0} MiB, {:.0} MiB are the cap; the bodies alone took {:.0} MiB",
        mebibytes(peak),
        mebibytes(BASE_BYTES + BUFFER_BYTES),
        mebibytes(corpus_peak)
    );
    weir.stop().await?;
    Ok(format!(
        "{} hostile bodies answered rightly, peak {:.0} MiB; {} mutated requests with seed {}: answers {:?}, \
         {} valid events beside them are rows, peak {:.0} MiB of {:.0}; {slow}",
        cases.len(),
        mebibytes(corpus_peak),
        fuzzed.requests,
        plan.seed,
        fuzzed.statuses,
        fuzzed.valid.len(),
        mebibytes(peak),
        mebibytes(BASE_BYTES + BUFFER_BYTES),
    ))
}

/// Sends one case twice: the second time shows that the connection and the service still work.
async fn check(weir: &Standalone, stranger: &Stranger, case: &Case) -> anyhow::Result<()> {
    for attempt in ["at first", "again"] {
        let (status, took) = stranger.post(case.path, &case.headers, case.body.clone()).await?;
        ensure!(
            case.statuses.contains(&status),
            "{attempt} answered with {status} after {took:.1?}, not {:?}",
            case.statuses
        );
    }
    if case.stored > 0 {
        let sql = format!("SELECT count() FROM {{database}}.events WHERE event = '{}'", case.event);
        let rows = weir.query(&sql).await?;
        ensure!(rows.trim() == case.stored.to_string(), "{} rows, not {}", rows.trim(), case.stored);
    }
    if let Some(property) = case.read {
        let sql = format!(
            "SELECT countIf(JSONHas(properties, '{property}')) FROM {{database}}.events WHERE event = 'strange'"
        );
        ensure!(weir.query(&sql).await?.trim() != "0", "ClickHouse reads `{property}` of no strange event");
    }
    Ok(())
}

async fn valid_events_are_rows(weir: &Standalone, acknowledged: &[Uuid]) -> anyhow::Result<()> {
    let sql = format!("SELECT uuid FROM {{database}}.events WHERE event = '{}'", fuzz::VALID);
    let text = weir.query(&sql).await?;
    let found = text.lines().map(str::parse).collect::<Result<HashSet<Uuid>, _>>().context("not an id")?;
    let lost = acknowledged.iter().filter(|id| !found.contains(id)).count();
    ensure!(lost == 0, "{lost} of {} valid events beside mutated ones are no rows", acknowledged.len());
    Ok(())
}
