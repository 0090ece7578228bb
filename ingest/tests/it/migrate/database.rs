//! A database of its own for each test, dropped also when the test fails.

pub(super) mod rows;

use std::env;
use std::time::Duration;

use uuid::Uuid;
use weir_ingest::clickhouse::Client;
use weir_ingest::migrate::LockTimes;
use weir_ingest::migrate::Options;
use weir_ingest::migrate::Rendering;
use weir_ingest::migrate::apply;
use weir_ingest::migrate::steps;
use weir_ingest::settings::ClickhouseSettings;

use crate::service::UNDISTURBED;

/// A name that no other test uses, and the way to reach it.
#[derive(Debug, Clone)]
pub(super) struct Database {
    pub(super) name: String,
    pub(super) settings: ClickhouseSettings,
    pub(super) client: Client,
}

/// Runs a test with a database that does not exist yet, and drops it afterwards.
pub(super) async fn with_database<F>(test: impl FnOnce(Database) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let name = format!("weir_test_{}", Uuid::new_v4().simple());
    let settings = settings(&name);
    let client = Client::new(&settings).unwrap();
    let database = Database { name, settings, client };
    let outcome = tokio::spawn(test(database.clone())).await;
    database.query("DROP DATABASE IF EXISTS {db} SYNC").await;
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure.into_panic());
    }
}

/// As [`with_database`], migrated.
pub(super) async fn with_schema<F>(test: impl FnOnce(Database) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    with_database(|database| async move {
        apply(&database.client, &database.options()).await.unwrap();
        test(database).await;
    })
    .await;
}

/// How the tests reach ClickHouse.
fn settings(database: &str) -> ClickhouseSettings {
    let url = env::var("WEIR_TEST_CLICKHOUSE_URL").expect(
        "set WEIR_TEST_CLICKHOUSE_URL to the HTTP address of a ClickHouse; `cargo verify` starts one",
    );
    ClickhouseSettings {
        is_replicated: false,
        endpoints: vec![url.parse().unwrap()],
        user: env::var("WEIR_TEST_CLICKHOUSE_USER").unwrap_or_else(|_| "default".into()),
        password: env::var("WEIR_TEST_CLICKHOUSE_PASSWORD").unwrap_or_default().into(),
        credentials_dir: None,
        ca_file: None,
        database: database.into(),
        timeout: Duration::from_mins(1),
    }
}

impl Database {
    /// The embedded migrations.
    pub(super) fn options(&self) -> Options {
        Options {
            rendering: Rendering { database: self.name.clone(), ..Rendering::default() },
            steps: steps().unwrap(),
            maybe_target: None,
            lock_times: LockTimes { expiry: UNDISTURBED, ..LockTimes::default() },
        }
    }

    /// Runs a statement; `{db}` and `{name}` stand for the database. The answer has no last line break.
    pub(super) async fn query(&self, sql: &str) -> String {
        let sql = sql.replace("{db}", &self.name).replace("{name}", &self.name);
        match self.client.without_database().query_text(&sql).await {
            Ok(text) => text.trim_end_matches('\n').to_owned(),
            Err(error) => panic!("{error}: {}: {sql}", error.detail().unwrap_or_default()),
        }
    }

    /// Everything that tells one schema from another.
    pub(super) async fn fingerprint(&self) -> String {
        self.query(
            "SELECT name, engine, replaceAll(create_table_query, '{name}', 'db') FROM system.tables \
             WHERE database = '{name}' ORDER BY name FORMAT TSVRaw",
        )
        .await
    }

    /// Physical rows of the ledger, before any merge.
    pub(super) async fn ledger_rows(&self) -> usize {
        self.query("SELECT count() FROM {db}.schema_migrations").await.parse().unwrap()
    }
}
