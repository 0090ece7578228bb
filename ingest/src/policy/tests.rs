//! What is kept of whole events.

use rstest::rstest;
use uuid::Uuid;

use super::*;
use crate::event::Promoted;

fn policy(ip: IpPolicy, denied: &[&str]) -> Policy {
    let denied_properties = denied.iter().map(|name| (*name).to_owned()).collect();
    Policy::new(&PolicySettings { ip, denied_properties, max_event_bytes: 64 })
}

fn row<'a>(ip: &'a str, properties: &'a str) -> EventRow<'a> {
    EventRow {
        uuid: Uuid::nil(),
        event: "a",
        distinct_id: "u".into(),
        person_id: Uuid::nil(),
        timestamp: 0,
        client_day: 0,
        ip: ip.into(),
        promoted: Promoted {
            current_url: "https://x.example/".into(),
            host: "x".into(),
            ..Promoted::default()
        },
        properties: properties.into(),
    }
}

fn set(key: &'static str) -> Fact<'static> {
    Fact::Set { key: key.into(), value: "1" }
}

#[test]
fn without_a_policy_an_event_stays_as_it_is() {
    let mut event = row("192.0.2.1", r#"{"$ip":"192.0.2.1","email":1}"#);
    let mut facts = vec![set("email")];
    policy(IpPolicy::Keep, &[]).apply(&mut event, &mut facts);
    assert_eq!((event, facts.len()), (row("192.0.2.1", r#"{"$ip":"192.0.2.1","email":1}"#), 1));
}

#[test]
fn denied_names_vanish_from_properties_columns_and_persons() {
    let mut event = row("192.0.2.1", r#"{"email":1,"$current_url":"https://x.example/","n":2}"#);
    let mut facts = vec![set("email"), set("plan"), Fact::Person { is_identified: true }];
    policy(IpPolicy::Keep, &["email", "$current_url"]).apply(&mut event, &mut facts);
    assert_eq!(event.properties, r#"{"n":2}"#);
    assert_eq!((&*event.promoted.current_url, &*event.promoted.host), ("", "x"));
    assert_eq!(facts, [set("plan"), Fact::Person { is_identified: true }]);
}

#[rstest]
#[case(IpPolicy::Truncate, "192.0.2.0")]
#[case(IpPolicy::Drop, "")]
fn an_address_is_hidden_wherever_it_stands(#[case] ip: IpPolicy, #[case] expected: &str) {
    let mut event = row("192.0.2.77", r#"{"$ip":"192.0.2.77","n":2}"#);
    policy(ip, &[]).apply(&mut event, &mut Vec::new());
    assert_eq!((&*event.ip, &*event.properties), (expected, r#"{"n":2}"#));
}

#[test]
fn one_event_may_not_be_too_large_or_too_deep() {
    let excess = |text: &str| {
        let body = format!(r#"[{{"event":"a","properties":{{"p":{text}}}}}]"#);
        let batch = crate::decode::posthog::decode(body.as_bytes(), 1).unwrap();
        let limits = Policy { max_event_bytes: 600, ..policy(IpPolicy::Keep, &[]) };
        limits.excess(&batch.events[0])
    };
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(excess(&format!(r#"{{"a":"{}"}}"#, "x".repeat(500))), None);
    assert_eq!(excess(&format!(r#"{{"a":"{}"}}"#, "x".repeat(600))), Some(Dropped::TooLarge));
    assert_eq!(excess(&nested(MAX_DEPTH - 1)), None);
    assert_eq!(excess(&nested(MAX_DEPTH)), Some(Dropped::TooDeep));
    assert_eq!(excess(&format!(r#""{}""#, "[\\\"".repeat(150))), None, "brackets in texts are no levels");
    assert_eq!(excess(&format!("[{}1]", "[1],".repeat(140))), None, "levels count, not brackets");
}
