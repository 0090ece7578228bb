//! What the operator would run for a stack, without a cluster: for tests of the contract with the ingest image.

use k8s_openapi::api::core::v1::PodSpec;
use weir_crds::AnalyticsStack;

use crate::controller::render_pods;

/// The pods of a stack.
#[derive(Debug, Clone)]
pub struct Pods {
    /// An ingest pod.
    pub ingest: PodSpec,
    /// The migration of its image.
    pub migration: PodSpec,
    /// The drain of a spool.
    pub drain: PodSpec,
}

/// Renders the pods of a stack for an image that was resolved to `repository@sha256:…`; every problem of an invalid spec
/// is in the error, one sentence each.
pub fn pods(stack: &AnalyticsStack, pinned: &str, ca_pem: Option<&str>) -> Result<Pods, Vec<String>> {
    let [ingest, migration, drain] =
        render_pods(stack, pinned, ca_pem)?.map(|template| template.spec.unwrap_or_default());
    Ok(Pods { ingest, migration, drain })
}
