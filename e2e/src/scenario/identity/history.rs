//! Random histories: a few ids, a few properties, and everything that can be said of them.

use std::fmt;

use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Which rules the service follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Seed,
    Posthog,
}

impl fmt::Display for Dialect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Seed => "seed",
            Self::Posthog => "posthog",
        })
    }
}

/// One event, before it is JSON.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) uuid: Uuid,
    /// Seconds since a fixed moment.
    pub(super) second: u32,
    pub(super) name: &'static str,
    pub(super) distinct_id: String,
    /// `$anon_distinct_id` or `alias`, as the event has it.
    pub(super) linked_id: Option<String>,
    pub(super) set: Map<String, Value>,
    pub(super) set_once: Map<String, Value>,
    pub(super) unset: Vec<String>,
    pub(super) is_personless: bool,
}

/// Some events about some ids.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) dialect: Dialect,
    pub(super) ids: Vec<String>,
    pub(super) events: Vec<Event>,
}

const NAMES: [&str; 8] = [
    "$identify",
    "$identify",
    "$identify",
    "$create_alias",
    "$create_alias",
    "$merge_dangerously",
    "$set",
    "bought",
];
const NOBODY: [&str; 4] = ["null", "Anonymous", "0", "'undefined'"];

impl History {
    pub(super) fn random(dialect: Dialect, number: usize, random: &mut StdRng) -> Self {
        let ids: Vec<_> =
            (0..random.random_range(3..8)).map(|id| format!("{dialect}-{number}-{id}")).collect();
        let mut events: Vec<_> = ids.iter().map(|id| plain(id, random)).collect();
        events.extend((0..random.random_range(4..24)).map(|_| said(&ids, random)));
        Self { dialect, ids, events }
    }
}

/// Every id is seen, so that it has a person to compare.
fn plain(id: &str, random: &mut StdRng) -> Event {
    Event {
        uuid: Uuid::from_u128(random.random()),
        second: random.random_range(0..30),
        name: "seen",
        distinct_id: id.to_owned(),
        linked_id: None,
        set: Map::new(),
        set_once: Map::new(),
        unset: Vec::new(),
        is_personless: false,
    }
}

fn said(ids: &[String], random: &mut StdRng) -> Event {
    let mut event = plain(pick(ids, random), random);
    event.name = NAMES.choose(random).copied().unwrap_or("$set");
    if random.random_bool(0.9) {
        event.linked_id = Some(pick(ids, random).to_owned());
    }
    if random.random_bool(0.03) {
        event.linked_id = NOBODY.choose(random).map(|id| (*id).to_owned());
    }
    event.is_personless = random.random_bool(0.05);
    for key in ["a", "b", "c"] {
        match random.random_range(0..12) {
            0 | 1 => drop(event.set.insert(key.to_owned(), json!(random.random_range(0..1000)))),
            2 | 3 => drop(event.set_once.insert(key.to_owned(), json!(random.random_range(0..1000)))),
            4 => event.unset.push(key.to_owned()),
            5 => {
                event.set_once.insert(key.to_owned(), json!("once"));
                event.unset.push(key.to_owned());
            }
            _ => {}
        }
    }
    event
}

fn pick<'a>(ids: &'a [String], random: &mut StdRng) -> &'a str {
    ids.choose(random).map_or("", String::as_str)
}

impl Event {
    /// The event as an SDK sends it.
    pub(super) fn json(&self) -> Value {
        let mut properties = Map::new();
        let link = if self.name == "$identify" { "$anon_distinct_id" } else { "alias" };
        if let Some(linked_id) = &self.linked_id {
            properties.insert(link.to_owned(), json!(linked_id));
        }
        for (key, object) in [("$set", &self.set), ("$set_once", &self.set_once)] {
            if !object.is_empty() {
                properties.insert(key.to_owned(), json!(object));
            }
        }
        if !self.unset.is_empty() {
            properties.insert("$unset".to_owned(), json!(self.unset));
        }
        if self.is_personless {
            properties.insert("$process_person_profile".to_owned(), json!(false));
        }
        json!({
            "uuid": self.uuid,
            "event": self.name,
            "distinct_id": self.distinct_id,
            "timestamp": format!("2026-05-06T09:{:02}:{:02}.000Z", self.second / 60 % 60, self.second % 60),
            "properties": properties,
        })
    }

    /// What orders events. ClickHouse compares the second half of an id first.
    pub(super) fn order(&self) -> (u32, u64, u64) {
        let (high, low) = self.uuid.as_u64_pair();
        (self.second, low, high)
    }
}
