//! CoreDNS: the names of Services for pods and for the sandbox itself, and the sandbox's own names for pods.

use std::process::Command;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

use super::{
    part::Part,
    setup::{Setup, write},
};
use crate::sandbox::{NODE_ADDRESS, NODE_NAMES};

const NAME: &str = "weir-e2e-coredns";

pub(super) fn command(setup: &Setup) -> anyhow::Result<Command> {
    let kubeconfig = setup.kubeconfig("coredns", NAME, None)?;
    let text = format!(
        ".:53 {{\n  bind {NODE_ADDRESS}\n  errors\n  ready 127.0.0.1:8181\n  cache 5\n  \
         hosts {{\n    {NODE_ADDRESS} {}\n    fallthrough\n  }}\n  \
         kubernetes cluster.local {{\n    kubeconfig {} weir\n    ttl 1\n  }}\n}}\n",
        NODE_NAMES.join(" "),
        kubeconfig.display(),
    );
    let config = write(setup.subfolder("coredns")?.join("Corefile"), &text)?;
    let mut command = setup.program(Part::CoreDns);
    command.arg("-conf").arg(config);
    Ok(command)
}

/// Gives CoreDNS what it reads; the built-in role for DNS servers is from before EndpointSlices.
pub(super) async fn grant(client: &Client) -> anyhow::Result<()> {
    let role = json!({
        "metadata": { "name": NAME },
        "rules": [
            { "apiGroups": [""], "resources": ["services", "namespaces", "pods"], "verbs": ["list", "watch"] },
            { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"] },
        ],
    });
    let binding = json!({
        "metadata": { "name": NAME },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": NAME }],
    });
    create::<ClusterRole>(client, role).await?;
    create::<ClusterRoleBinding>(client, binding).await
}

async fn create<K>(client: &Client, object: Value) -> anyhow::Result<()>
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let object: K = serde_json::from_value(object)?;
    Api::all(client.clone()).create(&PostParams::default(), &object).await?;
    Ok(())
}
