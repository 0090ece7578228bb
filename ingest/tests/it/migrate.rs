//! `migrate` and the schema it makes, against a real ClickHouse.

mod client;
mod command;
mod database;
mod identity_views;
mod lock;
mod proxy;
mod questions;
mod quoting;
mod refusals;
mod resume;
mod views;

use weir_ingest::migrate::Error;
use weir_ingest::migrate::Mismatch;
use weir_ingest::migrate::Report;
use weir_ingest::migrate::apply;
use weir_ingest::migrate::observe;
use weir_ingest::migrate::steps_of;

use database::with_database;

const FIRST: &str =
    "CREATE TABLE IF NOT EXISTS {database}.a {on_cluster} (x UInt8) ENGINE = {engine:MergeTree} ORDER BY x";
const SECOND: &str =
    "CREATE TABLE IF NOT EXISTS {database}.b {on_cluster} (x UInt8) ENGINE = {engine:MergeTree} ORDER BY x";

#[tokio::test]
async fn a_fresh_database_gets_everything_and_a_second_run_writes_nothing() {
    with_database(|database| async move {
        let options = database.options();
        let count = options.steps.len();
        let report = apply(&database.client, &options).await.unwrap();
        assert_eq!(report, Report { statements: count, version: 2 });
        let before = database.fingerprint().await;
        let claims = "SELECT count() FROM {db}.schema_migration_claims";
        let claimed = database.query(claims).await;
        let report = apply(&database.client, &options).await.unwrap();
        assert_eq!(report, Report { statements: 0, version: 2 });
        assert_eq!(database.fingerprint().await, before);
        assert_eq!(database.query(claims).await, claimed);
        assert_eq!(database.ledger_rows().await, count);
    })
    .await;
}

#[tokio::test]
async fn a_target_stops_there_and_the_next_run_goes_on() {
    with_database(|database| async move {
        let mut options = database.options();
        options.steps = steps_of(&[("first", FIRST), ("second", SECOND)]).unwrap();
        options.maybe_target = Some(1);
        let report = apply(&database.client, &options).await.unwrap();
        assert_eq!(report, Report { statements: 1, version: 1 });
        assert_eq!(database.query("EXISTS TABLE {db}.b").await, "0");
        options.maybe_target = None;
        let report = apply(&database.client, &options).await.unwrap();
        assert_eq!(report, Report { statements: 1, version: 2 });
        options.maybe_target = Some(1);
        let refused = apply(&database.client, &options).await.unwrap_err();
        assert!(
            matches!(refused, Error::History(Mismatch::Backwards { target: 1, current: 2 })),
            "{refused}"
        );
    })
    .await;
}

#[tokio::test]
async fn looking_creates_nothing() {
    with_database(|database| async move {
        let options = database.options();
        let state = observe(&database.client, &options).await.unwrap();
        assert_eq!((state.version, state.pending.len()), (0, options.steps.len()));
        assert_eq!(database.query("EXISTS DATABASE {db}").await, "0");
    })
    .await;
}

#[tokio::test]
async fn a_database_that_exists_already_is_taken() {
    with_database(|database| async move {
        database.query("CREATE DATABASE {db}").await;
        apply(&database.client, &database.options()).await.unwrap();
        assert_eq!(database.query("SELECT count() FROM {db}.events").await, "0");
    })
    .await;
}

#[tokio::test]
async fn every_column_of_a_written_table_is_documented() {
    with_database(|database| async move {
        apply(&database.client, &database.options()).await.unwrap();
        let bare = "SELECT table, name FROM system.columns WHERE database = '{name}' AND comment = '' AND table IN \
                    (SELECT name FROM system.tables WHERE database = '{name}' AND engine NOT IN ('View', 'MaterializedView'))";
        assert_eq!(database.query(bare).await, "");
    })
    .await;
}

#[tokio::test]
async fn views_run_as_the_definer_when_one_is_named() {
    with_database(|database| async move {
        let mut options = database.options();
        options.rendering.maybe_definer = Some(database.settings.user.clone());
        apply(&database.client, &options).await.unwrap();
        let others = "SELECT name FROM system.tables WHERE database = '{name}' AND engine = 'View' \
                      AND create_table_query NOT LIKE '%DEFINER = % SQL SECURITY DEFINER%'";
        assert_eq!(database.query(others).await, "");
        for view in ["events", "persons", "person_distinct_ids", "sessions", "person_overrides"] {
            assert_eq!(database.query(&format!("SELECT count() FROM {{db}}.{view}")).await, "0");
        }
    })
    .await;
}
