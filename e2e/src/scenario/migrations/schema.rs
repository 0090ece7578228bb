//! What a migration leaves behind, as text that can be compared.

use anyhow::ensure;

use crate::standalone::Standalone;

/// Schema and ledger of one database; its name is taken out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Schema {
    tables: String,
    columns: String,
    /// Rows of the ledger, before any merge, in the order in which they were written.
    pub(super) history: String,
}

impl Schema {
    pub(super) async fn read(weir: &Standalone, database: &str) -> anyhow::Result<Self> {
        let read = async |sql: &str| {
            let sql = sql.replace("{name}", database);
            weir.query(&sql).await.map(|text| text.replace(database, "NAME"))
        };
        Ok(Self {
            tables: read(
                "SELECT name, engine, create_table_query, sorting_key, partition_key FROM system.tables \
                 WHERE database = '{name}' ORDER BY name",
            )
            .await?,
            columns: read(
                "SELECT table, position, name, type, default_kind, default_expression, compression_codec, comment \
                 FROM system.columns WHERE database = '{name}' ORDER BY table, position",
            )
            .await?,
            history: read(
                "SELECT version, statement, statements, name, checksum FROM {name}.schema_migrations \
                 ORDER BY applied_at, version, statement",
            )
            .await?,
        })
    }

    /// Errs with the first line that is another one than expected.
    pub(super) fn is(&self, expected: &Self) -> anyhow::Result<()> {
        for (what, found, expected) in [
            ("the ledger", &self.history, &expected.history),
            ("the tables", &self.tables, &expected.tables),
            ("the columns", &self.columns, &expected.columns),
        ] {
            let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
            let (found, expected) = (lines(found), lines(expected));
            let first = found.iter().zip(&expected).find(|(found, expected)| found != expected);
            ensure!(first.is_none(), "{what} of an undisturbed run has another line: {first:?}");
            ensure!(
                found.len() == expected.len(),
                "{what} has {} lines, not {}",
                found.len(),
                expected.len()
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(history: &str) -> Schema {
        let text = |text: &str| text.to_owned();
        Schema { tables: text("t\n"), columns: text("c\n"), history: text(history) }
    }

    #[test]
    fn a_row_too_many_and_another_order_are_seen() {
        let expected = schema("1\n2\n");
        assert!(schema("1\n2\n").is(&expected).is_ok());
        assert!(schema("1\n2\n2\n").is(&expected).is_err());
        assert!(schema("2\n1\n").is(&expected).is_err());
    }
}
