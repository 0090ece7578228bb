//! The account with which the operator administers ClickHouse: exactly the rights that README.md asks for, and no others.

use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};

use crate::clickhouse::Server;

/// Name of the account, as README.md writes it.
pub const USER: &str = "weir";
/// Databases that an account with the documented rights has.
const DATABASES: &str = "weir_*";
const README: &str = include_str!("../../README.md");

/// Makes the account on a server; `databases` are those that stacks name themselves.
pub async fn create(server: &Server, password: &str, databases: &[&str]) -> anyhow::Result<()> {
    let hash = hex::encode(Sha256::digest(password));
    let mut statements = vec![format!("CREATE USER {USER} IDENTIFIED WITH sha256_hash BY '{hash}' HOST ANY")];
    statements.extend(grants(databases)?);
    server.import(&statements).await.context("failed to make the operator's account in ClickHouse")
}

/// The documented statements, and those about databases again for each database with a name of its own.
fn grants(databases: &[&str]) -> anyhow::Result<Vec<String>> {
    let documented = README.lines().filter(|line| line.starts_with("GRANT "));
    let documented: Vec<String> = documented.map(|line| line.trim_end_matches(';').to_owned()).collect();
    ensure!(documented.len() > 3, "README.md does not list the rights of the operator's account any more");
    let of_databases = documented.iter().filter(|grant| grant.contains(DATABASES)).flat_map(|grant| {
        databases.iter().map(|database| grant.replace(DATABASES, database)).collect::<Vec<_>>()
    });
    Ok(documented.iter().cloned().chain(of_databases).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_has_what_is_documented_and_the_same_for_a_database_with_another_name() {
        let (plain, named) = (grants(&[]).unwrap(), grants(&["shop"]).unwrap());
        assert_eq!(named[..plain.len()], plain[..]);
        assert!(named.contains(&"GRANT CREATE DATABASE ON shop.* TO weir".to_owned()), "{named:?}");
        assert!(
            plain.iter().all(|grant| !grant.contains(" ALL ") && grant.contains(" TO weir")),
            "{plain:?}"
        );
    }
}
