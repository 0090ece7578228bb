//! What browsers need besides the events: CORS, the settings, and answers from products that are not served.

use http::Method;
use serde_json::Value;
use serde_json::json;

use crate::service::Answer;
use crate::service::ORIGIN;
use crate::service::Running;
use crate::service::open_settings;
use crate::service::start;
use crate::service::start_with;

const ONE: &str = r#"{"api_key":"first-key","batch":[{"event":"a","distinct_id":"u"}]}"#;

async fn get(service: &Running, path: &str) -> Answer {
    service.request(Method::GET, path, "", &[("origin", "https://any.example")]).await
}

fn allowed(answer: &Answer) -> Option<&str> {
    answer.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn any_origin_may_send_with_a_key_where_none_is_listed() {
    let service = start_with(open_settings()).await;
    for origin in ["https://any.example", "null", "http://localhost:3000"] {
        let answer = service.request(Method::POST, "/e/", ONE, &[("origin", origin)]).await;
        assert_eq!((answer.status.as_u16(), allowed(&answer)), (200, Some(origin)));
        assert_eq!(answer.headers["access-control-allow-credentials"], "true");
        assert_eq!(answer.headers["vary"], "Origin");
    }
    let wrong =
        service.request(Method::POST, "/e/", ONE.replace("first", "wrong"), &[("origin", "null")]).await;
    assert_eq!((wrong.status.as_u16(), allowed(&wrong)), (401, Some("null")));
    assert!(wrong.headers["access-control-expose-headers"].to_str().unwrap().contains("Retry-After"));
    let missing = get(&service, "/static/array.js").await;
    assert_eq!((missing.status.as_u16(), allowed(&missing)), (404, Some("https://any.example")));
    service.clean().await;
}

#[tokio::test]
async fn listed_origins_are_the_only_ones() {
    let service = start().await;
    let listed = service.request(Method::POST, "/e/", ONE, &[("origin", ORIGIN)]).await;
    assert_eq!((listed.status.as_u16(), allowed(&listed)), (200, Some(ORIGIN)));
    let other = service.request(Method::POST, "/e/", ONE, &[("origin", "https://other.example")]).await;
    assert_eq!((other.status.as_u16(), allowed(&other)), (403, None));
    let keyless = ONE.replace("\"api_key\":\"first-key\",", "");
    assert_eq!(service.request(Method::POST, "/e/", keyless, &[("origin", ORIGIN)]).await.status, 200);
    service.clean().await;
}

#[tokio::test]
async fn every_preflight_is_answered_with_what_was_asked_for() {
    let service = start_with(open_settings()).await;
    for path in ["/e/", "/flags/?v=2", "/array/k/config", "/static/x.js", "/nowhere"] {
        let asked = [
            ("origin", "https://any.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type,x-shop"),
        ];
        let answer = service.request(Method::OPTIONS, path, "", &asked).await;
        assert_eq!((answer.status.as_u16(), allowed(&answer)), (200, Some("https://any.example")), "{path}");
        assert_eq!(answer.headers["access-control-allow-headers"], "content-type,x-shop");
        assert_eq!(answer.headers["access-control-allow-methods"], "POST, OPTIONS, GET");
        assert!(answer.headers.contains_key("access-control-max-age"));
    }
    assert_eq!(service.request(Method::OPTIONS, "/e/", "", &[]).await.status, 200);
    service.clean().await;
}

#[tokio::test]
async fn the_settings_keep_compression_on_and_everything_else_off() {
    let service = start_with(open_settings()).await;
    let answer = get(&service, "/array/phc_demo/config").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["supportedCompression"], json!(["gzip", "gzip-js"]));
    assert_eq!(answer.body["hasFeatureFlags"], false);
    assert_eq!(answer.body["analytics"]["endpoint"], "/i/v0/e/");
    assert_eq!(answer.body["token"], "phc_demo");
    assert_eq!(answer.body.get("surveys"), None);
    let script = get(&service, "/array/phc_demo/config.js").await;
    assert!(script.headers["content-type"].to_str().unwrap().starts_with("text/javascript"));
    let Value::String(text) = script.body else { panic!("{:?}", script.body) };
    assert!(text.contains("c['phc_demo']={config:{"), "{text}");
    assert_eq!(get(&service, "/array/a'b/config.js").await.status, 404);
    service.clean().await;
}

#[tokio::test]
async fn there_are_no_flags_in_the_shape_of_every_version() {
    let service = start_with(open_settings()).await;
    let post = async |path: &str| {
        let answer = service.request(Method::POST, path, r#"{"token":"x","distinct_id":"u"}"#, &[]).await;
        assert_eq!(answer.status, 200, "{path}");
        answer.body
    };
    let flags = post("/flags/?v=2").await;
    assert_eq!((&flags["flags"], &flags["errorsWhileComputingFlags"]), (&json!({}), &json!(false)));
    assert!(
        flags["requestId"].is_string() && flags["evaluatedAt"].is_number() && flags.get("siteApps").is_none()
    );
    assert_eq!(post("/flags?v=2&config=true").await["supportedCompression"][0], "gzip");
    assert_eq!(post("/decide/").await["featureFlags"], json!([]));
    let decide = post("/decide/?v=3").await;
    assert_eq!((&decide["featureFlags"], &decide["featureFlagPayloads"]), (&json!({}), &json!({})));
    assert_eq!(decide["config"]["enable_collect_everything"], true);
    assert_eq!(post("/decide/?v=4").await["flags"], json!({}));
    let definitions = get(&service, "/flags/definitions?token=x&send_cohorts").await;
    assert_eq!(definitions.body, json!({"flags": [], "group_type_mapping": {}, "cohorts": {}}));
    let etag = definitions.headers["etag"].to_str().unwrap().to_owned();
    let same =
        service.request(Method::GET, "/flags/definitions", "", &[("if-none-match", etag.as_str())]).await;
    assert_eq!(same.status, 304);
    service.clean().await;
}

#[tokio::test]
async fn other_products_are_empty_or_absent_and_a_wrong_method_is_said() {
    let service = start_with(open_settings()).await;
    assert_eq!(get(&service, "/api/surveys/?token=x").await.body, json!({"surveys": []}));
    assert_eq!(get(&service, "/api/early_access_features/").await.body, json!({"earlyAccessFeatures": []}));
    for path in ["/api/web_experiments/", "/api/product_tours/"] {
        assert_eq!(get(&service, path).await.status, 200, "{path}");
    }
    assert_eq!(service.request(Method::POST, "/s/", "[{}]", &[]).await.status, 200);
    for path in ["/i/v1/logs?token=x", "/i/v1/metrics", "/i/v1/traces", "/i/v0/ai", "/static/1/surveys.js"] {
        assert_eq!(service.request(Method::POST, path, "{}", &[]).await.status, 404, "{path}");
    }
    assert_eq!(get(&service, "/i/v1/analytics/events").await.status, 405);
    assert_eq!(service.request(Method::PUT, "/e/", ONE, &[]).await.status, 405);
    service.clean().await;
}
