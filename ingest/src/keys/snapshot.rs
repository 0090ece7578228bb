//! The keys that are known at one moment, and what is remembered about each across reloads. Pure.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use sha2::Digest as _;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::admission::pace::Bucket;
use crate::admission::pace::Pace;
use crate::admission::pace::Rate;

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Product events.
    Capture,
    /// OpenTelemetry's signals.
    Otlp,
}

/// One key, known by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Name that is stored with each event.
    pub name: Arc<str>,
    /// Which of the keys of this name it is.
    pub generation: u64,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// Origins that may use it; any when empty. Requests without an origin may always use it.
    pub origins: Vec<String>,
    /// First moment, in microseconds since 1970.
    pub valid_from: Option<i64>,
    /// Moment from which it is refused, in microseconds since 1970.
    pub valid_until: Option<i64>,
    /// Its own rate, before the one that is set for all keys.
    pub maybe_rate: Option<Rate>,
}

/// When a key was used. Only ever grows, and is kept as long as the key is known.
#[derive(Debug, Default)]
pub struct Usage {
    requests: AtomicU64,
    last_used: AtomicI64,
}

/// A key and what is remembered about it.
#[derive(Debug)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// When it was used.
    pub usage: Arc<Usage>,
    /// What is left of its rate; all keys of one name share it, so that a rotation does not double it.
    pub maybe_bucket: Option<Arc<Bucket>>,
}

/// The keys that are known at one moment.
#[derive(Debug, Default)]
pub struct KeySnapshot {
    generation: u64,
    entries: Vec<Arc<Entry>>,
    hashes: Vec<[u64; 4]>,
    origins: HashSet<String>,
}

impl KeySnapshot {
    /// Takes keys and what `previous` remembers about those that stay. `default_rate` is for keys without their own.
    pub fn new(generation: u64, keys: Vec<Key>, default_rate: Option<Rate>, previous: &Self) -> Self {
        let hashes = keys.iter().map(|key| words(&key.sha256)).collect();
        let origins = keys.iter().flat_map(|key| key.origins.iter().cloned()).collect();
        let mut buckets = HashMap::new();
        let entry = |key: Key| {
            let known = previous.entries.iter().filter(|entry| entry.key.name == key.name);
            let same = known.clone().find(|entry| entry.key.generation == key.generation);
            let usage = same.map(|entry| Arc::clone(&entry.usage)).unwrap_or_default();
            let maybe_bucket = key.maybe_rate.or(default_rate).map(|rate| {
                let pace = Pace::from(rate);
                let kept =
                    || known.filter_map(|entry| entry.maybe_bucket.clone()).find(|old| old.pace() == pace);
                let bucket = buckets.entry((Arc::clone(&key.name), pace));
                Arc::clone(bucket.or_insert_with(|| kept().unwrap_or_else(|| Arc::new(Bucket::new(pace)))))
            });
            Arc::new(Entry { key, usage, maybe_bucket })
        };
        Self { generation, entries: keys.into_iter().map(entry).collect(), hashes, origins }
    }

    /// Generation of the file; 0 without one.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Keys of the environment, then those of the file.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// Whether any key lists the origin.
    pub fn lists(&self, origin: &str) -> bool {
        self.origins.contains(origin)
    }

    /// The key of which this is the text, when it may be used for `scope` at `now`.
    ///
    /// The text is hashed once and compared with all keys in constant time, so neither content nor position shows.
    pub fn find(&self, text: &str, scope: Scope, now: i64) -> Option<&Arc<Entry>> {
        let hash = words(&Sha256::digest(text.as_bytes()).into());
        let mut found = None;
        for (known, entry) in self.hashes.iter().zip(&self.entries) {
            let is_equal = bool::from(difference(known, &hash).ct_eq(&0));
            if is_equal && found.is_none() && entry.key.is_usable(scope, now) {
                found = Some(entry);
            }
        }
        found
    }
}

impl Key {
    /// Whether it may be used for `scope` at `now`.
    pub fn is_usable(&self, scope: Scope, now: i64) -> bool {
        self.scopes.contains(&scope) && self.is_valid(now)
    }

    /// Whether `now` is within its time.
    pub fn is_valid(&self, now: i64) -> bool {
        self.valid_from.is_none_or(|from| from <= now) && self.valid_until.is_none_or(|until| now < until)
    }
}

impl Usage {
    /// Remembers one request, at `now` in microseconds since 1970.
    pub fn record(&self, now: i64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let second = now.div_euclid(1_000_000);
        // Once a second at most, so that the cores do not fight over it.
        if self.last_used.load(Ordering::Relaxed) < second {
            self.last_used.fetch_max(second, Ordering::Relaxed);
        }
    }

    /// Requests since the start.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Second since 1970 of the newest request; `None` when there was none since the start.
    pub fn last_used(&self) -> Option<i64> {
        Some(self.last_used.load(Ordering::Relaxed)).filter(|second| *second > 0)
    }
}

fn words(hash: &[u8; 32]) -> [u64; 4] {
    let (words, _) = hash.as_chunks::<8>();
    std::array::from_fn(|index| u64::from_ne_bytes(words[index]))
}

/// Zero for equal hashes; takes the same time for all.
fn difference(one: &[u64; 4], other: &[u64; 4]) -> u64 {
    (one[0] ^ other[0]) | (one[1] ^ other[1]) | (one[2] ^ other[2]) | (one[3] ^ other[3])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, generation: u64, text: &str) -> Key {
        Key {
            name: name.into(),
            generation,
            sha256: Sha256::digest(text.as_bytes()).into(),
            scopes: vec![Scope::Capture],
            origins: Vec::new(),
            valid_from: None,
            valid_until: None,
            maybe_rate: None,
        }
    }

    fn snapshot(keys: Vec<Key>, previous: &KeySnapshot) -> KeySnapshot {
        KeySnapshot::new(1, keys, "5:5".parse().ok(), previous)
    }

    #[test]
    fn a_key_is_found_among_many_by_its_text_alone() {
        let keys = (0..1000).map(|number| key("web", number, &format!("key-{number}"))).collect();
        let snapshot = snapshot(keys, &KeySnapshot::default());
        let found = |text: &str| snapshot.find(text, Scope::Capture, 0).map(|entry| entry.key.generation);
        assert_eq!(found("key-0"), Some(0));
        assert_eq!(found("key-999"), Some(999));
        assert_eq!(found("key-1000"), None);
        assert!(snapshot.find("key-5", Scope::Otlp, 0).is_none());
    }

    #[test]
    fn usage_survives_a_reload_and_belongs_to_one_generation() {
        let before = snapshot(vec![key("web", 1, "a")], &KeySnapshot::default());
        before.entries()[0].usage.record(7_900_000);
        before.entries()[0].usage.record(6_000_000);
        let after = snapshot(vec![key("web", 1, "a"), key("web", 2, "b")], &before);
        let of = |index: usize| {
            let usage = &after.entries()[index].usage;
            (usage.requests(), usage.last_used())
        };
        assert_eq!((of(0), of(1)), ((2, Some(7)), (0, None)));
    }

    #[test]
    fn generations_of_one_name_share_a_rate_across_reloads() {
        let before = snapshot(vec![key("web", 1, "a")], &KeySnapshot::default());
        before.entries()[0].maybe_bucket.as_ref().unwrap().charge(0, 100);
        let other = Key { maybe_rate: "9".parse().ok(), ..key("app", 1, "c") };
        let after = snapshot(vec![key("web", 1, "a"), key("web", 2, "b"), other], &before);
        let is_open = |index: usize| after.entries()[index].maybe_bucket.as_ref().unwrap().check(0).is_ok();
        assert_eq!([is_open(0), is_open(1), is_open(2)], [false, false, true]);
    }
}
