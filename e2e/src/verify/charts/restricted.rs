//! The restricted Pod Security Standard, read off a pod template.

use serde_json::{Value, json};

use crate::verify::yaml::{items, text};

/// Kinds of volume that the standard allows.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Returns what the template does that the standard, and the house beyond it, does not allow.
pub(in crate::verify) fn violations(template: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let spec = &template["spec"];
    for setting in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec[setting] == true {
            found.push(format!("{setting} is on"));
        }
    }
    for volume in items(spec, "/volumes") {
        let kinds =
            volume.as_object().into_iter().flat_map(|volume| volume.keys()).filter(|key| *key != "name");
        found.extend(
            kinds
                .filter(|kind| !VOLUMES.contains(&kind.as_str()))
                .map(|kind| format!("volume {} is a {kind}", text(volume, "/name"))),
        );
    }
    for list in ["/containers", "/initContainers"] {
        for container in items(spec, list) {
            found.extend(
                of_container(spec, container)
                    .into_iter()
                    .map(|what| format!("container {}: {what}", text(container, "/name"))),
            );
        }
    }
    found
}

fn of_container(spec: &Value, container: &Value) -> Vec<&'static str> {
    // What the container does not say, the pod says for it.
    let effective = |pointer: &str| {
        let own = container.pointer(&format!("/securityContext{pointer}"));
        own.or_else(|| spec.pointer(&format!("/securityContext{pointer}"))).cloned().unwrap_or_default()
    };
    let own =
        |name: &str| container.pointer(&format!("/securityContext/{name}")).cloned().unwrap_or_default();
    let numeric = effective("/runAsUser").as_u64().is_some_and(|user| user > 0);
    let requests = |name: &str| !text(container, &format!("/resources/requests/{name}")).is_empty();
    [
        (effective("/runAsNonRoot") != true, "runAsNonRoot is not true"),
        (!numeric, "runAsUser is no number above 0"),
        (effective("/seccompProfile/type") != "RuntimeDefault", "the seccomp profile is not RuntimeDefault"),
        (own("allowPrivilegeEscalation") != false, "allowPrivilegeEscalation is not false"),
        (own("readOnlyRootFilesystem") != true, "readOnlyRootFilesystem is not true"),
        (own("capabilities")["drop"] != json!(["ALL"]), "capabilities are not all dropped"),
        (own("capabilities").get("add").is_some(), "capabilities are added"),
        (own("privileged") == true, "it is privileged"),
        (
            items(container, "/ports").iter().any(|port| port.get("hostPort").is_some()),
            "it takes a host port",
        ),
        (!requests("cpu") || !requests("memory"), "it requests no CPU or no memory"),
        (text(container, "/resources/limits/memory").is_empty(), "its memory has no limit"),
    ]
    .into_iter()
    .filter_map(|(violated, what)| violated.then_some(what))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Value {
        json!({ "spec": {
            "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "main",
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] },
                },
                "resources": { "requests": { "cpu": "1m", "memory": "1Mi" }, "limits": { "memory": "2Mi" } },
            }],
        }})
    }

    #[test]
    fn a_restricted_pod_has_no_violations() {
        assert_eq!(violations(&template()), Vec::<String>::new());
    }

    #[test]
    fn each_loosened_setting_is_named() {
        for (pointer, value) in [
            ("/spec/securityContext/runAsNonRoot", json!(false)),
            ("/spec/securityContext/runAsUser", json!(0)),
            ("/spec/securityContext/seccompProfile/type", json!("Unconfined")),
            ("/spec/containers/0/securityContext/allowPrivilegeEscalation", json!(true)),
            ("/spec/containers/0/securityContext/capabilities/drop", json!([])),
        ] {
            let mut loosened = template();
            *loosened.pointer_mut(pointer).expect("the template has it") = value;
            assert_eq!(violations(&loosened).len(), 1, "{pointer}");
        }
        let mut mounted = template();
        mounted["spec"]["volumes"] = json!([{ "name": "root", "hostPath": { "path": "/" } }]);
        assert_eq!(violations(&mounted), ["volume root is a hostPath"]);
    }
}
