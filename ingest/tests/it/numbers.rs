//! Numbers that ClickHouse's JSON functions cannot read: they must not hide what stands beside them.

use http::Method;
use serde_json::json;

use crate::service::Running;
use crate::service::seed_settings;
use crate::service::start;
use crate::service::start_with;

/// Numbers, each with what `JSONExtractFloat` makes of it.
fn numbers() -> Vec<(String, &'static str)> {
    let long = "9".repeat(400);
    [
        ("1180591620717411303424", "1.1805916207174113e21"),
        ("18446744073709551616", "18446744073709552000"),
        ("-9223372036854775809", "-9223372036854776000"),
        ("18446744073709551615", "18446744073709552000"),
        ("1e999", "inf"),
        ("-1e999", "-inf"),
        (&long, "inf"),
        (&format!("{long}.5"), "inf"),
        ("1.7976931348623159e308", "inf"),
        ("1.7976931348623157e308", "1.7976931348623157e308"),
        ("1e-999", "0"),
        ("0e999", "0"),
    ]
    .map(|(number, float)| (number.to_owned(), float))
    .to_vec()
}

/// An event of its own user with this number in its properties and in a property of its person.
fn event(user: usize, number: &str) -> String {
    format!(
        r#"{{"event":"$set","distinct_id":"{user}","properties":{{"before":"b","n":{number},"in":[{{"n":{number}}}],
            "$set":{{"n":{number},"plan":"team"}},"after":{{"x":7}}}}}}"#
    )
}

async fn sent(service: &Running, path: &str, numbers: &[&str]) {
    let events: Vec<_> = numbers.iter().enumerate().map(|(user, number)| event(user, number)).collect();
    let body = format!(r#"{{"api_key":"first-key","batch":[{}]}}"#, events.join(","));
    let answer = service.request(Method::POST, path, body, &[("content-type", "application/json")]).await;
    assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
}

#[tokio::test]
async fn no_number_hides_the_other_properties_from_clickhouse() {
    let numbers = numbers();
    let texts: Vec<_> = numbers.iter().map(|(number, _)| &**number).collect();
    // What stands beside the number, and the number, of each event and of its person.
    let of_events = "SELECT arrayStringConcat(groupArray(line), ',') FROM (SELECT concatWithSeparator('|', \
                     JSONExtractString(properties, 'before'), toString(JSONExtractInt(properties, 'after', 'x')), \
                     toString(JSONExtractFloat(properties, 'n')), \
                     toString(JSONExtractFloat(properties, 'in', 1, 'n'))) AS line \
                     FROM events ORDER BY toUInt8(distinct_id))";
    let of_persons = "SELECT arrayStringConcat(groupArray(line), ',') FROM (SELECT concatWithSeparator('|', \
                      JSONExtractString(properties, 'plan'), toString(JSONExtractFloat(properties, 'n'))) AS line \
                      FROM persons ORDER BY toUInt8(distinct_id))";
    let expected = |line: &dyn Fn(&str) -> String| {
        numbers.iter().map(|(_, float)| line(float)).collect::<Vec<_>>().join(",")
    };
    for (service, path) in [(start().await, "/e/"), (start_with(seed_settings()).await, "/batch/")] {
        sent(&service, path, &texts).await;
        assert_eq!(
            service.value(of_events).await,
            expected(&|float| format!("b|7|{float}|{float}")),
            "{path}"
        );
        assert_eq!(service.value(of_persons).await, expected(&|float| format!("team|{float}")), "{path}");
        service.clean().await;
    }
}

#[tokio::test]
async fn an_integer_of_more_than_64_bits_keeps_every_digit() {
    let service = start().await;
    sent(&service, "/e/", &["340282366920938463463374607431768211455"]).await;
    let read = "SELECT (JSONExtractString(properties, 'n'), JSONExtract(properties, 'n', 'UInt128') = \
                toUInt128('340282366920938463463374607431768211455'), JSONType(properties, 'n')) FROM events";
    assert_eq!(service.value(read).await, "('340282366920938463463374607431768211455',1,'String')");
    service.clean().await;
}

#[tokio::test]
async fn the_v1_path_keeps_such_numbers_readable_too() {
    let service = start().await;
    let event = json!({"event": "a", "distinct_id": "u", "uuid": "019a0f2e-7c10-7b3a-9d41-5f0c2a77e001",
        "timestamp": "2026-05-06T09:30:00Z", "properties": {"n": "N", "x": "y"}});
    let body = json!({"created_at": "2026-05-06T09:30:00Z", "batch": [event]}).to_string();
    let headers = [
        ("content-type", "application/json"),
        ("authorization", "Bearer first-key"),
        ("posthog-sdk-info", "posthog-python/7.0.0"),
        ("posthog-attempt", "1"),
        ("posthog-request-id", "019a0f2e-7c10-7b3a-9d41-5f0c2a77e002"),
        ("posthog-request-timestamp", "2026-05-06T09:30:01Z"),
    ];
    let body = body.replace("\"N\"", "1e999");
    let answer = service.request(Method::POST, "/i/v1/analytics/events", body, &headers).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let read = "SELECT (JSONExtractString(properties, 'x'), JSONExtractFloat(properties, 'n')) FROM events";
    assert_eq!(service.value(read).await, "('y',inf)");
    service.clean().await;
}
