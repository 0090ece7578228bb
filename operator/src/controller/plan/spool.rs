//! Phases of the spool: no claim that may hold events is forgotten, and those of pods that left are drained.

use weir_crds::{ConditionType, Reason};

use super::{Action, Hold, Steps, View};
use crate::controller::child::{Child, ChildKey, ChildKind};
use crate::controller::desired::spool;
use crate::controller::observed::JobState;

/// Sees to it, before the pods change, that claims which pods leave are noted, and that no drain holds a claim which a pod
/// is about to have.
pub(super) fn make_room(view: &View<'_>, steps: &mut Steps) {
    let (observed, wanted) = (view.observed, view.stack.spool_pods());
    let used = observed.used_claims();
    if wanted < used && observed.noted_claims() < used {
        return steps.hold(hold(
            &ChildKey::new(ChildKind::StatefulSet, view.stack.ingest_name()),
            Reason::Progressing,
            "its claims are noted in status.spool before pods leave them".into(),
            true,
        ));
    }
    for (name, job) in &observed.jobs {
        let is_needed = spool::drained_ordinal(view.stack, name).is_some_and(|ordinal| ordinal < wanted);
        if !is_needed || observed.job_state(name) != JobState::Running {
            continue;
        }
        let key = ChildKey::new(ChildKind::Job, name.clone());
        if job.metadata.deletion_timestamp.is_none() {
            let uid = job.metadata.uid.clone().unwrap_or_default();
            steps.act(ConditionType::WorkloadReady, Action::DeletePods(key.clone(), uid));
        }
        steps.hold(hold(
            &key,
            Reason::Progressing,
            "its claim goes back to a pod, which drains it too".into(),
            true,
        ));
    }
}

/// Drains the highest claim that no pod has any more, once the pods that had it are gone.
pub(super) fn drain(view: &View<'_>, steps: &mut Steps) {
    let (Some(ordinal), Some(image)) = (next(view), &view.stack.image) else { return };
    let observed = view.observed;
    if observed.used_claims() > view.stack.spool_pods() {
        return;
    }
    let job = Child::Job(Box::new(spool::drain(view.stack, image, ordinal)));
    let key = job.key();
    let state = observed.job_state(&key.name);
    // The spec of a Job cannot be edited, and a drain of an older image is as good.
    if state == JobState::Absent {
        steps.act(ConditionType::WorkloadReady, Action::Apply(job));
    }
    let (reason, hint) = progress(view, &key.name, state, ordinal);
    steps.hold(hold(&key, reason, hint, false));
}

/// How the drain of a claim stands.
fn progress(view: &View<'_>, job: &str, state: JobState, ordinal: i32) -> (Reason, String) {
    let report = view.observed.job_reports.get(job);
    let trouble = report.and_then(|report| report.trouble.as_ref());
    let hint = trouble.map(|trouble| trouble.hint.as_str());
    let last_words = report.and_then(|report| report.last_words.as_deref());
    if state == JobState::Failed {
        let cause = hint.or(last_words).unwrap_or("its pod left no message");
        return (
            Reason::SpoolDrainFailed,
            format!("a spool was not drained: {cause}; delete the Job to try again"),
        );
    }
    match trouble {
        Some(trouble) if !trouble.is_passing => {
            (Reason::SpoolDrainFailed, format!("a spool is not drained: {}", trouble.hint))
        }
        Some(trouble) => (Reason::SpoolDraining, format!("a spool waits to be drained: {}", trouble.hint)),
        None => {
            let claim = format!("spool-{}-{ordinal}", view.stack.ingest_name());
            (Reason::SpoolDraining, format!("the events in claim {claim} go to ClickHouse"))
        }
    }
}

/// Ordinal of the claim that is drained next.
fn next(view: &View<'_>) -> Option<i32> {
    let claims = view.observed.spool_claims(view.stack);
    (claims > view.stack.spool_pods()).then(|| claims - 1)
}

/// The drain that is wanted now, for the orphans to be told from.
pub(super) fn drain_key(view: &View<'_>) -> Option<ChildKey> {
    let name = spool::drain_name(view.stack, next(view)?);
    Some(ChildKey::new(ChildKind::Job, name))
}

fn hold(key: &ChildKey, reason: Reason, hint: String, blocks: bool) -> Hold {
    Hold { stage: ConditionType::WorkloadReady, object: key.to_string(), reason, hint, blocks, until: None }
}
