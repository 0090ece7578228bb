//! The NetworkPolicy of the ingest, migration and drain pods.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{Component, metadata, selector_labels};
use crate::controller::stack::Stack;

/// Builds the policy: in come the public port and the admin port, out go DNS and ClickHouse's ports.
///
/// The admin port is open to every pod, since a monitoring system can live in any namespace and what the port says is
/// no secret; it is no part of the Service, so nothing outside the cluster reaches it. ClickHouse is named by its ports,
/// because a policy knows no host names. `still_used` are ports that pods made for other endpoints need until they end.
pub(crate) fn network_policy(stack: &Stack, still_used: &[u16]) -> NetworkPolicy {
    let ingress =
        NetworkPolicyIngressRule { ports: Some(vec![port("TCP", 8080), port("TCP", 9090)]), from: None };
    let dns = NetworkPolicyEgressRule { ports: Some(vec![port("UDP", 53), port("TCP", 53)]), to: None };
    let mut ports: Vec<u16> = stack.clickhouse.endpoints.iter().map(|endpoint| endpoint.port).collect();
    ports.extend(still_used);
    ports.sort_unstable();
    ports.dedup();
    let clickhouse = NetworkPolicyEgressRule {
        ports: Some(ports.into_iter().map(|number| port("TCP", number)).collect()),
        to: None,
    };
    NetworkPolicy {
        metadata: metadata(stack, stack.ingest_name(), Component::Ingest),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods(stack)),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
            ingress: Some(vec![ingress]),
            egress: Some(vec![dns, clickhouse]),
        }),
    }
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.into()),
        port: Some(IntOrString::Int(i32::from(number))),
        ..NetworkPolicyPort::default()
    }
}

fn pods(stack: &Stack) -> LabelSelector {
    let mut labels = selector_labels(stack, Component::Ingest);
    labels.retain(|key, _| key == "app.kubernetes.io/instance");
    LabelSelector {
        match_labels: Some(labels),
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: "app.kubernetes.io/name".into(),
            operator: "In".into(),
            values: Some(vec!["weir-drain".into(), "weir-ingest".into(), "weir-migration".into()]),
        }]),
    }
}
