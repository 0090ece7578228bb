//! The end state of a stack with everything taken out that may differ between two runs.

use anyhow::Context as _;
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams},
};
use serde_json::{Value, json};

use crate::{stack::Stack, stage::Stage};

const KINDS: [(&str, &str); 7] = [
    ("", "Secret"),
    ("", "ServiceAccount"),
    ("", "Service"),
    ("apps", "Deployment"),
    ("batch", "Job"),
    ("policy", "PodDisruptionBudget"),
    ("networking.k8s.io", "NetworkPolicy"),
];

/// Renders what a stack has become, in Kubernetes and in ClickHouse, as comparable text.
pub(super) async fn render(stage: &Stage, stack: &Stack) -> anyhow::Result<String> {
    let uid = stack.get().await?.metadata.uid.context("a stack has a UID")?;
    let mut lines = Vec::new();
    for (group, kind) in KINDS {
        let api: Api<DynamicObject> = stage.dynamic(&stack.namespace, group, kind)?;
        for child in api.list(&ListParams::default()).await?.items {
            if child.metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid) {
                lines.push(without_run(&child, kind));
            }
        }
    }
    lines.sort();
    let children = lines.join("\n").replace(&uid, "UID");
    Ok(format!("{}\n{}", without_names(&children, stack), render_access(stage, stack).await?))
}

/// Errs with what differs from the end state of an undisturbed run.
pub(super) fn compare(expected: &str, found: &str) -> anyhow::Result<()> {
    if expected == found {
        return Ok(());
    }
    let difference = similar::TextDiff::from_lines(expected, found);
    let lines = difference.unified_diff().context_radius(0).to_string();
    anyhow::bail!("the end state differs from an undisturbed one:\n{lines}")
}

/// Renders what is left of a stack that was deleted, in Kubernetes and in ClickHouse.
pub(super) async fn render_deleted(stage: &Stage, stack: &Stack) -> anyhow::Result<String> {
    let mut lines = Vec::new();
    let labelled = ListParams::default().labels(&format!("weir.dev/stack={}", stack.name));
    for (group, kind) in KINDS {
        let api: Api<DynamicObject> = stage.dynamic(&stack.namespace, group, kind)?;
        for child in api.list(&labelled).await?.items {
            lines.push(format!("{kind} {} is left", child.name_any()));
        }
    }
    lines.sort();
    Ok(format!("{}\n{}", lines.join("\n"), render_access(stage, stack).await?))
}

/// Database of a stack; the names of its users and roles begin with it.
pub(super) fn database(stack: &Stack) -> String {
    format!("weir_{}__{}", stack.namespace, stack.name).replace('-', "_")
}

/// Renders what ClickHouse holds of a stack, which may be deleted: users, roles, rights, row policies, quotas and the ledger's open claims.
async fn render_access(stage: &Stage, stack: &Stack) -> anyhow::Result<String> {
    let Stack { namespace, name, .. } = stack;
    // The underscore keeps `shop_1` apart from `shop_10`.
    let prefix = format!("{}_", database(stack));
    let access = format!(
        "SELECT concat('user ', name) FROM system.users WHERE startsWith(name, '{prefix}') \
         UNION ALL SELECT concat('role ', name) FROM system.roles WHERE startsWith(name, '{prefix}') \
         UNION ALL SELECT concat('grant ', toString(ifNull(user_name, role_name)), ' ', toString(access_type), ' ', ifNull(database, ''), ' ', ifNull(table, ''), ' ', ifNull(column, '')) \
           FROM system.grants WHERE startsWith(ifNull(user_name, role_name), '{prefix}') \
         UNION ALL SELECT concat('member ', ifNull(user_name, ''), ' ', granted_role_name) FROM system.role_grants WHERE startsWith(granted_role_name, '{prefix}') \
         UNION ALL SELECT concat('row policy ', name, ' ', ifNull(select_filter, ''), ' ', toString(is_restrictive), toString(apply_to_all), ' ', arrayStringConcat(apply_to_list, ',')) \
           FROM system.row_policies WHERE startsWith(name, '{prefix}') \
         UNION ALL SELECT concat('quota ', quota_name, ' ', toString(duration), ' ', toString(ifNull(max_queries, 0)), ' ', toString(ifNull(max_execution_time, 0))) \
           FROM system.quota_limits WHERE startsWith(quota_name, '{prefix}') \
         UNION ALL SELECT concat('claim ', toString(any(kind)), ' ', any(name), if(max(state = 'retained'), ' retained', '')) \
           FROM weir_ledger.intents WHERE namespace = '{namespace}' AND stack = '{name}' GROUP BY nonce HAVING countIf(state = 'closed') = 0"
    );
    let access = stage.query(&access).await?;
    let mut lines: Vec<&str> = access.lines().collect();
    lines.sort_unstable();
    Ok(without_names(&lines.join("\n"), stack))
}

/// Kind, name and shape of an object: the names of a Secret's keys, the spec of everything else.
fn without_run(object: &DynamicObject, kind: &str) -> String {
    let name = object.metadata.name.clone().unwrap_or_default();
    let mut shape = match kind {
        "Secret" => {
            json!(object.data["data"].as_object().map(|data| data.keys().cloned().collect::<Vec<_>>()))
        }
        _ => object.data["spec"].clone(),
    };
    for field in ["clusterIP", "clusterIPs", "selector", "template"] {
        // A Job's selector and labels, and a Service's addresses, are made up by the API server.
        if let (Some(spec), true) =
            (shape.as_object_mut(), kind != "Deployment" || field.starts_with("cluster"))
        {
            spec.remove(field);
        }
    }
    format!("{kind} {} {}", short_hash_removed(&name), Value::to_string(&shape))
}

/// Replaces the hash at the end of a migration Job's or its Secret's name, which differs with the stack's UID.
fn short_hash_removed(name: &str) -> String {
    match name.rsplit_once("-migrate-") {
        Some((front, _)) => format!("{front}-migrate-HASH"),
        None => name.to_owned(),
    }
}

/// Replaces what names the stack, and the number of a generation, as in `shop-key-web-g2`.
fn without_names(text: &str, stack: &Stack) -> String {
    let Stack { namespace, name, .. } = stack;
    // ClickHouse's names have no dashes.
    let named =
        [(namespace, "NAMESPACE"), (name, "STACK")].iter().fold(text.to_owned(), |text, (name, word)| {
            text.replace(&name.replace('-', "_"), word).replace(name.as_str(), word)
        });
    let mut pieces = named.split("_g").flat_map(|piece| piece.split("-g"));
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.trim_start_matches(|digit: char| digit.is_ascii_digit());
        plain.push_str(if rest.len() < piece.len() { "-GENERATION" } else { "-g" });
        plain.push_str(rest);
    }
    plain
}
