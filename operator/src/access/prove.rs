//! Proof that a login works, before anybody is told of it.

use secrecy::SecretString;

use super::apply::Error;
use super::right::{Right, rights_sql};
use crate::clickhouse::{self, Connection};

/// Code with which ClickHouse refuses a query beyond a quota. It lets `SELECT currentUser()` pass.
const QUOTA_EXCEEDED: u32 = 201;

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
    let granted = match login.value(&check).await {
        // The login was accepted, and its rights are in the catalogue of every endpoint; its own quota is used up.
        Err(error) if error.code() == Some(QUOTA_EXCEEDED) => return Ok(()),
        answer => answer.map_err(|error| failed(Some(error)))?,
    };
    if granted == "1" {
        return Ok(());
    }
    Err(Error::Rights { user: login.user().to_owned(), endpoint: login.endpoint().to_owned() })
}
