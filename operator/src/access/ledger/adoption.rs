//! Adoptions in the ledger: which claims were made on what was there before, and whether that is over.
//!
//! One table, `weir_ledger.adoptions`, that is only added to. A row with the nonce of a claim and the hash of the preview
//! that was approved is written before the claim itself (`adopted`), and another one (`settled`) once everything of the
//! entity is as the spec says. A row without a claim is of an adoption that came to nothing, and says nothing.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{DATABASE, Intent};
use crate::quote::literal;

/// An open claim on what was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Adoption {
    /// The claim.
    pub(crate) intent: Intent,
    /// Hash of the preview that was approved.
    pub(crate) hash: String,
    /// Whether everything of it is as the spec says.
    pub(crate) is_settled: bool,
}

/// What a row of an adoption says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::access) enum State {
    Adopted,
    Settled,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::Settled => "settled",
        }
    }
}

/// Makes the table; repeatable.
pub(in crate::access) fn create_statement() -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {DATABASE}.adoptions (\
         nonce UUID COMMENT 'That of the claim in weir_ledger.intents', \
         state Enum8('adopted' = 1, 'settled' = 2) COMMENT 'A claim with a settled row is over', \
         hash String COMMENT 'Of the preview that was approved', \
         recorded_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'For people'\
         ) ENGINE = MergeTree ORDER BY nonce"
    )
}

/// Reads all of them.
pub(in crate::access) fn query() -> String {
    format!(
        "SELECT nonce, any(hash) AS hash, max(state = 'settled') AS settled FROM {DATABASE}.adoptions GROUP BY nonce"
    )
}

/// Adds one row for each claim, in one block.
pub(in crate::access) fn insert_statement(adoptions: &[Adoption], state: State) -> String {
    let row = |adoption: &Adoption| {
        let values = [&adoption.intent.nonce, state.as_str(), &adoption.hash].map(literal);
        format!("({})", values.join(", "))
    };
    let rows: Vec<_> = adoptions.iter().map(row).collect();
    format!("INSERT INTO {DATABASE}.adoptions (nonce, state, hash) VALUES {}", rows.join(", "))
}

/// Row of the adoptions as the server answers it.
#[derive(Debug, Deserialize)]
pub(in crate::access) struct AdoptionRow {
    nonce: String,
    hash: String,
    settled: u8,
}

/// The adoptions whose claims are open, oldest first.
pub(in crate::access) fn of_open(rows: Vec<AdoptionRow>, open: &[Intent]) -> Vec<Adoption> {
    let mut rows: BTreeMap<String, AdoptionRow> =
        rows.into_iter().map(|row| (row.nonce.clone(), row)).collect();
    let adoption = |intent: &Intent| {
        let row = rows.remove(&intent.nonce)?;
        Some(Adoption { intent: intent.clone(), hash: row.hash, is_settled: row.settled != 0 })
    };
    open.iter().filter_map(adoption).collect()
}
