//! PostHog's capture paths: every way to wrap a body, tolerance, keys and times, as the rows show them.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use serde_json::json;

use crate::service::Running;
use crate::service::open_settings;
use crate::service::settings;
use crate::service::start;
use crate::service::start_with;

const BASE64: &str = "eyJldmVudCI6ImJhc2U2NCIsImRpc3RpbmN0X2lkIjoidSIsInRva2VuIjoiZmlyc3Qta2V5In0=";
const LZ: &str = "N4IgpgbmB2AuIC4QBsBeIA0IAmBLAzrLtAMawD6u2iIArpiLAPYDWMNAZrgE6EC0bAJ4gAvkA===";

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn lone(name: &str) -> String {
    json!({"event": name, "distinct_id": "u", "token": "first-key"}).to_string()
}

/// The names of all events, in order, once everything is merged.
async fn names(service: &Running) -> String {
    service.value("SELECT arrayStringConcat(arraySort(groupArray(event)), ',') FROM events").await
}

async fn taken(service: &Running, path: &str, body: impl Into<Vec<u8>>, headers: &[(&str, &str)]) {
    let answer = service.request(Method::POST, path, body.into(), headers).await;
    assert_eq!(answer.status, 200, "{path} {headers:?}: {:?}", answer.body);
    assert_eq!((&answer.body["status"], &answer.body["ingested"]), (&json!("Ok"), &json!(1)), "{path}");
}

#[tokio::test]
async fn every_path_takes_events_with_and_without_a_slash() {
    let service = start().await;
    let paths = ["/e", "/i/v0/e", "/batch", "/capture", "/track", "/engage", "/i/v0/ai/batch"];
    for path in paths {
        for path in [path.to_owned(), format!("{path}/")] {
            taken(&service, &path, lone(&format!("at {path}")), &[]).await;
        }
    }
    assert_eq!(service.value("SELECT uniqExact(event) FROM events").await, "14");
    assert_eq!(service.value("SELECT groupUniqArray(api_key) FROM events").await, "['env-1']");
    service.clean().await;
}

#[tokio::test]
async fn every_wrapping_of_a_body_is_taken_off() {
    let service = start().await;
    let form = [("content-type", "application/x-www-form-urlencoded; charset=UTF-8")];
    let percent = BASE64.replace('=', "%3D");
    taken(&service, "/e/", gzip(&lone("gzip, no hint")), &[("content-type", "text/plain")]).await;
    taken(&service, "/e/?compression=gzip-js", gzip(&lone("gzip, hint")), &[]).await;
    taken(&service, "/batch/", gzip(&lone("gzip, header")), &[("content-encoding", "gzip")]).await;
    taken(&service, "/batch/", lone("plain, called gzip"), &[("content-encoding", "gzip")]).await;
    taken(&service, "/e/", lone("plain text"), &[("content-type", "text/plain;charset=UTF-8")]).await;
    taken(&service, "/e/", lone("called a form"), &form).await;
    taken(&service, "/e/?compression=base64", BASE64, &[]).await;
    taken(&service, "/e/", BASE64, &[]).await;
    taken(&service, "/e/?ip=1&_=1&ver=1.57.4", format!("data={percent}"), &form).await;
    taken(&service, "/e/", format!("data={LZ}&compression=lz64"), &form).await;
    taken(&service, "/e/?compression=lz-string", LZ, &[]).await;
    let get = service.request(Method::GET, &format!("/e/?data={percent}"), "", &[]).await;
    assert_eq!((get.status.as_u16(), &get.body["ingested"]), (200, &json!(1)));
    service.clean().await;
}

#[tokio::test]
async fn a_beacon_is_answered_204_and_nothing_else_is() {
    let service = start().await;
    let answer = service.request(Method::POST, "/e/?beacon=1", lone("a"), &[]).await;
    assert_eq!(answer.status, 204);
    assert_eq!(service.request(Method::POST, "/e/?beacon=1", "[]", &[]).await.status, 400);
    assert_eq!(names(&service).await, "a");
    service.clean().await;
}

#[tokio::test]
async fn a_bad_event_costs_itself_and_a_request_without_a_good_one_says_why() {
    let service = start().await;
    let batch = json!({"api_key": "first-key", "batch": [
        {"event": "good", "distinct_id": "u", "timestamp": "soon", "properties": null},
        {"event": "no id"}, {"distinct_id": "u"}, {"event": 7, "distinct_id": "u"}, null, [1], "text",
        {"event": "bad uuid", "distinct_id": "u", "uuid": "x"},
        {"event": "bad properties", "distinct_id": "u", "properties": []},
        {"event": "any id", "distinct_id": {"a": 1}, "timestamp": 1_778_059_800},
    ]});
    let answer = service.request(Method::POST, "/batch/", batch.to_string(), &[]).await;
    assert_eq!(answer.body, json!({"status": "Ok", "ingested": 2, "dropped": 8}));
    assert_eq!(names(&service).await, "any id,good");
    let id = "SELECT concat(distinct_id, ' ', timestamp) FROM events WHERE event = 'any id'";
    assert_eq!(service.value(id).await, "{\"a\":1} 2026-05-06 09:30:00.000000");
    let nothing = json!({"api_key": "first-key", "batch": [{"event": "a"}]}).to_string();
    let answer = service.request(Method::POST, "/e/", nothing, &[]).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body["error"].as_str().unwrap().contains("no_distinct_id"), "{:?}", answer.body);
    service.clean().await;
}

#[tokio::test]
async fn odd_bytes_cost_no_batch_and_the_stored_text_can_be_parsed() {
    let service = start().await;
    let body = concat!(
        r#"{"api_key":"first-key","batch":[{"event":"cut","distinct_id":"a\u0000b","properties":{"t":"x\ud83d","n":1e300}},"#,
        "{\"event\":\"tab\tin a name\",\"distinct_id\":\"u\0v\",\"properties\":{\"big\":123456789012345678901234567890}}]}"
    );
    let mut bytes = body.as_bytes().to_vec();
    let stray = bytes.windows(3).position(|window| window == b"cut").unwrap();
    bytes[stray] = 0xff;
    let answer = service.request(Method::POST, "/e/", bytes, &[]).await;
    assert_eq!(answer.body, json!({"status": "Ok", "ingested": 2, "dropped": 0}));
    assert_eq!(names(&service).await, "?ut,tab in a name");
    let parsed = "SELECT JSONExtractString(properties, 't') FROM events WHERE event = '?ut'";
    assert_eq!(service.value(parsed).await, "x\u{fffd}");
    let ids = "SELECT arrayStringConcat(arraySort(groupArray(distinct_id)), ',') FROM events";
    assert_eq!(service.value(ids).await, "a\u{fffd}b,u v");
    service.clean().await;
}

#[tokio::test]
async fn keys_are_found_where_sdks_put_them_and_never_stored() {
    let service = start_with(open_settings()).await;
    let event = json!({"event": "a", "properties": {"distinct_id": "u", "token": "first-key", "n": 1}});
    taken(&service, "/e/", json!([event]).to_string(), &[("origin", "null")]).await;
    assert_eq!(service.value("SELECT properties FROM events").await, r#"{"distinct_id":"u","n":1}"#);
    let other = json!({"event": "a", "distinct_id": "u", "token": "second-key"});
    let refused = [
        (json!([event, other]), "different project keys"),
        (json!([{"event": "a", "distinct_id": "u"}]), "names none"),
        (json!({"api_key": "wrong", "batch": [event]}), "not known"),
        (json!({"api_key": "phx_secret", "batch": [event]}), "personal key"),
    ];
    for (body, reason) in refused {
        let answer = service.request(Method::POST, "/e/", body.to_string(), &[]).await;
        assert_eq!(answer.status, 401, "{body}");
        let error = answer.body["error"].as_str().unwrap().to_owned();
        assert!(error.contains(reason) && !error.contains("phx_secret"), "{error}");
    }
    let envelope =
        json!({"api_key": "second-key", "batch": [{"event": "b", "distinct_id": "u", "token": "x"}]});
    taken(&service, "/e/", envelope.to_string(), &[]).await;
    service.clean().await;
}

#[tokio::test]
async fn clocks_are_corrected_by_when_the_request_was_sent() {
    let service = start().await;
    let body = |name: &str, more: serde_json::Value| {
        let mut event = json!({"event": name, "distinct_id": "u", "timestamp": "2021-06-01T00:00:00Z"});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"api_key": "first-key", "sent_at": "2021-06-01T01:00:00Z", "batch": [event]}).to_string()
    };
    taken(&service, "/batch/", body("slow clock", json!({})), &[]).await;
    taken(&service, "/batch/", body("kept", json!({"properties": {"$ignore_sent_at": true}})), &[]).await;
    taken(&service, "/batch/", body("offset", json!({"offset": 7_200_000})), &[]).await;
    let query = lone("query").replace("\"token\"", "\"timestamp\":\"2021-06-01T00:00:00Z\",\"token\"");
    taken(&service, "/e/?_=1622520000000", query, &[]).await;
    let ago = "SELECT arrayStringConcat(arraySort(groupArray(concat(event, '=', \
               toString(if(timestamp < '2022-01-01', -1, round(dateDiff('second', timestamp, inserted_at) / 3600)))))), ',') FROM events";
    assert_eq!(service.value(ago).await, "kept=-1,offset=2,query=4,slow clock=1");
    service.clean().await;
}

#[tokio::test]
async fn events_without_ids_of_old_sdks_are_stored_once_however_often_they_are_sent() {
    let service = start().await;
    for sent_at in ["2026-05-06T09:30:01", "2026-05-06T09:30:07"] {
        let event = json!({"event": "a", "distinct_id": "u", "timestamp": "2026-05-06T09:30:00.5+00:00", "context": {}});
        let body = json!({"api_key": "first-key", "sentAt": sent_at, "batch": [event, event]});
        service.request(Method::POST, "/batch/", body.to_string(), &[]).await;
    }
    assert_eq!(service.value("SELECT count() FROM events").await, "2");
    service.clean().await;
}

#[tokio::test]
async fn engage_is_an_identify_and_a_persons_properties_may_stand_beside_the_others() {
    let service = start().await;
    let engage = r#"{"$token":"first-key","$distinct_id":"u","$set":{"plan":"team"}}"#;
    taken(&service, "/engage/", engage, &[]).await;
    let refused = format!(r#"{{"batch":[{engage}]}}"#);
    assert_eq!(service.request(Method::POST, "/engage/", refused, &[]).await.status, 400);
    let identify = json!({"api_key": "first-key", "batch": [{"event": "$identify", "distinct_id": "v",
        "$set": {"plan": "free"}, "properties": {"$anon_distinct_id": "anon"}}]});
    taken(&service, "/e/", identify.to_string(), &[]).await;
    let plans = "SELECT arrayStringConcat(arraySort(groupArray(JSONExtractString(properties, '$set', 'plan'))), ',') \
                 FROM events WHERE event = '$identify'";
    assert_eq!(service.value(plans).await, "free,team");
    service.clean().await;
}

#[tokio::test]
async fn everything_is_served_under_the_prefix_too() {
    let mut args = settings();
    args.path_prefix = Some("/shop/ingest".into());
    let service = start_with(args).await;
    for path in ["/shop/ingest/e/", "/e/", "/shop/ingest/batch"] {
        taken(&service, path, lone(path), &[]).await;
    }
    for path in ["/shop/ingest/array/k/config", "/array/k/config", "/shop/ingest/health", "/health"] {
        assert_eq!(service.request(Method::GET, path, "", &[]).await.status, 200, "{path}");
    }
    for path in ["/shop/ingest", "/shop/e/", "/shop/ingest/x"] {
        assert_eq!(service.request(Method::POST, path, lone("a"), &[]).await.status, 404, "{path}");
    }
    service.clean().await;
}
