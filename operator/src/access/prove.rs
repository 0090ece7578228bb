//! Proof that a login works, before anybody is told of it.

use secrecy::SecretString;

use super::apply::Error;
use super::right::{Right, rights_sql};
use crate::clickhouse::{self, Connection};

/// Logs in as `user` on every endpoint of `connection` and checks that it has the rights there.
pub(crate) async fn prove(
    connection: &Connection,
    user: &str,
    password: &SecretString,
    required: &[Right],
) -> Result<(), Error> {
    for endpoint in connection.because("prove").with_login(user, password.clone()).plain().each_endpoint() {
        prove_endpoint(&endpoint, required).await?;
    }
    Ok(())
}

async fn prove_endpoint(login: &Connection, required: &[Right]) -> Result<(), Error> {
    let failed = |source: Option<clickhouse::Error>| Error::Login {
        user: login.user().to_owned(),
        endpoint: login.endpoint().to_owned(),
        source,
    };
    let name = login.value("SELECT currentUser()").await.map_err(|error| failed(Some(error)))?;
    if name != login.user() {
        return Err(failed(None));
    }
    if required.is_empty() {
        return Ok(());
    }
    let check = format!("CHECK GRANT {}", rights_sql(required));
    let granted = login.value(&check).await.map_err(|error| failed(Some(error)))?;
    if granted == "1" {
        return Ok(());
    }
    Err(Error::Rights { user: login.user().to_owned(), endpoint: login.endpoint().to_owned() })
}
