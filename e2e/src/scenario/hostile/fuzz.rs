//! Mutated bodies to every decoder, for a time: no answer may blame the service, and valid events beside broken ones stay.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{bomb, client::Stranger, lz_string};

const WORKERS: u64 = 4;
/// Name of the valid events that go with broken ones.
pub(super) const VALID: &str = "hostile valid";
const PATHS: [&str; 8] =
    ["/batch/", "/e/", "/i/v0/e/", "/capture/", "/track/", "/engage/", "/decide/?v=3", "/flags/?v=2"];
const KINDS: [&str; 4] = [
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/json; charset=utf-8",
];
const HINTS: [&str; 5] =
    ["compression=gzip", "compression=gzip-js", "compression=base64", "compression=lz64", "beacon=1"];
/// What parsers trip over.
const TOKENS: [&[u8]; 16] = [
    b"null",
    b"{}",
    b"[[[[",
    b"\"\\ud800\"",
    b"\\u0000",
    b"1e999",
    b"-",
    b"\xff\xfe",
    b"\x1f\x8b\x08",
    b"data=",
    b"%zz",
    b"\"batch\":",
    b"\"api_key\":null,",
    b"\"timestamp\":\"9999-99-99\",",
    b"\"uuid\":\"\",",
    b",,",
];

/// What was sent and answered.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) requests: u64,
    /// Valid events that were acknowledged.
    pub(super) valid: Vec<Uuid>,
    pub(super) statuses: BTreeMap<u16, u64>,
}

/// Sends for that long from several connections; errs at the first answer that blames the service.
pub(super) async fn run(url: &str, key: &str, seed: u64, time: Duration) -> anyhow::Result<Sums> {
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let (stranger, key) = (Stranger::new(url.to_owned()), key.to_owned());
        let random = StdRng::seed_from_u64(seed.wrapping_add(worker));
        workers.spawn(async move { Fuzzer { stranger, key, random, sums: Sums::default() }.run(time).await });
    }
    let mut total = Sums::default();
    while let Some(sums) = workers.join_next().await {
        let sums = sums.context("a fuzzer panicked")??;
        total.requests += sums.requests;
        total.valid.extend(sums.valid);
        for (status, count) in sums.statuses {
            *total.statuses.entry(status).or_default() += count;
        }
    }
    Ok(total)
}

struct Fuzzer {
    stranger: Stranger,
    key: String,
    random: StdRng,
    sums: Sums,
}

impl Fuzzer {
    async fn run(mut self, time: Duration) -> anyhow::Result<Sums> {
        let started = Instant::now();
        while started.elapsed() < time {
            if self.random.random_bool(0.5) {
                self.send_mutated().await?;
            } else {
                self.send_mixed().await?;
            }
            self.sums.requests += 1;
        }
        Ok(self.sums)
    }

    /// Any bytes to any decoder.
    async fn send_mutated(&mut self) -> anyhow::Result<()> {
        let body = self.body()?;
        let body = self.mutate(body);
        let mut path = (*self.pick(&PATHS)).to_owned();
        if self.random.random_bool(0.5) {
            let join = if path.contains('?') { '&' } else { '?' };
            path = format!("{path}{join}{}", self.pick(&HINTS));
        }
        let mut headers = vec![("content-type", (*self.pick(&KINDS)).to_owned())];
        if self.random.random_bool(0.2) {
            headers.push(("content-encoding", "gzip".to_owned()));
        }
        self.send(&path, &headers, body).await.map(drop)
    }

    /// Two valid events around one of arbitrary JSON.
    async fn send_mixed(&mut self) -> anyhow::Result<()> {
        let ids = [Uuid::now_v7(), Uuid::now_v7()];
        let [first, last] = ids.map(|id| json!({"event": VALID, "distinct_id": "v", "uuid": id}));
        let batch = [first, self.event(), last];
        let body = json!({"api_key": self.key, "batch": batch}).to_string().into_bytes();
        let headers = [("content-type", "application/json".to_owned())];
        let status = self.send("/batch/", &headers, body).await?;
        ensure!(status == 200, "a batch with two valid events was answered with {status}: {}", batch[1]);
        self.sums.valid.extend(ids);
        Ok(())
    }

    async fn send(
        &mut self,
        path: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> anyhow::Result<u16> {
        let sent = body.clone();
        let answer = self.stranger.post(path, headers, Bytes::from(body)).await;
        let told = || format!("{path} {headers:?} {}", STANDARD.encode(&sent));
        let (status, _) = answer.with_context(told)?;
        *self.sums.statuses.entry(status).or_default() += 1;
        ensure!(status < 500, "answered with {status}: {}", told());
        Ok(status)
    }

    /// A body as some SDK sends it.
    fn body(&mut self) -> anyhow::Result<Vec<u8>> {
        let event = self.event();
        let text = match self.random.random_range(0..4) {
            0 => event.to_string(),
            1 => json!([event, self.event()]).to_string(),
            2 => json!({"api_key": self.key, "batch": [event]}).to_string(),
            _ => json!({"api_key": self.key, "sent_at": self.value(1), "batch": [event, self.event()]})
                .to_string(),
        };
        Ok(match self.random.random_range(0..5) {
            0 => bomb::gzip_of(text.as_bytes())?,
            1 => format!("data={}", STANDARD.encode(&text)).into_bytes(),
            2 => STANDARD.encode(&text).into_bytes(),
            3 => format!("data={}", lz_string::compress_to_base64(&text)).into_bytes(),
            _ => text.into_bytes(),
        })
    }

    /// An event whose fields may be anything.
    fn event(&mut self) -> Value {
        let mut event = serde_json::Map::new();
        let names = [
            "event",
            "distinct_id",
            "uuid",
            "timestamp",
            "properties",
            "$set",
            "$set_once",
            "$unset",
            "offset",
            "token",
            "api_key",
            "type",
        ];
        for name in names {
            match self.random.random_range(0..10) {
                0..4 => drop(event.insert(name.to_owned(), self.plausible(name))),
                4 | 5 => drop(event.insert(name.to_owned(), self.value(3))),
                _ => {}
            }
        }
        Value::Object(event)
    }

    fn plausible(&mut self, name: &str) -> Value {
        match name {
            "event" => json!(self.pick(&[
                "$identify",
                "$set",
                "$create_alias",
                "$merge_dangerously",
                "$pageview",
                "x"
            ])),
            "distinct_id" => json!(self.pick(&["a", "b", "anonymous", " ", "0"])),
            "uuid" => json!(Uuid::now_v7()),
            "timestamp" => json!(self.pick(&[
                "2026-05-06T09:30:00Z",
                "0001-01-01T00:00:00Z",
                "9999-12-31",
                "1700000000"
            ])),
            "offset" => json!(self.random.random::<i64>()),
            // One of several keys would refuse the batch, which is right and no finding.
            "token" | "api_key" => json!(self.key),
            "properties" => {
                json!({"$anon_distinct_id": self.value(1), "alias": self.value(1), "$set": self.value(2), "p": self.value(3)})
            }
            _ => self.value(2),
        }
    }

    fn value(&mut self, depth: u32) -> Value {
        match self.random.random_range(0..if depth == 0 { 7 } else { 9 }) {
            0 => Value::Null,
            1 => json!(self.random.random::<bool>()),
            2 => json!(self.random.random::<i64>()),
            3 => json!(f64::from_bits(self.random.random())),
            4 => json!(self.pick(&[
                "",
                "\u{0}",
                "\u{10ffff}",
                "2026-13-45T99:99:99Z",
                "'; DROP TABLE events",
                "\\N"
            ])),
            5 => json!("w".repeat(self.random.random_range(0..3000))),
            6 => json!(self.random.random_range(0..10)),
            7 => (0..self.random.random_range(0..4)).map(|_| self.value(depth - 1)).collect(),
            _ => (0..self.random.random_range(0..4))
                .map(|key| (format!("k{key}"), self.value(depth - 1)))
                .collect(),
        }
    }

    fn mutate(&mut self, mut body: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.random.random_range(0..6) {
            let at = self.random.random_range(0..=body.len());
            match self.random.random_range(0..5) {
                0 => body.truncate(at),
                1 => body[at..].iter_mut().take(1).for_each(|byte| *byte ^= 1 << (at % 8)),
                2 => drop(body.splice(at..at, self.pick(&TOKENS).iter().copied())),
                3 => drop(body.drain(at..body.len().min(at + 9))),
                _ => {
                    let again: Vec<u8> = body[at..].iter().copied().take(64).collect();
                    drop(body.splice(at..at, again));
                }
            }
        }
        body
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        from.choose(&mut self.random).expect("the lists are not empty")
    }
}
