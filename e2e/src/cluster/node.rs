//! The node: containerd with its CNI network, the kubelet and kube-proxy.

use std::{fs, path::Path, process::Command};

use anyhow::Context;
use serde_json::json;

use super::{
    busybox,
    part::Part,
    registry::HOST as REGISTRY,
    setup::{POD_CIDR, Setup, flag, write},
};
use crate::sandbox::{self, NODE_ADDRESS};

/// The name of the only node.
pub(super) const NODE: &str = "node";
/// The part of the pod network that this node hands out; the first of the controller manager's.
const NODE_POD_CIDR: &str = "10.244.0.0/24";
/// Kernel settings that the kubelet wants to see: they are the whole machine's, so it is shown files instead.
const KERNEL_SETTINGS: [(&str, &str); 5] = [
    ("vm/overcommit_memory", "1"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

pub(super) fn containerd(setup: &Setup) -> anyhow::Result<Command> {
    let folder = setup.subfolder("containerd")?;
    write_network(setup)?;
    let hosts = setup.subfolder(&format!("containerd/certs.d/{REGISTRY}"))?.join("hosts.toml");
    let ca = setup.pki.ca_file();
    let text = format!(
        "server = \"https://{REGISTRY}\"\n[host.\"https://{REGISTRY}\"]\n  ca = \"{}\"\n",
        ca.display()
    );
    write(hosts, &text)?;
    let config = write(folder.join("config.toml"), &containerd_config(setup, &folder))?;
    let mut command = Command::new("containerd");
    command.arg("--config").arg(config);
    Ok(command)
}

/// The node has no credentials for the registry: a pod that names no pull secret must fail as it would elsewhere.
fn containerd_config(setup: &Setup, folder: &Path) -> String {
    let (folder, socket) = (folder.display(), setup.containerd_socket());
    let (cni, pause) = (setup.folder.join("cni"), busybox::PAUSE);
    format!(
        r#"version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
  address = "{}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # A lower score than the parent's needs a capability that a container often lacks.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{folder}/certs.d"
"#,
        socket.display(),
        cni.display(),
    )
}

fn write_network(setup: &Setup) -> anyhow::Result<()> {
    let folder = setup.subfolder("cni")?;
    let list = json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": setup.folder.join("cni-addresses"),
                    "ranges": [[{ "subnet": NODE_POD_CIDR }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    write(folder.join("10-pods.conflist"), &list.to_string())?;
    Ok(())
}

pub(super) fn kubelet(setup: &Setup) -> anyhow::Result<Command> {
    let folder = setup.subfolder("kubelet")?;
    show_kernel_settings(&folder)?;
    let kubeconfig = setup.kubeconfig("kubelet", &format!("system:node:{NODE}"), Some("system:nodes"))?;
    let serving = setup.pki.issue_server("kubelet-serving", &[NODE, NODE_ADDRESS])?;
    // Refresh intervals stay at their defaults: what Weir promises about Secrets has to hold with them.
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": setup.pki.ca_file() },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": serving.certificate_file,
        "tlsPrivateKeyFile": serving.key_file,
        "containerRuntimeEndpoint": format!("unix://{}", setup.containerd_socket().display()),
        "volumePluginDir": folder.join("volume-plugins"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": setup.cgroup,
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "protectKernelDefaults": true,
        "localStorageCapacityIsolation": false,
        "evictionHard": { "memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%" },
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": false,
        "resolvConf": "",
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": "cluster.local",
    });
    let config = write(folder.join("config.json"), &config.to_string())?;
    let mut command = setup.program(Part::Kubelet);
    command.arg(flag("config", &config)).arg(flag("kubeconfig", &kubeconfig)).arg(flag("root-dir", &folder));
    command.args([format!("--node-ip={NODE_ADDRESS}"), format!("--hostname-override={NODE}")]);
    Ok(command)
}

fn show_kernel_settings(folder: &Path) -> anyhow::Result<()> {
    for (name, value) in KERNEL_SETTINGS {
        let target = Path::new("/proc/sys").join(name);
        let shown =
            fs::read_to_string(&target).with_context(|| format!("failed to read {}", target.display()))?;
        if shown.trim() == value {
            continue;
        }
        let file = write(folder.join(name.replace('/', ".")), &format!("{value}\n"))?;
        sandbox::bind(&file, &target)?;
    }
    Ok(())
}

pub(super) fn kube_proxy(setup: &Setup) -> anyhow::Result<Command> {
    let kubeconfig = setup.kubeconfig("kube-proxy", "system:kube-proxy", None)?;
    let mut command = setup.program(Part::KubeProxy);
    command.arg(flag("kubeconfig", &kubeconfig));
    command.args([format!("--hostname-override={NODE}"), format!("--cluster-cidr={POD_CIDR}")]);
    // The size of the conntrack table is the whole machine's, not this namespace's.
    command.args(["--proxy-mode=nftables", "--conntrack-max-per-core=0"]);
    command.args(["--healthz-bind-address=127.0.0.1:10256", "--metrics-bind-address=127.0.0.1:10249"]);
    Ok(command)
}
