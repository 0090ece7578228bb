//! What surrounds the ingest pods: ServiceAccount, Service and disruption budget.

use k8s_openapi::api::core::v1::{Service, ServiceAccount, ServicePort, ServiceSpec};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{Component, metadata, selector, selector_labels};
use crate::controller::stack::Stack;

/// Builds the account of the pods. It has no rights, and its token is mounted nowhere.
pub(crate) fn service_account(stack: &Stack) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(stack, stack.ingest_name(), Component::Ingest),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// Builds the Service that SDKs send to. The admin port is not part of it.
pub(crate) fn service(stack: &Stack) -> Service {
    Service {
        metadata: metadata(stack, stack.ingest_name(), Component::Ingest),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            selector: Some(selector_labels(stack, Component::Ingest)),
            ports: Some(vec![ServicePort {
                name: Some("http".into()),
                port: 8080,
                target_port: Some(IntOrString::String("http".into())),
                protocol: Some("TCP".into()),
                app_protocol: Some("http".into()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Builds the budget that lets nodes drain one pod at a time; a single pod has none, so that nodes drain at all.
pub(crate) fn disruption_budget(stack: &Stack) -> Option<PodDisruptionBudget> {
    (stack.ingest.replicas > 1).then(|| PodDisruptionBudget {
        metadata: metadata(stack, stack.ingest_name(), Component::Ingest),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(stack, Component::Ingest)),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
