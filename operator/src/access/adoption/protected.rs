//! Entities that every ClickHouse has for itself. Pure.

use super::super::{Entity, Kind};

/// Databases of the server, in lower case, and that of the ledger.
const DATABASES: [&str; 4] = ["default", "information_schema", "system", super::ledger::DATABASE];
/// Users that a server begins with.
const USERS: [&str; 2] = ["default", "interserver"];

/// Whether a server has it without anybody's doing.
pub(super) fn is_builtin(entity: &Entity) -> bool {
    let name = entity.name.to_ascii_lowercase();
    match entity.kind {
        Kind::Database => DATABASES.contains(&name.as_str()),
        Kind::User => USERS.contains(&name.as_str()),
        Kind::Quota => name == "default",
        Kind::Role | Kind::RowPolicy => false,
    }
}
