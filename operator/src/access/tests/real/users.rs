//! Readers by their profile, and the end of old users.

use super::client::Client;
use super::*;

/// Codes with which ClickHouse refuses a setting: of a reader that is read-only, and beyond its limits.
const READONLY: &str = "164";
const SETTING_CONSTRAINT_VIOLATION: &str = "452";

#[tokio::test]
async fn an_old_user_ends_at_its_cap_without_anybody_and_its_use_is_seen_until_then() {
    use k8s_openapi::jiff::{SignedDuration, Timestamp};
    let (connection, root, stack) = (administrator().await, root(), stack("expire"));
    let desired = stack.desired(&stack.logins());
    pass(&connection, &desired).await;
    let (old, idle) = (stack.names.ingest_user(1), stack.names.reader_user("bi", 1));
    let used = login(&connection, &old);
    used.value("SELECT 1").await.unwrap();
    let users = [old.clone(), idle.clone()];
    root.execute("SYSTEM FLUSH LOGS").await.unwrap();
    // Only its owner's use counts, not a proof of the operator.
    let seen = fetch_last_use(&connection, &users).await.unwrap();
    assert_eq!(seen[&old], Logged { last_use: None, is_logged: true });
    assert_eq!(seen[&idle], Logged { last_use: None, is_logged: false }, "nobody ever logged in");
    assert_eq!(Client::new(&old).query("", "SELECT 2").await.as_deref(), Ok("2"));
    root.execute("SYSTEM FLUSH LOGS").await.unwrap();
    let seen = fetch_last_use(&connection, &users).await.unwrap();
    let now = Timestamp::now().as_second();
    assert!(seen[&old].last_use.is_some_and(|at| (now - 60..=now + 1).contains(&at)), "{seen:?}");
    assert_eq!(seen[&idle].last_use, None);

    let until = Timestamp::now().checked_add(SignedDuration::from_hours(1)).unwrap();
    let expire = |until| Action::ExpireUser(old.clone(), until);
    apply(&connection, &desired.owner, &expire(until)).await.unwrap();
    assert_eq!(code_of(&used, "SELECT 1").await, None, "it ends only later");
    let past = Timestamp::now().checked_sub(SignedDuration::from_secs(2)).unwrap();
    apply(&connection, &desired.owner, &expire(past)).await.unwrap();
    assert_eq!(code_of(&used, "SELECT 1").await, Some(516));
    assert_eq!(pass(&connection, &desired).await, [], "a pass gives it nothing back");
}

#[tokio::test]
async fn two_passwords_of_one_user_overlap_and_the_old_one_ends_at_its_moment_without_anybody() {
    use k8s_openapi::jiff::{SignedDuration, Timestamp};
    let (connection, stack) = (administrator().await, stack("passwords"));
    let user = stack.names.reader_login("bi");
    let [old, new] = ["old", "new"].map(|word| format!("{word} password of {user}"));
    let hash = |password: &String| PasswordHash::of(password);
    let desired = |passwords: Vec<Password>| {
        stack.desired(&[Login { user: user.clone(), purpose: Purpose::Reader("bi".into()), passwords }])
    };
    let is_let_in = async |password: &String| {
        let login = connection.with_login(&user, password.clone().into());
        match code_of(&login, "SELECT 1").await {
            None => true,
            Some(516) => false,
            Some(code) => panic!("{code}"),
        }
    };
    pass(&connection, &desired(vec![Password::endless(hash(&old))])).await;
    assert!(is_let_in(&old).await && !is_let_in(&new).await);

    let both = desired(vec![Password::endless(hash(&new)), Password::endless(hash(&old))]);
    let install = add_password(&both, &Catalogue::default(), &user).unwrap();
    apply(&connection, &both.owner, &install).await.unwrap();
    assert!(is_let_in(&old).await && is_let_in(&new).await, "the list lets both in");
    prove(&connection, &user, &new.clone().into(), &both.required(&user)).await.unwrap();
    assert_eq!(pass(&connection, &both).await, [], "a pass takes none of them away");

    let limit = async |until: Timestamp| {
        let limit = limit_passwords(&both, &user, &[(hash(&old), until)]).unwrap();
        apply(&connection, &both.owner, &limit).await.unwrap();
    };
    let now = Timestamp::now();
    limit(now.checked_add(SignedDuration::from_hours(1)).unwrap()).await;
    assert!(is_let_in(&old).await && is_let_in(&new).await, "it ends only later");
    limit(now.checked_sub(SignedDuration::from_secs(2)).unwrap()).await;
    assert!(!is_let_in(&old).await && is_let_in(&new).await, "only one of them ends");

    let alone = desired(vec![Password::endless(hash(&new))]);
    apply(&connection, &alone.owner, &limit_passwords(&alone, &user, &[]).unwrap()).await.unwrap();
    assert!(!is_let_in(&old).await && is_let_in(&new).await);
    prove(&connection, &user, &new.clone().into(), &alone.required(&user)).await.unwrap();
}

#[tokio::test]
async fn a_reader_of_hyperdx_may_change_exactly_four_settings_and_custom_what_it_was_given() {
    let (connection, root, stack) = (administrator().await, root(), stack("profiles"));
    let tables = vec![("events".to_owned(), vec!["a".to_owned()]), ("links".to_owned(), Vec::new())];
    let limited = Setting { value: Some("2".into()), max: Some("4".into()), ..Setting::plain("max_threads") };
    let readers = [
        Reader { settings: hyperdx_settings(), ..reader("hyperdx") },
        Reader { reads: Reads::Tables(tables), settings: vec![limited], ..reader("custom") },
        Reader { hosts: Hosts::Networks(["192.0.2.0/24".to_owned()].into()), ..reader("elsewhere") },
    ];
    let login = |name: &str| {
        let user = stack.names.reader_user(name, 1);
        let passwords = passwords_of(&user);
        Login { user, purpose: Purpose::Reader(name.into()), passwords }
    };
    let logins: Vec<_> = readers.iter().map(|reader| login(&reader.name)).collect();
    let desired = stack.desired_with(&readers, &logins);
    pass(&connection, &desired).await;
    assert_eq!(pass(&connection, &desired).await, [], "a second pass");

    let database = identifier(&stack.names.database);
    for statement in [
        format!("CREATE TABLE {database}.events (a Int8, b Int8) ENGINE = MergeTree ORDER BY a"),
        format!("CREATE TABLE {database}.links (a Int8) ENGINE = MergeTree ORDER BY a"),
    ] {
        root.execute(&statement).await.unwrap();
    }
    let [hyperdx, custom, elsewhere] =
        ["hyperdx", "custom", "elsewhere"].map(|name| stack.names.reader_user(name, 1));
    for user in [&hyperdx, &custom] {
        prove(&connection, user, &password_of(user).into(), &desired.required(user)).await.unwrap();
    }
    assert!(prove(&connection, &elsewhere, &password_of(&elsewhere).into(), &[]).await.is_err());

    let count = format!("SELECT count() FROM {database}.events");
    let [as_hyperdx, as_custom] = [&hyperdx, &custom].map(|user| Client::new(user));
    for setting in [
        "max_rows_to_read=1000000",
        "read_overflow_mode=break",
        "cancel_http_readonly_queries_on_client_close=1",
        "wait_end_of_query=1",
    ] {
        assert_eq!(as_hyperdx.query(setting, &count).await.err(), None, "{setting}");
    }
    for setting in ["max_threads=1", "readonly=0", "log_comment=x"] {
        assert_eq!(as_hyperdx.query(setting, &count).await, Err(READONLY.to_owned()), "{setting}");
    }
    let first = format!("SELECT a FROM {database}.events");
    assert_eq!(as_custom.query("max_threads=4", &first).await.err(), None);
    assert_eq!(as_custom.query("max_threads=5", &first).await, Err(SETTING_CONSTRAINT_VIOLATION.to_owned()));
    assert!(as_custom.query("", &format!("SELECT b FROM {database}.events")).await.is_err());
    assert!(as_custom.query("", &format!("SELECT a FROM {database}.links")).await.is_ok());

    // Somebody widens a reader by hand.
    let user = identifier(&hyperdx);
    root.execute(&format!("ALTER USER {user} SETTINGS readonly = 0")).await.unwrap();
    let user = identifier(&elsewhere);
    root.execute(&format!("ALTER USER {user} HOST ANY")).await.unwrap();
    assert_eq!(pass(&connection, &desired).await.len(), 2);
    assert_eq!(pass(&connection, &desired).await, []);
    assert_eq!(as_hyperdx.query("readonly=0", &count).await, Err(READONLY.to_owned()));
}

#[tokio::test]
async fn a_user_whose_queries_are_not_logged_is_not_called_unused_and_logs_that_cannot_be_read_are_an_error()
{
    let (connection, root, stack) = (administrator().await, root(), stack("unlogged"));
    let desired = stack.desired(&stack.logins());
    pass(&connection, &desired).await;
    let [logged, unlogged] = [stack.names.ingest_user(1), stack.names.reader_user("bi", 1)];
    let silence = format!("ALTER USER {} SETTINGS log_queries = 0", identifier(&unlogged));
    root.execute(&silence).await.unwrap();
    for user in [&logged, &unlogged] {
        prove(&connection, user, &password_of(user).into(), &desired.required(user)).await.unwrap();
    }
    root.execute("SYSTEM FLUSH LOGS").await.unwrap();
    let users = [logged.clone(), unlogged.clone()];
    let seen = fetch_last_use(&connection, &users).await.unwrap();
    assert_eq!(seen[&logged], Logged { last_use: None, is_logged: true });
    assert_eq!(seen[&unlogged], Logged { last_use: None, is_logged: false });

    // An administrator who may not read them sees what one sees where they are switched off: an error, not an empty log.
    let blind = make_administrator().await;
    let revoke = format!("REVOKE SELECT ON system.query_log FROM {}", identifier(blind.user()));
    root.execute(&revoke).await.unwrap();
    assert_eq!(fetch_last_use(&blind, &users).await.unwrap_err().code(), Some(497));
}
