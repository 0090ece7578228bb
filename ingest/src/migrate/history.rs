//! The ledger against the steps of this binary: what is left to run, or why nothing may run. Pure.

use super::embedded::Step;

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applied {
    /// Number of the migration.
    pub(super) version: u32,
    /// Position of the statement in it, from 1.
    pub(super) statement: u32,
    /// How many statements the migration had when it ran.
    pub(super) statements: u32,
    /// Checksum of the statement that ran.
    pub(super) checksum: String,
}

/// Why the ledger and this binary do not fit.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// A statement that has run is another one in this binary.
    #[error(
        "statement {statement} of migration {version} has run with checksum {ledger} but has {binary} in this binary: \
         applied history must not be edited; use the image that applied it, or one that follows it"
    )]
    Edited {
        /// Number of the migration.
        version: u32,
        /// Position of the statement.
        statement: u32,
        /// Checksum in the ledger.
        ledger: String,
        /// Checksum in this binary.
        binary: String,
    },
    /// A complete migration has another number of statements in this binary.
    #[error(
        "migration {version} is complete with {ledger} statements but has {binary} in this binary: applied history \
         must not be edited"
    )]
    Resized {
        /// Number of the migration.
        version: u32,
        /// Statements in the ledger.
        ledger: u32,
        /// Statements in this binary.
        binary: u32,
    },
    /// A newer binary has migrated this database.
    #[error(
        "the database is at schema version {ledger}, newer than version {binary} of this binary: use a newer image"
    )]
    Newer {
        /// Highest version in the ledger.
        ledger: u32,
        /// Highest version of this binary.
        binary: u32,
    },
    /// The target is none that this binary knows.
    #[error("target {target} is not one of the versions 1 to {maximum} of this binary")]
    UnknownTarget {
        /// What was asked for.
        target: u32,
        /// Highest version of this binary.
        maximum: u32,
    },
    /// The target lies behind.
    #[error("the database is at schema version {current}: migrations do not go back to {target}")]
    Backwards {
        /// What was asked for.
        target: u32,
        /// Highest version in the ledger.
        current: u32,
    },
}

/// The steps up to the target that have not run, in order.
pub(super) fn pending<'a>(
    steps: &'a [Step],
    applied: &[Applied],
    maybe_target: Option<u32>,
) -> Result<Vec<&'a Step>, Mismatch> {
    let maximum = steps.iter().map(|step| step.version).max().unwrap_or(0);
    let current = applied.iter().map(|row| row.version).max().unwrap_or(0);
    let target = maybe_target.unwrap_or(maximum);
    if current > maximum {
        return Err(Mismatch::Newer { ledger: current, binary: maximum });
    }
    if target == 0 || target > maximum {
        return Err(Mismatch::UnknownTarget { target, maximum });
    }
    if target < current {
        return Err(Mismatch::Backwards { target, current });
    }
    for row in applied {
        check_text(steps, row)?;
    }
    for row in applied {
        check_size(steps, applied, row.version)?;
    }
    let is_pending = |step: &&Step| step.version <= target && !applied.iter().any(|row| is_same(step, row));
    Ok(steps.iter().filter(is_pending).collect())
}

/// The highest version whose statements have all run; 0 when none.
pub(super) fn version(applied: &[Applied]) -> u32 {
    applied.iter().filter(|row| is_complete(applied, row)).map(|row| row.version).max().unwrap_or(0)
}

fn check_text(steps: &[Step], row: &Applied) -> Result<(), Mismatch> {
    let same = steps.iter().find(|step| is_same(step, row));
    match same {
        Some(step) if step.checksum != row.checksum => Err(Mismatch::Edited {
            version: row.version,
            statement: row.statement,
            ledger: row.checksum.clone(),
            binary: step.checksum.clone(),
        }),
        _ => Ok(()),
    }
}

/// A migration that was not finished may be corrected in what has not run yet, not cut down to what has.
fn check_size(steps: &[Step], applied: &[Applied], version: u32) -> Result<(), Mismatch> {
    let size = steps.iter().find(|step| step.version == version).map_or(0, |step| step.statements);
    let Some(last) = last_of(applied, version) else { return Ok(()) };
    let is_over = last.statement == last.statements || last.statement >= size;
    if is_over && last.statements != size {
        return Err(Mismatch::Resized { version, ledger: last.statements, binary: size });
    }
    Ok(())
}

fn last_of(applied: &[Applied], version: u32) -> Option<&Applied> {
    applied.iter().filter(|row| row.version == version).max_by_key(|row| row.statement)
}

fn is_same(step: &Step, row: &Applied) -> bool {
    step.version == row.version && step.statement == row.statement
}

/// Whether the migration of a row has all its statements in the ledger, as the latest run counted them.
fn is_complete(applied: &[Applied], row: &Applied) -> bool {
    let count = applied.iter().filter(|other| other.version == row.version).count();
    last_of(applied, row.version).is_some_and(|last| u32::try_from(count) == Ok(last.statements))
}

#[cfg(test)]
mod tests {
    use super::super::embedded::steps_of;
    use super::*;

    fn steps() -> Vec<Step> {
        steps_of(&[("first", "A; B; C"), ("second", "D; E")]).unwrap()
    }

    fn ledger(steps: &[Step], count: usize) -> Vec<Applied> {
        let row = |step: &Step| Applied {
            version: step.version,
            statement: step.statement,
            statements: step.statements,
            checksum: step.checksum.clone(),
        };
        steps.iter().take(count).map(row).collect()
    }

    fn texts(pending: Result<Vec<&Step>, Mismatch>) -> Vec<&str> {
        pending.unwrap().into_iter().map(|step| step.template.as_str()).collect()
    }

    #[test]
    fn a_run_goes_on_after_the_last_statement_of_the_one_before() {
        let steps = steps();
        assert_eq!(texts(pending(&steps, &ledger(&steps, 0), Some(1))), ["A", "B", "C"]);
        assert_eq!(texts(pending(&steps, &ledger(&steps, 2), None)), ["C", "D", "E"]);
        assert_eq!(texts(pending(&steps, &ledger(&steps, 5), None)), Vec::<&str>::new());
    }

    #[test]
    fn a_version_counts_when_all_its_statements_have_run() {
        let steps = steps();
        let versions: Vec<_> = (0..=5).map(|count| version(&ledger(&steps, count))).collect();
        assert_eq!(versions, [0, 0, 0, 1, 1, 2]);
    }

    #[test]
    fn edited_history_is_refused_with_both_checksums() {
        let steps = steps();
        let mut applied = ledger(&steps, 3);
        applied[1].checksum = "f00".into();
        let message = pending(&steps, &applied, None).unwrap_err().to_string();
        assert!(message.contains("f00") && message.contains(&steps[1].checksum), "{message}");
    }

    #[test]
    fn an_unfinished_migration_may_be_corrected_where_it_has_not_run() {
        let old = steps();
        let new = steps_of(&[("first", "A; B; X; Y"), ("second", "D; E")]).unwrap();
        assert_eq!(texts(pending(&new, &ledger(&old, 2), Some(1))), ["X", "Y"]);
        let refused = pending(&new, &ledger(&old, 3), None).unwrap_err();
        assert!(matches!(refused, Mismatch::Edited { statement: 3, .. }));
        let corrected = [ledger(&old, 2), ledger(&new, 4).split_off(2)].concat();
        assert_eq!((texts(pending(&new, &corrected, Some(1))), version(&corrected)), (vec![], 1));
        let cut = steps_of(&[("first", "A; B"), ("second", "D; E")]).unwrap();
        assert!(matches!(pending(&cut, &ledger(&old, 2), None), Err(Mismatch::Resized { .. })));
        let longer = steps_of(&[("first", "A; B; C; Y"), ("second", "D; E")]).unwrap();
        let resized = pending(&longer, &ledger(&old, 3), None).unwrap_err();
        assert_eq!(resized, Mismatch::Resized { version: 1, ledger: 3, binary: 4 });
    }

    #[test]
    fn targets_and_ledgers_that_do_not_fit_are_refused() {
        let steps = steps();
        let all = ledger(&steps, 5);
        assert_eq!(pending(&steps[..3], &all, None), Err(Mismatch::Newer { ledger: 2, binary: 1 }));
        assert_eq!(pending(&steps, &all, Some(1)), Err(Mismatch::Backwards { target: 1, current: 2 }));
        assert_eq!(pending(&steps, &[], Some(3)), Err(Mismatch::UnknownTarget { target: 3, maximum: 2 }));
    }
}
