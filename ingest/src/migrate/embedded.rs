//! The migrations that this binary carries, as steps. Pure.

use super::split::Malformed;
use super::split::split;

/// Statements that make the ledger and the lock.
pub(super) const LEDGER: &str = include_str!("../../migrations/ledger.sql");

/// Every migration in order; the version is the position, from 1.
const MIGRATIONS: &[(&str, &str)] = &[
    ("product", include_str!("../../migrations/0001_product.sql")),
    ("dead_letters", include_str!("../../migrations/0002_dead_letters.sql")),
];

/// One statement of one migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Number of the migration, from 1.
    pub version: u32,
    /// Position of the statement in its migration, from 1.
    pub statement: u32,
    /// How many statements the migration has.
    pub statements: u32,
    /// Name of the migration.
    pub name: String,
    /// The statement, with placeholders.
    pub template: String,
    /// SHA-256 of the statement, in hex.
    pub checksum: String,
}

/// The steps of this binary, in order.
pub fn steps() -> Result<Vec<Step>, Malformed> {
    steps_of(MIGRATIONS)
}

/// The steps of given migrations, in order: (name, text) by version from 1.
pub fn steps_of(migrations: &[(&str, &str)]) -> Result<Vec<Step>, Malformed> {
    let mut steps = Vec::new();
    for ((name, text), version) in migrations.iter().zip(1..) {
        let parts = split(text)?;
        let statements = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        steps.extend(parts.into_iter().zip(1..).map(|(part, statement)| Step {
            version,
            statement,
            statements,
            name: (*name).to_owned(),
            template: part.text,
            checksum: part.checksum,
        }));
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_embedded_under_its_number() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let names =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<_> = names.filter(|name| name != "ledger.sql").collect();
        files.sort();
        let embedded: Vec<_> = MIGRATIONS
            .iter()
            .zip(1..)
            .map(|((name, _), version)| format!("{version:04}_{name}.sql"))
            .collect();
        assert_eq!(files, embedded);
    }

    #[test]
    fn the_schema_range_ends_at_the_last_migration() {
        assert_eq!(crate::schema::MAXIMUM as usize, MIGRATIONS.len());
    }

    #[test]
    fn every_statement_can_be_repeated() {
        for step in steps().unwrap() {
            let repeatable = [
                "CREATE TABLE IF NOT EXISTS ",
                "CREATE OR REPLACE VIEW ",
                "CREATE MATERIALIZED VIEW IF NOT EXISTS ",
            ];
            assert!(repeatable.iter().any(|start| step.template.starts_with(start)), "{}", step.template);
        }
    }
}
