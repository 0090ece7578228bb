//! etcd, the API server, the controllers and the scheduler.

use std::process::Command;

use serde_json::json;

use super::{
    part::Part,
    setup::{POD_CIDR, SERVICE_ADDRESS, SERVICE_CIDR, Setup, flag, write},
};
use crate::sandbox::NODE_ADDRESS;

const ETCD_CLIENTS: &str = "http://127.0.0.1:2379";
const ETCD_PEERS: &str = "http://127.0.0.1:2380";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

pub(super) fn etcd(setup: &Setup) -> anyhow::Result<Command> {
    let mut command = setup.program(Part::Etcd);
    command.arg(flag("data-dir", &setup.subfolder("etcd")?));
    command.args([
        format!("--listen-client-urls={ETCD_CLIENTS}"),
        format!("--advertise-client-urls={ETCD_CLIENTS}"),
    ]);
    command.args([
        format!("--listen-peer-urls={ETCD_PEERS}"),
        format!("--initial-advertise-peer-urls={ETCD_PEERS}"),
    ]);
    command.arg(format!("--initial-cluster=default={ETCD_PEERS}"));
    // The only member elects itself; the default of a second only delays the start.
    command.args(["--heartbeat-interval=20", "--election-timeout=200"]);
    // A run does not outlive the machine that it runs on.
    command.arg("--unsafe-no-fsync");
    Ok(command)
}

pub(super) fn api_server(setup: &Setup) -> anyhow::Result<Command> {
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "node",
        "127.0.0.1",
        NODE_ADDRESS,
        SERVICE_ADDRESS,
    ];
    let serving = setup.pki.issue_server("kube-apiserver", &names)?;
    let to_kubelet =
        setup.pki.issue_client("kube-apiserver-kubelet", "kube-apiserver", Some("system:masters"))?;
    let policy =
        write(setup.subfolder("kube-apiserver")?.join("audit-policy.json"), &audit_policy().to_string())?;
    let mut command = setup.program(Part::ApiServer);
    command.arg(format!("--etcd-servers={ETCD_CLIENTS}"));
    command.args([format!("--bind-address={NODE_ADDRESS}"), format!("--advertise-address={NODE_ADDRESS}")]);
    command.args(["--secure-port=6443", "--allow-privileged=true"]);
    command.args(["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"]);
    command.arg(format!("--service-cluster-ip-range={SERVICE_CIDR}"));
    command.arg(flag("tls-cert-file", &serving.certificate_file));
    command.arg(flag("tls-private-key-file", &serving.key_file));
    command.arg(flag("client-ca-file", &setup.pki.ca_file()));
    // Without the first, logs and exec try to resolve the name of the node.
    command.arg("--kubelet-preferred-address-types=InternalIP");
    command.arg(flag("kubelet-certificate-authority", &setup.pki.ca_file()));
    command.arg(flag("kubelet-client-certificate", &to_kubelet.certificate_file));
    command.arg(flag("kubelet-client-key", &to_kubelet.key_file));
    command.arg(format!("--service-account-issuer={ISSUER}"));
    command.arg(flag("service-account-key-file", &setup.pki.service_account_public_file()));
    command.arg(flag("service-account-signing-key-file", &setup.pki.service_account_key_file()));
    command.arg(flag("audit-policy-file", &policy));
    command.arg(flag("audit-log-path", &setup.audit_log()));
    // In MB; the default rotates at 100 and a count over the file would miss what came before.
    command.arg("--audit-log-maxsize=4000");
    Ok(command)
}

pub(super) fn controller_manager(setup: &Setup) -> anyhow::Result<Command> {
    let name = "kube-controller-manager";
    let kubeconfig = setup.kubeconfig(name, "system:kube-controller-manager", None)?;
    let mut command = setup.program(Part::ControllerManager);
    command.arg(flag("kubeconfig", &kubeconfig));
    command.arg(flag("service-account-private-key-file", &setup.pki.service_account_key_file()));
    command.arg(flag("root-ca-file", &setup.pki.ca_file()));
    command.args([
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
    ]);
    // The default of 20 requests a second makes the start of some 40 controllers take 5 s.
    command.args(["--kube-api-qps=500", "--kube-api-burst=1000"]);
    command.args(["--allocate-node-cidrs=true".to_owned(), format!("--cluster-cidr={POD_CIDR}")]);
    Ok(command)
}

pub(super) fn scheduler(setup: &Setup) -> anyhow::Result<Command> {
    let kubeconfig = setup.kubeconfig("kube-scheduler", "system:kube-scheduler", None)?;
    let mut command = setup.program(Part::Scheduler);
    command.arg(flag("kubeconfig", &kubeconfig)).args(["--bind-address=127.0.0.1", "--leader-elect=false"]);
    Ok(command)
}

/// Records every write with its bodies, except bodies that hold secrets, and every read of a service account outside
/// `kube-system`; the reads of Kubernetes itself would bury the rest.
fn audit_policy() -> serde_json::Value {
    let writes = ["create", "update", "patch", "delete", "deletecollection"];
    let secret = json!([
        { "group": "", "resources": ["secrets", "serviceaccounts/token"] },
        { "group": "authentication.k8s.io", "resources": ["tokenreviews"] },
    ]);
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "omitManagedFields": true,
        "rules": [
            { "level": "Metadata", "verbs": writes, "resources": secret },
            { "level": "RequestResponse", "verbs": writes },
            { "level": "None", "userGroups": ["system:serviceaccounts:kube-system"] },
            { "level": "Metadata", "userGroups": ["system:serviceaccounts"] },
            { "level": "None" },
        ],
    })
}
