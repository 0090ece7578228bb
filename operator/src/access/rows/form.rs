//! How ClickHouse shows conditions. It rewrites what it is given, and otherwise in each version, so it is asked for its own
//! form, and on that occasion whether the condition can be used at all.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::super::catalogue::Catalogue;
use crate::clickhouse::{Connection, Error};
use crate::quote::{condition, has_subquery, identifier, literal};

/// What stands around the condition in the statement whose form is asked for.
const AROUND: (&str, &str) = ("CREATE ROW POLICY p ON d.t AS RESTRICTIVE FOR SELECT USING ", " TO r");
/// Codes that say nothing of a condition: a table or database that is not made yet, and a missing right.
const SILENT: [u32; 3] = [60, 81, 497];
const UNKNOWN_FUNCTION: u32 = 46;
const UNKNOWN_IDENTIFIER: u32 = 47;
/// Types that decide about a row, without what may stand around them.
const TRUTH: [&str; 2] = ["Bool", "UInt8"];

/// What ClickHouse makes of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// It shows it like this.
    Known(String),
    /// It cannot use it, with what to do.
    Refused(String),
}

/// The forms of the conditions of a stack, by table and condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forms(BTreeMap<(String, String), Form>);

/// A table and a condition of its rows.
pub(crate) type Wanted = BTreeSet<(String, String)>;

impl Forms {
    /// What is known of a condition.
    pub(crate) fn of(&self, table: &str, condition: &str) -> Option<&Form> {
        self.0.get(&(table.to_owned(), condition.to_owned()))
    }

    /// Whether a policy shows each of them as ClickHouse said that it would.
    pub(crate) fn are_shown(&self, catalogue: &Catalogue, database: &str) -> bool {
        self.0.iter().all(|((table, _), form)| {
            let Form::Known(form) = form else { return false };
            catalogue.policies.iter().any(|(name, state)| {
                (name.database.as_str(), &name.table, &state.filter) == (database, table, form)
            })
        })
    }

    #[cfg(test)]
    pub(crate) fn known(forms: impl IntoIterator<Item = ((String, String), Form)>) -> Self {
        Self(forms.into_iter().collect())
    }
}

/// Asks for the form of each condition on tables of a database.
pub(crate) async fn fetch(connection: &Connection, database: &str, wanted: &Wanted) -> Result<Forms, Error> {
    let mut forms = BTreeMap::new();
    let mut fit = Vec::new();
    for (table, text) in wanted {
        match condition(text) {
            Ok(sql) => fit.push((table, text, sql)),
            Err(hint) => drop(forms.insert((table.clone(), text.clone()), Form::Refused(hint.to_owned()))),
        }
    }
    let shown = fetch_shown(connection, fit.iter().map(|(_, _, sql)| sql.as_str())).await?;
    for ((table, text, sql), shown) in fit.into_iter().zip(shown) {
        let form = match shown {
            Some(form) => judge(connection, &format!("{}.{}", identifier(database), identifier(table)), &sql)
                .await?
                .map_or(Form::Known(form), Form::Refused),
            None => Form::Refused("ClickHouse cannot read it; give one condition in ClickHouse's SQL".into()),
        };
        forms.insert((table.clone(), text.clone()), form);
    }
    Ok(Forms(forms))
}

/// The conditions in the server's form, in the same order; `None` for one that it cannot read.
async fn fetch_shown(
    connection: &Connection,
    conditions: impl Iterator<Item = &str>,
) -> Result<Vec<Option<String>>, Error> {
    #[derive(Deserialize)]
    struct Row {
        statement: Option<String>,
    }
    let (before, after) = AROUND;
    let statements: Vec<_> = conditions.map(|sql| literal(&format!("{before}{sql}{after}"))).collect();
    if statements.is_empty() {
        return Ok(Vec::new());
    }
    let query =
        format!("SELECT formatQuerySingleLineOrNull(arrayJoin([{}])) AS statement", statements.join(", "));
    let rows = connection.rows::<Row>(&query).await?;
    let form = |row: Row| Some(row.statement?.strip_prefix(before)?.strip_suffix(after)?.to_owned());
    let mut shown: Vec<_> = rows.into_iter().map(form).collect();
    shown.resize(statements.len(), None);
    Ok(shown)
}

/// What is wrong with a condition on a table that exists. A subquery is not tried: the administrator would run it, who may
/// read more than the reader for whom ClickHouse checks it.
async fn judge(connection: &Connection, table: &str, sql: &str) -> Result<Option<String>, Error> {
    #[derive(Deserialize)]
    struct Row {
        r#type: String,
    }
    if has_subquery(sql) {
        return Ok(None);
    }
    match connection.rows::<Row>(&format!("DESCRIBE TABLE (SELECT {sql} FROM {table})")).await {
        Ok(rows) => {
            let other = rows.into_iter().map(|row| row.r#type).find(|kind| !is_truth(kind));
            Ok(other.map(|kind| {
                format!("it gives a value of type {kind}; compare it, so that it is true or false")
            }))
        }
        Err(error) => match error.code() {
            Some(code) if SILENT.contains(&code) => Ok(None),
            Some(UNKNOWN_IDENTIFIER) => {
                Ok(Some("it names a column that the table does not have; correct the name".into()))
            }
            Some(UNKNOWN_FUNCTION) => {
                Ok(Some("it names a function that ClickHouse does not have; correct the name".into()))
            }
            Some(code) if !error.is_transient() => Ok(Some(format!(
                "ClickHouse refuses it on this table with code {code}; try it there in a WHERE"
            ))),
            Some(_) | None => Err(error),
        },
    }
}

fn is_truth(kind: &str) -> bool {
    let inner = |kind: &str, around: &str| {
        kind.strip_prefix(around).and_then(|rest| rest.strip_suffix(')')).unwrap_or(kind).to_owned()
    };
    let kind = inner(&inner(kind, "LowCardinality("), "Nullable(");
    TRUTH.contains(&kind.as_str()) || kind == "Nothing"
}
