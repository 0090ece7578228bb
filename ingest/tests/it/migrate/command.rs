//! The subcommand as a Job runs it: exit codes and output of the real binary.

use std::process::Output;

use secrecy::ExposeSecret as _;
use tokio::process::Command;

use super::database::Database;
use super::database::with_database;

async fn migrate(database: &Database, url: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir-ingest"))
        .arg("migrate")
        .args(arguments)
        .env("CLICKHOUSE_URL", url)
        .env("CLICKHOUSE_USER", &database.settings.user)
        .env("CLICKHOUSE_PASSWORD", database.settings.password.expose_secret())
        .env("CLICKHOUSE_DATABASE", &database.name)
        .output()
        .await
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn the_binary_migrates_and_tells_what_it_did() {
    with_database(|database| async move {
        let url = database.settings.endpoints[0].to_string();
        let dry = migrate(&database, &url, &["--dry-run"]).await;
        assert!(text(&dry.stdout).contains("CREATE TABLE IF NOT EXISTS `") && dry.status.success());
        assert_eq!(database.query("EXISTS DATABASE {db}").await, "0");
        let count = database.options().steps.len();
        let status = migrate(&database, &url, &["--status"]).await;
        assert!(text(&status.stdout).starts_with(&format!("schema version 0, {count} statements pending\n")));
        let done = migrate(&database, &url, &[]).await;
        assert_eq!(text(&done.stdout), format!("schema version 2, {count} statements run\n"));
        let dry = migrate(&database, &url, &["--dry-run"]).await;
        assert_eq!((dry.status.code(), text(&dry.stdout)), (Some(0), String::new()));
    })
    .await;
}

#[tokio::test]
async fn an_unreachable_clickhouse_is_a_temporary_failure() {
    with_database(|database| async move {
        let failed = migrate(&database, "http://127.0.0.1:9", &[]).await;
        assert_eq!(failed.status.code(), Some(75));
        assert!(text(&failed.stderr).contains("failed to connect to ClickHouse"), "{}", text(&failed.stderr));
    })
    .await;
}

#[tokio::test]
async fn a_refused_database_is_a_permanent_failure() {
    with_database(|database| async move {
        database.query("CREATE DATABASE {db}").await;
        database.query("CREATE TABLE {db}.persons (x UInt8) ENGINE = MergeTree ORDER BY x").await;
        let url = database.settings.endpoints[0].to_string();
        let failed = migrate(&database, &url, &[]).await;
        assert_eq!(failed.status.code(), Some(1));
        assert!(text(&failed.stderr).contains("another product"), "{}", text(&failed.stderr));
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_a_permanent_failure_that_shows_no_password() {
    with_database(|mut database| async move {
        database.settings.password = "swordfish-swordfish".into();
        let url = database.settings.endpoints[0].to_string();
        let failed = migrate(&database, &url, &[]).await;
        assert_eq!(failed.status.code(), Some(1));
        let said = text(&failed.stderr);
        assert!(said.contains("failed to read the schema state") && !said.contains("swordfish"), "{said}");
    })
    .await;
}
