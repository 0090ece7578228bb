//! When generations turn and end, as tables.

use rstest::rstest;
use weir_crds::KeyType;

use super::super::credential::{State, Use};
use super::*;
use crate::controller::rotation::request::Requests;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Overlap of 100 s, quiet period of 50 s, cap of 1,000 s, a new generation every 10,000 s.
fn schedule() -> Policy {
    let seconds = SignedDuration::from_secs;
    Policy {
        interval: Some(seconds(10_000)),
        overlap: seconds(100),
        quiet: seconds(50),
        cap: seconds(1_000),
        window: None,
    }
}

fn value(generation: i64, published_at: Option<i64>, cause: Cause) -> Value {
    Value { published_at: published_at.map(at), cause, ..Value::first(generation, "value".to_owned().into()) }
}

/// A login with these generations, the newest last.
fn login(generations: Vec<Value>) -> Credential {
    let mut older = generations;
    let newest = older.pop().unwrap();
    Credential {
        purpose: Use::Ingest,
        name: "ingest".into(),
        pending: format!("store-ingest-g{}", newest.generation),
        published: "store-ingest-clickhouse".into(),
        live: None,
        next: newest.generation + 1,
        state: State::Pending(newest),
        older,
        source: Source::Generated,
    }
}

fn requests(key: &str, value: &str) -> Requests {
    Requests::new(&BTreeMap::from([(key.to_owned(), value.to_owned())]))
}

#[rstest]
#[case::overlap(99, Some(Evidence::LastUse(None)), "its overlap is not over until 100")]
#[case::nobody_asked(100, None, "ask")]
#[case::never_used(100, Some(Evidence::LastUse(None)), "gone")]
#[case::used_lately(
    150,
    Some(Evidence::LastUse(Some(at(140)))),
    "it is still used, last at 1970-01-01T00:02:20Z; its cap is at 1970-01-01T00:16:40Z until 200"
)]
#[case::use_may_not_be_logged_yet(
    199,
    Some(Evidence::LastUse(Some(at(140)))),
    "it is still used, last at 1970-01-01T00:02:20Z; its cap is at 1970-01-01T00:16:40Z until 200"
)]
#[case::quiet(200, Some(Evidence::LastUse(Some(at(140)))), "gone")]
#[case::used_up_to_the_cap(
    990,
    Some(Evidence::LastUse(Some(at(985)))),
    "it is still used, last at 1970-01-01T00:16:25Z; its cap is at 1970-01-01T00:16:40Z until 1000"
)]
#[case::unknown(500, Some(Evidence::Unknown("no log".into())), "no log, so it stays until its cap at 1970-01-01T00:16:40Z until 560")]
#[case::unknown_near_the_cap(980, Some(Evidence::Unknown("no log".into())), "no log, so it stays until its cap at 1970-01-01T00:16:40Z until 1000")]
#[case::cap(1_000, Some(Evidence::LastUse(Some(at(999)))), "gone")]
#[case::cap_without_evidence(1_000, Some(Evidence::Unknown("no log".into())), "gone")]
fn an_old_generation_ends(#[case] now: i64, #[case] evidence: Option<Evidence>, #[case] expected: &str) {
    let text = match retirement(at(0), &schedule(), evidence.as_ref(), at(now)) {
        Retirement::Keep { until, why } => format!("{why} until {}", until.as_second()),
        Retirement::Ask => "ask".into(),
        Retirement::Gone => "gone".into(),
    };
    assert_eq!(text, expected);
}

#[test]
fn consumers_keep_the_old_generation_until_a_new_one_is_published() {
    let mut credential = login(vec![value(1, Some(0), Cause::First), value(2, None, Cause::Schedule)]);
    assert_eq!(current(&credential).map(|value| value.generation), Some(1));
    assert_eq!(step(&credential), Some(CredentialStep::Pending));
    assert_eq!(retirements(&credential, &[], &schedule(), &BTreeMap::new(), at(5_000)), BTreeMap::new());
    credential.live = Some(2);
    assert_eq!(
        current(&credential).map(|value| value.generation),
        Some(2),
        "a pass ended before it was marked"
    );
    let kept = retirements(&credential, &[], &schedule(), &BTreeMap::new(), at(5_000));
    assert!(matches!(kept[&1], Retirement::Keep { .. }), "its overlap has not begun");
}

#[test]
fn what_was_revoked_is_gone_at_once_and_nobodys_current() {
    let credential = login(vec![
        value(1, Some(0), Cause::First),
        value(2, Some(5), Cause::Schedule),
        value(3, None, Cause::Revoke("INC-7".into())),
    ]);
    assert!(current(&credential).is_none());
    let gone = retirements(&credential, &[], &schedule(), &BTreeMap::new(), at(6));
    assert_eq!(gone, BTreeMap::from([(1, Retirement::Gone), (2, Retirement::Gone)]));
}

#[test]
fn a_user_whose_secret_was_lost_overlaps_too() {
    let credential = login(vec![value(3, Some(0), Cause::First)]);
    let judged = retirements(&credential, &[1, 2], &schedule(), &BTreeMap::new(), at(50));
    assert!(judged.values().all(|retirement| matches!(retirement, Retirement::Keep { .. })), "{judged:?}");
    let asked = retirements(&credential, &[1, 2], &schedule(), &BTreeMap::new(), at(150));
    assert!(asked.values().all(|retirement| *retirement == Retirement::Ask));
}

#[test]
fn a_generation_is_due_by_schedule_once_and_only_when_the_one_before_is_gone() {
    let alone = login(vec![value(1, Some(0), Cause::First)]);
    let due = |credential: &Credential, now| due(credential, &schedule(), None, "uid", at(now));
    assert_eq!(due(&alone, 8_999), None);
    assert_eq!(due(&alone, 10_000), Some(Cause::Schedule));
    let retiring = login(vec![value(1, Some(0), Cause::First), value(2, Some(1), Cause::Schedule)]);
    assert_eq!(due(&retiring, 20_000), None);
    let pending = login(vec![value(1, Some(0), Cause::First), value(2, None, Cause::Schedule)]);
    assert_eq!(due(&pending, 20_000), None);
}

#[test]
fn a_schedule_waits_for_its_window_and_a_request_does_not() {
    let closed = Policy { window: Some((120, 180)), ..schedule() };
    let alone = login(vec![value(1, Some(0), Cause::First)]);
    let request = requests("weir.dev/rotate", "now").rotate.unwrap();
    // 20,000 s are 05:33, 95,000 s are 02:23 of the next day.
    let due = |request, now| due(&alone, &closed, request, "uid", at(now));
    assert_eq!(due(None, 20_000), None);
    assert_eq!(due(None, 95_000), Some(Cause::Schedule));
    assert_eq!(due(Some(&request), 20_000), Some(Cause::Rotate("now".into())));
}

#[test]
fn a_request_makes_one_generation_for_each_value() {
    let request = requests("weir.dev/rotate", "2026-11-25").rotate.unwrap();
    let due = |credential: &Credential| due(credential, &schedule(), Some(&request), "uid", at(10));
    let rotate = Cause::Rotate("2026-11-25".into());
    assert_eq!(due(&login(vec![value(1, Some(0), Cause::First)])), Some(rotate.clone()));
    assert_eq!(due(&login(vec![value(1, Some(0), Cause::First), value(2, Some(5), rotate.clone())])), None);
    assert_eq!(Cause::parse(Some(&rotate.text())), rotate, "it survives a restart");
}

#[test]
fn requests_concern_what_they_name_and_public_keys_only_by_name() {
    let mut key = login(vec![value(1, Some(0), Cause::First)]);
    let concerned = |credential: &Credential, value: &str| {
        requests("weir.dev/rotate", value).rotate.unwrap().concerns(credential)
    };
    assert!(concerned(&key, "now") && concerned(&key, "ingest=now") && !concerned(&key, "user/bi=now"));
    key.purpose = Use::Key("web".into(), KeyType::Public);
    assert!(!concerned(&key, "now") && concerned(&key, "user/bi, key/web=now"));
    key.purpose = Use::Key("web".into(), KeyType::Secret);
    assert!(concerned(&key, "now"));
    assert!(requests("weir.dev/revoke", "INC-7").revoke.is_none(), "revoking has to name what");
}
