//! What must be true of the rendered objects, whatever the values.

use std::{collections::BTreeSet, fs};

use anyhow::Context;
use serde_json::{Value, json};

use super::{CLASSES, Charts, Rendered, classes::DIGEST, restricted};
use crate::{
    report::Report,
    verify::{
        place::Place,
        yaml::{documents, identity, items, text},
    },
};

const KEEP: &str = "helm.sh/resource-policy";
/// What makes two renderings differ, or a rendering depend on a cluster; with all that begins with `rand` or `gen`.
const UNSTABLE: [&str; 5] = ["lookup", "now", "uuidv4", "htpasswd", "getHostByName"];
/// The labels that every object of the chart carries.
const LABELS: [&str; 7] = [
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "app.kubernetes.io/version",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
];

type Rule = fn(&[Rendered]) -> anyhow::Result<String>;

const RULES: [(&str, Rule); 8] = [
    ("charts: pods are restricted", pods_are_restricted),
    ("charts: listed namespaces give no right outside of them", scopes_hold),
    ("charts: no rule has a wildcard", no_wildcards),
    ("charts: a digest wins over a tag", digest_wins),
    ("charts: selectors are the three that never change", selectors_are_fixed),
    ("charts: every object carries the labels", labels_are_complete),
    ("charts: no object and no variable comes twice", nothing_comes_twice),
    ("charts: a budget exists only for several replicas", budget_follows_replicas),
];

/// Checks every rule.
pub(super) fn check(place: &Place, rendered: &[Rendered], report: &mut Report) {
    for (name, rule) in RULES {
        report.check(name, || {
            anyhow::ensure!(rendered.len() == CLASSES.len(), "a class of values does not render, see above");
            rule(rendered)
        });
    }
    report.check("charts: templates look nothing up and roll no dice", || templates_are_stable(place));
    report.check("charts: every value has a comment and a schema", || values_are_documented(place));
}

/// Checks that the chart of CRDs holds what lies at `crds/`, and keeps it on uninstall.
pub(super) fn crds_are_kept(charts: &Charts<'_>) -> anyhow::Result<String> {
    let mut rendered = documents(&charts.render("weir-crds", &CLASSES[0])?)?;
    let mut plain = Vec::new();
    let folder = charts.place.workspace().join("crds");
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .context("failed to list crds")?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    paths.sort();
    for path in paths {
        plain.extend(documents(&fs::read_to_string(&path).context("failed to read a CRD")?)?);
    }
    for object in &mut rendered {
        let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
        let annotations = annotations.context("a CRD of the chart has no annotations")?;
        anyhow::ensure!(
            annotations.remove(KEEP) == Some(json!("keep")),
            "a CRD would be removed on uninstall"
        );
        if annotations.is_empty() {
            object["metadata"].as_object_mut().map(|metadata| metadata.remove("annotations"));
        }
    }
    anyhow::ensure!(rendered == plain, "they differ: run `cargo run -p weir-crds --bin crdgen`");
    Ok(format!("{} CRDs", plain.len()))
}

fn pods_are_restricted(rendered: &[Rendered]) -> anyhow::Result<String> {
    let mut pods = 0;
    for one in rendered {
        for template in one.pods() {
            let violations = restricted::violations(template);
            anyhow::ensure!(violations.is_empty(), "with {}: {}", one.class.name, violations.join("; "));
            pods += 1;
        }
    }
    anyhow::ensure!(pods >= rendered.len(), "only {pods} pod templates are rendered");
    Ok(format!("{pods} pod templates"))
}

fn scopes_hold(rendered: &[Rendered]) -> anyhow::Result<String> {
    for one in rendered {
        let cluster_wide: Vec<String> = one
            .objects
            .iter()
            .filter(|object| text(object, "/kind").starts_with("Cluster"))
            .map(identity)
            .collect();
        let listed = !one.class.namespaces.is_empty();
        anyhow::ensure!(listed == cluster_wide.is_empty(), "with {}: {cluster_wide:?}", one.class.name);
        let served: BTreeSet<&str> = one
            .of_kind("Role")
            .map(|role| text(role, "/metadata/namespace"))
            .filter(|it| *it != super::NAMESPACE)
            .collect();
        let wanted: BTreeSet<&str> = one.class.namespaces.iter().copied().collect();
        anyhow::ensure!(served == wanted, "with {}: there are Roles in {served:?}", one.class.name);
    }
    Ok(String::new())
}

fn no_wildcards(rendered: &[Rendered]) -> anyhow::Result<String> {
    for object in rendered.iter().flat_map(|one| &one.objects) {
        for rule in items(object, "/rules") {
            let parts =
                ["/apiGroups", "/resources", "/verbs"].iter().flat_map(|pointer| items(rule, pointer));
            anyhow::ensure!(
                parts.into_iter().all(|part| part != "*"),
                "{} has one: {rule}",
                identity(object)
            );
        }
    }
    Ok(String::new())
}

fn digest_wins(rendered: &[Rendered]) -> anyhow::Result<String> {
    for one in rendered {
        let wants_digest = one.class.values.contains(DIGEST);
        for template in one.pods() {
            for container in items(template, "/spec/containers") {
                let image = text(container, "/image");
                anyhow::ensure!(
                    image.ends_with(&format!("@{DIGEST}")) == wants_digest,
                    "the image is {image}"
                );
            }
        }
    }
    Ok(String::new())
}

fn selectors_are_fixed(rendered: &[Rendered]) -> anyhow::Result<String> {
    // A Deployment's selector is immutable: another one here would break every upgrade.
    let fixed = json!({
        "app.kubernetes.io/name": "weir-operator",
        "app.kubernetes.io/instance": "weir",
        "app.kubernetes.io/component": "operator",
    });
    for object in rendered.iter().flat_map(|one| &one.objects) {
        for pointer in ["/spec/selector/matchLabels", "/spec/podSelector/matchLabels"] {
            if let Some(selector) = object.pointer(pointer) {
                anyhow::ensure!(*selector == fixed, "{} selects {selector}", identity(object));
            }
        }
    }
    Ok(String::new())
}

fn labels_are_complete(rendered: &[Rendered]) -> anyhow::Result<String> {
    for object in rendered.iter().flat_map(|one| &one.objects) {
        let labels = &object["metadata"]["labels"];
        let missing: Vec<&str> = LABELS.into_iter().filter(|label| labels.get(label).is_none()).collect();
        anyhow::ensure!(missing.is_empty(), "{} lacks {missing:?}: use the helper", identity(object));
    }
    Ok(String::new())
}

fn nothing_comes_twice(rendered: &[Rendered]) -> anyhow::Result<String> {
    for one in rendered {
        let mut seen = BTreeSet::new();
        let twice = one.objects.iter().map(identity).find(|object| !seen.insert(object.clone()));
        anyhow::ensure!(twice.is_none(), "with {}: {twice:?}", one.class.name);
        for container in one.pods().flat_map(|template| items(template, "/spec/containers")) {
            let mut seen = BTreeSet::new();
            let twice =
                items(container, "/env").iter().map(|it| text(it, "/name")).find(|name| !seen.insert(*name));
            anyhow::ensure!(twice.is_none(), "with {}: variable {twice:?}", one.class.name);
        }
    }
    Ok(String::new())
}

fn budget_follows_replicas(rendered: &[Rendered]) -> anyhow::Result<String> {
    for one in rendered {
        let several = one.of_kind("Deployment").any(|it| it["spec"]["replicas"].as_u64() > Some(1));
        let budgets = one.of_kind("PodDisruptionBudget").count();
        // A budget for one replica would block every drain of its node.
        anyhow::ensure!(budgets == usize::from(several), "with {}: {budgets} budgets", one.class.name);
    }
    Ok(String::new())
}

fn templates_are_stable(place: &Place) -> anyhow::Result<String> {
    let mut count = 0;
    for chart in ["weir", "weir-crds"] {
        let folder = place.workspace().join("charts").join(chart).join("templates");
        for entry in fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))? {
            let path = entry.context("failed to list templates")?.path();
            let template = fs::read_to_string(&path).context("failed to read a template")?;
            let actions = template
                .split("{{")
                .skip(1)
                .filter_map(|rest| rest.split_once("}}").map(|(action, _)| action));
            for action in actions {
                let mut words = action.split(|letter: char| !letter.is_alphanumeric());
                let found = words.find(|word| {
                    UNSTABLE.contains(word) || word.starts_with("rand") || word.starts_with("gen")
                });
                anyhow::ensure!(found.is_none(), "{} uses {}", path.display(), found.unwrap_or_default());
            }
            count += 1;
        }
    }
    Ok(format!("{count} templates"))
}

fn values_are_documented(place: &Place) -> anyhow::Result<String> {
    let folder = place.workspace().join("charts/weir");
    let values = fs::read_to_string(folder.join("values.yaml")).context("failed to read values.yaml")?;
    let schema =
        fs::read_to_string(folder.join("values.schema.json")).context("failed to read the schema")?;
    let schema: Value = serde_json::from_str(&schema).context("the schema of values is no JSON")?;
    let described = schema["properties"].as_object().context("the schema of values has no properties")?;
    let (mut before, mut keys) = ("", 0);
    for line in values.lines() {
        let key = line.split_once(':').map_or("", |(key, _)| key);
        let is_key = !key.is_empty() && key.chars().all(char::is_alphanumeric);
        if is_key {
            anyhow::ensure!(described.contains_key(key), "{key} is not in values.schema.json");
            anyhow::ensure!(!before.is_empty(), "{key} has no comment above it or its neighbours");
            keys += 1;
        }
        before = line;
    }
    Ok(format!("{keys} values"))
}
