//! The table of stacks that are wrong: each is refused by the API server, with words that name the field.

use std::time::Instant;

use anyhow::Context;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde::Deserialize;
use serde_json::Value;
use weir_crds::AnalyticsStack;

use super::{MANAGER, Server, record, stacks::smallest};
use crate::report::Report;

const TABLE: &str = include_str!("invalid_specs.yaml");

/// One change to the smallest valid stack that makes it wrong.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What is wrong, as the end of a sentence.
    wrong: String,
    /// The field, as a JSON pointer.
    at: String,
    /// What is written there; nothing removes the field.
    value: Option<Value>,
    /// What the refusal must hold.
    says: String,
}

/// Checks every case of the table.
pub(super) async fn check(server: &Server<'_>, report: &mut Report) -> anyhow::Result<()> {
    let cases: Vec<Case> =
        serde_saphyr::from_str(TABLE).context("failed to parse the table of invalid specs")?;
    anyhow::ensure!(cases.len() >= 25, "the table of invalid specs has only {} cases", cases.len());
    let resource = ApiResource::erase::<AnalyticsStack>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(server.client.clone(), "shop", &resource);
    for case in &cases {
        let started = Instant::now();
        record(report, &format!("api: refused: {}", case.wrong), started, refused(&api, case).await);
    }
    Ok(())
}

async fn refused(api: &Api<DynamicObject>, case: &Case) -> anyhow::Result<String> {
    let mut stack = smallest("wrong");
    put(&mut stack, &case.at, case.value.as_ref())?;
    let name = stack["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let params = PatchParams::apply(MANAGER).dry_run().validation_strict();
    let Err(refusal) = api.patch(&name, &params, &Patch::Apply(&stack)).await else {
        anyhow::bail!("it is accepted: add a rule for {} to the CRD", case.at);
    };
    let refusal = refusal.to_string();
    anyhow::ensure!(refusal.contains(&case.says), "the refusal does not say `{}`: {refusal}", case.says);
    Ok(String::new())
}

/// Writes a value at a JSON pointer, with the objects that lead to it; nothing removes the field.
fn put(root: &mut Value, pointer: &str, value: Option<&Value>) -> anyhow::Result<()> {
    let (parent, field) = pointer.rsplit_once('/').context("a case points to the whole stack")?;
    let mut here = root;
    for step in parent.split('/').skip(1) {
        here = here
            .as_object_mut()
            .context("a case points into a value")?
            .entry(step)
            .or_insert_with(|| Value::Object(serde_json::Map::default()));
    }
    let object = here.as_object_mut().context("a case points into a value")?;
    match value {
        Some(value) => object.insert(field.to_owned(), value.clone()),
        None => object.remove(field),
    };
    Ok(())
}
