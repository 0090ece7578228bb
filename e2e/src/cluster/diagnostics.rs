//! What a person needs after a failure, in one folder.

use std::{fs, path::Path, process::Command};

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
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
/// A cluster in trouble answers some questions and not others: each file holds the answer or the error.
pub async fn collect(kubeconfig: &Path, folder: &Path) -> anyhow::Result<()> {
    let logs = folder.join("containers");
    fs::create_dir_all(&logs).with_context(|| format!("failed to create {}", logs.display()))?;
    let kubectl = tool::kubectl()?;
    for (file, arguments) in ANSWERS {
        let mut command = Command::new(&kubectl);
        command.arg("--kubeconfig").arg(kubeconfig).arg("--request-timeout=10s").args(arguments);
        let answer = tool::run(&mut command, &Hint::none()).unwrap_or_else(|error| format!("{error:#}\n"));
        let path = folder.join(file);
        fs::write(&path, answer).with_context(|| format!("failed to write {}", path.display()))?;
    }
    if let Err(error) = write_container_logs(kubeconfig, &logs).await {
        fs::write(logs.join("error.txt"), format!("{error:#}\n")).context("failed to write an error")?;
    }
    Ok(())
}

async fn write_container_logs(kubeconfig: &Path, folder: &Path) -> anyhow::Result<()> {
    let client = Client::try_from(client_config(kubeconfig).await?)?;
    let pods = Api::<Pod>::all(client.clone()).list(&kube::api::ListParams::default()).await?;
    for pod in pods {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let spec = pod.spec.unwrap_or_default();
        for container in spec.init_containers.unwrap_or_default().iter().chain(&spec.containers) {
            for previous in [false, true] {
                let params =
                    LogParams { container: Some(container.name.clone()), previous, ..LogParams::default() };
                let Ok(text) = api.logs(&name, &params).await else { continue };
                let suffix = if previous { ".previous" } else { "" };
                let path = folder.join(format!("{namespace}.{name}.{}{suffix}.log", container.name));
                fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
            }
        }
    }
    Ok(())
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
