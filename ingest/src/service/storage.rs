//! What is behind the handlers: straight to ClickHouse, or over the spool.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::batch::Thresholds;
use crate::budget::Budget;
use crate::buffer::Buffer;
use crate::buffer::Gatherer;
use crate::buffer::buffer;
use crate::clickhouse::Client;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::sink::ClickhouseSink;
use crate::spool;
use crate::spool::Spool;

/// The tasks behind the handlers.
#[derive(Debug)]
pub(crate) struct Storage {
    gatherer: Gatherer,
    maybe_spool: Option<Spool>,
}

/// What they share with others.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) client: Client,
    pub(crate) budget: Arc<Budget>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Takes the spool's folder, when there is one; connects to nothing yet.
pub(crate) fn open(settings: &Settings, parts: Parts) -> Result<(Buffer, Storage), spool::OpenError> {
    let Parts { client, budget, metrics } = parts;
    let sink = ClickhouseSink::new(client, settings.clickhouse.timeout, Arc::clone(&metrics));
    let Some(spool_settings) = &settings.spool else {
        let (buffer, gatherer) = buffer(Arc::new(sink), thresholds(settings), metrics);
        return Ok((buffer, Storage { gatherer, maybe_spool: None }));
    };
    let (buffer, gatherer) = buffer(Arc::new(sink.patient()), thresholds(settings), Arc::clone(&metrics));
    // The other half stays for requests, also while ClickHouse takes nothing.
    let max_held = settings.buffer.max_bytes / 2;
    let (entrance, spool) = spool::open(spool_settings, spool::Parts { buffer, budget, max_held, metrics })?;
    Ok((entrance, Storage { gatherer, maybe_spool: Some(spool) }))
}

impl Storage {
    /// Runs until no request can come any more and everything is in ClickHouse. Once `is_safe` is set, dropping this
    /// loses nothing that was answered.
    pub(crate) async fn run(self, is_safe: &AtomicBool) {
        let Self { gatherer, maybe_spool } = self;
        match maybe_spool {
            None => gatherer.run().await,
            Some(spool) => {
                tokio::join!(spool.run(is_safe), gatherer.run());
            }
        }
    }
}

fn thresholds(settings: &Settings) -> Thresholds {
    Thresholds {
        max_rows: settings.buffer.flush_max_rows,
        max_bytes: settings.buffer.flush_max_bytes,
        max_age: settings.buffer.flush_max_age,
    }
}
