//! Everything that Weir and the parts around it let out, as text.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::ListParams};

use super::super::scrape;
use crate::{
    stage::{Stage, TEAM},
    target::SYSTEM,
};

/// Kinds of objects that hold no secret by their nature; the rest of the API's kinds are Secrets.
const KINDS: &str = "analyticsstacks,pods,deployments,replicasets,statefulsets,jobs,services,endpointslices,configmaps,\
                     events.events.k8s.io,events,serviceaccounts,networkpolicies,poddisruptionbudgets,controllerrevisions,\
                     leases,persistentvolumeclaims,nodes,namespaces";
/// Tables of ClickHouse that tell what was sent to it.
const LOGS: [&str; 4] = ["query_log", "session_log", "processes", "errors"];

/// One output.
pub(super) struct Output {
    /// What it is.
    pub(super) name: String,
    /// What it says.
    pub(super) text: String,
}

/// Gathers every output as it is now.
pub(super) async fn collect(stage: &Stage, text_log: &Path) -> anyhow::Result<Vec<Output>> {
    let mut outputs = Vec::new();
    let mut add = |name: String, text: String| outputs.push(Output { name, text });
    add(
        "objects".into(),
        stage.kubectl(&["get", KINDS, "--all-namespaces", "--output=yaml", "--show-managed-fields"])?,
    );
    add(
        "descriptions".into(),
        stage.kubectl(&["describe", "analyticsstacks,pods,jobs", "--all-namespaces"])?,
    );
    add("audit log".into(), fs::read_to_string(stage.cluster.audit_log()).context("the audit log")?);
    for (process, arguments) in arguments()? {
        add(format!("arguments of {process}"), arguments);
    }
    let folder = stage.target.folder.join("canary");
    stage.cluster.diagnostics(&folder).await?;
    for (name, text) in files(&folder)? {
        add(format!("log {name}"), text);
    }
    for (name, text) in metrics(stage).await? {
        add(format!("metrics of {name}"), text);
    }
    stage.query("SYSTEM FLUSH LOGS").await?;
    for table in LOGS {
        add(
            format!("system.{table}"),
            stage.query(&format!("SELECT * FROM system.{table} FORMAT JSONEachRow")).await?,
        );
    }
    let text_log = fs::read(text_log).context("ClickHouse kept no text log")?;
    add("ClickHouse's text log".into(), String::from_utf8_lossy(&text_log).into_owned());
    let filled = "SELECT concat(database, '.', name) FROM system.tables WHERE database LIKE 'weir_%' AND total_rows > 0";
    for table in stage.query(filled).await?.lines() {
        add(
            format!("rows of {table}"),
            stage.query(&format!("SELECT * FROM {table} FORMAT JSONEachRow")).await?,
        );
    }
    Ok(outputs)
}

/// How many outputs there are of each kind.
pub(super) fn kinds(outputs: &[Output]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for output in outputs {
        let kind =
            ["arguments", "log", "metrics", "rows"].into_iter().find(|kind| output.name.starts_with(kind));
        *counts.entry(kind.unwrap_or(&output.name)).or_default() += 1;
    }
    counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
}

/// Arguments of every process of the sandbox, which pods are among.
fn arguments() -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("failed to list processes")? {
        let path = entry?.path();
        // A process that has ended meanwhile has none.
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        if !line.is_empty() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.push((format!("process {name}"), String::from_utf8_lossy(&line).replace('\0', " ")));
        }
    }
    Ok(found)
}

/// Every file of a folder and its subfolders.
fn files(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            let text = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.push((name, String::from_utf8_lossy(&text).into_owned()));
        }
    }
    Ok(found)
}

/// Metrics of the operator and of every ingest pod.
async fn metrics(stage: &Stage) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for (namespace, port) in [(SYSTEM, 8081), (TEAM, 9090)] {
        let pods: Api<Pod> = Api::namespaced(stage.client.clone(), namespace);
        for pod in pods.list(&ListParams::default()).await? {
            let status = pod.status.as_ref();
            let is_running = status.and_then(|status| status.phase.as_deref()) == Some("Running")
                && pod.metadata.deletion_timestamp.is_none();
            if let (true, Some(address)) = (is_running, status.and_then(|status| status.pod_ip.as_deref())) {
                let text = scrape::metrics(&format!("http://{address}:{port}")).await;
                found.push((pod.name_any(), text.with_context(|| pod.name_any())?));
            }
        }
    }
    anyhow::ensure!(found.len() > 1, "operator and ingest should both have metrics");
    Ok(found)
}
