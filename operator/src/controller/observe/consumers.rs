//! Asks the ingest pods what they read, while something depends on it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use weir_crds::{AnalyticsStack, Reason};

use crate::controller::Context;
use crate::controller::consumers::{Consumer, Consumers, Report, TOLD};
use crate::controller::credential::text;
use crate::controller::desired::metadata::{PUBLISHED_AT, ingest_selector};
use crate::controller::desired::secret::GENERATION_TYPE;
use crate::controller::observed::Fault;

/// Port of the pods that tells what they read.
const ADMIN_PORT: u16 = 9090;
/// Time that one pod may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Time that listing the pods may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// A report is a few hundred bytes and one line for each key.
const MAX_REPORT_BYTES: usize = 256 << 10;

/// Asks every pod, while a credential is on its way to consumers or an old one is about to go.
pub(super) async fn ask(
    ctx: &Context,
    stack: &AnalyticsStack,
    secrets: &BTreeMap<String, Secret>,
    has_pods: bool,
) -> Consumers {
    if !is_turning(secrets) {
        return Consumers::Unasked;
    }
    if !has_pods {
        return Consumers::Known(Vec::new());
    }
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), &stack.namespace().unwrap_or_default());
    let params = ListParams::default().labels(&ingest_selector(&stack.name_any()));
    match tokio::time::timeout(LIST_TIMEOUT, api.list(&params)).await {
        Ok(Ok(pods)) => Consumers::Known(reports(pods.items).await),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to list the ingest pods");
            Consumers::Unknown(unlisted())
        }
        Err(_elapsed) => Consumers::Unknown(unlisted()),
    }
}

/// Whether some credential has a generation that is not published, or more than one.
fn is_turning(secrets: &BTreeMap<String, Secret>) -> bool {
    let mut seen = BTreeSet::new();
    let mut generations = secrets.values().filter(|secret| secret.type_.as_deref() == Some(GENERATION_TYPE));
    generations.any(|secret| {
        let is_new = !secret.annotations().contains_key(PUBLISHED_AT);
        is_new || !seen.insert(text(secret, "credential"))
    })
}

fn unlisted() -> Fault {
    Fault {
        stage: weir_crds::ConditionType::CredentialsReady,
        object: "Pods".into(),
        reason: Reason::Waiting,
        hint:
            "the ingest pods could not be listed; a credential is published when they are known to accept it"
                .into(),
    }
}

async fn reports(pods: Vec<Pod>) -> Vec<Consumer> {
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    let lives = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
    };
    let client = &client;
    join_all(pods.into_iter().filter(lives).map(|pod| async move {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
        let report = match address {
            Some(address) => {
                tokio::time::timeout(ANSWER_TIMEOUT, fetch(client, &address)).await.ok().flatten()
            }
            None => None,
        };
        consumer(&pod, report)
    }))
    .await
}

fn consumer(pod: &Pod, report: Option<Report>) -> Consumer {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut ready = conditions.into_iter().flatten().filter(|condition| condition.type_ == "Ready");
    Consumer {
        pod: pod.name_any(),
        is_ready: ready.any(|condition| condition.status == "True"),
        told: pod.annotations().get(TOLD).cloned(),
        report,
    }
}

async fn fetch(client: &Client<HttpConnector, Empty<Bytes>>, address: &str) -> Option<Report> {
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let uri = format!("http://{host}:{ADMIN_PORT}/generation").parse().ok()?;
    let response = client.get(uri).await.ok().filter(|response| response.status().is_success())?;
    let body = Limited::new(response.into_body(), MAX_REPORT_BYTES).collect().await.ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}
