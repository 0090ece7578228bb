//! Restarts of the engine and of the server, as clients see them: not at all.

use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use weir_e2e::clickhouse::Server;

use crate::client::{ADMIN, FIRST, Folder, address, ask, options, run, start, try_ask};

const ANN: (&str, &str) = ("ann", FIRST);
const CREATE_ANN: &str = "CREATE USER ann IDENTIFIED WITH sha256_hash BY '{first}'";
/// A query of a minute.
const LONG: &str = "SELECT sleepEachRow(1) FROM numbers(60) SETTINGS function_sleep_max_microseconds_per_block = 0, max_block_size = 1";

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_statements_share_restarts_and_sequential_ones_do_not() {
    let folder = Folder::new("share");
    let server = start(&folder.0).await;
    let statements: Vec<_> = (0..20).map(|n| format!("CREATE ROLE together_{n}")).collect();
    join_all(statements.iter().map(|sql| run(&server, sql))).await;
    let together = server.restarts();
    assert!((1..=5).contains(&together), "20 concurrent statements took {together} restarts");

    for n in 0..3 {
        run(&server, &format!("CREATE ROLE alone_{n}")).await;
    }
    assert_eq!(server.restarts(), together + 3);
    assert_eq!(run(&server, "SELECT count() FROM system.roles").await, "23");

    let first = run(&server, "CREATE ROLE IF NOT EXISTS alone_0").await;
    assert_eq!(
        (first.as_str(), server.restarts()),
        ("", together + 3),
        "nothing changed, so nothing restarts"
    );
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_creations_of_one_name_have_one_winner() {
    let folder = Folder::new("winner");
    let server = start(&folder.0).await;
    let answers = join_all((0..8).map(|_| ask(&server, ADMIN, "CREATE ROLE contested"))).await;
    let mut codes: Vec<_> = answers.iter().map(|answer| answer.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 493, 493, 493, 493, 493, 493, 493]);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_set_of_users_is_imported_in_one_restart() {
    let folder = Folder::new("import");
    let server = start(&folder.0).await;
    let mut statements =
        vec!["CREATE ROLE shared".to_owned(), "GRANT SELECT ON system.one TO shared".to_owned()];
    let create = crate::client::with_hashes("IDENTIFIED WITH sha256_hash BY '{first}' DEFAULT ROLE shared");
    statements.extend((0..300).map(|n| format!("CREATE USER imported_{n} {create}")));
    server.import(&statements).await.unwrap();
    assert_eq!(server.restarts(), 1);
    let answer = ask(&server, ("imported_299", FIRST), "SELECT * FROM system.one").await;
    assert_eq!((answer.code, answer.text.as_str()), (0, "0"));
    server.import(&["CREATE ROLE shared"]).await.unwrap_err();
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_sees_a_restart() {
    let folder = Folder::new("invisible");
    let server = start(&folder.0).await;
    run(&server, "CREATE DATABASE shop").await;
    run(&server, "CREATE TABLE shop.t (a Int32) ENGINE MergeTree ORDER BY a").await;
    let at = address(&server);
    let clients = (0..6).map(|client| async move {
        for n in 0..60 {
            let answer = try_ask(at, ADMIN, "/", &format!("INSERT INTO shop.t VALUES ({client}{n})")).await?;
            anyhow::ensure!(answer.code == 0, "{}", answer.text);
        }
        Ok(())
    });
    let changes = async {
        for n in 0..4 {
            run(&server, &format!("CREATE ROLE r{n}")).await;
        }
    };
    let (inserted, ()) = tokio::join!(try_join_all(clients), changes);
    inserted.unwrap();
    assert_eq!(run(&server, "SELECT count() FROM shop.t").await, "360");
    assert_eq!(server.restarts(), 4);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_user_is_refused_at_once_and_its_query_can_be_killed_while_draining() {
    let folder = Folder::new("revoke");
    let server = start(&folder.0).await;
    run(&server, CREATE_ANN).await;
    let at = address(&server);
    let long = tokio::spawn(async move { try_ask(at, ANN, "/", LONG).await });
    while run(&server, "SELECT count() FROM system.processes WHERE user = 'ann'").await != "1" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let began = Instant::now();
    run(&server, "DROP USER ann").await;
    assert_eq!(ask(&server, ANN, "SELECT 1").await.code, 516);
    run(&server, "KILL QUERY WHERE user = 'ann' SYNC").await;
    assert_eq!(run(&server, "SELECT count() FROM system.users WHERE name = 'ann'").await, "0");
    assert!(began.elapsed() < Duration::from_secs(10), "revoked after {:?}", began.elapsed());
    let ended = long.await.unwrap();
    assert!(ended.is_err() || ended.is_ok_and(|answer| answer.text.contains("QUERY_WAS_CANCELLED")));
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_outlasts_the_drain_is_killed() {
    let folder = Folder::new("outlast");
    let options = weir_e2e::clickhouse::Options { drain: Duration::from_secs(1), ..options(&folder.0) };
    let server = Server::start(options).await.unwrap();
    let at = address(&server);
    let long = tokio::spawn(async move { try_ask(at, ADMIN, "/", LONG).await });
    while run(&server, "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleepEachRow(1)%'")
        .await
        != "1"
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let began = Instant::now();
    run(&server, "CREATE ROLE r").await;
    assert!(began.elapsed() < Duration::from_secs(15), "restarted after {:?}", began.elapsed());
    drop(long.await.unwrap());
    run(&server, "SYSTEM FLUSH LOGS").await;
    let ended =
        "SELECT countIf(query LIKE 'SELECT sleepEachRow(1)%' AND exception_code = 394) FROM system.query_log";
    assert_eq!(run(&server, ended).await, "1", "the log of the engine that was restarted is kept");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_refused_from_its_last_moment_on() {
    let folder = Folder::new("validity");
    let server = start(&folder.0).await;
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(4);
    let both = format!(
        "IDENTIFIED WITH sha256_hash BY '{{first}}' VALID UNTIL '{until}', sha256_hash BY '{{second}}'"
    );
    run(&server, &format!("CREATE USER ann {both}")).await;
    assert_eq!(ask(&server, ANN, "SELECT 1").await.code, 0);
    let restarts = server.restarts();
    while jiff::Timestamp::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(ask(&server, ANN, "SELECT 1").await.code, 516);
    assert_eq!(ask(&server, ("ann", crate::client::SECOND), "SELECT 1").await.code, 0);
    assert_eq!(server.restarts(), restarts);
    run(&server, "SYSTEM FLUSH LOGS").await;
    let failures = "SELECT count() FROM system.session_log WHERE user = 'ann' AND type = 'LoginFailure'";
    assert_eq!(run(&server, failures).await, "1", "the engine itself has seen the refusal");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_the_engine_is_survived() {
    let folder = Folder::new("death");
    let server = start(&folder.0).await;
    run(&server, "CREATE DATABASE shop").await;
    run(&server, "CREATE TABLE shop.t (a Int32) ENGINE MergeTree ORDER BY a").await;
    run(&server, CREATE_ANN).await;
    for n in 0..3 {
        run(&server, &format!("INSERT INTO shop.t VALUES ({n})")).await;
        let at = address(&server);
        let long = tokio::spawn(async move { try_ask(at, ADMIN, "/", LONG).await });
        while run(&server, "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleepEachRow(1)%'")
            .await
            != "1"
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server.kill_engine().unwrap();
        let in_flight = long.await.unwrap();
        assert!(in_flight.is_err() || in_flight.is_ok_and(|answer| answer.status == 502));
        assert_eq!(ask(&server, ANN, "SELECT 1").await.text, "1");
    }
    assert_eq!(run(&server, "SELECT count() FROM shop.t").await, "3");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn data_users_and_logs_survive_a_restart_of_the_server() {
    let folder = Folder::new("again");
    let server = start(&folder.0).await;
    let ca = server.ca_pem().unwrap().to_owned();
    run(&server, "CREATE DATABASE shop").await;
    run(&server, "CREATE TABLE shop.t (a Int32) ENGINE MergeTree ORDER BY a").await;
    run(&server, "INSERT INTO shop.t VALUES (7)").await;
    run(&server, "CREATE ROLE reader").await;
    run(&server, "GRANT SELECT ON shop.* TO reader").await;
    run(&server, &format!("{CREATE_ANN} DEFAULT ROLE reader")).await;
    ask(&server, ANN, "SELECT 'before', a FROM shop.t SETTINGS log_comment = 'kept'").await;
    run(&server, "CREATE ROLE between").await;
    server.stop().await.unwrap();

    let server = start(&folder.0).await;
    assert_eq!(server.ca_pem(), Some(ca.as_str()));
    assert_eq!(ask(&server, ANN, "SELECT a FROM shop.t").await.text, "7");
    let kept = "SELECT count() FROM system.query_log WHERE user = 'ann' AND log_comment = 'kept' AND type = 'QueryFinish'";
    assert_eq!(run(&server, kept).await, "1");
    let logins = "SELECT count() FROM system.session_log WHERE user = 'ann' AND type = 'LoginSuccess'";
    assert_ne!(run(&server, logins).await, "0");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_stand_side_by_side() {
    let folders = (Folder::new("left"), Folder::new("right"));
    let (left, right) = tokio::join!(start(&folders.0.0), start(&folders.1.0));
    run(&left, CREATE_ANN).await;
    assert_eq!(ask(&left, ANN, "SELECT 1").await.code, 0);
    assert_eq!(ask(&right, ANN, "SELECT 1").await.code, 516);
    tokio::try_join!(left.stop(), right.stop()).unwrap();
}
