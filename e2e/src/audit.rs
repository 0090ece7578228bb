//! What the API server's audit log says that somebody did.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context as _;
use serde::Deserialize;

/// One finished request, as far as the checks look at it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    stage: String,
    verb: String,
    user: User,
    object_ref: Option<Object>,
}

#[derive(Clone, Debug, Deserialize)]
struct User {
    username: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Object {
    resource: String,
    subresource: Option<String>,
    name: Option<String>,
}

/// Place in the log from which to read on.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

impl Mark {
    /// The beginning of the log.
    pub const START: Self = Self(0);
}

/// Marks the end of the log as it is now.
pub fn mark(log: &Path) -> anyhow::Result<Mark> {
    Ok(Mark(read(log)?.lines().count()))
}

/// Counts the writes of `user` after the mark, by verb and object; leases are left out.
pub fn writes_since(log: &Path, mark: Mark, user: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    Ok(count_writes(read(log)?.lines().skip(mark.0), user))
}

fn read(log: &Path) -> anyhow::Result<String> {
    fs::read_to_string(log).with_context(|| format!("failed to read the audit log {}", log.display()))
}

fn count_writes<'a>(lines: impl Iterator<Item = &'a str>, user: &str) -> BTreeMap<String, u64> {
    const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
    let mut counts = BTreeMap::new();
    // The last line may be half written; it is counted when it is whole.
    for entry in lines.filter_map(|line| serde_json::from_str::<Entry>(line).ok()) {
        let Some(object) = &entry.object_ref else { continue };
        let finished = entry.stage == "ResponseComplete" && entry.user.username == user;
        if finished && WRITES.contains(&entry.verb.as_str()) && object.resource != "leases" {
            let subresource = object.subresource.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
            let name = object.name.as_deref().unwrap_or("-");
            *counts.entry(format!("{} {}{subresource} {name}", entry.verb, object.resource)).or_default() +=
                1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stage: &str, verb: &str, user: &str, resource: &str) -> String {
        format!(
            r#"{{"stage":"{stage}","verb":"{verb}","user":{{"username":"{user}"}},"objectRef":{{"resource":"{resource}","name":"x"}}}}"#
        )
    }

    #[test]
    fn only_finished_writes_of_the_user_are_counted() {
        let log = [
            line("ResponseComplete", "patch", "operator", "services"),
            line("RequestReceived", "patch", "operator", "services"),
            line("ResponseComplete", "get", "operator", "services"),
            line("ResponseComplete", "update", "operator", "leases"),
            line("ResponseComplete", "patch", "someone", "services"),
            "{\"half".to_owned(),
        ];
        let counts = count_writes(log.iter().map(String::as_str), "operator");
        assert_eq!(counts, BTreeMap::from([("patch services x".to_owned(), 1)]));
    }
}
