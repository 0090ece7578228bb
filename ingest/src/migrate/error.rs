//! Why a migration did not end well, and whether it is worth another try.

use uuid::Uuid;

use super::history::Mismatch;
use super::split::Malformed;
use crate::clickhouse;
use crate::clickhouse::Class;
use crate::clickhouse::SetupError;

/// A migration that did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Credentials, CA bundle or endpoints are unusable.
    #[error("failed to set up the connection to ClickHouse")]
    Setup(#[from] SetupError),
    /// An embedded migration is not closed somewhere.
    #[error("failed to read the embedded migrations")]
    Embedded(#[from] Malformed),
    /// The state of the database could not be read.
    #[error("failed to read the schema state of the database")]
    Observe(#[source] clickhouse::Error),
    /// The database or the ledger could not be made.
    #[error("failed to create the database or the migration ledger")]
    Create(#[source] clickhouse::Error),
    /// Claims could not be read or written.
    #[error("failed to read or write the migration lock")]
    Lock(#[source] clickhouse::Error),
    /// Another run held the lock all the time.
    #[error("run {holder} holds the migration lock; try again when it has ended")]
    Busy {
        /// The other run.
        holder: Uuid,
    },
    /// Another run took the lock over.
    #[error("lost the migration lock to another run; what has run so far is recorded")]
    LockLost,
    /// The ledger does not fit this binary.
    #[error("the ledger does not fit this binary")]
    History(#[from] Mismatch),
    /// The database belongs to something else.
    #[error("the database holds tables of another product where views of Weir would be ({}): choose another database", .0.join(", "))]
    Foreign(Vec<String>),
    /// One statement failed.
    #[error("failed to run statement {statement} of migration {version} ({name}): {head}")]
    Statement {
        /// Number of the migration.
        version: u32,
        /// Position of the statement, from 1.
        statement: u32,
        /// Name of the migration.
        name: String,
        /// Beginning of the statement.
        head: String,
        /// What ClickHouse said.
        source: clickhouse::Error,
    },
    /// A statement ran and could not be recorded; it will be repeated.
    #[error("failed to record statement {statement} of migration {version}")]
    Record {
        /// Number of the migration.
        version: u32,
        /// Position of the statement, from 1.
        statement: u32,
        /// What ClickHouse said.
        source: clickhouse::Error,
    },
}

impl Error {
    /// Whether the same run can succeed later with nothing changed.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::LockLost => true,
            Self::Setup(_) | Self::Embedded(_) | Self::History(_) | Self::Foreign(_) => false,
            _ => {
                self.refusal().is_some_and(|error| matches!(error.class(), Class::Transient | Class::Unknown))
            }
        }
    }

    /// One paragraph with the whole chain, ClickHouse's code and its name. It may be shown in status, so what ClickHouse
    /// wrote is not in it.
    pub fn paragraph(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            text = format!("{text}: {cause}");
            next = cause.source();
        }
        text
    }

    /// What ClickHouse wrote, on one line, for the log of the run only: migrations hold no secret.
    pub fn detail(&self) -> Option<String> {
        let detail = self.refusal().and_then(clickhouse::Error::detail)?;
        Some(detail.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    fn refusal(&self) -> Option<&clickhouse::Error> {
        match self {
            Self::Observe(source)
            | Self::Create(source)
            | Self::Lock(source)
            | Self::Statement { source, .. }
            | Self::Record { source, .. } => Some(source),
            Self::Setup(_)
            | Self::Embedded(_)
            | Self::Busy { .. }
            | Self::LockLost
            | Self::History(_)
            | Self::Foreign(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edited_history_is_told_by_its_checksums() {
        let error = Error::History(Mismatch::Edited {
            version: 1,
            statement: 1,
            ledger: "old".into(),
            binary: "new".into(),
        });
        assert!(error.paragraph().contains("has run with checksum old but has new in this binary"));
    }
}
