//! What the database says of itself: whether it is there, whose it is, and which statements have run.

use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

use super::embedded;
use super::embedded::Step;
use super::history::Applied;
use super::render::Rendering;
use super::render::on_cluster;
use super::render::quote_identifier;
use super::render::quote_literal;
use super::render::render;
use super::split::split;
use crate::clickhouse::Client;
use crate::clickhouse::Error;

/// Names that readers use: where one of them is a table, the database is another product's.
const VIEWS: &str = "'events', 'persons', 'person_distinct_ids', 'sessions', 'person_overrides'";

/// The ledger of one database.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    client: Client,
    rendering: Rendering,
}

#[derive(Deserialize)]
struct Row {
    version: u32,
    statement: u32,
    statements: u32,
    checksum: String,
}

#[derive(Serialize)]
struct NewRow<'a> {
    version: u32,
    statement: u32,
    statements: u32,
    name: &'a str,
    checksum: &'a str,
    binary_version: &'a str,
    run_id: Uuid,
}

impl Ledger {
    pub(super) fn new(client: &Client, rendering: &Rendering) -> Self {
        Self { client: client.without_database(), rendering: rendering.clone() }
    }

    /// Creates the database only when it is missing: with the operator nobody here may create one.
    pub(super) async fn create_database(&self) -> Result<(), Error> {
        let name = &self.rendering.database;
        let found = format!("SELECT count() FROM system.databases WHERE name = {}", quote_literal(name));
        if self.client.query_text(&found).await?.trim() != "0" {
            return Ok(());
        }
        let cluster = on_cluster(self.rendering.maybe_cluster.as_deref());
        let create = format!("CREATE DATABASE IF NOT EXISTS {} {cluster}", quote_identifier(name));
        self.client.execute(create.trim_end()).await
    }

    /// Creates ledger and lock when they are missing.
    pub(super) async fn create_tables(&self) -> Result<(), Error> {
        for statement in split(embedded::LEDGER).expect("a test splits the embedded ledger") {
            self.client.execute(&render(&statement.text, &self.rendering)).await?;
        }
        Ok(())
    }

    /// Tables of another product that stand where ours would; empty when the database is new or ours.
    pub(super) async fn foreign_tables(&self) -> Result<Vec<String>, Error> {
        let database = quote_literal(&self.rendering.database);
        // The columns are read first: a ledger that another run creates just then has none yet, and is no other's.
        let sql = format!(
            "WITH (SELECT groupArray(name) FROM system.columns \
             WHERE database = {database} AND table = 'schema_migrations') AS columns \
             SELECT name FROM system.tables WHERE database = {database} AND (name IN ({VIEWS}) AND engine != 'View' \
             OR name = 'schema_migrations' AND notEmpty(columns) AND NOT has(columns, 'checksum')) \
             ORDER BY name FORMAT TSV"
        );
        Ok(self.client.query_text(&sql).await?.lines().map(str::to_owned).collect())
    }

    /// The statements that have run; none when there is no ledger yet.
    pub(super) async fn read(&self) -> Result<Vec<Applied>, Error> {
        let database = quote_literal(&self.rendering.database);
        let found = format!(
            "SELECT count() FROM system.tables WHERE database = {database} AND name = 'schema_migrations'"
        );
        if self.client.query_text(&found).await?.trim() == "0" {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT version, statement, statements, checksum FROM {}.schema_migrations FINAL \
             ORDER BY version, statement FORMAT JSONEachRow",
            quote_identifier(&self.rendering.database)
        );
        let text = self.client.query_text(&sql).await?;
        let row = |line: &str| {
            let Row { version, statement, statements, checksum } =
                serde_json::from_str(line).expect("ClickHouse writes the rows that were asked for");
            Applied { version, statement, statements, checksum }
        };
        Ok(text.lines().map(row).collect())
    }

    /// Records that a statement has run. Repeating it adds nothing, and by another run nothing that a reader sees.
    pub(super) async fn record(&self, step: &Step, run_id: Uuid) -> Result<(), Error> {
        let row = NewRow {
            version: step.version,
            statement: step.statement,
            statements: step.statements,
            name: &step.name,
            checksum: &step.checksum,
            binary_version: env!("CARGO_PKG_VERSION"),
            run_id,
        };
        let body = serde_json::to_vec(&row).expect("numbers and texts are JSON");
        // Not that of an earlier run: a ClickHouse that died in it may know the token and have no row.
        let token = format!("{}/{}/{}/{run_id}", step.version, step.statement, step.checksum);
        let statement = format!(
            "INSERT INTO {}.schema_migrations (version, statement, statements, name, checksum, binary_version, run_id) \
             FORMAT JSONEachRow",
            quote_identifier(&self.rendering.database)
        );
        let settings = [("insert_deduplication_token", token.as_str()), ("async_insert", "0")];
        self.client.insert(&statement, &settings, body, super::CALL_TIMEOUT).await
    }
}
