//! The ledger: who owns which database, role, user, row policy and quota.
//!
//! One table, `weir_ledger.intents`, that is only added to. A row says that a stack claims a name (`claimed`), keeps it
//! with the data after its own deletion (`retained`) or gives it up (`closed`); rows of one claim share a nonce. A claim
//! without a `closed` row is open. **The oldest open claim of a name owns it**, whether the entity exists or not; the others
//! wait in line. An entity without any open claim is foreign and is never touched.
//!
//! Oldest means lowest block number: ClickHouse hands them out in the order in which inserts become visible, and keeps
//! them through merges here, so whoever reads the ledger after its own insert sees every claim that is older than its own.
//! No later insert can come before. That is what makes the answer depend on the ledger alone:
//!
//! 1. A claim is made for a name that does not exist, or that an earlier stack of the same name and place left behind; see 5
//!    for others.
//! 2. It is inserted, then read back; who is not first closes its claim again and reports the owner.
//! 3. Only then comes a plain CREATE. Crashed before it: the claim is found open, the entity missing, CREATE is sent.
//!    Crashed after it: the claim is found open and first, so the entity is this stack's.
//! 4. A refused statement ends the pass, so the claims of what does not exist yet are closed; the next pass makes them anew.
//!    "Exists already" means that somebody else was faster: that claim is closed too, and the name is reported as foreign.
//! 5. What exists and is not the stack's own is claimed only when somebody approved exactly that: one block holds that claim
//!    and closes those of the owner before (see `adopt`, and `adoption` below for what is noted of it).
//! 6. A drop comes before the `closed` row. Crashed between: the claim is open, the entity missing, `closed` is written.
//!
//! What remains: a name that somebody makes by hand while a claim of it is open and its CREATE was not answered, which is
//! between a crash or an outage and the next pass that reaches ClickHouse, is taken for the stack's. The table is not
//! replicated yet; with several endpoints the first one holds it.

pub(super) mod adoption;
pub(super) mod handover;

use serde::Deserialize;

use super::{Class, Entity, Kind, Owner, request};
use crate::quote::literal;

pub(crate) use adoption::Adoption;
pub(crate) use handover::Handover;

/// Database of the ledger.
pub(super) const DATABASE: &str = "weir_ledger";

/// Table of the claims.
pub(super) const INTENTS: &str = "intents";
/// Table of the requests.
pub(super) const REQUESTS: &str = "requests";
/// Column type of `kind`; a ledger that an older operator made lacks the last two.
pub(super) const KINDS: &str = "Enum8('database' = 1, 'role' = 2, 'user' = 3, 'row policy' = 4, 'quota' = 5)";

/// Lets a table of an older ledger take the kinds of these entities; `None` where it can. Repeatable.
pub(super) fn widen_statement<'a>(
    table: &str,
    entities: impl IntoIterator<Item = &'a Entity>,
) -> Option<String> {
    let is_new = |entity: &Entity| matches!(entity.kind, Kind::RowPolicy | Kind::Quota);
    let has_new = entities.into_iter().any(is_new);
    has_new.then(|| format!("ALTER TABLE {DATABASE}.{table} MODIFY COLUMN kind {KINDS}"))
}

/// Makes the ledger; repeatable, and safe when two operators do it at once.
pub(super) fn create_statements() -> Vec<String> {
    vec![
        format!(
            "CREATE DATABASE IF NOT EXISTS {DATABASE} COMMENT 'Weir: who owns which database, role and user'"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {DATABASE}.intents (\
             nonce UUID COMMENT 'Rows of one claim share it', \
             state Enum8('claimed' = 1, 'retained' = 2, 'closed' = 3) COMMENT 'A claim without a closed row is open; the oldest open one owns the name', \
             kind {KINDS} COMMENT 'What is claimed', \
             name String COMMENT 'Its name', \
             class LowCardinality(String) COMMENT 'What it is for', \
             cluster String COMMENT 'UID of the kube-system namespace', \
             namespace String COMMENT 'Namespace of the AnalyticsStack', \
             stack String COMMENT 'Name of the AnalyticsStack', \
             uid String COMMENT 'UID of the AnalyticsStack', \
             recorded_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'For people; the order is that of _block_number'\
             ) ENGINE = MergeTree ORDER BY (kind, name, nonce) SETTINGS enable_block_number_column = 1"
        ),
        request::create_statement(),
    ]
}

/// Reads the open claims, oldest first.
pub(super) fn open_query() -> String {
    format!(
        "SELECT nonce, any(kind) AS kind, any(name) AS name, any(class) AS class, any(cluster) AS cluster_id, \
         any(namespace) AS namespace, any(stack) AS stack, any(uid) AS uid, max(state = 'retained') AS retained, \
         min(_block_number) AS sequence FROM {DATABASE}.intents \
         GROUP BY nonce HAVING countIf(state = 'closed') = 0 ORDER BY sequence, nonce"
    )
}

/// An open claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    /// What is claimed.
    pub(crate) entity: Entity,
    /// What it is for.
    pub(crate) class: Class,
    /// Who claims it.
    pub(crate) owner: Owner,
    /// Which claim of that owner.
    pub(crate) nonce: String,
    /// Kept with the data after the owner's deletion.
    pub(crate) retained: bool,
}

/// What a row of a claim says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Claimed,
    Retained,
    Closed,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Retained => "retained",
            Self::Closed => "closed",
        }
    }
}

/// Adds one row for each claim, in one block.
pub(super) fn insert_statement(intents: &[Intent], state: State) -> String {
    rows_statement(intents.iter().map(|intent| (intent, state)))
}

/// Adds rows of several states, in one block.
pub(super) fn rows_statement<'a>(rows: impl IntoIterator<Item = (&'a Intent, State)>) -> String {
    let row = |(intent, state): (&Intent, State)| {
        let Intent { entity, class, owner, nonce, retained: _ } = intent;
        let Owner { cluster_id, namespace, name, uid } = owner;
        let values = [
            nonce,
            state.as_str(),
            entity.kind.as_str(),
            &entity.name,
            class.as_str(),
            cluster_id,
            namespace,
            name,
            uid,
        ];
        format!("({})", values.map(literal).join(", "))
    };
    let rows: Vec<_> = rows.into_iter().map(row).collect();
    format!(
        "INSERT INTO {DATABASE}.intents (nonce, state, kind, name, class, cluster, namespace, stack, uid) VALUES {}",
        rows.join(", ")
    )
}

/// Row of the open claims as the server answers it.
#[derive(Debug, Deserialize)]
pub(super) struct IntentRow {
    nonce: String,
    kind: Kind,
    name: String,
    class: Class,
    cluster_id: String,
    namespace: String,
    stack: String,
    uid: String,
    retained: u8,
}

impl From<IntentRow> for Intent {
    fn from(row: IntentRow) -> Self {
        let IntentRow { nonce, kind, name, class, cluster_id, namespace, stack, uid, retained } = row;
        Self {
            entity: Entity { kind, name },
            class,
            owner: Owner { cluster_id, namespace, name: stack, uid },
            nonce,
            retained: retained != 0,
        }
    }
}

/// The claim that owns an entity; `intents` are the open ones, oldest first.
pub(super) fn head<'a>(intents: &'a [Intent], entity: &Entity) -> Option<&'a Intent> {
    intents.iter().find(|intent| intent.entity == *entity)
}

/// A name that the stack needs belongs to someone else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct OwnershipConflict {
    /// What is contested.
    pub(crate) entity: Entity,
    /// Who owns it; `None` when it was not made by Weir.
    pub(crate) owner: Option<Owner>,
}

impl std::fmt::Display for OwnershipConflict {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.owner {
            Some(owner) => write!(formatter, "{} belongs to {owner}", self.entity),
            None => write!(formatter, "{} exists and was not made by Weir", self.entity),
        }
    }
}

impl OwnershipConflict {
    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match &self.owner {
            Some(_) => format!(
                "{self}; delete that stack, or give this one another name or spec.clickhouse.database"
            ),
            None => format!(
                "{self}; it is left alone: rename or drop it, or give this stack another name or spec.clickhouse.database"
            ),
        }
    }
}
