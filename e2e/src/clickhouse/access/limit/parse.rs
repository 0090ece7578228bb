//! Reads the statements about row policies and quotas, in the form in which the engine writes them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{AccessError, cursor::Cursor},
    Grantees, PolicyName,
};

/// One statement about a row policy or quota.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Statement {
    Policy { change: Change, name: PolicyName, clauses: PolicyClauses },
    Quota { change: Change, name: String, clauses: QuotaClauses },
}

/// What a statement does with something of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Create { if_not_exists: bool },
    Alter { if_exists: bool },
    Drop { if_exists: bool },
}

/// What is said of a row policy; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PolicyClauses {
    pub(crate) is_restrictive: Option<bool>,
    pub(crate) filter: Option<String>,
    pub(crate) grantees: Option<Grantees>,
}

/// What is said of a quota; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct QuotaClauses {
    pub(crate) is_by_user: Option<bool>,
    /// `None` takes an interval away.
    pub(crate) intervals: BTreeMap<u64, Option<BTreeMap<String, String>>>,
    pub(crate) grantees: Option<Grantees>,
}

/// Seconds of the units that an interval may be given in and that are always as long.
const UNITS: [(&str, u64); 5] =
    [("second", 1), ("minute", 60), ("hour", 3600), ("day", 86400), ("week", 604_800)];

/// Reads a statement, when it is about a row policy or quota.
pub(in super::super) fn parse(cursor: &mut Cursor<'_>) -> Result<Option<Statement>, AccessError> {
    let from = cursor.at();
    let (create, alter) = (cursor.take("CREATE"), cursor.take("ALTER"));
    let is_change = create || alter || cursor.take("DROP");
    let is_policy = is_change && (cursor.take("ROW POLICY") || cursor.take("POLICY"));
    let is_limit = is_policy || is_change && cursor.take("QUOTA");
    if !is_limit {
        cursor.go_to(from);
        return Ok(None);
    }
    let change = if create {
        Change::Create { if_not_exists: cursor.take("IF NOT EXISTS") }
    } else if alter {
        Change::Alter { if_exists: cursor.take("IF EXISTS") }
    } else {
        Change::Drop { if_exists: cursor.take("IF EXISTS") }
    };
    Ok(Some(if is_policy {
        Statement::Policy { change, name: policy_name(cursor)?, clauses: policy_clauses(cursor)? }
    } else {
        Statement::Quota { change, name: cursor.name()?, clauses: quota_clauses(cursor)? }
    }))
}

fn policy_name(cursor: &mut Cursor<'_>) -> Result<PolicyName, AccessError> {
    let short = cursor.name()?;
    if !cursor.take("ON") {
        return Err(cursor.unsupported());
    }
    let database = cursor.name()?;
    if !cursor.take_sign(".") {
        return Err(AccessError::Unsupported(format!("row policy {short}: name the database")));
    }
    Ok(PolicyName { short, database, table: cursor.name()? })
}

fn policy_clauses(cursor: &mut Cursor<'_>) -> Result<PolicyClauses, AccessError> {
    let mut clauses = PolicyClauses::default();
    if cursor.take("AS RESTRICTIVE") {
        clauses.is_restrictive = Some(true);
    } else if cursor.take("AS PERMISSIVE") {
        clauses.is_restrictive = Some(false);
    }
    cursor.take("FOR SELECT");
    if cursor.take("USING") {
        // Nothing behind the condition but whom it is for.
        let to = cursor.find_last("TO").unwrap_or(cursor.end_at());
        clauses.filter = Some(cursor.text(cursor.at(), to).to_owned());
        cursor.go_to(to);
    }
    clauses.grantees = grantees(cursor)?;
    Ok(clauses)
}

fn quota_clauses(cursor: &mut Cursor<'_>) -> Result<QuotaClauses, AccessError> {
    let mut clauses = QuotaClauses::default();
    if cursor.take("NOT KEYED") {
        clauses.is_by_user = Some(false);
    } else if cursor.take("KEYED BY user_name") {
        clauses.is_by_user = Some(true);
    }
    while cursor.take("FOR INTERVAL") {
        let number: u64 = cursor.value()?.parse().map_err(|_| cursor.unsupported())?;
        let unit = cursor.name()?;
        let unit = UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name));
        let seconds = number * unit.ok_or_else(|| cursor.unsupported())?.1;
        let limits = if cursor.take("NO LIMITS") { None } else { Some(limits(cursor)?) };
        clauses.intervals.insert(seconds, limits);
        cursor.take_sign(",");
    }
    clauses.grantees = grantees(cursor)?;
    Ok(clauses)
}

fn limits(cursor: &mut Cursor<'_>) -> Result<BTreeMap<String, String>, AccessError> {
    let mut limits = BTreeMap::new();
    if cursor.take("TRACKING ONLY") {
        return Ok(limits);
    }
    if !cursor.take("MAX") {
        return Err(cursor.unsupported());
    }
    loop {
        let name = cursor.name()?;
        if !cursor.take_sign("=") {
            return Err(cursor.unsupported());
        }
        limits.insert(name, cursor.value()?);
        let at = cursor.at();
        if !cursor.take_sign(",") {
            return Ok(limits);
        }
        // The comma before the next interval.
        if cursor.peek().is_some_and(|next| next.text.eq_ignore_ascii_case("FOR")) {
            cursor.go_to(at);
            return Ok(limits);
        }
    }
}

fn grantees(cursor: &mut Cursor<'_>) -> Result<Option<Grantees>, AccessError> {
    if !cursor.take("TO") {
        return Ok(None);
    }
    let mut grantees = Grantees::default();
    if cursor.take("ALL") {
        grantees.is_all = true;
        if cursor.take("EXCEPT") {
            grantees.except = cursor.names()?.into_iter().collect();
        }
    } else if !cursor.take("NONE") {
        grantees.names = cursor.names()?.into_iter().collect::<BTreeSet<_>>();
    }
    Ok(Some(grantees))
}
