//! Phases of the pods: what they mount, the migration of their image, and they themselves.

use k8s_openapi::api::batch::v1::Job;
use weir_crds::{ConditionType, Reason};

use super::access::{generate, prove};
use super::{Action, Hold, Proof, Steps, View, image_hold, rollout, written_ahead};
use crate::controller::child::{Child, ChildKey, ChildKind};
use crate::controller::credential::{self, State};
use crate::controller::desired::metadata::SPEC_HASH;
use crate::controller::desired::{Migration, network};
use crate::controller::observed::JobState;

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

/// Applies what surrounds the pods.
pub(super) fn surroundings(view: &View<'_>, steps: &mut Steps) {
    for child in &view.desired.surroundings {
        if matches!(child, Child::NetworkPolicy(_)) {
            widen(view, child, steps);
        } else {
            steps.apply(ConditionType::WorkloadReady, child, view.observed);
        }
    }
    if let Err(fault) = &view.observed.image {
        let hold = image_hold(fault);
        steps.hold(Hold { blocks: view.stack.image.is_none(), ..hold });
    }
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
    if let Some(job) = view.observed.jobs.get(&key.name).filter(|job| is_replaced(job, &migration.job)) {
        steps.act(ConditionType::SchemaReady, delete_job(&key.name, job));
        return steps.hold(running(&key.name));
    }
    match view.observed.job_state(&key.name) {
        JobState::Absent => start(view, migration, steps),
        JobState::Failed => steps.hold(failed(view, &key.name)),
        // There is no migration left to plan once its Job has succeeded.
        JobState::Running | JobState::Succeeded => steps.hold(running(&key.name)),
    }
}

/// Whether a Job has to make room for a new one: it used up its retries on temporary failures (a permanent one ends it
/// at once), or it was made from another spec and no pod of it runs.
fn is_replaced(live: &Job, wanted: &Child) -> bool {
    let Child::Job(wanted) = wanted else { return false };
    let hash = |job: &Job| job.metadata.annotations.as_ref()?.get(SPEC_HASH).cloned();
    let status = live.status.clone().unwrap_or_default();
    let mut conditions = status.conditions.into_iter().flatten();
    let failed = conditions.find(|condition| condition.type_ == "Failed" && condition.status == "True");
    if let Some(condition) = failed {
        return condition.reason.as_deref() == Some("BackoffLimitExceeded");
    }
    let is_idle = status.ready.unwrap_or(0) == 0 && status.succeeded.unwrap_or(0) == 0;
    is_idle && hash(live) != hash(wanted)
}

fn start(view: &View<'_>, migration: &Migration, steps: &mut Steps) {
    let credential = &migration.credential;
    if let State::Missing { generation } = &credential.state {
        let user = match &credential.purpose {
            credential::Use::Migrate(run) => Some(view.stack.clickhouse.names.migrate_user(run)),
            credential::Use::Ingest | credential::Use::Reader(_) | credential::Use::Key(..) => None,
        };
        steps.act(ConditionType::CredentialsReady, generate(credential, *generation, user));
        return steps.hold(written_ahead(&credential.pending));
    }
    prove(view, credential, false, steps);
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

fn failed(view: &View<'_>, job: &str) -> Hold {
    let last_words = view.observed.job_messages.get(job).map_or("its pod left no message", String::as_str);
    Hold {
        stage: ConditionType::SchemaReady,
        object: format!("Job/{job}"),
        reason: Reason::MigrationFailed,
        hint: format!(
            "the migration failed: {last_words}; fix the cause, then delete the Job to run it again, or name another image"
        ),
        blocks: true,
        until: None,
    }
}

/// Applies the policy with the ports that serving pods use besides the new ones. It is narrowed behind the pods.
fn widen(view: &View<'_>, policy: &Child, steps: &mut Steps) {
    let (stage, observed) = (ConditionType::WorkloadReady, view.observed);
    if observed.has_moved(view.stack) {
        let endpoints = observed.pod_endpoints().unwrap_or_default().split(',');
        let port = |endpoint: &str| endpoint.rsplit_once(':')?.1.parse().ok();
        let still_used: Vec<u16> = endpoints.filter_map(port).collect();
        let policy = network::network_policy(view.stack, &still_used);
        steps.apply(stage, &Child::NetworkPolicy(Box::new(policy)), observed);
    } else if observed.deployment.is_none() || !observed.live.contains_key(&policy.key()) {
        steps.apply(stage, policy, observed);
    }
}

/// Applies the policy as it should be, once no pod needs more.
fn narrow(view: &View<'_>, steps: &mut Steps) {
    if view.observed.has_moved(view.stack) {
        return;
    }
    let is_policy = |child: &&Child| matches!(child, Child::NetworkPolicy(_));
    for policy in view.desired.surroundings.iter().filter(is_policy) {
        if view.observed.live.contains_key(&policy.key()) {
            steps.apply(ConditionType::WorkloadReady, policy, view.observed);
        }
    }
}

/// Applies the pods and waits until they run and are ready.
pub(super) fn pods(view: &View<'_>, steps: &mut Steps) {
    let Some(deployment) = &view.desired.deployment else { return };
    steps.apply(ConditionType::WorkloadReady, deployment, view.observed);
    if let Some(hold) = rollout::waits(&deployment.key().name, view.observed.deployment.as_ref()) {
        return steps.hold(hold);
    }
    narrow(view, steps);
}

/// Children that belong to the pods and the migration, for the orphans to be told from.
pub(super) fn keys(view: &View<'_>) -> Vec<ChildKey> {
    let desired = view.desired;
    let children = desired.config.iter().chain(&desired.surroundings).chain(&desired.deployment);
    let mut keys: Vec<_> = children.map(Child::key).collect();
    if let Some(image) = &view.stack.image {
        let run = crate::controller::desired::migration::name(view.stack, &view.stack.run(image));
        // The Job of the image that runs is kept as the record of its migration.
        keys.push(ChildKey::new(ChildKind::Job, run.clone()));
        if desired.migration.is_some() {
            keys.push(ChildKey::new(ChildKind::Secret, run));
        }
    }
    keys
}
