//! Tests of the whole normalization; time formats are tested beside their parser.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::decode::batch::decode;
use crate::event::Project;
use crate::event::RawBatch;

const NOW: i64 = 1_780_000_000_000_000;

fn with_reception<T>(nonce: [u8; 16], act: impl FnOnce(&Reception<'_>) -> T) -> T {
    let project = Project { key_name: "web".into() };
    act(&Reception {
        project: &project,
        dialect: Dialect::Seed,
        credential: "k",
        sent_at: None,
        received_at: NOW,
        ip: "192.0.2.1",
        user_agent: "test",
        nonce,
    })
}

/// Normalizes the only event of `event`'s batch and hands the result to `act`.
fn check<T>(event: &str, act: impl FnOnce(Result<Normalized<'_>, BadTimestamp>) -> T) -> T {
    let body = format!(r#"{{"batch":[{event}]}}"#);
    with_reception([7; 16], |reception| {
        let batch = decode(body.as_bytes(), 1).unwrap();
        act(Normalizer::new(reception).normalize(0, &batch.events[0]))
    })
}

fn uuid_of(event: &str, nonce: [u8; 16]) -> Uuid {
    let body = format!(r#"{{"batch":[{event}]}}"#);
    with_reception(nonce, |reception| {
        let batch = decode(body.as_bytes(), 1).unwrap();
        match Normalizer::new(reception).normalize(0, &batch.events[0]) {
            Ok(Normalized::Row(row, _)) => row.uuid,
            other => panic!("{other:?}"),
        }
    })
}

#[test]
fn columns_are_copied_out_of_the_properties_which_stay_whole() {
    let event = r#"{"event":"$pageview","uuid":"019a0f2e-7c10-7b3a-9d41-5f0c2a77e001","timestamp":"2026-05-06T09:30:00.000Z",
        "properties":{"distinct_id":"u1","session_id":"weak","$session_id":"s","$window_id":"w","$host":"h","$current_url":" "}}"#;
    check(event, |normalized| {
        let Ok(Normalized::Row(row, facts)) = normalized else { panic!("{normalized:?}") };
        assert_eq!(row.uuid.to_string(), "019a0f2e-7c10-7b3a-9d41-5f0c2a77e001");
        assert_eq!(row.person_id.to_string(), "c5ea7155-4c77-5daf-bfab-320fc3476afc");
        assert_eq!(row.timestamp, 1_778_059_800_000_000);
        assert_eq!((&*row.promoted.session_id, &*row.promoted.window_id), ("s", "w"));
        assert_eq!((&*row.promoted.host, &*row.promoted.current_url), ("h", ""));
        assert!(row.properties.contains("\"session_id\":\"weak\""));
        assert_eq!(facts, vec![]);
    });
}

#[rstest]
#[case(r#"{"distinct_id":"u"}"#, Dropped::NoName)]
#[case(r#"{"event":" ","distinct_id":"u","timestamp":"nonsense"}"#, Dropped::NoName)]
#[case(r#"{"event":"a","distinct_id":" "}"#, Dropped::NoDistinctId)]
#[case(r#"{"event":"a","properties":{"distinct_id":5}}"#, Dropped::NoDistinctId)]
fn an_event_without_name_or_id_is_dropped(#[case] event: &str, #[case] reason: Dropped) {
    check(event, |normalized| assert_eq!(normalized, Ok(Normalized::Dropped(reason))));
}

#[rstest]
#[case(r#"{"event":"a","distinct_id":"1","properties":{"distinct_id":"2","$distinct_id":"3"}}"#, "1")]
#[case(r#"{"event":"a","distinct_id":"","properties":{"$distinct_id":"3","distinct_id":"2"}}"#, "2")]
#[case(r#"{"event":"a","properties":{"$distinct_id":" 3 "}}"#, " 3 ")]
fn the_distinct_id_comes_from_the_first_place_that_has_one(#[case] event: &str, #[case] expected: &str) {
    check(event, |normalized| {
        let Ok(Normalized::Row(row, _)) = normalized else { panic!("{normalized:?}") };
        assert_eq!(row.distinct_id, expected);
    });
}

#[test]
fn no_time_means_now_and_an_unreadable_one_is_an_error() {
    check(r#"{"event":"a","distinct_id":"u","timestamp":""}"#, |normalized| {
        let Ok(Normalized::Row(row, _)) = normalized else { panic!("{normalized:?}") };
        assert_eq!(row.timestamp, NOW);
    });
    check(r#"{"event":"a","distinct_id":"u","timestamp":"soon"}"#, |normalized| {
        assert_eq!(normalized, Err(BadTimestamp));
    });
}

#[test]
fn a_repeated_request_gets_the_same_ids_unless_it_names_no_time() {
    let timed = r#"{"event":"a","distinct_id":"u","timestamp":"2026-05-06T09:30:00Z","uuid":"no uuid"}"#;
    assert_eq!(uuid_of(timed, [1; 16]), uuid_of(timed, [2; 16]));
    let untimed = r#"{"event":"a","distinct_id":"u"}"#;
    assert_ne!(uuid_of(untimed, [1; 16]), uuid_of(untimed, [2; 16]));
    assert_ne!(uuid_of(timed, [1; 16]), uuid_of(untimed, [1; 16]));
}

proptest! {
    #[test]
    fn any_json_properties_are_stored_as_written(key in any::<String>(), value in any::<String>(), number in any::<f64>()) {
        let properties = serde_json::json!({ key: value, "n": [number, {"deep": null}] }).to_string();
        let event = format!(r#"{{"event":"a","distinct_id":"u","properties":{properties}}}"#);
        check(&event, |normalized| match normalized {
            Ok(Normalized::Row(row, _)) => assert_eq!(row.properties, properties),
            other => panic!("{other:?}"),
        });
    }
}

/// Normalizes the only event of a request of PostHog's wire, sent at `sent_at`, and hands the result to `act`.
fn check_posthog<T>(event: &str, sent_at: Option<i64>, act: impl FnOnce(Normalized<'_>) -> T) -> T {
    let project = Project { key_name: "web".into() };
    let reception = Reception {
        project: &project,
        dialect: Dialect::Posthog,
        credential: "phc_k",
        received_at: NOW,
        sent_at,
        ip: "192.0.2.1",
        user_agent: "test",
        nonce: [7; 16],
    };
    let batch: RawBatch<'_> = crate::decode::posthog::decode(event.as_bytes(), 1).unwrap();
    act(Normalizer::new(&reception).normalize(0, &batch.events[0]).unwrap())
}

fn row<T>(event: &str, sent_at: Option<i64>, act: impl FnOnce(EventRow<'_>) -> T) -> T {
    check_posthog(event, sent_at, |normalized| match normalized {
        Normalized::Row(row, _) => act(row),
        Normalized::Dropped(reason) => panic!("{reason:?}"),
    })
}

#[rstest]
#[case(r#"{"event":5,"distinct_id":"u"}"#, Dropped::NoName)]
#[case(r#"{"event":"a","distinct_id":" "}"#, Dropped::NoDistinctId)]
#[case(r#"{"event":"a","distinct_id":"u","uuid":"no"}"#, Dropped::BadUuid)]
#[case(r#"{"event":"a","distinct_id":"u","uuid":{}}"#, Dropped::BadUuid)]
#[case(r#"{"event":"a","distinct_id":"u","properties":"x"}"#, Dropped::BadProperties)]
#[case("[null]", Dropped::NotAnObject)]
fn a_fault_drops_one_event_of_posthogs_wire(#[case] event: &str, #[case] reason: Dropped) {
    check_posthog(event, None, |normalized| assert_eq!(normalized, Normalized::Dropped(reason)));
}

#[test]
fn an_event_with_more_places_of_keys_than_are_looked_at_is_dropped() {
    let event = |places: usize| {
        let properties = vec![r#""token":"phc_k""#; places].join(",");
        format!(r#"{{"event":"a","distinct_id":"u","properties":{{{properties}}}}}"#)
    };
    row(&event(8), None, |row| assert_eq!(row.properties, "{}"));
    check_posthog(&event(9), None, |normalized| {
        assert_eq!(normalized, Normalized::Dropped(Dropped::TooManyKeys));
    });
}

#[rstest]
#[case(r#"{"event":"a","distinct_id":null,"properties":{"distinct_id":"p"}}"#, "p")]
#[case(r#"{"event":"a","$distinct_id":"e"}"#, "e")]
#[case(r#"{"event":"a","properties":{"distinct_id":[1, "x"]}}"#, r#"[1, "x"]"#)]
#[case(r#"{"event":"a","distinct_id":12345678901234567890}"#, "12345678901234567890")]
#[case(r#"{"event":"a","distinct_id":"a\u0000b"}"#, "a\u{fffd}b")]
#[case(r#"{"event":"a","distinct_id":" u "}"#, " u ")]
fn posthogs_distinct_id_may_be_any_value_in_any_place(#[case] event: &str, #[case] expected: &str) {
    row(event, None, |row| assert_eq!(row.distinct_id, expected));
}

#[test]
fn long_names_and_ids_are_cut_in_posthogs_dialect() {
    let long = "é".repeat(300);
    row(&format!(r#"{{"event":"{long}","distinct_id":"{long}"}}"#), None, |row| {
        assert_eq!((row.event, &*row.distinct_id), (&*"é".repeat(200), &*"é".repeat(200)));
    });
}

#[test]
fn the_key_is_not_stored_and_what_stood_beside_the_properties_is() {
    let event = r#"{"event":"a","distinct_id":"u","$set":{"plan":"x"},"$unset":["b"],
        "properties":{"token":"phc_k","n":1,"api_key":"other","$unset":["c"]}}"#;
    row(event, None, |row| {
        assert_eq!(row.properties, r#"{"n":1,"api_key":"other","$unset":["c"],"$set":{"plan":"x"}}"#);
    });
    row(r#"{"event":"a","distinct_id":"u"}"#, None, |row| assert_eq!(row.properties, "{}"));
}

#[test]
fn clocks_are_corrected_unless_the_event_asks_not_to_and_the_day_is_as_sent() {
    const HOUR: i64 = 3_600_000_000;
    // One hour before now by a clock that is 48 hours slow.
    let event = |properties: &str| {
        let timestamp = jiff::Timestamp::from_microsecond(NOW - 49 * HOUR).unwrap();
        format!(r#"{{"event":"a","distinct_id":"u","timestamp":"{timestamp}","properties":{properties}}}"#)
    };
    let day = u16::try_from((NOW - 49 * HOUR) / (24 * HOUR)).unwrap();
    row(&event("{}"), Some(NOW - 48 * HOUR), |row| {
        assert_eq!((row.timestamp, row.client_day), (NOW - HOUR, day));
    });
    row(&event(r#"{"$ignore_sent_at":true}"#), Some(NOW - 48 * HOUR), |row| {
        assert_eq!((row.timestamp, row.client_day), (NOW - 49 * HOUR, day));
    });
}

#[test]
fn the_address_may_be_given_by_a_server_that_sends_for_others() {
    let event = |ip: &str| format!(r#"{{"event":"a","distinct_id":"u","properties":{{"$ip":"{ip}"}}}}"#);
    row(&event("2001:db8::7"), None, |row| assert_eq!(row.ip, "2001:db8::7"));
    row(&event("somewhere"), None, |row| assert_eq!(row.ip, "192.0.2.1"));
}

#[test]
fn an_event_without_id_is_known_again_in_another_request() {
    let uuid = |event: &str, sent_at| row(event, Some(sent_at), |row| row.uuid);
    let timed = r#"{"event":"a","distinct_id":"u","timestamp":"2026-05-06T09:30:00Z","context":{"n":1}}"#;
    assert_eq!(uuid(timed, NOW), uuid(&timed.replace("\"n\":1", "\"n\":2"), NOW + 5));
    assert_ne!(uuid(timed, NOW), uuid(&timed.replace("09:30", "09:31"), NOW));
}

proptest! {
    #[test]
    fn no_event_of_posthogs_wire_panics(event in r#"\{("(event|distinct_id|uuid|timestamp|offset|properties|\$set|token)":("[a0\-:]{0,6}"|-?[0-9]{1,19}|null|\{"(token|\$set|\$ip|a)":"(phc_k|x)"\}|\[1\]),?){0,6}"event":"e"\}"#) {
        if let Ok(batch) = crate::decode::posthog::decode(event.as_bytes(), 1) {
            prop_assert_eq!(batch.events.len(), 1);
            check_posthog(&event, Some(NOW), |normalized| {
                if let Normalized::Row(row, _) = normalized {
                    assert!(serde_json::from_str::<serde_json::Value>(&row.properties).unwrap().is_object());
                }
            });
        }
    }
}
