//! The ingest pods as consumers of Secrets: what each says that it reads. Pure.

use super::observed::Fault;

/// Annotation of a pod with what it should have read. A change of it makes the kubelet refresh the mounts at once, which
/// otherwise takes up to a minute and a half.
pub(crate) const TOLD: &str = "weir.dev/reads";

/// What the ingest pods were found to read.
#[derive(Debug, Clone, Default)]
pub(crate) enum Consumers {
    /// Nothing depends on them, so they were not asked.
    #[default]
    Unasked,
    /// The pods could not be listed.
    Unknown(Fault),
    /// Every pod that is not ending.
    Known(Vec<Consumer>),
}

/// One ingest pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Consumer {
    /// Its name.
    pub(crate) pod: String,
    /// Whether requests reach it.
    pub(crate) is_ready: bool,
    /// What it was last told to read.
    pub(crate) told: Option<String>,
    /// What it says that it reads; `None` when it does not answer.
    pub(crate) report: Option<Report>,
}

/// What a pod says that it reads.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Generation of the file of hashed keys.
    pub(crate) keys: u64,
    /// User with which it logs in to ClickHouse.
    #[serde(default)]
    pub(crate) clickhouse_user: String,
    /// Since when it counts the use of keys, in seconds since 1970.
    #[serde(default)]
    pub(crate) started_at: Option<i64>,
    /// Last use of each key that it knows.
    #[serde(default)]
    pub(crate) key_use: Vec<KeyUse>,
}

/// When a pod saw a key last.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyUse {
    /// Name of the key.
    pub(crate) name: String,
    /// Generation of the key.
    pub(crate) generation: i64,
    /// When a request with it was let in last, in seconds since 1970.
    pub(crate) last_used_at: Option<i64>,
}

#[cfg(test)]
impl Report {
    /// The report of a pod that has read these keys and seen none.
    pub(crate) fn of(keys: u64) -> Self {
        Self { keys, clickhouse_user: String::new(), started_at: None, key_use: Vec::new() }
    }
}

impl Consumer {
    /// Whether the pod may still act on something older. One that is not ready and does not answer has not started: it
    /// reads what the kubelet mounts then, and it was told as well.
    pub(crate) fn is_behind(&self, has_read: &dyn Fn(&Report) -> bool) -> bool {
        self.report.as_ref().map_or(self.is_ready, |report| !has_read(report))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_behind_until_it_says_otherwise_or_has_not_started() {
        let pod = |is_ready, keys: Option<u64>| Consumer {
            pod: "store-ingest-0".into(),
            is_ready,
            told: None,
            report: keys.map(Report::of),
        };
        for (is_ready, keys, expected) in [
            (true, Some(7), false),
            (true, Some(6), true),
            (true, None, true),
            (false, None, false),
            (false, Some(6), true),
            (false, Some(7), false),
        ] {
            assert_eq!(
                pod(is_ready, keys).is_behind(&|report| report.keys == 7),
                expected,
                "{is_ready} {keys:?}"
            );
        }
    }
}
