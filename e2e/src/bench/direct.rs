//! What the same rows cost without any service: 10,000-row blocks in RowBinary, straight into tables of the same schema.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use super::{
    connection::Connection,
    generator::{float, quantile},
    subject::{TABLES, settle},
};
use crate::standalone::{Standalone, Usage};

/// Rows of a block.
const BLOCK: u64 = 10_000;
/// Inserts of one event.
const LONE: u64 = 50;
/// The database beside the service's own.
const DATABASE: &str = "direct";

/// The direct inserts of a run.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    /// Events inserted.
    pub(super) events: u64,
    /// CPU of ClickHouse until the last merge.
    pub(super) clickhouse: Duration,
    /// From the first insert to the last answer.
    pub(super) elapsed: Duration,
    /// How long each insert of one event took.
    pub(super) lone: Vec<Duration>,
}

/// The blocks of one table.
struct Blocks {
    table: &'static str,
    rows: u64,
    bytes: Vec<Vec<u8>>,
}

/// A connection to the engine, as its administrator.
struct Engine<'a> {
    connection: Connection,
    weir: &'a Standalone,
}

impl Direct {
    /// Takes at most `max_events` of the stored events and what they say about persons, and inserts them again beside.
    pub(super) async fn measure(weir: &Standalone, max_events: u64) -> anyhow::Result<Self> {
        weir.migrate(DATABASE).await?;
        for table in TABLES {
            weir.query(&format!("TRUNCATE TABLE {DATABASE}.{table}")).await?;
        }
        let address: SocketAddr = weir.clickhouse_url().trim_start_matches("http://").parse()?;
        let mut engine = Engine { connection: Connection::new(address), weir };
        let mut all = Vec::new();
        for table in TABLES {
            all.push(engine.export(table, max_events, BLOCK).await?);
        }
        let lone = engine.export(TABLES[0], LONE, 1).await?;
        let events = all[0].rows;
        ensure!(events > 0, "no event is stored that could be inserted again");
        settle(weir).await?;
        let (before, started) = (Usage::of(weir.clickhouse().engine_pid())?, Instant::now());
        for blocks in &all {
            engine.insert(blocks)?;
        }
        let elapsed = started.elapsed();
        settle(weir).await?;
        let after = Usage::of(weir.clickhouse().engine_pid())?;
        let clickhouse = after.cpu.saturating_sub(before.cpu);
        Ok(Self { events, clickhouse, elapsed, lone: engine.time(&lone)? })
    }

    /// Seconds of ClickHouse's CPU for a million events.
    pub(super) fn per_million(&self) -> f64 {
        self.clickhouse.as_secs_f64() * 1e6 / float(self.events)
    }

    /// Events a second.
    pub(super) fn rate(&self) -> f64 {
        float(self.events) / self.elapsed.as_secs_f64()
    }

    /// Milliseconds within which this share of the inserts of one event was answered.
    pub(super) fn lone_quantile(&self, share: f64) -> f64 {
        let mut sorted: Vec<_> = self.lone.iter().map(|took| took.as_secs_f64() * 1000.0).collect();
        sorted.sort_by(f64::total_cmp);
        quantile(&sorted, share)
    }

    /// Adds another measurement of the same run.
    pub(super) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.clickhouse += other.clickhouse;
        self.elapsed += other.elapsed;
        self.lone.extend(other.lone);
    }
}

impl Engine<'_> {
    async fn export(&mut self, table: &'static str, max_events: u64, block: u64) -> anyhow::Result<Blocks> {
        let source = format!("{}.{table}", self.weir.database());
        let stored: u64 = self.weir.query(&format!("SELECT count() FROM {source}")).await?.trim().parse()?;
        let rows = stored.min(max_events);
        // In the order in which they came, as far as the table remembers it: sorted rows are cheaper to insert.
        let order = if table == TABLES[0] { "inserted_at, uuid" } else { "cityHash64(tuple(*))" };
        let mut bytes = Vec::new();
        for offset in (0..rows.div_ceil(block)).map(|number| number * block) {
            let sql = format!(
                "SELECT * FROM {source} ORDER BY {order} LIMIT {block} OFFSET {offset} FORMAT RowBinary"
            );
            bytes.push(self.ask("/", sql.as_bytes())?);
        }
        Ok(Blocks { table, rows, bytes })
    }

    fn insert(&mut self, blocks: &Blocks) -> anyhow::Result<()> {
        self.time(blocks).map(drop)
    }

    /// Inserts the blocks one after the other, and says how long each took.
    fn time(&mut self, blocks: &Blocks) -> anyhow::Result<Vec<Duration>> {
        let statement =
            format!("INSERT INTO {DATABASE}.{} FORMAT RowBinary", blocks.table).replace(' ', "%20");
        let path = format!("/?query={statement}&async_insert=0");
        let mut took = Vec::new();
        for block in &blocks.bytes {
            let started = Instant::now();
            self.ask(&path, block)?;
            took.push(started.elapsed());
        }
        Ok(took)
    }

    fn ask(&mut self, path: &str, body: &[u8]) -> anyhow::Result<Vec<u8>> {
        let (user, password) = self.weir.clickhouse().admin();
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: engine\r\nX-ClickHouse-User: {user}\r\nX-ClickHouse-Key: {password}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        let answer = self.connection.exchange(&request).context("ClickHouse did not answer")?;
        let text = || String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)]).into_owned();
        ensure!(answer.status == 200, "ClickHouse refused a direct insert: {}", text());
        Ok(answer.body)
    }
}
