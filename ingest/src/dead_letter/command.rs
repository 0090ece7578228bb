//! `weir-ingest dead-letters`: what was refused, and the second attempt.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::TABLE;
use crate::args::DeadLettersAction;
use crate::clickhouse::Client;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::sink::Block;
use crate::sink::Deadline;
use crate::sink::Inserter;
use crate::sink::Stopped;
use crate::table::Table;
use crate::telemetry;

/// Letters that are listed or looked at in one question.
const PAGE: usize = 1000;

/// Which letters wait; read with FINAL, since a replayed one is a later row of the same letter.
const WAITING: &str = "replayed_at = toDateTime64(0, 6, 'UTC')";

/// Key of one letter.
#[derive(Debug, Clone, Deserialize)]
struct Key {
    table_name: String,
    uuid: Uuid,
    columns: String,
}

/// What a replay came to.
#[derive(Debug, Default)]
struct Outcome {
    replayed: usize,
    refused: usize,
}

/// Runs one action to its end.
pub async fn run(settings: &Settings, action: DeadLettersAction) -> ExitCode {
    let ended = match action {
        DeadLettersAction::List => list(settings).await.map(|()| ExitCode::SUCCESS),
        DeadLettersAction::Replay => replay(settings).await,
    };
    ended.unwrap_or_else(|error| {
        telemetry::complain(format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}

/// Prints the letters that wait, one JSON line each, the oldest first.
async fn list(settings: &Settings) -> anyhow::Result<()> {
    let client = Client::new(&settings.clickhouse)?;
    let sql = format!(
        "SELECT table_name, uuid, api_key, event, distinct_id, received_at, refused_at, code, reason, detail, \
         length(rows) AS bytes FROM {TABLE} FINAL WHERE {WAITING} ORDER BY refused_at, table_name, uuid \
         LIMIT {PAGE} FORMAT JSONEachRow"
    );
    say(client.query_text(&sql).await.context("failed to read the dead letters")?.trim_end());
    Ok(())
}

/// Inserts the rows of every waiting letter again, and marks those that ClickHouse takes.
async fn replay(settings: &Settings) -> anyhow::Result<ExitCode> {
    let client = Client::new(&settings.clickhouse)?;
    let timeout = settings.clickhouse.timeout;
    let inserter = Inserter::new(client.clone(), timeout, Arc::new(Metrics::default()));
    let mut outcome = Outcome::default();
    let mut maybe_last = None;
    loop {
        let keys = waiting(&client, maybe_last.as_ref()).await?;
        for key in &keys {
            if replay_one(&client, &inserter, key, timeout).await? {
                outcome.replayed += 1;
            } else {
                outcome.refused += 1;
            }
        }
        let Some(last) = keys.into_iter().next_back() else { break };
        maybe_last = Some(last);
    }
    let Outcome { replayed, refused } = outcome;
    say(&format!("{{\"replayed\":{replayed},\"refused\":{refused}}}"));
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The next page of letters, in the order of their keys.
async fn waiting(client: &Client, maybe_last: Option<&Key>) -> anyhow::Result<Vec<Key>> {
    let after = match maybe_last {
        Some(Key { table_name, uuid, .. }) => {
            format!("AND (table_name, uuid) > ('{}', toUUID('{uuid}'))", table(table_name)?.name())
        }
        None => String::new(),
    };
    let sql = format!(
        "SELECT table_name, uuid, columns FROM {TABLE} FINAL WHERE {WAITING} {after} \
         ORDER BY table_name, uuid LIMIT {PAGE} FORMAT JSONEachRow"
    );
    let text = client.query_text(&sql).await.context("failed to read the dead letters")?;
    text.lines()
        .map(|line| serde_json::from_str(line).context("failed to understand a dead letter"))
        .collect()
}

/// Whether ClickHouse took the rows this time.
async fn replay_one(
    client: &Client,
    inserter: &Inserter,
    key: &Key,
    timeout: Duration,
) -> anyhow::Result<bool> {
    let table = table(&key.table_name)?;
    anyhow::ensure!(
        is_column_list(&key.columns),
        "the columns of the letter {} are no column names",
        key.uuid
    );
    let letter = format!("table_name = '{}' AND uuid = toUUID('{}')", table.name(), key.uuid);
    let sql = format!("SELECT rows FROM {TABLE} FINAL WHERE {letter} FORMAT RawBLOB");
    let rows = client.query_bytes(&sql).await.context("failed to read the rows of a dead letter")?;
    let deadline = Deadline::At(Instant::now() + timeout);
    let block = Block { table: table.name(), columns: &key.columns, rows: rows.into(), deadline };
    match inserter.insert(&block).await {
        Ok(()) => {}
        Err(Stopped::Refused(error)) => {
            telemetry::complain(format_args!("{} is still refused: {error}", key.uuid));
            return Ok(false);
        }
        Err(Stopped::Unavailable) => anyhow::bail!("failed to insert the rows of the letter {}", key.uuid),
    }
    let mark = format!(
        "INSERT INTO {TABLE} ({columns}, refused_at, replayed_at) \
         SELECT {columns}, refused_at, now64(6) FROM {TABLE} FINAL WHERE {letter}",
        columns = super::COLUMNS
    );
    client.execute(&mark).await.context("failed to mark a dead letter as replayed")?;
    Ok(true)
}

/// The table of a letter: the name is data and becomes part of a statement.
fn table(name: &str) -> anyhow::Result<Table> {
    let known = Table::ALL.into_iter().find(|table| table.name() == name);
    known.with_context(|| format!("no table {name:?} is known"))
}

fn is_column_list(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    text.split(", ").all(is_name)
}

#[expect(clippy::print_stdout, reason = "the output is the answer of this subcommand")]
fn say(text: &str) {
    if !text.is_empty() {
        println!("{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_become_part_of_a_statement() {
        assert!(Table::ALL.into_iter().all(|table| is_column_list(crate::encode::columns(table))));
        assert!(!is_column_list("uuid) SELECT 1 --"));
        assert!(table("events_data").is_ok());
        assert!(table("events_data; DROP").is_err());
    }
}
