//! Tests of the whole normalization; time formats are tested beside their parser.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::decode::batch::decode;
use crate::event::Project;

const NOW: i64 = 1_780_000_000_000_000;

fn with_reception<T>(body: &str, nonce: [u8; 16], act: impl FnOnce(&Reception<'_>) -> T) -> T {
    let project = Project { key_name: "web".into() };
    act(&Reception {
        project: &project,
        received_at: NOW,
        ip: "192.0.2.1",
        user_agent: "test",
        body: body.as_bytes(),
        nonce,
    })
}

/// Normalizes the only event of `event`'s batch and hands the result to `act`.
fn check<T>(event: &str, act: impl FnOnce(Result<Normalized<'_>, BadTimestamp>) -> T) -> T {
    let body = format!(r#"{{"batch":[{event}]}}"#);
    with_reception(&body, [7; 16], |reception| {
        let batch = decode(body.as_bytes(), 1).unwrap();
        act(Normalizer::new(reception).normalize(0, &batch.events[0]))
    })
}

fn uuid_of(event: &str, nonce: [u8; 16]) -> Uuid {
    let body = format!(r#"{{"batch":[{event}]}}"#);
    with_reception(&body, nonce, |reception| {
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
