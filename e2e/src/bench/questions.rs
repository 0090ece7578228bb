//! `--questions N`: what product analysts ask, timed on that many events that came through the service.
//!
//! The questions are those that the tables of the `product` module are made for. They are asked right after the load, when
//! nothing is settled, so every session is computed at the read.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::generator::float;
use crate::standalone::Standalone;

/// How often each is asked; the fastest counts, as for a reader whose data is in memory.
const TIMES: usize = 3;

/// What is asked, in words and of the reader names.
const QUESTIONS: [(&str, &str); 12] = [
    (
        "events and people per day",
        "SELECT toDate(timestamp) AS day, count(), uniq(person_id) FROM {database}.events \
         WHERE timestamp > now() - INTERVAL 30 DAY GROUP BY day",
    ),
    (
        "event names of a week, with a sample",
        "SELECT event, count() AS events, any(properties) FROM {database}.events \
         WHERE timestamp > now() - INTERVAL 7 DAY GROUP BY event ORDER BY events DESC LIMIT 50",
    ),
    (
        "people with the most events",
        "SELECT person_id, min(timestamp), max(timestamp), countIf(event = '$pageview'), count() AS events \
         FROM {database}.events GROUP BY person_id ORDER BY events DESC LIMIT 100",
    ),
    (
        "recent sessions",
        "SELECT session_id, started_at, ended_at, duration_seconds, pageview_count, autocapture_count, event_count \
         FROM {database}.sessions ORDER BY started_at DESC LIMIT 100",
    ),
    (
        "funnel of two steps by person",
        "SELECT count(), countIf(last >= first) FROM (SELECT person_id, \
         minIf(timestamp, event = '$pageview') AS first, minIf(timestamp, event = 'added to cart') AS last \
         FROM {database}.events WHERE event IN ('$pageview', 'added to cart') AND timestamp > now() - INTERVAL 30 DAY \
         GROUP BY person_id)",
    ),
    (
        "people by a property of theirs",
        "SELECT JSONExtractString(properties, 'plan') AS plan, count() FROM {database}.persons GROUP BY plan",
    ),
    (
        "last events with their person",
        "SELECT recent.timestamp, recent.event, person.properties FROM \
         (SELECT timestamp, event, person_id FROM {database}.events ORDER BY timestamp DESC LIMIT 100) AS recent \
         LEFT ANY JOIN {database}.persons AS person ON person.id = recent.person_id",
    ),
    (
        "distinct ids of a person",
        "SELECT distinct_id FROM {database}.person_distinct_ids WHERE person_id = \
         (SELECT person_id FROM {database}.person_distinct_ids LIMIT 1)",
    ),
    (
        "person of a distinct id",
        "SELECT person_id FROM {database}.person_distinct_ids WHERE distinct_id = \
         (SELECT distinct_id FROM {database}.events_data LIMIT 1)",
    ),
    (
        "a property of all events",
        "SELECT JSONExtractString(properties, '$browser') AS browser, count() FROM {database}.events GROUP BY browser",
    ),
    (
        "events that have a property",
        "SELECT count() FROM {database}.events WHERE JSONHas(properties, '$referrer')",
    ),
    (
        "profile of a distinct id",
        "SELECT id, properties, created_at, last_seen_at FROM {database}.persons WHERE id = \
         (SELECT person_id FROM {database}.person_distinct_ids LIMIT 1)",
    ),
];

/// What ClickHouse says of one answer.
#[derive(Debug, Deserialize)]
struct Answer {
    rows: u64,
    statistics: Statistics,
}

#[derive(Debug, Deserialize)]
struct Statistics {
    elapsed: f64,
    rows_read: u64,
    bytes_read: u64,
}

/// Asks everything and renders the table.
pub(super) async fn ask(weir: &Standalone) -> anyhow::Result<String> {
    let counts = "SELECT count(), uniq(person_id), uniq(session_id) FROM {database}.events FORMAT TSV";
    let counts = weir.query(counts).await?;
    let mut text = format!(
        "events, people, sessions: {}\n{:<38} {:>9} {:>12} {:>9} {:>6}\n",
        counts.trim().replace('\t', ", "),
        "question",
        "seconds",
        "rows read",
        "MiB read",
        "rows"
    );
    for (question, sql) in QUESTIONS {
        let Answer { rows, statistics } =
            fastest(weir, sql).await.with_context(|| format!("the question for {question}"))?;
        ensure!(rows > 0, "the question for {question} has no answer");
        let Statistics { elapsed, rows_read, bytes_read } = statistics;
        let mebibytes = float(bytes_read) / 1_048_576.0;
        writeln!(text, "{question:<38} {elapsed:>9.3} {rows_read:>12} {mebibytes:>9.1} {rows:>6}")?;
    }
    Ok(text)
}

async fn fastest(weir: &Standalone, sql: &str) -> anyhow::Result<Answer> {
    let mut answers = Vec::new();
    for _ in 0..TIMES {
        let text = weir.query(&format!("{sql} FORMAT JSON")).await?;
        answers.push(serde_json::from_str::<Answer>(&text).context("not an answer with statistics")?);
    }
    let fastest =
        answers.into_iter().min_by(|one, other| one.statistics.elapsed.total_cmp(&other.statistics.elapsed));
    fastest.context("it was never asked")
}
