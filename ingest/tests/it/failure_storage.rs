//! ClickHouse failing under load in every way: each time readers see what was acknowledged, and each event once.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use weir_ingest::clickhouse::Route;

use crate::cable::State;
use crate::cable::cabled;
use crate::load;
use crate::service::Running;
use crate::service::settings;
use crate::service::start;

/// Makes rounds, each on a service of its own, until ClickHouse ran through one: other tests have it started anew, and
/// then it is not trusted to know its tokens.
async fn undisturbed<T>(round: impl AsyncFn() -> (Running, T)) -> T {
    loop {
        let began = Instant::now();
        let (service, told) = round().await;
        // It counts whole seconds, so within the round it is trusted only when it began a second before.
        let before = began - Duration::from_secs(1);
        let ran_through = service.clickhouse.has_run_since(before, &mut Route::default()).await;
        service.clean().await;
        if ran_through {
            return told;
        }
    }
}

/// Runs a load; the storage fails after a moment and is mended after another one.
async fn survives(state: State) {
    let (service, cable) = cabled().await;
    let acknowledged = AtomicUsize::default();
    let faults = async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        cable.set(state);
        tokio::time::sleep(Duration::from_millis(2500)).await;
        cable.set(State::Whole);
    };
    tokio::join!(load::send(&service, &acknowledged), faults);
    load::assert_all_once(&service).await;
    service.clean().await;
}

#[tokio::test]
async fn a_cut_connection_loses_and_doubles_nothing() {
    survives(State::Cut).await;
}

#[tokio::test]
async fn a_hanging_clickhouse_loses_and_doubles_nothing() {
    survives(State::Hanging).await;
}

#[tokio::test]
async fn answers_after_the_deadline_lose_and_double_nothing() {
    survives(State::Late).await;
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again_with_the_same_bytes_and_token() {
    let (answer, stored, metrics) = undisturbed(async || {
        let (service, cable) = cabled().await;
        service.ready().await;
        let one = json!({"api_key": "first-key", "batch": [{"event": "a", "distinct_id": "u1"}]});
        cable.lose_answers(1);
        let answer = service.post(one.to_string(), &[]).await;
        let stored = service.value("SELECT count() FROM events_data").await;
        let metrics = service.admin("/metrics").await.body.to_string();
        (service, (answer, stored, metrics))
    })
    .await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(stored, "1", "not only for readers: stored once");
    assert!(metrics.contains("weir_ingest_insert_failures_total{class=\\\"unknown\\\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_refused_block_is_sent_again_with_another_token() {
    let service = start().await;
    let one =
        |event| json!({"api_key": "first-key", "batch": [{"event": event, "distinct_id": "u1"}]}).to_string();
    assert_eq!(service.post(one("first"), &[]).await.status, 200);
    let alter = |parts| {
        format!(
            "ALTER TABLE events_data MODIFY SETTING parts_to_delay_insert = {parts}, parts_to_throw_insert = {parts}"
        )
    };
    service.clickhouse.execute(&alter(1)).await.unwrap();
    let mend = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        service.clickhouse.execute(&alter(1000)).await.unwrap();
    };
    let (answer, ()) = tokio::join!(service.post(one("refused"), &[]), mend);
    assert_eq!(answer.status, 200);
    service.clickhouse.execute("SYSTEM FLUSH LOGS query_log").await.unwrap();
    let inserts = "FROM system.query_log WHERE current_database = currentDatabase() AND query_kind = 'Insert' \
                   AND query LIKE 'INSERT INTO events_data %'";
    let tokens = |of: &str| format!("groupUniqArrayIf(Settings['insert_deduplication_token'], {of})");
    let (stored, refused) = (tokens("type = 'QueryFinish'"), tokens("exception_code = 252"));
    // A ClickHouse that is started anew meanwhile for another test adds tokens, and never one that it refused.
    let told =
        format!("SELECT (length({stored}) >= 2, notEmpty({refused}), hasAny({stored}, {refused})) {inserts}");
    assert_eq!(service.value(&told).await, "(1,1,0)", "stored, refused, and both");
    service.clean().await;
}

/// Runs a load while the table refuses inserts for a setting of its own.
async fn survives_setting(setting: &str, reset: &str) {
    let mut args = settings();
    args.clickhouse_timeout_ms = Some("1000".into());
    let service = crate::service::start_with(args).await;
    let acknowledged = AtomicUsize::default();
    let alter = |change: String| format!("ALTER TABLE events_data MODIFY SETTING {change}");
    let faults = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        service.clickhouse.execute(&alter(setting.to_owned())).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        service.clickhouse.execute(&alter(reset.to_owned())).await.unwrap();
    };
    tokio::join!(load::send(&service, &acknowledged), faults);
    load::assert_all_once(&service).await;
    service.clean().await;
}

#[tokio::test]
async fn a_full_disk_of_clickhouse_loses_and_doubles_nothing() {
    let setting = "min_free_disk_bytes_to_perform_insert";
    survives_setting(&format!("{setting} = 1000000000000000"), &format!("{setting} = 0")).await;
}

#[tokio::test]
async fn a_read_only_table_loses_and_doubles_nothing() {
    survives_setting("table_readonly = 1", "table_readonly = 0").await;
}

#[tokio::test]
async fn too_many_parts_lose_and_double_nothing() {
    survives_setting(
        "parts_to_delay_insert = 1, parts_to_throw_insert = 1",
        "parts_to_delay_insert = 1000, parts_to_throw_insert = 3000",
    )
    .await;
}

#[tokio::test]
async fn an_endpoint_that_fails_is_left_for_the_next_one_and_taken_again_later() {
    let direct = settings();
    let url = direct.clickhouse_url.clone().unwrap();
    let (mut args, client, cable) = crate::cable::lay(direct).await;
    args.clickhouse_url = Some(format!("{}, {url}", args.clickhouse_url.unwrap()));
    let service =
        crate::service::serve(&weir_ingest::settings::Settings::from_args(&args).unwrap(), client).await;
    service.ready().await;
    cable.set(State::Cut);
    let one = json!({"api_key": "first-key", "batch": [{"event": "a", "distinct_id": "u1"}]}).to_string();
    // A pooled connection may be cut in the middle, which is an unknown outcome and stays with its endpoint.
    let first = service.post(one.clone(), &[]).await.status.as_u16();
    assert!(matches!(first, 200 | 503), "{first}");
    for _ in 0..3 {
        assert_eq!(service.post(one.clone(), &[]).await.status, 200);
    }
    service.clean().await;
}

#[tokio::test]
async fn a_service_without_faults_stores_the_load() {
    let service = start().await;
    load::send(&service, &AtomicUsize::default()).await;
    load::assert_all_once(&service).await;
    service.clean().await;
}
