//! Kubernetes objects as plain values: parsing many documents, finding parts of them.

use anyhow::Context;
use serde_json::Value;

/// Parses the documents of a YAML text, empty ones left out.
pub(super) fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    let parsed: Vec<Value> = serde_saphyr::from_multiple(text).context("it is no YAML")?;
    Ok(parsed.into_iter().filter(|document| !document.is_null()).collect())
}

/// Returns the text at a JSON pointer, or nothing.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the items at a JSON pointer, or nothing.
pub(super) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Names an object as `Kind namespace/name`.
pub(super) fn identity(object: &Value) -> String {
    let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    let separator = if namespace.is_empty() { "" } else { "/" };
    format!("{} {namespace}{separator}{name}", text(object, "/kind"))
}
