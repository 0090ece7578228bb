//! What the operator would run for a stack, without a cluster: for tests of the contract with the ingest image.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use weir_crds::AnalyticsStack;

use crate::controller::render_workload;

/// The pods of a stack.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Ingest pods.
    pub deployment: Deployment,
    /// Migration of their image.
    pub migration: Job,
}

/// Renders the pods of a stack for an image that was resolved to `repository@sha256:…`; every problem of an invalid spec
/// is in the error, one sentence each.
pub fn workload(stack: &AnalyticsStack, pinned: &str, ca_pem: Option<&str>) -> Result<Workload, Vec<String>> {
    let (deployment, migration) = render_workload(stack, pinned, ca_pem)?;
    Ok(Workload { deployment, migration })
}
