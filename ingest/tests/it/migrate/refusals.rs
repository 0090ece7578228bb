//! What a run refuses, and what it says when a statement fails.

use weir_ingest::migrate::Error;
use weir_ingest::migrate::Mismatch;
use weir_ingest::migrate::apply;
use weir_ingest::migrate::steps_of;

use super::FIRST;
use super::SECOND;
use super::database::with_database;

#[tokio::test]
async fn edited_history_is_refused_with_both_checksums() {
    with_database(|database| async move {
        let mut options = database.options();
        options.steps = steps_of(&[("first", FIRST)]).unwrap();
        apply(&database.client, &options).await.unwrap();
        let applied = options.steps[0].checksum.clone();
        let edited = format!("{FIRST} COMMENT 'edited'");
        options.steps = steps_of(&[("first", &edited), ("second", SECOND)]).unwrap();
        let error = apply(&database.client, &options).await.unwrap_err();
        assert!(!error.is_temporary());
        let paragraph = error.paragraph();
        assert!(
            paragraph.contains(&applied) && paragraph.contains(&options.steps[0].checksum),
            "{paragraph}"
        );
        assert_eq!(database.query("EXISTS TABLE {db}.b").await, "0");
    })
    .await;
}

#[tokio::test]
async fn a_ledger_of_a_newer_binary_is_refused() {
    with_database(|database| async move {
        let mut options = database.options();
        options.steps = steps_of(&[("first", FIRST), ("second", SECOND)]).unwrap();
        apply(&database.client, &options).await.unwrap();
        options.steps = steps_of(&[("first", FIRST)]).unwrap();
        let error = apply(&database.client, &options).await.unwrap_err();
        assert!(matches!(error, Error::History(Mismatch::Newer { ledger: 2, binary: 1 })), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_failing_statement_is_named_and_the_corrected_migration_goes_on_there() {
    with_database(|database| async move {
        let mut options = database.options();
        let broken = format!("{FIRST};\nSELECT nothing FROM {{database}}.nowhere;\n{SECOND}");
        options.steps = steps_of(&[("first", &broken)]).unwrap();
        let error = apply(&database.client, &options).await.unwrap_err();
        assert!(!error.is_temporary());
        let paragraph = error.paragraph();
        assert!(
            paragraph.starts_with("failed to run statement 2 of migration 1 (first): SELECT nothing FROM `")
        );
        assert!(paragraph.ends_with("ClickHouse refused with code 60 (UNKNOWN_TABLE)"), "{paragraph}");
        assert!(error.detail().is_some_and(|detail| detail.contains("nowhere")), "{error:?}");
        assert_eq!(database.ledger_rows().await, 1);
        options.steps = steps_of(&[("first", &format!("{FIRST};\nSELECT 1;\n{SECOND}"))]).unwrap();
        assert_eq!(apply(&database.client, &options).await.unwrap().statements, 2);
    })
    .await;
}

#[tokio::test]
async fn a_database_of_another_product_is_left_alone() {
    with_database(|database| async move {
        database.query("CREATE DATABASE {db}").await;
        database.query("CREATE TABLE {db}.events (x UInt8) ENGINE = MergeTree ORDER BY x").await;
        let ledger =
            "CREATE TABLE {db}.schema_migrations (filename String) ENGINE = MergeTree ORDER BY filename";
        database.query(ledger).await;
        let before = database.fingerprint().await;
        let error = apply(&database.client, &database.options()).await.unwrap_err();
        assert!(error.to_string().contains("(events, schema_migrations)"), "{error}");
        assert_eq!(database.fingerprint().await, before);
    })
    .await;
}
