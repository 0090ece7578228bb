//! What a user and kstatus see of every way in which a pass can end.

use k8s_openapi::jiff::{Timestamp, ToSpan as _};
use rstest::rstest;
use weir_crds::{AnalyticsStackStatus, ConditionType, Reason};

use super::kstatus::{Verdict, judge};
use super::*;
use crate::controller::fixture;

const GENERATION: i64 = 3;

fn at(minute: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH.checked_add(minute.minutes()).unwrap()
}

fn hold(stage: ConditionType, reason: Reason) -> Hold {
    Hold {
        stage,
        object: "Secret/db-admin".into(),
        reason,
        hint: "create it".into(),
        blocks: true,
        until: None,
    }
}

fn outcome(holds: Vec<Hold>, serves: bool) -> Outcome {
    Outcome { holds, serves, ..Outcome::default() }
}

fn ready_before() -> AnalyticsStackStatus {
    derive(&AnalyticsStackStatus::default(), GENERATION, &outcome(Vec::new(), true), at(0))
}

fn verdict(status: AnalyticsStackStatus) -> Verdict {
    let mut stack = fixture::stack();
    stack.status = Some(status);
    judge(&stack)
}

fn condition<'a>(status: &'a AnalyticsStackStatus, type_: &str) -> Option<(&'a str, &'a str)> {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((found.status.as_str(), found.reason.as_str()))
}

#[rstest]
#[case::settled(vec![], false, false, "True", Verdict::Current)]
#[case::first_rollout(vec![hold(ConditionType::WorkloadReady, Reason::RolloutInProgress)], false, true, "Unknown", Verdict::InProgress)]
#[case::rollout_while_serving(vec![hold(ConditionType::WorkloadReady, Reason::RolloutInProgress)], true, true, "True", Verdict::InProgress)]
#[case::rollout_without_pods(vec![hold(ConditionType::WorkloadReady, Reason::RolloutInProgress)], true, false, "Unknown", Verdict::InProgress)]
#[case::migration(vec![hold(ConditionType::SchemaReady, Reason::MigrationRunning)], true, true, "True", Verdict::InProgress)]
#[case::written_ahead(vec![hold(ConditionType::CredentialsReady, Reason::Progressing)], false, false, "Unknown", Verdict::InProgress)]
#[case::clickhouse_down(vec![hold(ConditionType::DependenciesReady, Reason::ClickhouseUnreachable)], true, true, "False", Verdict::InProgress)]
#[case::registry_down(vec![hold(ConditionType::ImageResolved, Reason::RegistryUnreachable)], false, false, "False", Verdict::InProgress)]
#[case::secret_missing(vec![hold(ConditionType::DependenciesReady, Reason::SecretNotFound)], false, false, "False", Verdict::InProgress)]
#[case::old_generation_ends_later(vec![Hold { blocks: false, ..hold(ConditionType::CredentialsReady, Reason::Retiring) }], true, true, "True", Verdict::Current)]
#[case::rollout_failed(vec![hold(ConditionType::WorkloadReady, Reason::RolloutFailed)], true, true, "False", Verdict::InProgress)]
#[case::wrong_password(vec![hold(ConditionType::DependenciesReady, Reason::ClickhouseAuthenticationFailed)], true, true, "False", Verdict::Failed)]
#[case::invalid_spec(vec![hold(ConditionType::SpecValid, Reason::InvalidSpec)], true, true, "False", Verdict::Failed)]
#[case::unknown_tag(vec![hold(ConditionType::ImageResolved, Reason::ImageNotFound)], true, true, "False", Verdict::Failed)]
#[case::failed_migration(vec![hold(ConditionType::SchemaReady, Reason::MigrationFailed)], true, true, "False", Verdict::Failed)]
#[case::secret_in_the_way(vec![hold(ConditionType::CredentialsReady, Reason::SecretConflict)], false, false, "False", Verdict::Failed)]
#[case::fault_behind_progress(vec![hold(ConditionType::WorkloadReady, Reason::RolloutInProgress), hold(ConditionType::ImageResolved, Reason::ImageNotFound)], true, true, "False", Verdict::Failed)]
fn kstatus_reads_what_is_meant(
    #[case] holds: Vec<Hold>,
    #[case] was_ready: bool,
    #[case] serves: bool,
    #[case] ready: &str,
    #[case] expected: Verdict,
) {
    let before = if was_ready { ready_before() } else { AnalyticsStackStatus::default() };
    let status = derive(&before, GENERATION, &outcome(holds, serves), at(1));
    assert_eq!(condition(&status, "Ready").unwrap().0, ready);
    let stalled = condition(&status, "Stalled").is_some();
    let reconciling = condition(&status, "Reconciling").is_some();
    assert!(!(stalled && reconciling), "both Stalled and Reconciling");
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(GENERATION)));
    assert_eq!(verdict(status), expected);
}

#[test]
fn a_wait_that_blocks_nothing_leaves_the_stack_ready() {
    let waiting = Hold { blocks: false, ..hold(ConditionType::AccessReady, Reason::Waiting) };
    let status = derive(&AnalyticsStackStatus::default(), GENERATION, &outcome(vec![waiting], true), at(0));
    assert_eq!(condition(&status, "Ready"), Some(("True", "Waiting")));
    assert_eq!(condition(&status, "AccessReady"), Some(("True", "Succeeded")));
    assert_eq!(verdict(status), Verdict::InProgress);
}

#[test]
fn a_contest_is_told_where_access_is_in_order_and_moves_nothing_else() {
    let plain = ready_before();
    let contest = Some("its names belong to it; another asked".to_owned());
    let contested = Outcome { contest, ..outcome(Vec::new(), true) };
    let told = derive(&plain, GENERATION, &contested, at(1));
    let changed: Vec<_> =
        told.conditions.iter().filter(|condition| !plain.conditions.contains(condition)).collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!(changed[0].type_, "AccessReady");
    assert_eq!(changed[0].message, "as the spec says; its names belong to it; another asked");
    assert_eq!(verdict(told.clone()), Verdict::Current);
    assert_eq!(derive(&told, GENERATION, &contested, at(9)), told);
}

#[test]
fn a_new_generation_is_in_progress_at_once_and_an_older_status_never_current() {
    let mut old = ready_before();
    old.observed_generation = Some(GENERATION - 1);
    assert_eq!(verdict(old.clone()), Verdict::InProgress);
    let begun = begin(&AnalyticsStackStatus::default(), GENERATION, false, at(0));
    assert_eq!(condition(&begun, "Ready"), Some(("Unknown", "Progressing")));
    assert_eq!(condition(&begun, "Reconciling"), Some(("True", "Progressing")));
    assert_eq!(verdict(begun), Verdict::InProgress);
    assert_eq!(condition(&begin(&old, GENERATION, true, at(1)), "Ready"), Some(("True", "Progressing")));
}

#[test]
fn an_unchanged_outcome_is_an_unchanged_status() {
    let before = ready_before();
    assert_eq!(derive(&before, GENERATION, &outcome(Vec::new(), true), at(9)), before);
    let down = outcome(vec![hold(ConditionType::DependenciesReady, Reason::ClickhouseUnreachable)], true);
    let first = derive(&before, GENERATION, &down, at(1));
    assert_eq!(derive(&first, GENERATION, &down, at(9)), first);
    assert_eq!(first.blocked_by[0].since.0, at(1));
}

#[test]
fn the_digest_of_access_stays_until_somebody_looked_and_goes_when_other_access_is_wanted() {
    let after = |previous: &AnalyticsStackStatus, access| {
        let outcome = Outcome { facts: Facts { access, ..Facts::default() }, ..outcome(Vec::new(), true) };
        derive(previous, GENERATION, &outcome, at(0))
    };
    let known = after(&AnalyticsStackStatus::default(), AccessOrder::Of("a".into()));
    assert_eq!(known.access_digest.as_deref(), Some("a"));
    assert_eq!(after(&known, AccessOrder::Unknown).access_digest.as_deref(), Some("a"));
    assert_eq!(after(&known, AccessOrder::NotYet).access_digest, None);
}

#[test]
fn the_ready_message_says_what_blocked_by_says() {
    let holds = vec![
        hold(ConditionType::WorkloadReady, Reason::RolloutInProgress),
        Hold {
            object: "Secret/other".into(),
            ..hold(ConditionType::DependenciesReady, Reason::SecretInvalid)
        },
    ];
    let status = derive(&AnalyticsStackStatus::default(), GENERATION, &outcome(holds, false), at(0));
    let first = &status.blocked_by[0];
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(ready.message, format!("{}: {}", first.object, first.hint));
    assert_eq!((ready.reason.as_str(), first.reason.as_str()), ("SecretInvalid", "SecretInvalid"));
}

#[test]
fn a_long_name_is_cut_in_the_column_only_and_keeps_its_time() {
    let object = format!("ClickHouse/role {}", "ä".repeat(60));
    let long = Hold {
        object: object.clone(),
        ..hold(ConditionType::AccessReady, Reason::ClickhousePermissionDenied)
    };
    let first =
        derive(&AnalyticsStackStatus::default(), GENERATION, &outcome(vec![long.clone()], false), at(0));
    assert_eq!(first.blocked_by[0].object, format!("ClickHouse/role {}…", "ä".repeat(18)));
    let ready = first.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert!(ready.message.starts_with(&object));
    assert!(first.blocked_by[0].hint.starts_with(&object));
    assert_eq!(derive(&first, GENERATION, &outcome(vec![long], false), at(1)), first);
}

#[test]
fn names_that_differ_behind_the_cut_are_listed_apart() {
    let endpoint = |port: u16| Hold {
        object: format!("ClickHouse/https://clickhouse.example.com:{port}"),
        ..hold(ConditionType::AccessReady, Reason::Waiting)
    };
    let both = outcome(vec![endpoint(8443), endpoint(8444)], false);
    let status = derive(&AnalyticsStackStatus::default(), GENERATION, &both, at(0));
    assert_eq!(status.blocked_by.len(), 2);
    assert!(status.blocked_by[1].hint.contains(":8444"), "{}", status.blocked_by[1].hint);
}

#[test]
fn texts_are_cut_at_a_character() {
    let long = "ä".repeat(2000);
    let cut = cut(&long);
    assert!(cut.len() <= 1024 && long.starts_with(&cut));
}

proptest::proptest! {
    /// Whatever is said in whatever order, the time of the last transition moves exactly when the status does.
    #[test]
    fn transitions_are_timed_by_their_flip(truths in proptest::collection::vec((0_u8..4, 0_u8..3), 1..40)) {
        let mut conditions = Vec::new();
        let mut expected: Option<(&str, Timestamp)> = None;
        for (minute, (truth, reason)) in truths.into_iter().enumerate() {
            let now = at(i64::try_from(minute).unwrap());
            let reason = [Reason::Progressing, Reason::Waiting, Reason::Succeeded][usize::from(reason)];
            let truth = [Some(Truth::True), Some(Truth::False), Some(Truth::Unknown), None][usize::from(truth)];
            let judgement = truth.map(|truth| Judgement::new(truth, reason, "text"));
            set(&mut conditions, ConditionType::Ready, judgement, GENERATION, now);
            expected = truth.map(|truth| match expected {
                Some((status, since)) if status == truth.as_str() => (status, since),
                _ => (truth.as_str(), now),
            });
            let found = conditions.first().map(|condition| (condition.status.as_str(), condition.last_transition_time.0));
            proptest::prop_assert_eq!(found, expected);
            proptest::prop_assert!(conditions.len() <= 1);
        }
    }
}
