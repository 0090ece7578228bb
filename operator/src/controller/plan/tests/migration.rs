//! The migration: before the pods, once for an image, and what a user sees of one that fails.

use super::*;
use crate::controller::pod_report::{PodReport, Trouble};

#[test]
fn no_pod_runs_an_image_before_its_migration_is_done() {
    let mut observed = with_credentials(reachable(), false);
    let generated = plan_of(&observed);
    assert!(generated.summary().contains(&format!("generate Secret/{} generation 1", run_name())));
    let stack = fixture::checked();
    let secret = secret::migration(&stack, run_name(), "user".into(), "password");
    observed.secrets.insert(run_name(), secret);
    let started = plan_of(&observed);
    assert!(
        position(&started, "prove the login of user weir_retail__store_migrate")
            < position(&started, &format!("apply Job/{}", run_name()))
    );
    assert!(!started.summary().iter().any(|step| step.contains("Deployment")));
    assert!(
        matches!(started.steps.last(), Some(Step::Hold(hold)) if hold.reason == Reason::MigrationRunning)
    );
    observed = with_database(observed);
    observed.jobs.insert(run_name(), succeeded_job());
    let done = plan_of(&observed);
    assert!(position(&done, "record the migration") < position(&done, "apply Deployment/store-ingest"));
}

/// The stack after its Job came to this.
fn came_to(report: Option<PodReport>, change: impl FnOnce(&mut Job)) -> Observed {
    let stack = fixture::checked();
    let mut job = desired::migration::job(&stack, &fixture::image());
    job.status = Some(JobStatus::default());
    change(&mut job);
    let mut observed = with_credentials(with_database(fixture::observed()), true);
    observed.job_reports.extend(report.map(|report| (run_name(), report)));
    observed.jobs.insert(run_name(), job);
    observed
}

fn is_replaced(observed: &Observed) -> bool {
    plan_of(observed).summary().contains(&format!("delete Job/{}", run_name()))
}

fn fail(job: &mut Job, reason: &str) {
    let mut failed = succeeded_job().status.unwrap();
    let condition = &mut failed.conditions.as_mut().unwrap()[0];
    (condition.type_, condition.reason) = ("Failed".into(), Some(reason.into()));
    job.status = Some(failed);
}

fn report(crashes: usize, hint: &str) -> PodReport {
    let trouble = Some(Trouble { hint: hint.into(), is_passing: false });
    PodReport { trouble, last_words: None, crashes }
}

/// Reason and hint of the wait for the migration.
fn waits_for(observed: &Observed) -> (Reason, String) {
    let plan = plan_of(observed);
    let Some(Step::Hold(hold)) = plan.steps.last() else { panic!("no hold in {plan:?}") };
    assert!(!plan.summary().iter().any(|step| step.contains("Deployment")), "the pods stay as they are");
    (hold.reason, hold.hint.clone())
}

#[test]
fn a_migration_is_replaced_when_each_of_its_failures_may_be_gone_or_its_spec_was_mended() {
    let temporary = || Some(PodReport::default());
    assert!(is_replaced(&came_to(temporary(), |job| fail(job, "BackoffLimitExceeded"))));
    assert!(!is_replaced(&came_to(temporary(), |job| fail(job, "PodFailurePolicy"))));
    assert!(
        !is_replaced(&came_to(None, |job| fail(job, "BackoffLimitExceeded"))),
        "its pods could not be read"
    );
    assert!(!is_replaced(&came_to(None, |_| {})), "it waits for its pod");
    let mend = |job: &mut Job| job.metadata.annotations = None;
    assert!(is_replaced(&came_to(None, mend)), "it never ran");
    for reason in ["PodFailurePolicy", "DeadlineExceeded", "BackoffLimitExceeded"] {
        let crashed = came_to(Some(report(3, "out of memory")), |job| {
            fail(job, reason);
            mend(job);
        });
        assert!(is_replaced(&crashed), "{reason}");
    }
    assert!(!is_replaced(&came_to(None, |job| {
        mend(job);
        job.status.as_mut().unwrap().ready = Some(1);
    })));
}

#[test]
fn a_failed_migration_names_its_last_words_and_leaves_the_pods() {
    let report = PodReport { last_words: Some("statement 3 was refused".into()), ..PodReport::default() };
    let (reason, hint) = waits_for(&came_to(Some(report), |job| fail(job, "PodFailurePolicy")));
    assert_eq!(reason, Reason::MigrationFailed);
    assert!(hint.contains("statement 3 was refused") && hint.contains("delete the Job"));
}

#[test]
fn a_migration_that_crashes_again_and_again_stalls_with_what_ended_it() {
    let once = waits_for(&came_to(Some(report(1, "out of memory")), |_| {}));
    assert_eq!(once.0, Reason::MigrationRunning);
    let running = waits_for(&came_to(Some(report(2, "out of memory")), |_| {}));
    let spent =
        waits_for(&came_to(Some(report(7, "out of memory")), |job| fail(job, "BackoffLimitExceeded")));
    let late = waits_for(&came_to(Some(report(0, "no image")), |job| fail(job, "DeadlineExceeded")));
    for (reason, hint) in [&running, &spent, &late] {
        assert_eq!(*reason, Reason::MigrationFailed, "{hint}");
        assert!(reason.is_permanent());
    }
    assert!(
        running.1.contains("out of memory")
            && spent.1.contains("out of memory")
            && late.1.contains("no image")
    );
}

#[test]
fn a_migration_whose_pod_cannot_start_stalls_at_once_and_one_that_waits_for_a_node_does_not() {
    let (reason, hint) = waits_for(&came_to(Some(report(0, "its image cannot be pulled")), |_| {}));
    assert_eq!(reason, Reason::MigrationFailed);
    assert!(hint.contains("its image cannot be pulled") && hint.contains("go on serving"));
    let mut waiting = report(0, "no node takes its pod");
    waiting.trouble.as_mut().unwrap().is_passing = true;
    let (reason, hint) = waits_for(&came_to(Some(waiting), |_| {}));
    assert_eq!(reason, Reason::MigrationRunning);
    assert!(hint.contains("no node takes its pod"));
}

#[test]
fn a_finished_migration_that_somebody_deletes_is_not_made_again() {
    let mut observed = with_database(settled());
    assert!(observed.is_migrated(&fixture::checked(), &fixture::image()));
    observed.jobs.clear();
    assert!(observed.is_migrated(&fixture::checked(), &fixture::image()));
    assert!(!plan_of(&observed).summary().iter().any(|step| step.contains("Job/")));
}

#[test]
fn a_lost_database_is_made_only_after_its_migrations_are_forgotten() {
    let mut observed = Observed { catalogue: Ok(Arc::default()), ..settled() };
    let forgets = plan_of(&observed);
    assert_eq!(forgets.summary(), [format!("delete Job/{}", run_name())]);
    assert!(matches!(forgets.steps.last(), Some(Step::Hold(hold)) if hold.blocks));
    observed.jobs.clear();
    assert!(plan_of(&observed).summary().is_empty());
    observed.status.schema = Some(SchemaStatus::default());
    let made = plan_of(&observed);
    assert!(position(&made, "create database") < position(&made, "generate Secret/store-migrate"));
}

#[test]
fn another_clickhouse_is_migrated_before_the_pods_use_it() {
    let observed = with_database(settled());
    let plan = plan_for(&moved(), &observed);
    assert!(plan.summary().iter().any(|step| step.starts_with("generate Secret/store-migrate")));
    assert!(!plan.summary().iter().any(|step| step.contains("Deployment")));
    assert!(observed.is_migrated(&fixture::checked(), &fixture::image()));
}
