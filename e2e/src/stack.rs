//! One stack under test, as its user handles it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use k8s_openapi::api::{
    core::v1::{Secret, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::Value;
use weir_crds::{AnalyticsStack, ConditionType, Reason};

use crate::kstatus::{Judgement, judge};

/// A stack by its name.
#[derive(Clone)]
pub struct Stack {
    /// Client with all rights.
    pub client: Client,
    /// Namespace of the stack.
    pub namespace: String,
    /// Name of the stack.
    pub name: String,
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Stack({}/{})", self.namespace, self.name)
    }
}

impl Stack {
    /// Names a stack, which need not exist yet.
    pub fn new(client: &Client, namespace: &str, name: &str) -> Self {
        Self { client: client.clone(), namespace: namespace.into(), name: name.into() }
    }

    /// The stacks of the namespace.
    pub fn api(&self) -> Api<AnalyticsStack> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Reads the stack.
    pub async fn get(&self) -> anyhow::Result<AnalyticsStack> {
        self.api().get(&self.name).await.with_context(|| format!("failed to read the stack {}", self.name))
    }

    /// Waits until the stack is as `wanted` says; on a time-out the error tells what its status said.
    pub async fn wait(
        &self,
        what: &str,
        deadline: Duration,
        wanted: impl Fn(&AnalyticsStack) -> bool,
    ) -> anyhow::Result<AnalyticsStack> {
        let started = Instant::now();
        loop {
            let stack = self.get().await?;
            if wanted(&stack) {
                return Ok(stack);
            }
            anyhow::ensure!(
                started.elapsed() < deadline,
                "{} is not {what} after {deadline:?}: {}",
                self.name,
                summary(&stack)
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until kstatus calls the stack Current for its newest generation.
    pub async fn wait_current(&self, deadline: Duration) -> anyhow::Result<AnalyticsStack> {
        self.wait("Current", deadline, |stack| judgement(stack) == Judgement::Current).await
    }

    /// Waits until a condition stands at `status` for `reason`, at the newest generation.
    pub async fn wait_condition(
        &self,
        condition: (ConditionType, &str, Reason),
        deadline: Duration,
    ) -> anyhow::Result<AnalyticsStack> {
        let (kind, status, reason) = condition;
        let what = format!("{}={status} ({})", kind.as_str(), reason.as_str());
        self.wait(&what, deadline, |stack| {
            let seen = stack.status.as_ref().and_then(|seen| seen.observed_generation);
            seen == stack.metadata.generation
                && find_condition(stack, kind) == Some((status.to_owned(), reason.as_str().to_owned()))
        })
        .await
    }

    /// Changes the stack by a merge patch.
    pub async fn patch(&self, patch: Value) -> anyhow::Result<()> {
        self.api().patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Deletes the stack and waits until it is gone; returns how long that took.
    pub async fn delete(&self, deadline: Duration) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.api().delete(&self.name, &DeleteParams::default()).await?;
        while let Some(stack) = self.api().get_opt(&self.name).await? {
            anyhow::ensure!(
                started.elapsed() < deadline,
                "{} still exists after {deadline:?}: {}",
                self.name,
                summary(&stack)
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(started.elapsed())
    }

    /// Reads a Secret of the namespace as text.
    pub async fn secret(&self, name: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = api.get(name).await.with_context(|| format!("failed to read the Secret {name}"))?;
        let text = |(key, value): (String, k8s_openapi::ByteString)| Ok((key, String::from_utf8(value.0)?));
        secret.data.unwrap_or_default().into_iter().map(text).collect()
    }

    /// Addresses of the stack's ready pods, one for each.
    pub async fn pod_urls(&self) -> anyhow::Result<Vec<String>> {
        let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &self.namespace);
        let of_service = format!("kubernetes.io/service-name={}-ingest", self.name);
        let slices = api.list(&ListParams::default().labels(&of_service)).await?;
        let endpoints = slices.items.into_iter().flat_map(|slice| slice.endpoints);
        let ready = endpoints
            .filter(|endpoint| endpoint.conditions.as_ref().and_then(|is| is.ready).unwrap_or_default());
        let urls: Vec<_> =
            ready.flat_map(|pod| pod.addresses).map(|pod| format!("http://{pod}:8080")).collect();
        anyhow::ensure!(!urls.is_empty(), "{} has no ready pod", self.name);
        Ok(urls)
    }

    /// Address of the stack's Service that works from the node, where cluster DNS names need not resolve.
    pub async fn service_url(&self) -> anyhow::Result<String> {
        let api: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        let service =
            api.get(&format!("{}-ingest", self.name)).await.context("failed to read the Service")?;
        let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.clone());
        Ok(format!("http://{}:8080", address.context("the Service has no cluster address")?))
    }
}

/// What kstatus concludes of a stack.
pub fn judgement(stack: &AnalyticsStack) -> Judgement {
    judge(&serde_json::to_value(stack).unwrap_or_default())
}

/// Status and reason of a condition.
pub fn find_condition(stack: &AnalyticsStack, kind: ConditionType) -> Option<(String, String)> {
    let conditions = &stack.status.as_ref()?.conditions;
    let condition = conditions.iter().find(|condition| condition.type_ == kind.as_str())?;
    Some((condition.status.clone(), condition.reason.clone()))
}

/// The status in one line, for errors.
pub fn summary(stack: &AnalyticsStack) -> String {
    let Some(status) = &stack.status else { return "it has no status".into() };
    let conditions = status.conditions.iter().map(|condition| {
        format!("{}={} {}: {}", condition.type_, condition.status, condition.reason, condition.message)
    });
    let waits = status.blocked_by.iter().map(|wait| format!("waits for {}: {}", wait.object, wait.hint));
    format!(
        "generation {:?} seen as {:?}; {}",
        stack.metadata.generation,
        status.observed_generation,
        conditions.chain(waits).collect::<Vec<_>>().join("; ")
    )
}
