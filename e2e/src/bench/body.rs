//! Requests with ids of their own, rendered into one buffer at little cost.

use std::{
    io::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use flate2::{Compression, write::GzEncoder};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng, rngs::StdRng};

use super::template::{Kind, Template};

/// Distinct bodies, so that a block of ClickHouse holds thousands of distinct events.
const TEMPLATES: usize = 128;
/// People who do something.
const DISTINCT_IDS: usize = 10_000;

type Id = [u8; 36];

/// Everything that bodies are made of; shared by all connections.
#[derive(Debug)]
pub(super) struct Bodies {
    templates: Vec<Template>,
    people: Vec<Person>,
    /// Number of the next event: no two bodies share one.
    next: AtomicU64,
    /// Tells the ids of one run from those of another.
    run: u64,
    head: String,
    gzip: bool,
}

#[derive(Debug)]
struct Person {
    distinct_id: Id,
    anonymous_id: Id,
    session: Id,
    window: Id,
}

/// What a body looks like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a> {
    pub(super) seed: u64,
    pub(super) host: &'a str,
    pub(super) key: &'a str,
    pub(super) events: usize,
    pub(super) gzip: bool,
}

/// One request, ready to be sent as often as it takes.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) bytes: Vec<u8>,
    pub(super) events: usize,
}

impl Bodies {
    /// Renders the templates.
    pub(super) fn new(shape: Shape<'_>) -> Self {
        let mut random = StdRng::seed_from_u64(shape.seed);
        let templates =
            (0..TEMPLATES).map(|_| Template::random(&mut random, shape.key, shape.events)).collect();
        let people = (0..DISTINCT_IDS).map(|_| Person::random(&mut random)).collect();
        let encoding = if shape.gzip { "Content-Encoding: gzip\r\n" } else { "" };
        let head = format!(
            "POST /batch/ HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nUser-Agent: posthog-node/5.70.0\r\n{encoding}",
            shape.host
        );
        Self { templates, people, next: AtomicU64::new(0), run: rand::random(), head, gzip: shape.gzip }
    }

    /// Renders the next request over the last one.
    pub(super) fn render(&self, random: &mut SmallRng, scratch: &mut Vec<u8>, request: &mut Request) {
        let template = &self.templates[random.random_range(0..self.templates.len())];
        scratch.clear();
        scratch.extend_from_slice(&template.bytes);
        self.fill(template, random, scratch);
        request.events = template.events;
        request.bytes.clear();
        if self.gzip {
            let body = compress(scratch);
            self.write(&body, &mut request.bytes);
        } else {
            self.write(scratch, &mut request.bytes);
        }
    }

    fn write(&self, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(self.head.as_bytes());
        out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        out.extend_from_slice(body);
    }

    fn fill(&self, template: &Template, random: &mut SmallRng, body: &mut [u8]) {
        let now = jiff::Timestamp::now();
        let time = format!("{now:.3}");
        let first = self.next.fetch_add(template.events as u64, Ordering::Relaxed);
        let mut uuid = self.first_uuid(now, first);
        let (mut event, mut person) = (usize::MAX, 0);
        for hole in &template.holes {
            if hole.event != event {
                event = hole.event;
                person = random.random_range(0..self.people.len());
                write_hex(&mut uuid[24..], first + event as u64);
            }
            let person = &self.people[person];
            let bytes: &[u8] = match hole.kind {
                Kind::Uuid => &uuid,
                Kind::Time => time.as_bytes(),
                Kind::DistinctId => &person.distinct_id,
                Kind::AnonymousId => &person.anonymous_id,
                Kind::Session => &person.session,
                Kind::Window => &person.window,
            };
            body[hole.offset..hole.offset + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// A version 7 id: the time, bits of this run, and in its last 12 digits the number of the event.
    fn first_uuid(&self, now: jiff::Timestamp, number: u64) -> Id {
        let milliseconds = u128::try_from(now.as_millisecond()).unwrap_or_default();
        let run = u128::from(self.run);
        let bits =
            milliseconds << 80 | 0x7 << 76 | (run & 0xfff) << 64 | 0x2 << 62 | (run >> 12 & 0x3fff) << 48;
        text_of(uuid::Uuid::from_u128(bits | u128::from(number)))
    }
}

impl Person {
    fn random(random: &mut StdRng) -> Self {
        let mut id = || text_of(uuid::Builder::from_random_bytes(random.random()).into_uuid());
        Self { distinct_id: id(), anonymous_id: id(), session: id(), window: id() }
    }
}

fn text_of(uuid: uuid::Uuid) -> Id {
    let mut text = [0; 36];
    uuid.hyphenated().encode_lower(&mut text);
    text
}

/// The lowest bits of a number, as many as there are digits.
fn write_hex(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

/// As SDKs do, though at the cheapest level: what it costs to inflate hardly depends on it.
fn compress(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).expect("a vector takes every write");
    encoder.finish().expect("a vector takes every write")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_events_share_an_id_and_bodies_are_well_formed() {
        let shape = Shape { seed: 3, host: "h", key: "k", events: 50, gzip: false };
        let bodies = Bodies::new(shape);
        let mut random = SmallRng::seed_from_u64(4);
        let (mut scratch, mut request, mut seen) = (Vec::new(), Request::default(), HashSet::new());
        for _ in 0..20 {
            bodies.render(&mut random, &mut scratch, &mut request);
            let text = String::from_utf8(request.bytes.clone()).unwrap();
            let (_, body) = text.split_once("\r\n\r\n").unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            for event in body["batch"].as_array().unwrap() {
                let uuid: uuid::Uuid = event["uuid"].as_str().unwrap().parse().unwrap();
                assert_eq!(uuid.get_version_num(), 7);
                assert!(seen.insert(uuid));
                assert!(event["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
            }
        }
        assert_eq!(seen.len(), 1000);
    }
}
