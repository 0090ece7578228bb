//! The end of a process: nothing acknowledged is lost, nothing begun is cut.

use http::Method;
use serde_json::json;
use weir_ingest::service::Ended;

use crate::service::settings;
use crate::service::start_with;

#[tokio::test]
async fn termination_answers_what_has_begun_and_stores_all_that_was_acknowledged() {
    let mut args = settings();
    args.drain_seconds = Some("5".into());
    let mut service = start_with(args).await;
    service.ready().await;
    let body =
        |id: usize| json!({"api_key": "first-key", "batch": [{"event": "a", "distinct_id": id.to_string()}]});
    let headers = [("content-type", "application/json")];
    let sent = (0..40).map(|id| service.request(Method::POST, "/batch/", body(id).to_string(), &headers));
    let mut sending = futures::future::join_all(sent);
    // The first poll writes the requests; the termination then finds them under way.
    assert!(futures::poll!(&mut sending).is_pending());
    let answers = sending.await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    service.terminate();
    crate::service::eventually(async || service.admin("/readyz").await.status == 503).await;
    let late = service.request(Method::POST, "/batch/", body(40).to_string(), &headers).await;
    assert_eq!(late.status, 200, "connections are accepted until load balancers have noticed");
    let count = async |service: &crate::service::Running| service.value("SELECT count() FROM events").await;
    assert_eq!(count(&service).await, "41");
    let drop_database = format!("DROP DATABASE {}", service.database);
    let clickhouse = service.clickhouse.clone();
    assert_eq!(service.ended().await, Ended::Drained);
    clickhouse.without_database().execute(&drop_database).await.unwrap();
}
