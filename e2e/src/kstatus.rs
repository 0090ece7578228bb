//! How kstatus, and with it Flux and Helm, reads the status of a custom resource.
//!
//! Source: `sigs.k8s.io/cli-utils`, package `pkg/kstatus/status`, generic rules.

use serde_json::Value;

/// What kstatus concludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Being deleted.
    Terminating,
    /// Not there yet.
    InProgress,
    /// Will not get there by itself.
    Failed,
    /// As the spec says.
    Current,
}

/// Judges an object by its metadata and status.
pub fn judge(object: &Value) -> Judgement {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Judgement::Terminating;
    }
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    let observed = object.pointer("/status/observedGeneration").and_then(Value::as_i64);
    if observed.is_some() && observed != generation {
        return Judgement::InProgress;
    }
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    for condition in conditions.into_iter().flatten() {
        match (condition["type"].as_str(), condition["status"].as_str()) {
            (Some("Reconciling"), Some("True")) => return Judgement::InProgress,
            (Some("Stalled"), Some("True")) => return Judgement::Failed,
            _ => {}
        }
    }
    match conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready") {
        Some(ready) if ready["status"] != "True" => Judgement::InProgress,
        // The hole of kstatus: an object without conditions, or without status, counts as finished.
        _ => Judgement::Current,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::no_status(json!({"metadata": {"generation": 1}}), Judgement::Current)]
    #[case::never_seen(json!({"metadata": {"generation": 1}, "status": {"observedGeneration": -1}}), Judgement::InProgress)]
    #[case::old_generation(json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1,
        "conditions": [{"type": "Ready", "status": "True"}]}}), Judgement::InProgress)]
    #[case::ready(json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 2,
        "conditions": [{"type": "Ready", "status": "True"}]}}), Judgement::Current)]
    #[case::reconciling(json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 2,
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Reconciling", "status": "True"}]}}), Judgement::InProgress)]
    #[case::stalled(json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 2,
        "conditions": [{"type": "Ready", "status": "False"}, {"type": "Stalled", "status": "True"}]}}), Judgement::Failed)]
    #[case::unknown(json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 2,
        "conditions": [{"type": "Ready", "status": "Unknown"}]}}), Judgement::InProgress)]
    #[case::deleting(json!({"metadata": {"generation": 2, "deletionTimestamp": "2026-01-01T00:00:00Z"}}), Judgement::Terminating)]
    fn judges_as_kstatus_does(#[case] object: Value, #[case] expected: Judgement) {
        assert_eq!(judge(&object), expected);
    }
}
