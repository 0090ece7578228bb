//! The races and faults of the seed's service, run again (its contract, section 5.2).

use anyhow::ensure;
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::history::Dialect;
use super::writer::Writer;
use crate::standalone::Standalone;

/// Writers of one person at once.
const WRITERS: usize = 8;

/// Runs every race some rounds; errs when anything is lost.
pub(super) async fn run(
    weir: &Standalone,
    writer: &Writer,
    dialect: Dialect,
    rounds: usize,
) -> anyhow::Result<String> {
    for round in 0..rounds {
        let (one, two) = (format!("{dialect}-set-{round}"), format!("{dialect}-link-{round}"));
        try_join_all((0..WRITERS).map(|number| writer.send(number, vec![set(&one, number)]))).await?;
        let ordinary =
            (0..4).map(|number| writer.send(number, vec![event("seen", &anonymous(&two), json!({}))]));
        let identify = event("$identify", &two, json!({"$anon_distinct_id": anonymous(&two)}));
        tokio::try_join!(try_join_all(ordinary), writer.send(0, vec![identify]))?;
    }
    let keys = rounds * WRITERS;
    let found = format!(
        "SELECT sum(length(JSONExtractKeys(properties)) - 1), countIf(JSONExtractInt(properties, 'first') != 0) \
         FROM {{database}}.persons WHERE distinct_id LIKE '{dialect}-set-%'"
    );
    let found = weir.query(&found).await?;
    ensure!(found.trim() == format!("{keys}\t0"), "of {keys} keys and 0 wrong winners there are {found}");
    let linked = format!(
        "SELECT count(), uniqExact(person_id) FROM {{database}}.person_distinct_ids WHERE distinct_id LIKE '{dialect}-link-%'"
    );
    let linked = weir.query(&linked).await?;
    ensure!(
        linked.trim() == format!("{}\t{rounds}", 2 * rounds),
        "of {rounds} linked pairs there are {linked}"
    );
    chains(weir, writer, dialect).await?;
    Ok(format!("{keys} keys, 0 lost, 0 wrong winners; {rounds} links, 0 undone; aliases keep their history"))
}

fn anonymous(user: &str) -> String {
    format!("{user}-anonymous")
}

#[expect(clippy::needless_pass_by_value, reason = "callers write the JSON in place")]
fn event(name: &str, distinct_id: &str, properties: Value) -> Value {
    json!({
        "uuid": uuid::Uuid::now_v7(), "event": name, "distinct_id": distinct_id, "properties": properties,
        "timestamp": jiff::Timestamp::now().to_string(),
    })
}

/// Writer 0 was first.
fn set(distinct_id: &str, number: usize) -> Value {
    let mut event = event(
        "$set",
        distinct_id,
        json!({"$set": {format!("key-{number}"): number}, "$set_once": {"first": number}}),
    );
    event["timestamp"] = json!(format!("2026-05-06T09:30:0{number}.000Z"));
    event
}

/// Faults 3 to 5: an alias of somebody known by events, an alias after an identification, and old events of both.
async fn chains(weir: &Standalone, writer: &Writer, dialect: Dialect) -> anyhow::Result<()> {
    let id = |name: &str| format!("{dialect}-chain-{name}");
    let (known, new, user, anon, other) = (id("known"), id("new"), id("user"), id("anon"), id("other"));
    writer.send(0, vec![event("seen", &known, json!({})), event("seen", &anon, json!({}))]).await?;
    writer.send(1, vec![event("$create_alias", &new, json!({"alias": known}))]).await?;
    let batch = vec![
        event("$identify", &user, json!({"$anon_distinct_id": anon})),
        event("$create_alias", &user, json!({"alias": other})),
        event("seen", &other, json!({})),
    ];
    writer.send(0, batch).await?;
    for (ids, expected) in [(vec![known, new], "2\t1"), (vec![user, anon, other], "4\t1")] {
        let list = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT count(), uniqExact(person_id) FROM {{database}}.events WHERE distinct_id IN ({list})"
        );
        let found = weir.query(&sql).await?;
        ensure!(found.trim() == expected, "events and persons of {list}: {found}");
    }
    Ok(())
}
