//! The kinds of installation that the chart `weir` is checked with, and values that it refuses.

use super::Charts;

/// Values of one kind of installation.
pub(in crate::verify) struct Class {
    pub(in crate::verify) name: &'static str,
    pub(in crate::verify) values: &'static str,
    /// Namespaces that are served; none means every one.
    pub(in crate::verify) namespaces: &'static [&'static str],
}

pub(super) const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The first one is the default.
pub(in crate::verify) const CLASSES: [Class; 6] = [
    Class { name: "default values", values: "", namespaces: &[] },
    Class {
        name: "two replicas",
        values: "replicas: 2\nallowInlineClickhouse: true\nlogLevel: debug\n",
        namespaces: &[],
    },
    Class {
        name: "listed namespaces",
        values: "watchNamespaces: [shop, blog]\nclusterId: test\n",
        namespaces: &["shop", "blog"],
    },
    Class {
        name: "a digest",
        values: concat!(
            "image:\n  repository: registry.example.com/weir-operator\n  tag: ignored\n  digest: ",
            "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
        ),
        namespaces: &[],
    },
    Class { name: "a registry's CA", values: "registryCa: {configMapName: registry-ca, key: bundle.pem}\n", namespaces: &[] },
    Class {
        name: "every option",
        values: "\
watchNamespaces: [shop]
clusterId: test
replicas: 2
imagePullSecrets: [{name: pull}]
podLabels: {team: platform}
podAnnotations: {example.com/owner: platform}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: dedicated, operator: Exists, effect: NoSchedule}]
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: Exists}]}]}}}
priorityClassName: system-cluster-critical
serviceAccount: {annotations: {example.com/role: weir}}
networkPolicy: {enabled: false}
global: {anything: goes}
",
        namespaces: &["shop"],
    },
];

/// Values that must be refused, with a word that the refusal must hold.
const REFUSED: [(&str, &str, &str); 9] = [
    ("weir", "watchNamespace: [shop]\n", "watchNamespace"),
    ("weir", "image: {repo: x}\n", "repo"),
    ("weir", "watchNamespaces: [shop]\n", "clusterId"),
    ("weir", "watchNamespaces: [Shop]\nclusterId: test\n", "watchNamespaces"),
    ("weir", "replicas: -1\n", "replicas"),
    ("weir", "logLevel: loud\n", "logLevel"),
    ("weir", "image: {digest: latest}\n", "digest"),
    ("weir", "driftSeconds: 1\n", "driftSeconds"),
    ("weir-crds", "keep: false\n", "keep"),
];

/// Checks that the schema of values refuses what the chart could not honour.
pub(super) fn refused(charts: &Charts<'_>) -> anyhow::Result<String> {
    for (chart, values, word) in REFUSED {
        let class = Class { name: "refused", values, namespaces: &[] };
        let Err(refusal) = charts.render(chart, &class) else {
            anyhow::bail!("{chart} takes `{}`: tighten its values.schema.json", values.trim());
        };
        let refusal = refusal.to_string();
        anyhow::ensure!(
            refusal.contains(word),
            "`{}` is refused without naming {word}: {refusal}",
            values.trim()
        );
    }
    Ok(format!("{} refused", REFUSED.len()))
}
