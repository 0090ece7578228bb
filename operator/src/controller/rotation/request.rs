//! What the annotations `weir.dev/rotate`, `weir.dev/revoke` and `weir.dev/adopt` ask for, and why a generation was made.
//!
//! The value of the first two is `<targets>=<value>`: `key/web=2026-11-25`, `user/grafana,ingest=INC-7`. A rotation may leave the
//! targets out, `2026-11-25`, and then concerns every login and every key of type Secret; a key of type Public lives in
//! pages and apps, so it has to be named.

use std::collections::BTreeMap;

use weir_crds::KeyType;

use super::super::credential::{Credential, Use};
use super::super::supply::Source;

/// Longest value that is echoed in status.
const MAX_VALUE: usize = 253;

/// What is asked of a stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    /// New generations.
    pub(crate) rotate: Option<Request>,
    /// New generations at once, without overlap.
    pub(crate) revoke: Option<Request>,
    /// Hash of the preview that may be carried out.
    pub(crate) adopt: Option<String>,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The annotation's value as it stands, echoed when it was carried out.
    pub(crate) value: String,
    /// What it concerns; empty for all that may be rotated without being named.
    targets: Vec<Target>,
}

/// A credential as an annotation names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target(String);

/// Why a generation was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// There was none.
    First,
    /// Its time had come.
    Schedule,
    /// Its value comes from elsewhere now, or another one was written there.
    Source,
    /// An annotation asked for it.
    Rotate(String),
    /// An annotation revoked the generations before it.
    Revoke(String),
}

impl Requests {
    /// Reads a stack's annotations.
    pub(crate) fn new(annotations: &BTreeMap<String, String>) -> Self {
        let request = |key: &str| annotations.get(key).and_then(|value| Request::new(value));
        Self {
            rotate: request("weir.dev/rotate"),
            // Revoking everything takes naming everything.
            revoke: request("weir.dev/revoke").filter(|request| !request.targets.is_empty()),
            adopt: request("weir.dev/adopt").map(|request| request.value),
        }
    }
}

impl Request {
    fn new(value: &str) -> Option<Self> {
        if value.is_empty() || value.len() > MAX_VALUE {
            return None;
        }
        let targets = value.split_once('=').map_or("", |(targets, _)| targets);
        let targets = targets.split(',').map(str::trim).filter(|target| !target.is_empty());
        Some(Self {
            value: value.to_owned(),
            targets: targets.map(|target| Target(target.to_owned())).collect(),
        })
    }

    /// Whether it concerns a credential.
    pub(crate) fn concerns(&self, credential: &Credential) -> bool {
        let is_rotated_unnamed = match &credential.purpose {
            Use::Ingest | Use::Reader(_) => true,
            Use::Key(_, key_type) => *key_type == KeyType::Secret,
            Use::Migrate(_) => false,
        };
        let name = match &credential.purpose {
            Use::Ingest => "ingest".to_owned(),
            Use::Reader(name) => format!("user/{name}"),
            Use::Key(name, _) => format!("key/{name}"),
            Use::Migrate(_) => return false,
        };
        // Only their owners can rotate those.
        let is_rotated_unnamed = is_rotated_unnamed && matches!(credential.source, Source::Generated);
        if self.targets.is_empty() { is_rotated_unnamed } else { self.targets.contains(&Target(name)) }
    }
}

impl Cause {
    /// The cause as an annotation of the generation's Secret.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::First => "first".into(),
            Self::Schedule => "schedule".into(),
            Self::Source => "source".into(),
            Self::Rotate(value) => format!("rotate {value}"),
            Self::Revoke(value) => format!("revoke {value}"),
        }
    }

    /// Reads the annotation.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        match text.map(|text| text.split_once(' ').unwrap_or((text, ""))) {
            Some(("schedule", _)) => Self::Schedule,
            Some(("source", _)) => Self::Source,
            Some(("rotate", value)) => Self::Rotate(value.to_owned()),
            Some(("revoke", value)) => Self::Revoke(value.to_owned()),
            Some(_) | None => Self::First,
        }
    }
}
