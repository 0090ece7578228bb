//! Who may act, and when somebody else may take over.

use std::time::Duration;

use weir_ingest::migrate::Error;
use weir_ingest::migrate::apply;
use weir_ingest::migrate::steps_of;

use super::FIRST;
use super::SECOND;
use super::database::Database;
use super::database::with_database;

/// Short enough to wait for, long enough to be repeated in time where many tests share two cores.
const SHORT_EXPIRY: Duration = Duration::from_secs(6);

/// A run of nobody claims the lock, some seconds ago.
async fn claim(database: &Database, seconds_ago: &str) {
    let insert = "INSERT INTO {db}.schema_migration_claims (run_id, host, is_released, at) \
                  SELECT '00000000-0000-4000-8000-000000000001', 'elsewhere', 0, now64(6) - toIntervalSecond(";
    database.query(&format!("{insert}{seconds_ago})")).await;
}

/// Ledger and lock exist, one migration has run and one is left.
async fn half_migrated(database: &Database) -> weir_ingest::migrate::Options {
    let mut options = database.options();
    options.steps = steps_of(&[("first", FIRST), ("second", SECOND)]).unwrap();
    options.maybe_target = Some(1);
    apply(&database.client, &options).await.unwrap();
    options.maybe_target = None;
    options
}

#[tokio::test]
async fn a_run_gives_up_for_now_when_another_holds_the_lock() {
    with_database(|database| async move {
        let mut options = half_migrated(&database).await;
        options.lock_times.expiry = Duration::from_mins(10);
        options.lock_times.patience = Duration::from_millis(500);
        claim(&database, "5").await;
        let error = apply(&database.client, &options).await.unwrap_err();
        assert!(matches!(error, Error::Busy { .. }) && error.is_temporary(), "{error}");
        assert_eq!(database.query("EXISTS TABLE {db}.b").await, "0");
    })
    .await;
}

#[tokio::test]
async fn the_claim_of_a_dead_run_expires() {
    with_database(|database| async move {
        let mut options = half_migrated(&database).await;
        options.lock_times.expiry = SHORT_EXPIRY;
        claim(&database, "1").await;
        apply(&database.client, &options).await.unwrap();
        assert_eq!(database.query("EXISTS TABLE {db}.b").await, "1");
    })
    .await;
}

#[tokio::test]
async fn a_run_that_lost_the_lock_runs_no_further_statement() {
    with_database(|database| async move {
        let mut options = half_migrated(&database).await;
        let slow = format!("SELECT sleep(2); {SECOND}");
        options.steps = steps_of(&[("first", FIRST), ("second", &slow)]).unwrap();
        let steal = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            claim(&database, "60").await;
            claim(&database, "-60").await;
        };
        let (applied, ()) = tokio::join!(apply(&database.client, &options), steal);
        assert!(matches!(applied, Err(Error::LockLost)), "{applied:?}");
        assert_eq!(database.query("EXISTS TABLE {db}.b").await, "0");
    })
    .await;
}

#[tokio::test]
async fn a_statement_longer_than_the_expiry_keeps_the_lock() {
    with_database(|database| async move {
        let mut options = half_migrated(&database).await;
        options.lock_times.expiry = SHORT_EXPIRY;
        let slow = "SELECT sleepEachRow(2) FROM numbers(4) SETTINGS max_block_size = 1";
        options.steps = steps_of(&[("first", FIRST), ("second", slow)]).unwrap();
        let rival = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            apply(&database.client, &options).await.unwrap().statements
        };
        let (first, rival) = tokio::join!(apply(&database.client, &options), rival);
        assert_eq!((first.unwrap().statements, rival), (1, 0));
    })
    .await;
}
