//! What a person needs after a failure, in one folder.

use std::{fs, path::Path, process::Command};

use anyhow::Context;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{Api, Client, ResourceExt, api::LogParams};

use super::client_config;
use crate::tool::{self, Hint};

/// What kubectl writes, and into which file.
const ANSWERS: [(&str, &[&str]); 5] = [
    ("events.txt", &["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp", "--output=wide"]),
    ("objects.txt", &["get", "all,pdb,networkpolicy,configmap", "--all-namespaces", "--output=wide"]),
    ("pods.txt", &["describe", "pods", "--all-namespaces"]),
    ("nodes.txt", &["describe", "nodes"]),
    ("stacks.yaml", &["get", "astack", "--all-namespaces", "--output=yaml"]),
];

/// Writes events, objects, descriptions and container logs of a cluster into `folder`.
///
/// A cluster in trouble answers some questions and not others: an error lies beside where the answer would be, in a file
/// that ends with `.error`, so that nobody takes one for the other.
pub async fn collect(kubeconfig: &Path, folder: &Path) -> anyhow::Result<()> {
    let logs = folder.join("containers");
    fs::create_dir_all(&logs).with_context(|| format!("failed to create {}", logs.display()))?;
    let kubectl = tool::kubectl()?;
    for (file, arguments) in ANSWERS {
        let mut command = Command::new(&kubectl);
        command.arg("--kubeconfig").arg(kubeconfig).arg("--request-timeout=10s").args(arguments);
        keep(folder, file, tool::run(&mut command, &Hint::none()))?;
    }
    if let Err(error) = write_container_logs(kubeconfig, &logs).await {
        keep(&logs, "all", Err(error))?;
    }
    Ok(())
}

/// Writes an answer, or why there is none.
fn keep(folder: &Path, file: &str, answer: anyhow::Result<String>) -> anyhow::Result<()> {
    let (path, text) = match answer {
        Ok(text) => (folder.join(file), text),
        Err(error) => (folder.join(format!("{file}.error")), format!("{error:#}\n")),
    };
    fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))
}

async fn write_container_logs(kubeconfig: &Path, folder: &Path) -> anyhow::Result<()> {
    let client = Client::try_from(client_config(kubeconfig).await?)?;
    let pods = Api::<Pod>::all(client.clone()).list(&kube::api::ListParams::default()).await?;
    for pod in pods {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let (spec, status) = (pod.spec.unwrap_or_default(), pod.status.unwrap_or_default());
        for container in spec.init_containers.unwrap_or_default().iter().chain(&spec.containers) {
            let file = format!("{namespace}.{name}.{}", container.name);
            let log = async |previous| {
                let container = Some(container.name.clone());
                let params = LogParams { container, previous, ..LogParams::default() };
                api.logs(&name, &params).await.map_err(anyhow::Error::from)
            };
            keep(folder, &format!("{file}.log"), log(false).await)?;
            if has_ended_before(&status, &container.name) {
                keep(folder, &format!("{file}.previous.log"), log(true).await)?;
            }
        }
    }
    Ok(())
}

/// Whether a container runs again, so that there is a log of the run before.
fn has_ended_before(status: &PodStatus, container: &str) -> bool {
    let statuses = [&status.init_container_statuses, &status.container_statuses].into_iter().flatten();
    let mut ended = statuses
        .flatten()
        .filter(|status| status.last_state.as_ref().is_some_and(|state| state.terminated.is_some()));
    ended.any(|status| status.name == container)
}

/// Copies the files of a folder, not those of its subfolders.
pub(super) fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("failed to create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("failed to list {}", from.display()))? {
        let path = entry.with_context(|| format!("failed to list {}", from.display()))?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            fs::copy(&path, to.join(name)).with_context(|| format!("failed to copy {}", path.display()))?;
        }
    }
    Ok(())
}
