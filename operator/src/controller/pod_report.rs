//! What the pods of a Job or of a rollout say for themselves. Pure.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;

use super::status::cut;

/// Exit code of the ingest image for a failure that may be gone at the next try.
const TEMPORARY: i32 = 75;
/// Exit codes of the ingest image that say what they mean: done, refused for good, settings that cannot work, and that.
const SPOKEN: [i32; 4] = [0, 1, 64, TEMPORARY];
/// Why the kubelet cannot get an image, once it waits between its attempts.
const IMAGE: [&str; 3] = ["ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"];
/// Why the kubelet cannot make or start a container.
const CONTAINER: [&str; 4] =
    ["CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"];
/// Longest text of the kubelet that is passed on.
const MAX_DETAIL: usize = 240;

/// What some pods say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PodReport {
    /// Why the newest pod that is in trouble does not run.
    pub(crate) trouble: Option<Trouble>,
    /// Last words of the pod that ended last.
    pub(crate) last_words: Option<String>,
    /// How often in a row, up to the last time, a container ended without saying why.
    pub(crate) crashes: usize,
}

/// Why a pod does not run, in a sentence that names what to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The sentence.
    pub(crate) hint: String,
    /// Whether it may pass by itself, when the cluster grows or others leave.
    pub(crate) is_passing: bool,
}

/// Reads what pods say.
pub(crate) fn read(pods: &[Pod]) -> PodReport {
    let mut ended: Vec<_> = pods.iter().filter_map(end).collect();
    ended.sort_by_key(|end| std::cmp::Reverse(end.at));
    let crashes = ended.iter().take_while(|end| end.is_crash).count();
    let crash = ended.first().filter(|end| end.is_crash).map(|end| crashed(end.state));
    let mut alive: Vec<_> = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
    alive.sort_by_key(|pod| std::cmp::Reverse(pod.metadata.creation_timestamp.as_ref().map(|at| at.0)));
    let message = ended.first().and_then(|end| end.state.message.as_deref());
    PodReport {
        trouble: alive.into_iter().find_map(trouble).or(crash),
        last_words: message.map(|text| cut(text.trim())).filter(|text| !text.is_empty()),
        crashes,
    }
}

/// How a pod ended.
struct End<'a> {
    at: Option<Timestamp>,
    state: &'a ContainerStateTerminated,
    is_crash: bool,
}

fn end(pod: &Pod) -> Option<End<'_>> {
    let state = containers(pod).find_map(|container| container.state.as_ref()?.terminated.as_ref())?;
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    // A pod that had to make room says nothing about its container.
    let is_disrupted = conditions
        .into_iter()
        .any(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True");
    let is_crash = !is_disrupted && !SPOKEN.contains(&state.exit_code);
    Some(End { at: state.finished_at.as_ref().map(|at| at.0), state, is_crash })
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten())
}

fn trouble(pod: &Pod) -> Option<Trouble> {
    containers(pod)
        .filter(|container| !container.ready)
        .find_map(container_trouble)
        .or_else(|| unscheduled(pod))
}

fn container_trouble(container: &ContainerStatus) -> Option<Trouble> {
    let ContainerState { waiting, .. } = container.state.as_ref()?;
    let waiting = waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let detail = waiting.message.as_deref().map(short).unwrap_or_default();
    let lasting = |hint| Some(Trouble { hint, is_passing: false });
    if IMAGE.contains(&reason) {
        return lasting(format!(
            "its image cannot be pulled ({reason}{detail}); check spec.ingest.image.pullSecrets and that the nodes reach \
             the registry"
        ));
    }
    if CONTAINER.contains(&reason) {
        return lasting(format!("its container cannot be started ({reason}{detail})"));
    }
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    last.filter(|last| reason == "CrashLoopBackOff" && last.exit_code != TEMPORARY).map(crashed)
}

fn crashed(state: &ContainerStateTerminated) -> Trouble {
    let hint = if state.reason.as_deref() == Some("OOMKilled") {
        "its container was ended for using more memory than its limit (OOMKilled); raise \
         spec.ingest.resources.limits.memory"
            .into()
    } else {
        let words = state.message.as_deref().map(short).unwrap_or_default();
        format!("its container ends again and again (exit code {}{words})", state.exit_code)
    };
    Trouble { hint, is_passing: false }
}

fn unscheduled(pod: &Pod) -> Option<Trouble> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| {
        condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
    })?;
    let detail = found.message.as_deref().map(short).unwrap_or_default();
    let hint = format!(
        "no node takes its pod{detail}; lower spec.ingest.resources.requests, or add a node that has what the spec asks for"
    );
    Some(Trouble { hint, is_passing: true })
}

/// The text of the kubelet behind a colon, on one line and cut.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = line.chars().take(MAX_DETAIL).collect();
    if cut.is_empty() { cut } else { format!(": {cut}") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(created: &str, status: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "pod", "creationTimestamp": created },
            "status": status,
        }))
        .unwrap()
    }

    fn container(state: &Value, last: &Value) -> Value {
        json!({ "containerStatuses": [{
            "name": "any", "image": "any", "imageID": "", "ready": false, "restartCount": 0,
            "state": state, "lastState": last,
        }] })
    }

    fn waiting(reason: &str, message: &str) -> Pod {
        let state = json!({ "waiting": { "reason": reason, "message": message } });
        pod("2026-01-01T00:00:00Z", &container(&state, &json!({})))
    }

    fn ended(at: &str, code: i32, reason: &str, message: &str) -> Pod {
        let state = json!({ "terminated": {
            "exitCode": code, "reason": reason, "message": message, "finishedAt": at,
        } });
        pod(at, &container(&state, &json!({})))
    }

    fn hint(pods: &[Pod]) -> String {
        read(pods).trouble.map(|trouble| trouble.hint).unwrap_or_default()
    }

    #[test]
    fn what_keeps_a_container_from_starting_is_named_with_what_to_mend() {
        let image = hint(&[waiting("ImagePullBackOff", "Back-off pulling image")]);
        assert!(
            image.contains("ImagePullBackOff: Back-off") && image.contains("spec.ingest.image.pullSecrets")
        );
        let made = hint(&[waiting("CreateContainerConfigError", "secret \"x\"\nnot found")]);
        assert_eq!(
            made,
            "its container cannot be started (CreateContainerConfigError: secret \"x\" not found)"
        );
        assert_eq!(read(&[waiting("ContainerCreating", "")]), PodReport::default());
        assert_eq!(read(&[waiting("ErrImagePull", "")]), PodReport::default(), "it may work at once");
    }

    #[test]
    fn a_loop_of_crashes_tells_what_ended_the_container_last() {
        let last = json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
        let state = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
        let looping = pod("2026-01-01T00:00:00Z", &container(&state, &last));
        assert!(hint(&[looping]).contains("raise spec.ingest.resources.limits.memory"));
    }

    #[test]
    fn crashes_are_counted_up_to_the_last_end_that_said_why() {
        let oom = |at: &str| ended(at, 137, "OOMKilled", "");
        let temporary = |at: &str| ended(at, 75, "Error", " ClickHouse does not answer\n");
        let report = read(&[
            oom("2026-01-01T00:00:03Z"),
            temporary("2026-01-01T00:00:01Z"),
            oom("2026-01-01T00:00:02Z"),
        ]);
        assert_eq!(report.crashes, 2);
        assert!(report.trouble.unwrap().hint.contains("OOMKilled"));
        let report = read(&[oom("2026-01-01T00:00:01Z"), temporary("2026-01-01T00:00:02Z")]);
        assert_eq!(report.crashes, 0);
        assert_eq!(report.last_words.as_deref(), Some("ClickHouse does not answer"));
        assert!(report.trouble.is_none());
    }

    #[test]
    fn a_pod_that_had_to_make_room_is_no_crash() {
        let mut evicted = ended("2026-01-01T00:00:00Z", 137, "Error", "");
        let condition = json!([{ "type": "DisruptionTarget", "status": "True" }]);
        evicted.status.as_mut().unwrap().conditions = serde_json::from_value(condition).unwrap();
        assert_eq!(read(&[evicted]).crashes, 0);
    }

    #[test]
    fn a_pod_that_no_node_takes_waits_without_being_a_fault() {
        let status = json!({ "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient memory.",
        }] });
        let trouble = read(&[pod("2026-01-01T00:00:00Z", &status)]).trouble.unwrap();
        assert!(trouble.is_passing && trouble.hint.contains("Insufficient memory"));
    }
}
