//! One process that handles every event of a history alone, in order, and remembers everything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::history::{Dialect, Event, History};

/// How a history ends.
#[derive(Debug, Default)]
pub(super) struct Oracle<'a> {
    parents: BTreeMap<&'a str, &'a str>,
    known: BTreeSet<&'a str>,
    sources: BTreeSet<&'a str>,
    profiled: BTreeSet<&'a str>,
    /// Links that were refused.
    pub(super) refused: usize,
    operations: Vec<&'a Event>,
}

/// A person at the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Person {
    /// Ids that name it: one, or those of a circle, of which the smallest person id counts.
    pub(super) roots: BTreeSet<String>,
    /// Its properties; absent when nothing was said of it but links.
    pub(super) maybe_properties: Option<Map<String, Value>>,
}

impl<'a> Oracle<'a> {
    pub(super) fn tell(history: &'a History) -> Self {
        let mut oracle = Self::default();
        let mut events: Vec<_> = history.events.iter().collect();
        events.sort_by_key(|event| event.order());
        for event in events {
            oracle.handle(history.dialect, event);
        }
        oracle
    }

    fn handle(&mut self, dialect: Dialect, event: &'a Event) {
        if dialect == Dialect::Posthog && event.is_personless {
            return;
        }
        let changes = dialect == Dialect::Posthog || matches!(event.name, "$identify" | "$set");
        let says_something = !(event.set.is_empty() && event.set_once.is_empty() && event.unset.is_empty());
        if matches!(event.name, "$identify" | "$set") || (changes && says_something) {
            self.profiled.insert(&event.distinct_id);
            self.operations.push(event);
        }
        let is_merge = event.name == "$merge_dangerously" && dialect == Dialect::Posthog;
        let links = is_merge || matches!(event.name, "$identify" | "$create_alias");
        if let (Some(source), true) = (&event.linked_id, links) {
            self.link(source, &event.distinct_id, is_merge);
        }
        if event.name == "$identify" {
            self.known.insert(&event.distinct_id);
        }
    }

    fn link(&mut self, source: &'a str, target: &'a str, is_merge: bool) {
        // Ids of a history hold its prefix; all others stand for nobody.
        if source == target || !source.contains('-') {
            return;
        }
        if is_merge || !(self.known.contains(source) || self.sources.contains(source)) {
            self.parents.insert(source, target);
        } else {
            self.refused += 1;
        }
        self.sources.insert(source);
        self.known.insert(target);
    }

    /// The person of an id.
    pub(super) fn person(&self, ids: &'a [String], id: &'a str) -> Person {
        let roots = self.roots(id);
        let members: BTreeSet<_> =
            ids.iter().map(String::as_str).filter(|other| self.roots(other) == roots).collect();
        let mut properties = Map::new();
        for event in self.operations.iter().filter(|event| members.contains(event.distinct_id.as_str())) {
            change(&mut properties, event);
        }
        let has_profile = members.iter().any(|member| self.profiled.contains(member));
        Person { roots, maybe_properties: has_profile.then_some(properties) }
    }

    fn roots(&self, id: &'a str) -> BTreeSet<String> {
        let mut way = vec![id];
        while let Some(parent) = way.last().and_then(|last| self.parents.get(last)) {
            if let Some(start) = way.iter().position(|step| step == parent) {
                return way[start..].iter().map(|step| (*step).to_owned()).collect();
            }
            way.push(parent);
        }
        way.last().map(|root| (*root).to_owned()).into_iter().collect()
    }
}

fn change(properties: &mut Map<String, Value>, event: &Event) {
    for (key, value) in &event.set_once {
        properties.entry(key.clone()).or_insert_with(|| value.clone());
    }
    for (key, value) in &event.set {
        properties.insert(key.clone(), value.clone());
    }
    for key in &event.unset {
        properties.remove(key);
    }
}
