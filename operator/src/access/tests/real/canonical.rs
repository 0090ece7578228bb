//! Random sets of grants, imported into the server: their canonical form is that of the spec.

use std::collections::BTreeSet;

use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::super::super::right::{GrantRow, Grants, Privileges, rights_sql};
use super::client::control;
use super::*;

/// Sets that are imported with one restart of the development server.
const SETS_AT_ONCE: usize = 1_250;
/// Privileges of tables, single ones and groups, that ClickHouse folds in its own ways.
const ON_TABLES: [&str; 17] = [
    "SELECT",
    "INSERT",
    "ALTER",
    "ALTER TABLE",
    "ALTER VIEW",
    "ALTER UPDATE",
    "ALTER COLUMN",
    "ALTER INDEX",
    "CREATE TABLE",
    "CREATE VIEW",
    "DROP TABLE",
    "DROP VIEW",
    "SHOW",
    "TRUNCATE",
    "OPTIMIZE",
    "dictGet",
    "BACKUP",
];
/// Privileges that may be limited to columns.
const ON_COLUMNS: [&str; 4] = ["SELECT", "INSERT", "ALTER UPDATE", "SHOW COLUMNS"];
const DATABASES: [&str; 3] = ["shop", "we-ird`db", "other"];
const TABLES: [&str; 3] = ["events", "a b", "links"];
const COLUMNS: [&str; 3] = ["uuid", "we`ird", "c"];

#[tokio::test]
async fn canonical_grants_are_those_of_the_server() {
    let (sets, seed) = (count("WEIR_TEST_GRANT_SETS", 200), seed());
    let (connection, stack) = (administrator().await, stack("canonical"));
    let mut random = StdRng::seed_from_u64(seed);
    let sets: Vec<Vec<Right>> = (0..sets).map(|_| any_rights(&mut random)).collect();
    let (mut restarts, mut rows) = (0, 0);
    for sets in sets.chunks(SETS_AT_ONCE) {
        let role = |index: usize| format!("{}_{index}", stack.names.ingest_role());
        let create = |(index, rights): (usize, &Vec<Right>)| {
            let role = identifier(&role(index));
            format!("CREATE ROLE {role};\nGRANT {} TO {role};\n", rights_sql(rights))
        };
        control("/import", sets.iter().enumerate().map(create).collect()).await;
        restarts += 1;
        let catalogue = fetch_catalogue(&connection).await.unwrap();
        for (index, rights) in sets.iter().enumerate() {
            let held = &catalogue.grants[&Entity::role(&role(index))];
            check(rights, held, &catalogue.privileges);
            rows += held.rights.len();
        }
        let drop = |index| format!("DROP ROLE {};\n", identifier(&role(index)));
        control("/import", (0..sets.len()).map(drop).collect()).await;
    }
    // The figures are part of the result.
    eprintln!(
        "figure: {} random grant sets (seed {seed}), imported in {restarts} restarts: canonical form of spec = that of \
         server, {rows} rights compared",
        sets.len()
    );
}

fn check(rights: &[Right], held: &Grants, privileges: &Privileges) {
    let mut spec = Grants::default();
    for right in rights {
        spec.add(&row(right), privileges);
    }
    assert_eq!(narrowed(&spec), narrowed(held), "{rights:?}");
    assert!(held.denied.is_empty() && !held.excess, "{held:?}");
    assert_eq!(held.missing(rights, privileges), [], "{rights:?} {held:?}");
    assert!(!held.has_surplus(rights, privileges), "{rights:?} {held:?}");
    let further = Right::new("KILL QUERY", Scope::Server);
    assert_eq!(held.missing(std::slice::from_ref(&further), privileges), [further], "{held:?}");
    assert!(held.has_surplus(&[], privileges), "{held:?}");
}

/// The rights without those that another one covers: the one form that all texts of the same grants have.
fn narrowed(grants: &Grants) -> BTreeSet<&Right> {
    let covers = |wide: &Right, narrow: &Right| {
        wide != narrow && wide.privilege == narrow.privilege && wide.scope.covers(&narrow.scope)
    };
    grants.rights.iter().filter(|right| !grants.rights.iter().any(|wide| covers(wide, right))).collect()
}

/// A right as the server would show it, had nobody folded it.
fn row(right: &Right) -> GrantRow {
    let mut row = GrantRow { access_type: right.privilege.clone(), ..GrantRow::default() };
    match right.scope.clone() {
        Scope::Server => {}
        Scope::Object(name) => row.access_object = name,
        Scope::Database(database) => row.database = Some(database),
        Scope::Table(database, table) => (row.database, row.table) = (Some(database), Some(table)),
        Scope::Column(database, table, column) => {
            (row.database, row.table, row.column) = (Some(database), Some(table), Some(column));
        }
    }
    row
}

fn any_rights(random: &mut StdRng) -> Vec<Right> {
    (0..random.random_range(1..9)).map(|_| any_right(random)).collect()
}

fn any_right(random: &mut StdRng) -> Right {
    let mut any = |names: &[&str]| (*names.choose(random).unwrap()).to_owned();
    let (database, table, column) = (any(&DATABASES), any(&TABLES), any(&COLUMNS));
    let (of_table, of_column) = (any(&ON_TABLES), any(&ON_COLUMNS));
    match random.random_range(0..12) {
        0 => Right::new(&of_table, Scope::Server),
        1..4 => Right::new(&of_table, Scope::Database(database)),
        4..8 => Right::new(&of_table, Scope::Table(database, table)),
        8..11 => Right::new(&of_column, Scope::Column(database, table, column)),
        _ => Right::new("SET DEFINER", Scope::Object(table.replace(' ', "_"))),
    }
}
