//! Who is who on the server: the operator connects as an administrator with the documented rights and no others, and what a
//! person or another tool does by hand in a test is done by root.

use secrecy::SecretString;
use tokio::sync::OnceCell;

use super::*;

/// What the documentation asks of the administrator's account, for databases whose names begin with `weir_`.
const README: &str = include_str!("../../../../../README.md");

/// The account that the operator has in every test of this process: it is made once, since that starts the engine of the
/// development server anew.
static ADMINISTRATOR: OnceCell<String> = OnceCell::const_new();

/// The operator, with the documented rights.
pub(super) async fn administrator() -> Connection {
    // Only the name is shared: a connection is bound to the runtime of one test.
    let name = ADMINISTRATOR.get_or_init(async || make_administrator().await.user().to_owned()).await;
    login(&root(), name)
}

/// Makes an account with exactly the rights that README.md asks for, for a test that needs one of its own.
pub(super) async fn make_administrator() -> Connection {
    // Other processes may have their tests on the same server.
    let name = format!("administrator_{}", uuid::Uuid::new_v4().simple());
    let (root, user, hash) = (root(), identifier(&name), PasswordHash::of(&password_of(&name)).hex());
    let create = format!("CREATE USER {user} IDENTIFIED WITH sha256_hash BY '{hash}' HOST ANY");
    root.execute(&create).await.unwrap();
    let documented: Vec<_> = README.lines().filter(|line| line.starts_with("GRANT ")).collect();
    assert!(documented.len() > 3, "README.md does not list the rights of an administrator any more");
    // Sent at once, they share a restart.
    join_all(documented.iter().map(async |grant| {
        let statement = grant.trim_end_matches(';').replace(" TO weir", &format!(" TO {user}"));
        root.execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }))
    .await;
    login(&root, &name)
}

/// Somebody who may do everything: the account that the server was started with.
pub(super) fn root() -> Connection {
    connect(&settings(), &setting("WEIR_TEST_CLICKHOUSE_USER"), &setting("WEIR_TEST_CLICKHOUSE_PASSWORD"))
}

/// The server that `cargo verify` starts.
pub(super) fn settings() -> ConnectionSettings {
    let endpoints = vec![setting("WEIR_TEST_CLICKHOUSE_URL")];
    ConnectionSettings {
        endpoints,
        ca_pem: None,
        timeout: Duration::from_mins(1),
        barred: crate::dialer::Barred::default(),
    }
}

/// Anybody on a server.
pub(super) fn connect(settings: &ConnectionSettings, user: &str, password: &str) -> Connection {
    let comment =
        Comment { stack: "test/access".into(), uid: "u".into(), generation: 1, reason: "test".into() };
    Connection::new(settings, user, SecretString::from(password), &comment).unwrap()
}
