//! What is stored of what was let in: addresses and properties as the policy of the service has them.

use serde_json::json;

use crate::service::settings;
use crate::service::start_with;

#[tokio::test]
async fn addresses_are_truncated_and_denied_properties_never_reach_a_table() {
    let mut args = settings();
    args.ip_policy = Some("truncate".into());
    args.property_denylist = Some("email, $current_url".into());
    args.trusted_proxies = Some("127.0.0.0/8".into());
    let service = start_with(args).await;
    let event = json!({"event": "$identify", "distinct_id": "u1", "timestamp": "2026-05-06T00:00:00Z",
        "properties": {"email": "secret@example.com", "$ip": "192.0.2.99", "$current_url": "https://x.example/secret", "n": 1,
            "$set": {"email": "secret@example.com", "plan": "team"}, "$set_once": {"email": "secret@example.com"}}});
    let body = json!({"api_key": "first-key", "batch": [event]}).to_string();
    let answer = service.post(body, &[("x-forwarded-for", "198.51.100.77")]).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let stored =
        service.value("SELECT concatWithSeparator('|', ip, properties, current_url) FROM events").await;
    let (ip, rest) = stored.split_once('|').unwrap();
    assert!(["198.51.100.0", "192.0.2.0"].contains(&ip), "{ip}");
    assert_eq!(rest, r#"{"$set":{"plan":"team"},"$set_once":{},"n":1}|"#);
    let person = service.value("SELECT toString(properties) FROM persons").await;
    assert!(person.contains("team") && !person.contains("secret"), "{person}");
    service.clean().await;
}

#[tokio::test]
async fn without_addresses_nothing_is_stored_of_them() {
    let mut args = settings();
    args.ip_policy = Some("drop".into());
    let service = start_with(args).await;
    let event = json!({"event": "a", "distinct_id": "u1", "properties": {"$ip": "192.0.2.99"}});
    assert_eq!(service.accepted(json!({"api_key": "first-key", "batch": [event]})).await, (1, 0));
    assert_eq!(service.value("SELECT concatWithSeparator('|', ip, properties) FROM events").await, "|{}");
    service.clean().await;
}
