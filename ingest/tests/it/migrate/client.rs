//! The client against a real ClickHouse: what its failures mean.

use std::time::Duration;

use bytes::Bytes;
use secrecy::ExposeSecret as _;
use uuid::Uuid;
use weir_ingest::clickhouse::Class;
use weir_ingest::clickhouse::Client;
use weir_ingest::clickhouse::Error;

use super::database::with_database;

const TIMEOUT: Duration = Duration::from_secs(30);

async fn failure(client: &Client, sql: &str) -> Error {
    client.without_database().query_text(sql).await.unwrap_err()
}

#[tokio::test]
async fn refusals_have_the_class_that_tells_what_to_do() {
    with_database(|database| async move {
        let missing = failure(&database.client, "SELECT * FROM nowhere.nothing").await;
        assert_eq!((missing.class(), missing.is_data_fault()), (Class::Definite, false));
        assert!(!format!("{missing} {missing:?}").contains("nowhere"));
        let slow = database.client.with_timeout(Duration::from_millis(200));
        assert_eq!(failure(&slow, "SELECT sleep(2)").await.class(), Class::Unknown);
        let late = failure(&database.client, "SELECT throwIf(number = 99999) FROM numbers(200000)").await;
        assert_eq!(late.code(), Some(395));
        let heavy = "SELECT groupArray(number) FROM numbers(9000000) SETTINGS max_memory_usage = 1000000";
        assert_eq!(failure(&database.client, heavy).await.class(), Class::Transient);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_login_is_told_from_everything_else() {
    with_database(|database| async move {
        let mut settings = database.settings.clone();
        settings.password = "swordfish-swordfish".into();
        let error = failure(&Client::new(&settings).unwrap(), "SELECT 1").await;
        assert_eq!(error.class(), Class::Auth);
        assert!(!format!("{error} {error:?}").contains("swordfish"));
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_passed_over() {
    with_database(|database| async move {
        let mut settings = database.settings.clone();
        settings.endpoints.insert(0, "http://127.0.0.1:9".parse().unwrap());
        let client = Client::new(&settings).unwrap().without_database();
        assert_eq!(client.query_text("SELECT 1").await.unwrap(), "1\n");
        settings.endpoints.truncate(1);
        let error = failure(&Client::new(&settings).unwrap(), "SELECT 1").await;
        assert_eq!(error.class(), Class::Transient);
    })
    .await;
}

#[tokio::test]
async fn a_block_with_the_same_token_is_stored_once_and_a_broken_one_not_at_all() {
    with_database(|database| async move {
        database.query("CREATE DATABASE {db}").await;
        let create = "CREATE TABLE {db}.t (x UInt32) ENGINE = MergeTree ORDER BY x \
                      SETTINGS non_replicated_deduplication_window = 10";
        database.query(create).await;
        let statement = "INSERT INTO t (x) FORMAT RowBinary";
        for _ in 0..2 {
            let body = Bytes::from_static(&[1, 0, 0, 0, 2, 0, 0, 0]);
            let settings = [("insert_deduplication_token", "one")];
            database.client.insert(statement, &settings, body, TIMEOUT).await.unwrap();
        }
        let cut = Bytes::from_static(&[3, 0, 0, 0, 4]);
        let error = database.client.insert(statement, &[], cut, TIMEOUT).await.unwrap_err();
        assert!(error.is_data_fault(), "{error}");
        assert_eq!(
            database.query("SELECT groupArray(x) FROM (SELECT x FROM {db}.t ORDER BY x)").await,
            "[1,2]"
        );
    })
    .await;
}

#[tokio::test]
async fn a_changed_credentials_folder_is_used_without_a_restart() {
    with_database(|database| async move {
        let folder = std::env::temp_dir().join(format!("weir-credentials-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).unwrap();
        let write = |user: &str, password: &str| {
            std::fs::write(folder.join("username"), user).unwrap();
            std::fs::write(folder.join("password"), format!("{password}\n")).unwrap();
        };
        write("nobody", "swordfish");
        let mut settings = database.settings.clone();
        settings.credentials_dir = Some(folder.clone());
        let client = Client::new(&settings).unwrap().without_database();
        assert_eq!(failure(&client, "SELECT 1").await.class(), Class::Auth);
        assert_eq!(client.user().await, "nobody");
        write(&database.settings.user, database.settings.password.expose_secret());
        assert_eq!(client.query_text("SELECT 1").await.unwrap(), "1\n");
        assert_eq!(client.user().await, database.settings.user);
        std::fs::remove_dir_all(&folder).unwrap();
    })
    .await;
}
