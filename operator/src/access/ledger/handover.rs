//! Handovers in the ledger: who asks another stack for what it owns, and what that one answers.
//!
//! One table, `weir_ledger.handovers`, that is only added to; of each side of a pair of stacks the last row counts. The one
//! that would take over asks with the hash of its preview (`asked`), takes that back (`withdrawn`), and says when its own
//! pods are proven (`settled`). The owner says that it has seen that (`seen`), which also tells that it lives, gives what
//! the preview shows (`given`), or takes that back before it was taken (`kept`). It gives no right to a name: that is
//! decided by the open claims alone (see `ledger`).

use serde::Deserialize;

use super::DATABASE;
use crate::access::Owner;
use crate::quote::literal;

/// Two stacks, of which one would take over what the other owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handover {
    /// Who would take over.
    pub(crate) taker: Owner,
    /// Who owns it, or did.
    pub(crate) owner: Owner,
    /// What the taker said last.
    pub(crate) question: Question,
    /// Hash of the preview that it said that of.
    pub(crate) hash: String,
    /// How long ago, in seconds.
    pub(crate) age: i64,
    /// What the owner said last, and of which preview.
    pub(crate) answer: Option<(Answer, String)>,
    /// Whether the owner said something since the taker did.
    pub(crate) is_answered: bool,
}

/// What a taker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Question {
    /// It would take over what the preview shows.
    Asked,
    /// Its pods are proven.
    Settled,
    /// It would not any more.
    Withdrawn,
}

/// What an owner says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    /// It lives, and keeps what it has.
    Seen,
    /// It gives what the preview shows.
    Given,
    /// It gives it no more.
    Kept,
}

/// One row to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// Who would take over.
    pub(crate) taker: Owner,
    /// Who owns it.
    pub(crate) owner: Owner,
    /// What is said.
    pub(crate) word: Word,
    /// Of which preview.
    pub(crate) hash: String,
}

/// What either side says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// The taker.
    Question(Question),
    /// The owner.
    Answer(Answer),
}

impl Word {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Question(Question::Asked) => "asked",
            Self::Question(Question::Settled) => "settled",
            Self::Question(Question::Withdrawn) => "withdrawn",
            Self::Answer(Answer::Seen) => "seen",
            Self::Answer(Answer::Given) => "given",
            Self::Answer(Answer::Kept) => "kept",
        }
    }
}

/// Makes the table; repeatable.
pub(in crate::access) fn create_statement() -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {DATABASE}.handovers (\
         state Enum8('asked' = 1, 'settled' = 2, 'withdrawn' = 3, 'seen' = 4, 'given' = 5, 'kept' = 6) \
         COMMENT 'The last row of each side counts: the first three are of the taker, the others of the owner', \
         hash String COMMENT 'Of the preview that it is about', \
         cluster String COMMENT 'UID of the kube-system namespace of the taker', \
         namespace String COMMENT 'Namespace of the AnalyticsStack that would take over', \
         stack String COMMENT 'Its name', \
         uid String COMMENT 'Its UID', \
         owner_cluster String COMMENT 'UID of the kube-system namespace of the owner', \
         owner_namespace String COMMENT 'Namespace of the AnalyticsStack that owns', \
         owner_stack String COMMENT 'Its name', \
         owner_uid String COMMENT 'Its UID', \
         recorded_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'The order is that of _block_number'\
         ) ENGINE = MergeTree ORDER BY (owner_cluster, owner_namespace, owner_stack) SETTINGS enable_block_number_column = 1"
    )
}

/// Reads the pairs that are not over, oldest first.
pub(in crate::access) fn query() -> String {
    format!(
        "SELECT cluster, namespace, stack, uid, owner_cluster, owner_namespace, owner_stack, owner_uid, \
         argMaxIf(state, _block_number, state <= 'withdrawn') AS question, \
         argMaxIf(hash, _block_number, state <= 'withdrawn') AS asked, \
         toInt64(dateDiff('second', maxIf(recorded_at, state <= 'withdrawn'), now64(6))) AS age, \
         argMaxIf(state, _block_number, state >= 'seen') AS answer, \
         argMaxIf(hash, _block_number, state >= 'seen') AS answered, \
         countIf(state >= 'seen') > 0 AS has_answer, \
         maxIf(_block_number, state >= 'seen') > maxIf(_block_number, state <= 'withdrawn') AND has_answer AS is_answered, \
         max(_block_number) AS sequence \
         FROM {DATABASE}.handovers \
         GROUP BY cluster, namespace, stack, uid, owner_cluster, owner_namespace, owner_stack, owner_uid \
         HAVING question != 'withdrawn' ORDER BY sequence"
    )
}

/// Adds rows, in one block.
pub(in crate::access) fn insert_statement(said: &[Said]) -> String {
    let row = |said: &Said| {
        let Said { taker, owner, word, hash } = said;
        let values = [
            word.as_str(),
            hash,
            &taker.cluster_id,
            &taker.namespace,
            &taker.name,
            &taker.uid,
            &owner.cluster_id,
            &owner.namespace,
            &owner.name,
            &owner.uid,
        ];
        format!("({})", values.map(literal).join(", "))
    };
    let rows: Vec<_> = said.iter().map(row).collect();
    format!(
        "INSERT INTO {DATABASE}.handovers (state, hash, cluster, namespace, stack, uid, owner_cluster, owner_namespace, owner_stack, owner_uid) VALUES {}",
        rows.join(", ")
    )
}

/// Row of the handovers as the server answers it.
#[derive(Debug, Deserialize)]
pub(in crate::access) struct HandoverRow {
    cluster: String,
    namespace: String,
    stack: String,
    uid: String,
    owner_cluster: String,
    owner_namespace: String,
    owner_stack: String,
    owner_uid: String,
    question: Question,
    asked: String,
    age: i64,
    // The first of the list where there is none, which is no answer.
    answer: String,
    answered: String,
    has_answer: u8,
    is_answered: u8,
}

impl From<HandoverRow> for Handover {
    fn from(row: HandoverRow) -> Self {
        let answer = match row.answer.as_str() {
            "given" => Answer::Given,
            "kept" => Answer::Kept,
            _ => Answer::Seen,
        };
        let taker =
            Owner { cluster_id: row.cluster, namespace: row.namespace, name: row.stack, uid: row.uid };
        let owner = Owner {
            cluster_id: row.owner_cluster,
            namespace: row.owner_namespace,
            name: row.owner_stack,
            uid: row.owner_uid,
        };
        Self {
            taker,
            owner,
            question: row.question,
            hash: row.asked,
            age: row.age,
            answer: (row.has_answer != 0).then_some((answer, row.answered)),
            is_answered: row.is_answered != 0,
        }
    }
}
