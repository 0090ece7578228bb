//! The same actions against a real ClickHouse. `cargo verify` brings one up and says where it is.

mod accounts;
mod adoption;
mod canonical;
mod client;
mod edits;
mod forms;
mod handover;
mod ledger;
mod narrowing;
mod quoting;
mod shared;
mod users;

use std::time::Duration;

use futures::future::join_all;
use tokio::task::JoinHandle;
use weir_crds::Reason;

use super::*;
use crate::clickhouse::{self, Comment, Connection, ConnectionSettings, Failure};
use crate::quote::{identifier, literal};
use accounts::{administrator, connect, make_administrator, root, settings};

fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("set {name}: access tests need the ClickHouse that `cargo verify` starts"))
}

/// How often something is repeated: `cargo soak -- grants` asks for more than the sample.
fn count(name: &str, sample: usize) -> usize {
    std::env::var(name).map_or(sample, |count| count.parse().unwrap())
}

/// Source of every random choice of these tests.
fn seed() -> u64 {
    std::env::var("WEIR_TEST_SEED").map_or(1, |seed| seed.parse().unwrap())
}

fn stack(name: &str) -> Stack {
    Stack::new(name, &format!("s{}", &uuid::Uuid::new_v4().simple().to_string()[..8]))
}

async fn pass(connection: &Connection, desired: &Desired) -> Vec<Action> {
    let Plan { actions: mut done, conflicts } = plan(desired, &fetch_catalogue(connection).await.unwrap());
    assert_eq!(conflicts, []);
    for action in &done {
        apply(connection, &desired.owner, action).await.unwrap_or_else(|error| panic!("{action}: {error:?}"));
    }
    for action in surplus(desired, &fetch_catalogue(connection).await.unwrap()) {
        apply(connection, &desired.owner, &action)
            .await
            .unwrap_or_else(|error| panic!("{action}: {error:?}"));
        done.push(action);
    }
    done
}

fn login(connection: &Connection, user: &str) -> Connection {
    connection.with_login(user, password_of(user).into())
}

async fn code_of(connection: &Connection, statement: &str) -> Option<u32> {
    connection.execute(statement).await.err().and_then(|error| error.code())
}

#[tokio::test]
async fn users_can_do_what_they_must_and_nothing_else() {
    let (connection, stack) = (administrator().await, stack("rights"));
    let logins = [stack.logins(), vec![stack.migration("0000aaaa")]].concat();
    let desired = stack.desired(&logins);
    pass(&connection, &desired).await;
    assert_eq!(pass(&connection, &desired).await, [], "a second pass");
    for Login { user, .. } in &logins {
        prove(&connection, user, &password_of(user).into(), &desired.required(user)).await.unwrap();
    }
    let database = identifier(&stack.names.database);
    let [ingest, reader, migrate] = [0, 1, 2].map(|index| login(&connection, &logins[index].user));
    let definer = identifier(&stack.names.definer());
    for statement in [
        format!("CREATE TABLE {database}.events_data (a Int8) ENGINE = MergeTree ORDER BY a"),
        format!("ALTER TABLE {database}.events_data ADD COLUMN b Int8"),
        format!(
            "CREATE VIEW {database}.events DEFINER = {definer} SQL SECURITY DEFINER AS SELECT * FROM {database}.events_data"
        ),
    ] {
        migrate.execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    ingest.execute(&format!("INSERT INTO {database}.events_data (a) VALUES (1)")).await.unwrap();
    assert_eq!(ingest.value("SELECT 1").await.unwrap(), "1");
    assert_eq!(reader.value(&format!("SELECT a FROM {database}.events")).await.unwrap(), "1");
    for statement in [
        format!("SELECT a FROM {database}.events_data"),
        format!("DROP TABLE {database}.events_data"),
        format!("CREATE TABLE {database}.x (a Int8) ENGINE = Memory"),
        "SELECT * FROM weir_ledger.intents".to_owned(),
        "CREATE USER x IDENTIFIED WITH sha256_hash BY 'aa'".to_owned(),
    ] {
        assert_eq!(code_of(&ingest, &statement).await, Some(497), "{statement}");
    }
    for statement in [
        format!("INSERT INTO {database}.events_data (a) VALUES (1)"),
        "SELECT * FROM weir_ledger.intents".to_owned(),
    ] {
        assert_eq!(code_of(&reader, &statement).await, Some(497), "{statement}");
    }
    assert_eq!(code_of(&migrate, "CREATE DATABASE weir_other").await, Some(497));
}

#[tokio::test]
async fn what_a_person_changes_by_hand_is_repaired() {
    let (connection, root, stack) = (administrator().await, root(), stack("drift"));
    let desired = stack.desired(&stack.logins());
    pass(&connection, &desired).await;
    let settled = fetch_catalogue(&connection).await.unwrap();
    let role = identifier(&stack.names.ingest_role());
    let user = identifier(&stack.names.ingest_user(1));
    let reader_role = identifier(&stack.names.reader_role("bi"));
    let database = identifier(&stack.names.database);
    for statement in [
        format!("REVOKE INSERT ON {database}.`links` FROM {role}"),
        format!("GRANT SELECT ON {database}.* TO {role}"),
        format!("REVOKE SELECT ON {database}.`secret` FROM {reader_role}"),
        format!("GRANT ALTER TABLE ON {database}.* TO {user}"),
        format!("GRANT {reader_role} TO {user}"),
        format!("ALTER USER {user} HOST NONE"),
        format!("DROP USER {}", identifier(&stack.names.reader_user("bi", 1))),
    ] {
        root.execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    assert!(!pass(&connection, &desired).await.is_empty());
    assert_eq!(pass(&connection, &desired).await, []);
    let repaired = fetch_catalogue(&connection).await.unwrap();
    for (entity, _) in desired.entities() {
        assert_eq!(repaired.grants.get(&entity), settled.grants.get(&entity), "{entity}");
        assert_eq!(repaired.role_grants.get(&entity), settled.role_grants.get(&entity), "{entity}");
    }
    for Login { user, .. } in stack.logins() {
        prove(&connection, &user, &password_of(&user).into(), &desired.required(&user)).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_person_gives_that_an_administrator_cannot_take_is_told_until_a_person_takes_it() {
    let (connection, root, stack) = (administrator().await, root(), stack("giving"));
    let retired = Login { user: stack.names.ingest_user(2), ..stack.logins()[0].clone() };
    pass(&connection, &stack.desired(&[stack.logins(), vec![retired.clone()]].concat())).await;
    let desired = stack.desired(&stack.logins());
    let role = identifier(&stack.names.ingest_role());
    // ClickHouse lets nobody revoke what they may not grant.
    root.execute(&format!("GRANT SELECT ON *.* TO {role}")).await.unwrap();
    let mut actions = surplus(&desired, &fetch_catalogue(&connection).await.unwrap());
    let refused = actions.pop().unwrap();
    assert!(matches!(&actions[0], Action::DropUser(user) if *user == retired.user), "{actions:?}");
    for action in &actions {
        apply(&connection, &desired.owner, action)
            .await
            .unwrap_or_else(|error| panic!("{action}: {error:?}"));
    }
    let error = apply(&connection, &desired.owner, &refused).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ClickhousePermissionDenied, "{error:?}");
    let held_up = surplus(&desired, &fetch_catalogue(&connection).await.unwrap());
    assert_eq!(held_up, [refused], "the user that is over is gone, whatever the right");
    root.execute(&format!("REVOKE SELECT ON *.* FROM {role}")).await.unwrap();
    assert_eq!(pass(&connection, &desired).await, []);
}

#[tokio::test]
async fn the_documented_rights_of_an_administrator_suffice() {
    let (connection, stack) = (administrator().await, stack("least"));
    let desired = stack.desired(&[stack.logins(), vec![stack.migration("0000aaaa")]].concat());
    pass(&connection, &desired).await;
    assert_eq!(pass(&connection, &desired).await, []);
    let excess = [
        Action::Grant {
            to: Entity::role(&stack.names.reader_role("bi")),
            rights: desired.roles[1].rights.clone(),
        },
        Action::Grant {
            to: Entity::user(&stack.names.ingest_user(1)),
            rights: desired.roles[2].rights.clone(),
        },
    ];
    for action in &excess {
        apply(&connection, &desired.owner, action).await.unwrap();
    }
    assert_eq!(pass(&connection, &desired).await.len(), 2);
    assert_eq!(pass(&connection, &desired).await, []);
    adoption::by(&connection).await;
    for action in deletion(&stack.owner, &fetch_catalogue(&connection).await.unwrap()) {
        apply(&connection, &stack.owner, &action).await.unwrap_or_else(|error| panic!("{action}: {error:?}"));
    }
}

#[tokio::test]
async fn an_administrator_is_refused_what_is_not_documented() {
    let (connection, stack) = (administrator().await, stack("beyond"));
    pass(&connection, &stack.desired(&stack.logins())).await;
    let (database, role) = (identifier(&stack.names.database), identifier(&stack.names.ingest_role()));
    for statement in [
        "SYSTEM FLUSH LOGS".to_owned(),
        "CREATE DATABASE shop".to_owned(),
        "CREATE TABLE default.shop (a Int8) ENGINE = Memory".to_owned(),
        "CREATE SETTINGS PROFILE shop".to_owned(),
        format!("DROP DATABASE {database}"),
        format!("GRANT SELECT ON system.* TO {role}"),
        format!("GRANT CREATE USER ON *.* TO {role}"),
    ] {
        assert_eq!(code_of(&connection, &statement).await, Some(497), "{statement}");
    }
}

#[tokio::test]
async fn a_login_that_does_not_work_is_not_proven_and_can_be_restored() {
    let (connection, stack) = (administrator().await, stack("prove"));
    let desired = stack.desired(&stack.logins());
    pass(&connection, &desired).await;
    let user = stack.names.ingest_user(1);
    let error = prove(&connection, &user, &"another password".into(), &[]).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LoginNotProven);
    let other = "0".repeat(64);
    let change = format!("ALTER USER {} IDENTIFIED WITH sha256_hash BY '{other}'", identifier(&user));
    root().execute(&change).await.unwrap();
    assert!(prove(&connection, &user, &password_of(&user).into(), &[]).await.is_err());
    apply(&connection, &desired.owner, &restore_login(&desired, &Catalogue::default(), &user).unwrap())
        .await
        .unwrap();
    prove(&connection, &user, &password_of(&user).into(), &desired.required(&user)).await.unwrap();
    let more = [Right::new("SELECT", Scope::Server)];
    let error = prove(&connection, &user, &password_of(&user).into(), &more).await.unwrap_err();
    assert!(matches!(error, Error::Rights { .. }), "{error:?}");
}

#[tokio::test]
async fn of_many_that_claim_a_name_at_once_exactly_one_owns_it() {
    let (connection, contested) = (administrator().await, stack("race"));
    apply(&connection, &contested.owner, &Action::CreateLedger).await.unwrap();
    let owners: Vec<_> = (0..8)
        .map(|cluster| Owner { cluster_id: format!("cluster-{cluster}"), ..contested.owner.clone() })
        .collect();
    let claim = Claim { entity: Entity::role(&contested.names.ingest_role()), class: Class::Ingest };
    let action = Action::RecordIntents(vec![claim.clone()]);
    let results = join_all(owners.iter().map(|owner| apply(&connection, owner, &action))).await;
    let winners: Vec<_> =
        owners.iter().zip(&results).filter(|(_, result)| result.is_ok()).map(|(owner, _)| owner).collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    for result in results.iter().filter_map(|result| result.as_ref().err()) {
        let Error::Conflict(conflict) = result else { panic!("{result:?}") };
        assert_eq!(conflict.owner.as_ref(), Some(winners[0]));
    }
    let open = fetch_catalogue(&connection).await.unwrap().intents.unwrap();
    let of_name: Vec<_> = open.iter().filter(|intent| intent.entity == claim.entity).collect();
    assert_eq!(of_name.iter().map(|intent| &intent.owner).collect::<Vec<_>>(), winners);
}

#[tokio::test]
async fn a_foreign_user_is_named_and_not_touched() {
    let (connection, stack) = (administrator().await, stack("foreign"));
    let user = stack.names.ingest_user(1);
    make_by_hand(&user).await;
    let desired = stack.desired(&stack.logins());
    let Plan { actions, conflicts } = plan(&desired, &fetch_catalogue(&connection).await.unwrap());
    assert_eq!(conflicts, [OwnershipConflict { entity: Entity::user(&user), owner: None }]);
    assert!(actions.iter().all(|action| !action.to_string().contains(&user)), "{actions:?}");
    let again =
        Action::CreateUser(desired.users.iter().find(|desired| desired.name == user).unwrap().clone());
    let error = apply(&connection, &desired.owner, &again).await.unwrap_err();
    assert_eq!(error, OwnershipConflict { entity: Entity::user(&user), owner: None }.into());
}

/// Makes a user as a person would.
async fn make_by_hand(user: &str) {
    let hash = "1".repeat(64);
    let create = format!("CREATE USER {} IDENTIFIED WITH sha256_hash BY '{hash}' HOST ANY", identifier(user));
    root().execute(&create).await.unwrap();
}

#[tokio::test]
async fn a_user_that_is_made_by_hand_after_the_claim_is_foreign() {
    let (connection, stack) = (administrator().await, stack("faster"));
    let desired = stack.desired(&stack.logins());
    let user = stack.names.ingest_user(1);
    let Plan { actions, .. } = plan(&desired, &fetch_catalogue(&connection).await.unwrap());
    let creates = |action: &&Action| action.to_string() == format!("create user {user}");
    let (before, create) =
        (actions.split(|action| creates(&action)).next().unwrap(), actions.iter().find(creates));
    for action in before {
        apply(&connection, &desired.owner, action).await.unwrap();
    }
    make_by_hand(&user).await;
    let conflict = OwnershipConflict { entity: Entity::user(&user), owner: None };
    let error = apply(&connection, &desired.owner, create.unwrap()).await.unwrap_err();
    assert_eq!(error, conflict.clone().into());
    let catalogue = fetch_catalogue(&connection).await.unwrap();
    assert_eq!(plan(&desired, &catalogue).conflicts, [conflict]);
    assert!(deletion(&desired.owner, &catalogue).iter().all(|action| !action.to_string().contains(&user)));
}

#[tokio::test]
async fn a_user_that_is_made_by_hand_after_a_refused_create_is_foreign() {
    let (connection, stack) = (make_administrator().await, stack("refused"));
    let revoke = format!("REVOKE CREATE USER ON *.* FROM {}", identifier(connection.user()));
    root().execute(&revoke).await.unwrap();
    let desired = stack.desired(&stack.logins());
    let Plan { actions, .. } = plan(&desired, &fetch_catalogue(&connection).await.unwrap());
    let mut refusal = None;
    for action in &actions {
        refusal = apply(&connection, &desired.owner, action).await.err();
        if refusal.is_some() {
            break;
        }
    }
    assert_eq!(refusal.map(|error| error.reason()), Some(Reason::ClickhousePermissionDenied));
    let user = stack.names.ingest_user(1);
    make_by_hand(&user).await;
    let conflicts = plan(&desired, &fetch_catalogue(&connection).await.unwrap()).conflicts;
    assert_eq!(conflicts, [OwnershipConflict { entity: Entity::user(&user), owner: None }]);
}

#[tokio::test]
async fn a_deleted_stack_leaves_its_data_to_its_successor() {
    let (connection, stack) = (administrator().await, stack("successor"));
    pass(&connection, &stack.desired(&stack.logins())).await;
    for action in deletion(&stack.owner, &fetch_catalogue(&connection).await.unwrap()) {
        apply(&connection, &stack.owner, &action).await.unwrap();
    }
    let catalogue = fetch_catalogue(&connection).await.unwrap();
    assert_eq!(deletion(&stack.owner, &catalogue), []);
    assert!(!catalogue.users.contains_key(&stack.names.ingest_user(1)));
    assert!(!catalogue.roles.contains(&stack.names.ingest_role()));
    assert!(catalogue.databases.contains(&stack.names.database));
    let user = stack.names.ingest_user(1);
    assert_eq!(code_of(&login(&connection, &user), "SELECT 1").await, Some(516));

    let successor = Stack {
        owner: Owner { uid: "another".into(), ..stack.owner.clone() },
        names: stack.names.clone(),
        forms: Forms::default(),
    };
    let desired = successor.desired(&successor.logins());
    pass(&connection, &desired).await;
    assert_eq!(pass(&connection, &desired).await, []);
    prove(&connection, &user, &password_of(&user).into(), &desired.required(&user)).await.unwrap();
}

#[tokio::test]
async fn a_new_migration_run_ends_the_query_of_the_earlier_one() {
    let (connection, root, stack) = (administrator().await, root(), stack("fence"));
    let first = stack.migration("0000aaaa");
    pass(&connection, &stack.desired(std::slice::from_ref(&first))).await;
    let query = begun_query(&login(&connection, &first.user), &root).await;
    let next = stack.migration("1111bbbb");
    pass(&connection, &stack.desired(std::slice::from_ref(&next))).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), query).await.expect("the query ends").unwrap();
    assert!(ended.is_err());
    assert_eq!(code_of(&login(&connection, &first.user), "SELECT 1").await, Some(516));
    prove(&connection, &next.user, &password_of(&next.user).into(), &[]).await.unwrap();
}

/// Starts a query of almost a minute and waits until the server shows it as running.
async fn begun_query(client: &Connection, root: &Connection) -> JoinHandle<Result<(), clickhouse::Error>> {
    let long = "SELECT sleepEachRow(1) FROM numbers(50) SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0";
    let running = format!("SELECT count() FROM system.processes WHERE user = {}", literal(client.user()));
    // A restart of the engine for another test ends queries, also one that nobody has seen yet.
    for _ in 0..10 {
        let client = client.clone();
        let query = tokio::spawn(async move { client.execute(long).await });
        while !query.is_finished() {
            if root.value(&running).await.unwrap() != "0" {
                return query;
            }
        }
    }
    panic!("a query of {} is ended again and again before it is seen", client.user());
}

#[tokio::test]
async fn each_fault_has_its_reason_and_no_secret_in_its_text() {
    let connection = administrator().await;
    let user = connection.user();
    let wrong = connect(&settings(), user, "canary-password");
    let unreachable = ConnectionSettings { endpoints: vec!["http://127.0.0.1:1".into()], ..settings() };
    let stack = stack("fault");
    let desired = stack.desired(&stack.logins());
    pass(&connection, &desired).await;
    let ingest = login(&connection, &stack.names.ingest_user(1));
    let no_right = ingest
        .execute("CREATE USER `canary` IDENTIFIED WITH sha256_hash BY 'canary-hash'")
        .await
        .unwrap_err();
    assert!(
        matches!(&no_right.failure, Failure::Server { privilege: Some(privilege), .. } if privilege == "CREATE USER")
    );
    let cases = [
        (fetch_catalogue(&wrong).await.unwrap_err(), Reason::ClickhouseAuthenticationFailed),
        (
            fetch_catalogue(&connect(&unreachable, user, "canary-password")).await.unwrap_err(),
            Reason::ClickhouseUnreachable,
        ),
        (no_right, Reason::ClickhousePermissionDenied),
        (
            connection.execute("SELECT canary FROM weir_canary.canary").await.unwrap_err(),
            Reason::ClickhouseError,
        ),
    ];
    for (error, reason) in cases {
        assert_eq!(error.reason(), reason, "{error}");
        let shown = format!("{error} {error:?} {}", error.hint());
        assert!(!shown.contains("canary"), "{shown}");
    }
}
