//! Every user may do what its role says and nothing else, and was proven before it was published.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::Plan;
use crate::{stack::Stack, stage::Stage};

/// Code with which ClickHouse refuses a missing right.
const NOT_ENOUGH_PRIVILEGES: &str = "497";

pub(super) async fn run(stage: &Stage, _plan: Plan) -> anyhow::Result<String> {
    stage.kubectl(&["apply", "--server-side", "-f", &stage.example("02-readers-and-limits.yaml")?])?;
    let store = Stack::new(&stage.client, crate::stage::TEAM, "store");
    let ready = store.wait_current(Duration::from_mins(1)).await?;
    let shop_database = database(&stage.shop()).await?;
    let ingest = store.secret("store-ingest-clickhouse").await?;
    let reader = store.secret("store-user-grafana").await?;
    let login = |secret: &std::collections::BTreeMap<String, String>| {
        (secret["username"].clone(), secret["password"].clone())
    };
    let mut seen = refusals(stage, "ingest", &login(&ingest), &ingest_refusals(&shop_database)).await?;
    seen += &refusals(stage, "reader", &login(&reader), &reader_refusals(&shop_database)).await?;
    let (user, password) = login(&reader);
    let rows = stage.query_as(&user, &password, "SELECT count() FROM store_analytics.events").await;
    rows.context("the reader cannot read its own database")?;
    let narrowed = narrowed_reader(stage, &store).await?;
    let proven = ready.status.unwrap_or_default().users;
    ensure!(
        proven.iter().any(|reader| reader.name == "grafana" && reader.proven_at.is_some()),
        "status.users does not say when the login was proven: {proven:?}"
    );
    check_proof_came_first(stage, &user).await?;
    Ok(format!("reader reads its database; {narrowed}; refused with 497:\n{seen}"))
}

/// The reader of the example that sees purchases only, and is limited: what it sees beside what others see, and its quota.
async fn narrowed_reader(stage: &Stage, store: &Stack) -> anyhow::Result<String> {
    const EVENTS: &str = "store_analytics.events";
    for event in ["purchase", "opened", "refund"] {
        super::sdk::send_one(store, event).await?;
    }
    let [finance, grafana] =
        [store.secret("store-user-finance").await?, store.secret("store-user-grafana").await?];
    let kinds = format!("SELECT arrayStringConcat(arraySort(groupUniqArray(event)), ' ') FROM {EVENTS}");
    let others = format!("{kinds} WHERE event IN ('purchase', 'opened', 'refund')");
    let seen = stage.query_as(&finance["username"], &finance["password"], &kinds).await?;
    ensure!(seen.trim() == "purchase refund", "the reader of purchases sees {seen}");
    for (who, all) in [
        ("another reader", stage.query_as(&grafana["username"], &grafana["password"], &others).await?),
        ("an administrator", stage.query(&others).await?),
    ] {
        ensure!(all.trim() == "opened purchase refund", "{who} sees {all}");
    }
    let quota = stage
        .query("SELECT arrayStringConcat(arraySort(groupArray(toString(duration))), ' ') FROM system.quota_limits WHERE quota_name = 'weir_shop__store_reader_finance'")
        .await?;
    ensure!(quota.trim() == "3600 86400", "the quota of the reader of purchases has the intervals {quota}");
    Ok("another one its rows only, while others see all".into())
}

async fn database(stack: &Stack) -> anyhow::Result<String> {
    stack.get().await?.status.and_then(|status| status.database).context("status.database is empty")
}

fn ingest_refusals(other: &str) -> Vec<String> {
    vec![
        "SELECT count() FROM store_analytics.events".into(),
        "CREATE TABLE store_analytics.mine (a Int8) ENGINE = Memory".into(),
        "ALTER TABLE store_analytics.events_data DELETE WHERE 1".into(),
        "DROP DATABASE store_analytics".into(),
        format!("SELECT count() FROM {other}.events"),
        format!("INSERT INTO {other}.events_data (event) VALUES ('x')"),
        "CREATE USER mallory IDENTIFIED WITH sha256_password BY 'x'".into(),
    ]
}

fn reader_refusals(other: &str) -> Vec<String> {
    vec![
        format!("SELECT count() FROM {other}.events"),
        "INSERT INTO store_analytics.events_data (event) VALUES ('x')".into(),
        "ALTER TABLE store_analytics.events_data DELETE WHERE 1".into(),
        "DROP TABLE store_analytics.events_data".into(),
        "GRANT SELECT ON *.* TO default".into(),
    ]
}

/// Runs each statement as the user and expects it to be refused for a missing right.
async fn refusals(
    stage: &Stage,
    who: &str,
    (user, password): &(String, String),
    statements: &[String],
) -> anyhow::Result<String> {
    let mut seen = Vec::new();
    for statement in statements {
        match stage.query_as(user, password, statement).await {
            Ok(_) => anyhow::bail!("{who} may run `{statement}`"),
            Err(error) => {
                let text = format!("{error:#}");
                ensure!(
                    text.contains(NOT_ENOUGH_PRIVILEGES),
                    "{who} is refused `{statement}` otherwise: {text}"
                );
                seen.push(format!("      {who}: {statement}\n"));
            }
        }
    }
    Ok(seen.concat())
}

/// Compares ClickHouse's session log with the moment the Secret appeared.
async fn check_proof_came_first(stage: &Stage, user: &str) -> anyhow::Result<()> {
    stage.query("SYSTEM FLUSH LOGS").await?;
    let sql = format!(
        "SELECT toUnixTimestamp(min(event_time)) FROM system.session_log WHERE user = '{user}' AND type = 'LoginSuccess'"
    );
    let login: i64 = stage.query(&sql).await?.trim().parse().context("the session log shows no login")?;
    let published = stage.created_at("secret", "store-user-grafana")?;
    ensure!(
        login > 0 && login <= published,
        "{user} first logged in at {login}, after its Secret was published at {published}"
    );
    Ok(())
}
