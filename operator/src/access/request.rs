//! Requests that were refused: who asked for a name that belongs to another stack, so that the owner can tell as well.
//!
//! One table, `weir_ledger.requests`, that is only added to. A stack that finds its names taken writes one row (`refused`),
//! and another one (`withdrawn`) when it has other names, has got them, or is deleted; the last row counts. It gives no
//! right to a name: that is decided by the open claims alone (see `ledger`). A stack that vanished without being deleted
//! leaves its request, which tells of its age.

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

use super::ledger::{DATABASE, KINDS};
use super::{Entity, Kind, Owner};
use crate::quote::literal;

/// A request that was refused and not withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// What was asked for.
    pub(crate) entity: Entity,
    /// Who asked.
    pub(crate) asker: Owner,
    /// When, in seconds since 1970.
    pub(crate) asked_at: i64,
}

impl std::fmt::Display for Request {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} asked for {}", self.asker, self.entity)?;
        Timestamp::from_second(self.asked_at).map_or(Ok(()), |at| write!(formatter, " at {at}"))?;
        formatter.write_str(" and was refused")
    }
}

/// What a row of a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Refused,
    Withdrawn,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// Makes the table; repeatable.
pub(super) fn create_statement() -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {DATABASE}.requests (\
         state Enum8('refused' = 1, 'withdrawn' = 2) COMMENT 'The last row of a stack and name counts', \
         kind {KINDS} COMMENT 'What was asked for', \
         name String COMMENT 'Its name', \
         cluster String COMMENT 'UID of the kube-system namespace', \
         namespace String COMMENT 'Namespace of the AnalyticsStack that asked', \
         stack String COMMENT 'Name of the AnalyticsStack that asked', \
         uid String COMMENT 'UID of the AnalyticsStack that asked', \
         recorded_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'The order is that of _block_number'\
         ) ENGINE = MergeTree ORDER BY (kind, name) SETTINGS enable_block_number_column = 1"
    )
}

/// Reads the requests that were not withdrawn, oldest first.
pub(super) fn open_query() -> String {
    format!(
        "SELECT kind, name, cluster AS cluster_id, namespace, stack, uid, \
         toInt64(toUnixTimestamp(maxIf(recorded_at, state = 'refused'))) AS asked_at FROM {DATABASE}.requests \
         GROUP BY kind, name, cluster, namespace, stack, uid HAVING argMax(state, _block_number) = 'refused' \
         ORDER BY asked_at, cluster, namespace, stack, uid"
    )
}

/// Adds one row for each name that a stack asks for, in one block.
pub(super) fn insert_statement<'a>(
    requests: impl IntoIterator<Item = (&'a Entity, &'a Owner)>,
    state: State,
) -> String {
    let row = |(entity, asker): (&Entity, &Owner)| {
        let Owner { cluster_id, namespace, name, uid } = asker;
        let values = [state.as_str(), entity.kind.as_str(), &entity.name, cluster_id, namespace, name, uid];
        format!("({})", values.map(literal).join(", "))
    };
    let rows: Vec<_> = requests.into_iter().map(row).collect();
    format!(
        "INSERT INTO {DATABASE}.requests (state, kind, name, cluster, namespace, stack, uid) VALUES {}",
        rows.join(", ")
    )
}

/// Row of the requests as the server answers it.
#[derive(Debug, Deserialize)]
pub(super) struct RequestRow {
    kind: Kind,
    name: String,
    cluster_id: String,
    namespace: String,
    stack: String,
    uid: String,
    asked_at: i64,
}

impl From<RequestRow> for Request {
    fn from(row: RequestRow) -> Self {
        let RequestRow { kind, name, cluster_id, namespace, stack, uid, asked_at } = row;
        let asker = Owner { cluster_id, namespace, name: stack, uid };
        Self { entity: Entity { kind, name }, asker, asked_at }
    }
}
