//! A reader drawn at random, and what follows from it by the API's own words: worked out without the code under test.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::*;

/// Tables that every database of the test has.
pub(super) const TABLES: [&str; 4] = ["events", "links", "dead_letters", "person_facts"];
/// Columns that every table has.
pub(super) const COLUMNS: [&str; 3] = ["a", "b", "we_c"];
/// Settings whose values are numbers and that harm no query of the test.
const SETTINGS: [&str; 4] = ["max_threads", "max_block_size", "max_result_rows", "priority"];
/// Hosts of the reader that nobody logs in as.
const HOSTS: [&[&str]; 4] =
    [&[], &["10.0.0.0/8"], &["10.1.2.3/32", "2001:db8::5/128"], &["192.0.2.0/24", "fd00::/8"]];

/// What a reader may do.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    /// Tables, each with its columns; all columns where none is named.
    tables: BTreeMap<&'static str, BTreeSet<&'static str>>,
    settings: BTreeMap<&'static str, Limits>,
    hosts: usize,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    value: Option<u64>,
    min: Option<u64>,
    max: Option<u64>,
    change: Change,
}

impl Spec {
    /// Any reader.
    pub(super) fn random(random: &mut StdRng) -> Self {
        let mut spec = Self { tables: BTreeMap::new(), settings: BTreeMap::new(), hosts: 0 };
        for table in TABLES {
            spec.draw_table(random, table);
        }
        for setting in SETTINGS {
            spec.draw_setting(random, setting);
        }
        spec
    }

    /// The same after an edit: some of it is drawn anew.
    pub(super) fn edited(&self, random: &mut StdRng) -> Self {
        let mut spec = self.clone();
        for table in TABLES {
            if random.random_bool(0.4) {
                spec.draw_table(random, table);
            }
        }
        for setting in SETTINGS {
            if random.random_bool(0.3) {
                spec.draw_setting(random, setting);
            }
        }
        spec.hosts = random.random_range(0..HOSTS.len());
        spec
    }

    fn draw_table(&mut self, random: &mut StdRng, table: &'static str) {
        self.tables.remove(table);
        if random.random_bool(0.7) || self.tables.is_empty() {
            let columns = COLUMNS.into_iter().filter(|_| random.random_bool(0.5)).collect();
            self.tables.insert(table, columns);
        }
    }

    fn draw_setting(&mut self, random: &mut StdRng, setting: &'static str) {
        self.settings.remove(setting);
        if random.random_bool(0.5) {
            let mut bounds: [u64; 3] = std::array::from_fn(|_| random.random_range(1..100));
            bounds.sort_unstable();
            let change =
                *[Change::Writable, Change::Const, Change::ChangeableInReadonly].choose(random).unwrap();
            let [min, value, max] = bounds.map(|bound| random.random_bool(0.7).then_some(bound));
            let is_empty = min.is_none() && value.is_none() && max.is_none() && change == Change::Writable;
            // Without a value the server's own is in force, and choosing that is no change, whatever the limits say. Only
            // of the threads it can be one that the test tries: the number of cores.
            let is_guessed = value.is_none() && setting == "max_threads";
            let value = value.or((is_empty || is_guessed).then_some(bounds[1]));
            self.settings.insert(setting, Limits { value, min, max, change });
        }
    }

    /// As the controller hands it over.
    pub(super) fn reader(&self, name: &str) -> Reader {
        let tables = self.tables.iter().map(|(table, columns)| {
            ((*table).to_owned(), columns.iter().map(|column| (*column).to_owned()).collect())
        });
        let text = |bound: Option<u64>| bound.map(|bound| bound.to_string());
        let setting = |(name, limits): (&&str, &Limits)| Setting {
            name: (*name).to_owned(),
            value: text(limits.value),
            min: text(limits.min),
            max: text(limits.max),
            change: limits.change,
        };
        Reader {
            name: name.to_owned(),
            reads: Reads::Tables(tables.collect()),
            hosts: match self.networks() {
                [] => Hosts::Any,
                networks => Hosts::Networks(networks.iter().map(|network| (*network).to_owned()).collect()),
            },
            settings: self.settings.iter().map(setting).collect(),
            rows: BTreeMap::new(),
            quota: BTreeMap::new(),
        }
    }

    /// Networks that it may log in from; any when there are none.
    pub(super) fn networks(&self) -> &'static [&'static str] {
        HOSTS[self.hosts]
    }

    /// The same from anywhere.
    pub(super) fn without_hosts(self) -> Self {
        Self { hosts: 0, ..self }
    }

    fn reads(&self, table: &str, column: &str) -> bool {
        self.tables.get(table).is_some_and(|columns| columns.is_empty() || columns.contains(column))
    }

    /// Every read of one column, with whether it is allowed.
    pub(super) fn reads_of(&self) -> Vec<(&'static str, &'static str, bool)> {
        let all = TABLES.iter().flat_map(|table| COLUMNS.iter().map(move |column| (*table, *column)));
        all.map(|(table, column)| (table, column, self.reads(table, column))).collect()
    }

    /// Rows of `system.grants` that its role must have, as `table column`.
    pub(super) fn grant_rows(&self) -> BTreeSet<String> {
        let of = |(table, columns): (&&str, &BTreeSet<&str>)| {
            if columns.is_empty() {
                vec![format!("SELECT {table} ")]
            } else {
                columns.iter().map(|column| format!("SELECT {table} {column}")).collect()
            }
        };
        self.tables.iter().flat_map(of).collect()
    }

    /// Values to try for each setting, each with whether the reader may choose it.
    pub(super) fn choices(&self) -> Vec<(&'static str, u64, bool)> {
        let of = |setting: &'static str| {
            let limits = self.settings.get(setting).copied();
            let edges = limits.iter().flat_map(|limits| [limits.min, limits.max]).flatten();
            let tried: BTreeSet<u64> =
                edges.flat_map(|edge| [edge - 1, edge, edge + 1]).chain([50]).collect();
            // Zero has a meaning of its own in some of them, and the value itself is no change.
            let value = limits.and_then(|limits| limits.value);
            let tried = tried.into_iter().filter(move |tried| *tried > 0 && Some(*tried) != value);
            tried.map(move |value| (setting, value, limits.is_none_or(|limits| limits.admit(value))))
        };
        SETTINGS.into_iter().flat_map(of).collect()
    }

    /// Settings with a value of their own.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.settings.iter().filter_map(|(name, limits)| limits.value.map(|value| (*name, value)))
    }

    /// Queries that this and the other both allow.
    pub(super) fn common_queries(&self, other: &Self, database: &str) -> Vec<String> {
        let reads = self
            .reads_of()
            .into_iter()
            .filter(|(table, column, allowed)| *allowed && other.reads(table, column));
        let reads = reads.map(|(table, column, _)| format!("SELECT {column} FROM {database}.{table}"));
        let choices = self.choices().into_iter().filter(|(name, value, allowed)| {
            *allowed && other.settings.get(name).is_none_or(|limits| limits.admit(*value))
        });
        let choices = choices.map(|(name, value, _)| format!("SELECT 1 SETTINGS {name} = {value}"));
        reads.chain(choices).chain(["SELECT currentUser()".to_owned()]).collect()
    }
}

impl Limits {
    fn admit(self, value: u64) -> bool {
        self.change != Change::Const
            && self.min.is_none_or(|min| value >= min)
            && self.max.is_none_or(|max| value <= max)
    }
}
