//! The CRD, both charts and the examples, as a real API server takes them.

use std::{fs, time::Instant};

use anyhow::Context;
use k8s_openapi::{
    api::core::v1::Pod, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, api::PostParams};
use serde_json::json;

use super::{Server, record};
use crate::{
    report::Report,
    verify::{
        charts::{CLASSES, Class, NAMESPACE},
        yaml::{documents, items},
    },
};

/// Checks that everything that a person applies is accepted as it is.
pub(super) async fn check(server: &Server<'_>, report: &mut Report) {
    let started = Instant::now();
    record(report, "api: crds/ is applied and established", started, crds(server).await);
    report.check("api: the chart weir-crds is accepted", || chart(server, "weir-crds", &CLASSES[0]));
    report.check("api: namespaces that demand restricted pods", || namespaces(server));
    for class in &CLASSES {
        let name = format!("api: the chart weir with {} is accepted", class.name);
        report.check(&name, || chart(server, "weir", class));
        let started = Instant::now();
        let name = format!("api: its pod with {} is admitted as restricted", class.name);
        record(report, &name, started, pod(server, class).await);
    }
    report.check("api: every example is accepted", || server.dry_run("examples"));
}

async fn crds(server: &Server<'_>) -> anyhow::Result<String> {
    server.kubectl(&["apply", "--server-side", "--validate=strict", "--filename", "crds"])?;
    let wait = ["wait", "--for=condition=Established", "--timeout=30s", "--filename", "crds"];
    server.kubectl(&wait)?;
    let api: Api<CustomResourceDefinition> = Api::all(server.client.clone());
    let crd = api.get("analyticsstacks.weir.dev").await.context("failed to read the CRD back")?;
    let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
    let bad = conditions.iter().find(|it| it.type_ == "NonStructuralSchema" && it.status == "True");
    anyhow::ensure!(bad.is_none(), "its schema is not structural: {bad:?}");
    Ok(String::new())
}

fn chart(server: &Server<'_>, chart: &str, class: &Class) -> anyhow::Result<String> {
    let file = server.folder.join("rendered.yaml");
    fs::write(&file, server.charts.render(chart, class)?).context("failed to write a rendering")?;
    server.dry_run(&file.to_string_lossy())
}

fn namespaces(server: &Server<'_>) -> anyhow::Result<String> {
    let namespace = |name: &str| {
        let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
    };
    let list = json!({
        "apiVersion": "v1",
        "kind": "List",
        "items": [namespace(NAMESPACE), namespace("shop"), namespace("blog")],
    });
    let file = server.folder.join("namespaces.json");
    fs::write(&file, list.to_string()).context("failed to write the namespaces")?;
    server.kubectl(&["apply", "--server-side", "--filename", &file.to_string_lossy()]).map(|_| String::new())
}

/// Asks for the pod itself, which the admission of the API server judges; a Deployment only passes it on.
async fn pod(server: &Server<'_>, class: &Class) -> anyhow::Result<String> {
    let objects = documents(&server.charts.render("weir", class)?)?;
    for object in objects.iter().filter(|object| object["kind"] == "ServiceAccount") {
        let file = server.folder.join("account.json");
        fs::write(&file, object.to_string()).context("failed to write a service account")?;
        server.kubectl(&["apply", "--server-side", "--filename", &file.to_string_lossy()])?;
    }
    let api: Api<Pod> = Api::namespaced(server.client.clone(), NAMESPACE);
    let mut pods = 0;
    for object in &objects {
        let Some(template) = object.pointer("/spec/template") else { continue };
        if items(template, "/spec/containers").is_empty() {
            continue;
        }
        let mut pod = template.clone();
        pod["metadata"]["name"] = json!("judged");
        let pod: Pod = serde_json::from_value(pod).context("the template is no pod")?;
        let params = PostParams { dry_run: true, field_manager: Some(super::MANAGER.into()) };
        api.create(&params, &pod).await.context("the pod is refused")?;
        pods += 1;
    }
    anyhow::ensure!(pods > 0, "no pod template is rendered");
    Ok(String::new())
}
