//! Phases of the migration: what a lost database takes along, and the run for the image before any pod has it.

use k8s_openapi::api::batch::v1::Job;
use weir_crds::{ConditionType, Reason};

use super::access::{generate, prove};
use super::{Action, Hold, Proof, Steps, View, written_ahead};
use crate::controller::child::{Child, ChildKey, ChildKind};
use crate::controller::credential::{self, Origin, State};
use crate::controller::desired::Migration;
use crate::controller::desired::metadata::SPEC_HASH;
use crate::controller::observed::JobState;
use crate::controller::rotation::Cause;

/// Crashes in a row after which another attempt is not expected to end otherwise.
const CRASHES: usize = 2;

/// Forgets the migrations of a database that is gone before an empty one is made in its place: afterwards nothing would
/// tell the two apart. Status forgets its part in the same pass.
pub(super) fn lost_database(view: &View<'_>, steps: &mut Steps) {
    if !view.observed.has_lost_database(view.stack) {
        return;
    }
    for (name, job) in &view.observed.jobs {
        steps.act(ConditionType::SchemaReady, delete_job(name, job));
    }
    steps.hold(Hold {
        stage: ConditionType::SchemaReady,
        object: format!("ClickHouse/database {}", view.stack.clickhouse.names.database),
        reason: Reason::Progressing,
        hint: "the database is gone; it is made and migrated again, without the rows that it held".into(),
        blocks: true,
        until: None,
    });
}

fn delete_job(name: &str, job: &Job) -> Action {
    let uid = job.metadata.uid.clone().unwrap_or_default();
    Action::Delete(ChildKey::new(ChildKind::Job, name), uid)
}

/// Migrates the database for the image before any pod runs it.
pub(super) fn migration(view: &View<'_>, steps: &mut Steps) {
    let Some(image) = &view.stack.image else { return };
    let Some(migration) = &view.desired.migration else {
        if view.observed.recorded_digest() != Some(image.digest()) {
            let run = view.stack.run(image);
            let done = credential::migration(view.stack, &run, &view.observed.secrets);
            let login = done.user(view.stack).zip(done.value());
            let proof = login.map(|(user, value)| Proof {
                user,
                password: value.secret.clone(),
                required: Vec::new(),
            });
            steps.act(ConditionType::SchemaReady, Action::RecordMigration(proof));
        }
        return;
    };
    let key = migration.job.key();
    if let Some(job) = view.observed.jobs.get(&key.name).filter(|job| is_replaced(view, job, &migration.job))
    {
        steps.act(ConditionType::SchemaReady, delete_job(&key.name, job));
        return steps.hold(running(&key.name));
    }
    match view.observed.job_state(&key.name) {
        JobState::Absent => start(view, migration, steps),
        JobState::Failed => steps.hold(failed(view, &key.name)),
        // There is no migration left to plan once its Job has succeeded.
        JobState::Running | JobState::Succeeded => steps.hold(underway(view, &key.name)),
    }
}

/// Whether a Job has to make room for a new one: it was made from another spec and no pod of it runs, or it used up its
/// retries on failures of which each may be gone at the next try. A permanent failure ends it at once, and one that
/// crashes again and again would go on with it.
fn is_replaced(view: &View<'_>, live: &Job, wanted: &Child) -> bool {
    let Child::Job(wanted) = wanted else { return false };
    let hash = |job: &Job| job.metadata.annotations.as_ref()?.get(SPEC_HASH).cloned();
    let status = live.status.clone().unwrap_or_default();
    let is_idle = status.ready.unwrap_or(0) == 0 && status.succeeded.unwrap_or(0) == 0;
    if is_idle && hash(live) != hash(wanted) {
        return true;
    }
    let mut conditions = status.conditions.into_iter().flatten();
    let failed = conditions.find(|condition| condition.type_ == "Failed" && condition.status == "True");
    let is_spent =
        failed.is_some_and(|condition| condition.reason.as_deref() == Some("BackoffLimitExceeded"));
    // Where its pods could not be read it stays until they can.
    let report = live.metadata.name.as_ref().and_then(|name| view.observed.job_reports.get(name));
    is_spent && report.is_some_and(|report| report.crashes == 0)
}

fn start(view: &View<'_>, migration: &Migration, steps: &mut Steps) {
    let credential = &migration.credential;
    if let State::Missing { generation } = &credential.state {
        let user = match &credential.purpose {
            credential::Use::Migrate(run) => Some(view.stack.clickhouse.names.migrate_user(run)),
            credential::Use::Ingest | credential::Use::Reader(_) | credential::Use::Key(..) => None,
        };
        let origin = (Cause::First, Origin::Generated);
        steps.act(ConditionType::CredentialsReady, generate(credential, *generation, origin, user));
        return steps.hold(written_ahead(&credential.pending));
    }
    if let Some(value) = credential.value() {
        prove(view, credential, value, false, steps);
    }
    steps.act(ConditionType::SchemaReady, Action::Apply(migration.job.clone()));
    steps.hold(running(&migration.job.key().name));
}

fn running(job: &str) -> Hold {
    Hold {
        stage: ConditionType::SchemaReady,
        object: format!("Job/{job}"),
        reason: Reason::MigrationRunning,
        hint: "the database is being migrated for the image; pods follow when the Job is complete".into(),
        blocks: true,
        until: None,
    }
}

/// A migration that has not ended: its Job goes on trying, but what keeps its pods from running has to be mended.
fn underway(view: &View<'_>, job: &str) -> Hold {
    let waiting = running(job);
    let Some(report) = view.observed.job_reports.get(job) else { return waiting };
    let Some(trouble) = &report.trouble else { return waiting };
    if trouble.is_passing || (report.crashes > 0 && report.crashes < CRASHES) {
        return Hold { hint: format!("{}; at the moment {}", waiting.hint, trouble.hint), ..waiting };
    }
    let hint = format!(
        "the migration does not run: {}; its Job goes on trying, and a mended spec makes a new one; pods of the image before go \
         on serving",
        trouble.hint
    );
    Hold { reason: Reason::MigrationFailed, hint, ..waiting }
}

fn failed(view: &View<'_>, job: &str) -> Hold {
    let report = view.observed.job_reports.get(job);
    let trouble = report.and_then(|report| report.trouble.as_ref()).map(|trouble| trouble.hint.as_str());
    let last_words = report.and_then(|report| report.last_words.as_deref());
    let cause = trouble.or(last_words).unwrap_or("its pod left no message");
    Hold {
        reason: Reason::MigrationFailed,
        hint: format!(
            "the migration failed: {cause}; fix the cause, then delete the Job to run it again, or name another image"
        ),
        ..running(job)
    }
}
