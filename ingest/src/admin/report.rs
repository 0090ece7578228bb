//! The generation report: which keys and credentials this process uses, and when each key was last used. Pure.
//!
//! `GET /generation` on the admin port answers it as JSON. The operator publishes a key once every pod lists its
//! generation as usable, and retires one once no pod has seen it for the quiet period:
//!
//! ```json
//! {
//!   "startedAt": 1778058000,
//!   "answeredAt": 1778061600,
//!   "keys": 3002,
//!   "keyUse": [
//!     {"name": "web", "generation": 2, "isUsable": true, "requests": 120, "lastUsedAt": 1778061599},
//!     {"name": "web", "generation": 1, "isUsable": true, "requests": 0, "lastUsedAt": null}
//!   ],
//!   "clickhouseUser": "weir_shop_store_ingest_g7",
//!   "clickhouseGeneration": 7,
//!   "schema": {"minimum": 1, "maximum": 1},
//!   "reloads": {
//!     "keys": {"count": 1, "error": null},
//!     "credentials": {"count": 0, "error": null},
//!     "ca": {"count": 0, "error": null}
//!   }
//! }
//! ```
//!
//! - Times are whole seconds since 1970 by this process's clock, `answeredAt` included, so that ages need no other clock.
//! - Uses are counted in memory: what was used before `startedAt` is not known here. They go up only.
//! - `keys` is the `generation` of the keys file in use, 0 without one. Keys of the environment have generation 0.
//! - A key that is not in the file any more is refused and not listed.
//! - `requests` are those that the key let in, also when its rate then refused them.
//! - `clickhouseGeneration` is the number behind the last `_g` of the user's name; `null` when there is none.
//! - `count` says how often changed content was taken since the start; `error` is the class of the fault for which the
//!   newest content is not used (`read`, `shape` and `hash` of keys, `read` of credentials, `bundle` of the CA); `null`
//!   when it is used.

use serde::Serialize;

use crate::keys::Entry;
use crate::keys::KeySnapshot;
use crate::reload::Reload;
use crate::schema;

/// The whole answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    started_at: i64,
    answered_at: i64,
    keys: u64,
    key_use: Vec<KeyUse>,
    clickhouse_user: String,
    clickhouse_generation: Option<u64>,
    schema: Range,
    reloads: AllReloads,
}

/// What the report is made of besides keys.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) started_at: i64,
    /// In microseconds since 1970.
    pub(crate) now: i64,
    pub(crate) clickhouse_user: String,
    pub(crate) reloads: AllReloads,
}

/// What has become of changed files.
#[derive(Debug, Serialize)]
pub(crate) struct AllReloads {
    pub(crate) keys: Reload,
    pub(crate) credentials: Reload,
    pub(crate) ca: Reload,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyUse {
    name: String,
    generation: u64,
    is_usable: bool,
    requests: u64,
    last_used_at: Option<i64>,
}

#[derive(Debug, Serialize)]
struct Range {
    minimum: u32,
    maximum: u32,
}

/// Puts the report together.
pub(crate) fn generation(keys: &KeySnapshot, facts: Facts) -> Report {
    let Facts { started_at, now, clickhouse_user, reloads } = facts;
    Report {
        started_at,
        answered_at: now.div_euclid(1_000_000),
        keys: keys.generation(),
        key_use: keys.entries().iter().map(|entry| key_use(entry, now)).collect(),
        clickhouse_generation: generation_of(&clickhouse_user),
        clickhouse_user,
        schema: Range { minimum: schema::MINIMUM, maximum: schema::MAXIMUM },
        reloads,
    }
}

fn key_use(entry: &Entry, now: i64) -> KeyUse {
    KeyUse {
        name: entry.key.name.to_string(),
        generation: entry.key.generation,
        is_usable: !entry.key.scopes.is_empty() && entry.key.is_valid(now),
        requests: entry.usage.requests(),
        last_used_at: entry.usage.last_used(),
    }
}

fn generation_of(user: &str) -> Option<u64> {
    user.rsplit_once("_g")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Key;
    use crate::keys::Scope;
    use serde_json::json;

    fn key(generation: u64, valid_until: Option<i64>) -> Key {
        Key {
            name: "web".into(),
            generation,
            sha256: [0; 32],
            scopes: vec![Scope::Capture],
            origins: Vec::new(),
            valid_from: None,
            valid_until,
            maybe_rate: None,
        }
    }

    #[test]
    fn the_report_has_the_documented_shape() {
        let now = 1_778_061_600_900_000;
        let keys =
            KeySnapshot::new(3002, vec![key(2, None), key(1, Some(now))], None, &KeySnapshot::default());
        keys.entries()[0].usage.record(now - 1_000_000);
        let failed = Reload { count: 3, error: Some("shape") };
        let facts = Facts {
            started_at: 1_778_058_000,
            now,
            clickhouse_user: "weir_shop_store_ingest_g7".into(),
            reloads: AllReloads { keys: failed, credentials: Reload::default(), ca: Reload::default() },
        };
        let schema = json!({"minimum": schema::MINIMUM, "maximum": schema::MAXIMUM});
        let expected = json!({
            "startedAt": 1_778_058_000, "answeredAt": 1_778_061_600, "keys": 3002,
            "keyUse": [
                {"name": "web", "generation": 2, "isUsable": true, "requests": 1, "lastUsedAt": 1_778_061_599},
                {"name": "web", "generation": 1, "isUsable": false, "requests": 0, "lastUsedAt": null},
            ],
            "clickhouseUser": "weir_shop_store_ingest_g7", "clickhouseGeneration": 7, "schema": schema,
            "reloads": {
                "keys": {"count": 3, "error": "shape"},
                "credentials": {"count": 0, "error": null},
                "ca": {"count": 0, "error": null},
            },
        });
        assert_eq!(serde_json::to_value(generation(&keys, facts)).unwrap(), expected);
    }

    #[test]
    fn a_user_without_a_generation_has_none() {
        assert_eq!(generation_of("default"), None);
        assert_eq!(generation_of("a_g1_g12"), Some(12));
        assert_eq!(generation_of("my_great_user"), None);
    }
}
