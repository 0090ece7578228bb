//! The judgement of kstatus over a stack, ported as an oracle for tests.

use kube::Resource as _;
use weir_crds::AnalyticsStack;

/// What kstatus calls an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    InProgress,
    Failed,
    Current,
    Terminating,
}

/// Judges a stack in the order in which kstatus looks.
pub(super) fn judge(stack: &AnalyticsStack) -> Verdict {
    if stack.meta().deletion_timestamp.is_some() {
        return Verdict::Terminating;
    }
    // An object without status is Current; the schema's default keeps that from happening.
    let Some(status) = &stack.status else { return Verdict::Current };
    if status.observed_generation.is_some_and(|observed| Some(observed) != stack.metadata.generation) {
        return Verdict::InProgress;
    }
    for condition in &status.conditions {
        match (condition.type_.as_str(), condition.status.as_str()) {
            ("Reconciling", "True") => return Verdict::InProgress,
            ("Stalled", "True") => return Verdict::Failed,
            _ => {}
        }
    }
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    match ready.map(|condition| condition.status.as_str()) {
        Some("False" | "Unknown") => Verdict::InProgress,
        Some(_) | None => Verdict::Current,
    }
}
