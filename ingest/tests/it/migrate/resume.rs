//! A run that dies at any request is resumed, and several runs at once make one history.

use std::time::Duration;

use futures::future::join_all;
use weir_ingest::clickhouse::Client;
use weir_ingest::migrate::Options;
use weir_ingest::migrate::Report;
use weir_ingest::migrate::apply;

use super::database::Database;
use super::database::with_database;
use super::proxy;
use super::proxy::Cut;

/// More requests than a whole run makes.
const MAX_REQUESTS: usize = 200;

/// How often a run may fail for the load of the other runs; a Job repeats it as well.
const ATTEMPTS: usize = 5;

/// Runs as a Job does: again after a fault that passes, a lost lock or a late answer.
async fn apply_again(client: &Client, options: &Options) -> Report {
    for _ in 1..ATTEMPTS {
        match apply(client, options).await {
            Err(error) if error.is_temporary() => {}
            done => return done.unwrap(),
        }
    }
    apply(client, options).await.unwrap()
}

/// Dies at one request, runs again; true when the first run got through before the cut.
async fn die_and_resume(database: Database, expected: &str, cut: Cut) -> bool {
    let mut options = database.options();
    options.lock_times.expiry = Duration::from_secs(3);
    let mut settings = database.settings.clone();
    settings.endpoints = vec![proxy::start(&settings.endpoints[0], cut).await];
    let dying = apply(&Client::new(&settings).unwrap(), &options).await;
    if let Err(error) = &dying {
        assert!(error.is_temporary(), "{cut:?}: {}", error.paragraph());
    }
    let report = apply_again(&database.client, &options).await;
    assert_eq!(report.version, 2, "{cut:?}");
    assert_eq!(database.fingerprint().await, expected, "{cut:?}");
    assert_eq!(database.ledger_rows().await, options.steps.len(), "{cut:?}");
    dying.is_ok()
}

#[tokio::test]
async fn a_run_that_dies_at_any_request_is_resumed_to_the_same_schema() {
    with_database(|database| async move {
        apply(&database.client, &database.options()).await.unwrap();
        let expected = database.fingerprint().await;
        let mut next = 0;
        let mut has_got_through = false;
        while !has_got_through {
            let points = next..next + 8;
            next = points.end;
            assert!(next < MAX_REQUESTS, "a whole run makes fewer requests");
            // Both ways to die at the same request would double the time: they alternate.
            let runs = points.map(|after| {
                let expected = expected.clone();
                async move {
                    let (tell, told) = tokio::sync::oneshot::channel();
                    with_database(move |database| async move {
                        let cut = Cut { after, delivers_last: after % 2 == 0 };
                        tell.send(die_and_resume(database, &expected, cut).await).unwrap();
                    })
                    .await;
                    told.await.unwrap()
                }
            });
            has_got_through = join_all(runs).await.into_iter().any(|got_through| got_through);
        }
    })
    .await;
}

#[tokio::test]
async fn four_runs_at_once_make_one_history() {
    for _ in 0..3 {
        with_database(|database| async move {
            let options = database.options();
            let clients: Vec<_> = (0..4).map(|_| Client::new(&database.settings).unwrap()).collect();
            let runs = join_all(clients.iter().map(|client| apply(client, &options))).await;
            let reports: Vec<Report> = runs.into_iter().map(|run| run.unwrap()).collect();
            assert!(reports.iter().all(|report| report.version == 2), "{reports:?}");
            let statements: usize = reports.iter().map(|report| report.statements).sum();
            assert_eq!(statements, options.steps.len(), "each statement was run by one of them");
            assert_eq!(database.ledger_rows().await, options.steps.len());
            assert_eq!(database.query("SELECT uniqExact(run_id) FROM {db}.schema_migrations").await, "1");
        })
        .await;
    }
}
