//! Everything that Weir and the parts around it let out, as text.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::Value;

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
    let listing = ["get", KINDS, "--all-namespaces", "--output=json", "--show-managed-fields"];
    let mut outputs = objects(&stage.kubectl(&listing)?)?;
    let mut add = |name: String, text: String| outputs.push(Output { name, text });
    add(
        "descriptions".into(),
        stage.kubectl(&["describe", "analyticsstacks,pods,jobs", "--all-namespaces"])?,
    );
    add("audit log".into(), fs::read_to_string(stage.cluster.audit_log()).context("the audit log")?);
    for (process, arguments) in arguments()? {
        add(format!("arguments of {process}"), arguments);
    }
    let folder = stage.target.folder.join("canary");
    if folder.exists() {
        // What was gathered before must not stand for what is missing now.
        fs::remove_dir_all(&folder).context("failed to remove what was gathered before")?;
    }
    stage.cluster.diagnostics(&folder).await?;
    for (name, text) in files(&folder)? {
        add(format!("log {name}"), text);
    }
    for (name, text) in metrics(stage).await? {
        add(format!("metrics of {name}"), text);
    }
    for (name, text) in tables(stage).await? {
        add(name, text);
    }
    let text_log = fs::read(text_log).context("ClickHouse kept no text log")?;
    add("ClickHouse's text log".into(), String::from_utf8_lossy(&text_log).into_owned());
    Ok(outputs)
}

/// How many outputs there are of each kind.
pub(super) fn kinds(outputs: &[Output]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for output in outputs {
        let kind = ["answer", "arguments", "log", "metrics", "object", "rows"]
            .into_iter()
            .find(|kind| output.name.starts_with(kind));
        *counts.entry(kind.unwrap_or(&output.name)).or_default() += 1;
    }
    counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
}

/// Every object of a list, each in one line.
fn objects(list: &str) -> anyhow::Result<Vec<Output>> {
    let list: Value = serde_json::from_str(list).context("kubectl printed no JSON")?;
    let output = |item: &Value| {
        let text = |path| item.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (kind, namespace, name) = (text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
        Output { name: format!("object {kind} {namespace}/{name}"), text: item.to_string() }
    };
    let items = list["items"].as_array().context("kubectl printed no list")?;
    Ok(items.iter().map(output).collect())
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
    Ok(found)
}

/// What ClickHouse tells of what was sent to it, and every row of Weir's databases.
async fn tables(stage: &Stage) -> anyhow::Result<Vec<(String, String)>> {
    stage.query("SYSTEM FLUSH LOGS").await?;
    // The engine forgets its errors when it starts anew, so that there might be none to read.
    ensure!(stage.query("SELECT canary_error").await.is_err(), "ClickHouse knows what nobody made");
    let mut found = Vec::new();
    for table in LOGS {
        let name = format!("system.{table}");
        found.push((name.clone(), rows(stage, &name).await?));
    }
    let filled = "SELECT concat(database, '.', name) FROM system.tables WHERE database LIKE 'weir_%' AND total_rows > 0";
    for table in stage.query(filled).await?.lines() {
        found.push((format!("rows of {table}"), rows(stage, table).await?));
    }
    Ok(found)
}

/// Every row of a table, each in one line.
async fn rows(stage: &Stage, table: &str) -> anyhow::Result<String> {
    // A hash in base64 may hold a slash, which would be escaped.
    let settings = "SETTINGS output_format_json_escape_forward_slashes = 0";
    stage.query(&format!("SELECT * FROM {table} {settings} FORMAT JSONEachRow")).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_of_a_list_is_an_output_of_one_line() {
        let list = "{\"kind\": \"List\", \"items\": [\n\
            {\"kind\": \"Job\", \"metadata\": {\"name\": \"a\", \"namespace\": \"n\"}, \"note\": \"x\\ny/z\"},\n\
            {\"kind\": \"Node\", \"metadata\": {\"name\": \"b\"}}]}";
        let outputs = objects(list).unwrap();
        let names: Vec<_> = outputs.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(names, ["object Job n/a", "object Node /b"]);
        assert!(outputs[0].text.contains(r#""note":"x\ny/z""#), "{}", outputs[0].text);
        assert!(objects("{}").is_err());
    }
}
