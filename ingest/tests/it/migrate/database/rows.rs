//! Rows by hand, as the ingest would write them. Times are seconds of one minute, ids small numbers.

use uuid::Uuid;
use weir_ingest::identity::person_id;

use super::Database;

/// An event with the columns that tests care about.
#[derive(Debug, Clone, Copy)]
pub(in crate::migrate) struct Event<'a> {
    pub(in crate::migrate) id: u128,
    pub(in crate::migrate) name: &'a str,
    pub(in crate::migrate) who: &'a str,
    pub(in crate::migrate) second: u32,
    pub(in crate::migrate) session: &'a str,
    pub(in crate::migrate) url: &'a str,
    pub(in crate::migrate) key: &'a str,
}

impl Default for Event<'_> {
    fn default() -> Self {
        Self { id: 0, name: "opened", who: "anon", second: 0, session: "", url: "", key: "" }
    }
}

fn at(second: u32) -> String {
    format!("'2026-05-06 09:30:{second:02}'")
}

/// The time-and-id tuple of an operation.
fn order(second: u32, id: u128) -> String {
    format!("{}, '{}'", at(second), Uuid::from_u128(id))
}

impl Database {
    pub(in crate::migrate) async fn event(&self, event: Event<'_>) {
        let Event { id, name, who, second, session, url, key } = event;
        let (uuid, person, time) = (Uuid::from_u128(id), person_id(who), at(second));
        self.query(&format!(
            "INSERT INTO {{db}}.events_data (uuid, api_key, event, distinct_id, person_id, session_id, timestamp, \
             client_day, current_url, host, properties) VALUES ('{uuid}', '{key}', '{name}', '{who}', '{person}', '{session}', \
             {time}, '2026-05-06', '{url}', 'a.example', '{{\"$browser\":\"F\",\"n\":{id}}}')"
        ))
        .await;
    }

    pub(in crate::migrate) async fn link(&self, kept: &str, linked: &str, kind: &str, second: u32) {
        let (person, linked_person) = (person_id(kept), person_id(linked));
        self.query(&format!(
            "INSERT INTO {{db}}.links (distinct_id, linked_id, kind, person_id, linked_person_id, linked_by) VALUES ('{kept}', '{linked}', '{kind}', '{person}', '{linked_person}', ({}))",
            order(second, 1)
        ))
        .await;
    }

    /// `$identify` or `$set` was said of an id.
    pub(in crate::migrate) async fn person(&self, who: &str, is_identified: bool, second: u32) {
        let (person, time) = (person_id(who), at(second));
        let identified_by =
            if is_identified { format!("({time}, '{}')", Uuid::from_u128(1)) } else { "DEFAULT".into() };
        self.query(&format!(
            "INSERT INTO {{db}}.person_facts (person_id, distinct_id, created_at, updated_at, identified_by) \
             VALUES ('{person}', '{who}', {time}, {time}, {identified_by})"
        ))
        .await;
    }

    pub(in crate::migrate) async fn set(&self, who: &str, key: &str, json: &str, second: u32, id: u128) {
        self.fact("set_v", who, key, json, &order(second, id)).await;
    }

    pub(in crate::migrate) async fn set_once(&self, who: &str, key: &str, json: &str, second: u32, id: u128) {
        self.fact("once_v", who, key, json, &order(second, id)).await;
        let person = person_id(who);
        self.query(&format!(
            "INSERT INTO {{db}}.person_set_once VALUES ('{person}', '{key}', {}, '{json}')",
            order(second, id)
        ))
        .await;
    }

    pub(in crate::migrate) async fn unset(&self, who: &str, key: &str, second: u32, id: u128) {
        let person = person_id(who);
        self.query(&format!(
            "INSERT INTO {{db}}.person_properties (person_id, key, unset_by) VALUES ('{person}', '{key}', ({}))",
            order(second, id)
        ))
        .await;
    }

    async fn fact(&self, column: &str, who: &str, key: &str, json: &str, order: &str) {
        let person = person_id(who);
        self.query(&format!(
            "INSERT INTO {{db}}.person_properties (person_id, key, {column}) VALUES ('{person}', '{key}', ({order}, '{json}'))"
        ))
        .await;
    }

    pub(in crate::migrate) async fn properties_of(&self, who: &str) -> String {
        let person = person_id(who);
        self.query(&format!(
            "SELECT properties FROM {{db}}.persons WHERE id = (SELECT any(person_id) FROM {{db}}.person_distinct_ids \
             WHERE distinct_id = '{who}') OR id = '{person}' FORMAT TSVRaw"
        ))
        .await
    }
}
