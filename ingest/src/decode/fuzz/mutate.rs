//! Bodies as SDKs send them, and the damage that is done to them.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use flate2::write::ZlibEncoder;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::lz_string;
use crate::decode::codec::Codec;
use crate::decode::unpack::Hints;

/// What parsers trip over.
const TOKENS: [&[u8]; 20] = [
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
    b"\"properties\":7,",
    b"\"uuid\":\"\",",
    b",,",
    b"1180591620717411303424",
    b"\\",
    b"\0",
    b"\xed\xa0\x80",
];
/// Frames of the other codings, made with their own programs.
const BROTLI: &str = "1b1200f88d946edeb40429bbab34b950270ae004";
const ZSTD: &str = "28b52ffd24135d00002877656972200100908b16c3d04f10";

/// A source of bodies, the same ones for the same seed.
pub(super) struct Mutator(StdRng);

impl Mutator {
    pub(super) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        from.choose(&mut self.0).expect("the lists are not empty")
    }

    /// A body that was made well and then damaged.
    pub(super) fn damaged(&mut self, make: impl FnOnce(&mut Self) -> Vec<u8>) -> Vec<u8> {
        let body = make(self);
        self.damage(body)
    }

    pub(super) fn damage(&mut self, mut body: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.below(5) {
            let at = self.below(body.len() + 1);
            match self.below(6) {
                0 => body.truncate(at),
                1 => body[at..].iter_mut().take(1).for_each(|byte| *byte ^= 1 << (at % 8)),
                2 => drop(body.splice(at..at, self.pick(&TOKENS).iter().copied())),
                3 => drop(body.drain(at..body.len().min(at + 9))),
                4 => body[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
                _ => {
                    let again: Vec<u8> = body[at..].iter().copied().take(64).collect();
                    drop(body.splice(at..at, again));
                }
            }
        }
        body
    }

    /// Any text, now and then a long run of the same.
    pub(super) fn text(&mut self) -> String {
        let length = self.below(60);
        let letters = ['a', 'b', '"', '\\', 'é', '☃', '🎉', '\u{0}', '\u{10ffff}', '%', '+', ' '];
        let text: String = (0..length).map(|_| *self.pick(&letters)).collect();
        if self.below(4) == 0 { text.repeat(20) } else { text }
    }

    fn string(&mut self) -> String {
        serde_json::Value::from(self.text()).to_string()
    }

    fn value(&mut self, depth: usize) -> String {
        match self.below(if depth == 0 { 5 } else { 7 }) {
            0 => (*self.pick(&["null", "true", "false", "[]", "{}"])).to_owned(),
            1 => self.0.random::<i64>().to_string(),
            2 => serde_json::Value::from(f64::from_bits(self.0.random())).to_string(),
            3 => (*self.pick(&[
                "1e999",
                "-1E+400",
                "1180591620717411303424",
                "-9223372036854775809",
                "0.5e-400",
            ]))
            .to_owned(),
            4 => self.string(),
            5 => {
                let parts: Vec<_> = (0..self.below(4)).map(|_| self.value(depth - 1)).collect();
                format!("[{}]", parts.join(" , "))
            }
            _ => self.object(depth - 1),
        }
    }

    fn object(&mut self, depth: usize) -> String {
        let parts: Vec<_> =
            (0..self.below(4)).map(|_| format!("{}:{}", self.string(), self.value(depth))).collect();
        format!("{{{}}}", parts.join(","))
    }

    /// An event whose fields are mostly what they should be.
    fn event(&mut self) -> String {
        let mut fields = Vec::new();
        for (name, usual) in [
            ("event", r#""$pageview""#),
            ("distinct_id", r#""u1""#),
            ("uuid", r#""019a0f2e-7c10-7b3a-9d41-5f0c2a77e001""#),
            ("timestamp", r#""2026-05-06T09:30:00Z""#),
            ("offset", "12"),
            ("token", r#""key""#),
            ("$set", r#"{"plan":"team"}"#),
        ] {
            match self.below(8) {
                0 => {}
                1 => fields.push(format!(r#""{name}":{}"#, self.value(2))),
                _ => fields.push(format!(r#""{name}":{usual}"#)),
            }
        }
        let properties = self.object(3);
        fields.push(format!(r#""properties":{properties}"#));
        format!("{{{}}}", fields.join(","))
    }

    fn list(&mut self) -> String {
        let events: Vec<_> = (0..=self.below(3)).map(|_| self.event()).collect();
        format!("[{}]", events.join(","))
    }

    /// The JSON of any envelope.
    pub(super) fn json(&mut self) -> String {
        match self.below(4) {
            0 => self.event(),
            1 => self.list(),
            2 => format!(r#"{{"api_key":"key","batch":{}}}"#, self.list()),
            _ => format!(r#"{{"sent_at":{},"batch":{},"api_key":"key"}}"#, self.value(1), self.list()),
        }
    }

    /// A body of the v1 path.
    pub(super) fn v1(&mut self) -> String {
        let event = |mutator: &mut Self| {
            let uuid = uuid::Builder::from_random_bytes(mutator.0.random()).into_uuid();
            format!(
                r#"{{"uuid":"{uuid}","event":"a","distinct_id":"u","timestamp":"2026-05-06T09:30:00Z","options":{{"cookieless_mode":true}},"properties":{}}}"#,
                mutator.object(3)
            )
        };
        let events: Vec<_> = (0..=self.below(3)).map(|_| event(self)).collect();
        format!(r#"{{"created_at":"2026-05-06T09:30:00Z","batch":[{}]}}"#, events.join(","))
    }

    pub(super) fn gzip(&mut self) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(self.json().as_bytes()).unwrap();
        let one = encoder.finish().unwrap();
        // A body may be several files, and their output may be longer than the cap.
        one.repeat(1 + self.below(20))
    }

    pub(super) fn zlib(&mut self) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(self.json().as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    pub(super) fn coded(codec: Codec) -> Vec<u8> {
        let frame = if codec == Codec::Brotli { BROTLI } else { ZSTD };
        hex::decode(frame).unwrap()
    }

    pub(super) fn base64(&mut self) -> Vec<u8> {
        base64(self.json().as_bytes()).into_bytes()
    }

    pub(super) fn form(&mut self) -> Vec<u8> {
        form(&self.json())
    }

    /// A body in one of the wrappings.
    pub(super) fn wrapped(&mut self) -> Vec<u8> {
        let json = self.json();
        self.wrap(&json).0
    }

    /// The text in one of the wrappings, and what is said about it.
    pub(super) fn wrap(&mut self, json: &str) -> (Vec<u8>, Hints) {
        let gzip = |bytes: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let hints = |is_lz, is_form| Hints { is_lz, is_form };
        match self.below(7) {
            0 => (json.into(), Hints::default()),
            1 => (gzip(json.as_bytes()), Hints::default()),
            2 => (gzip(&gzip(json.as_bytes())), Hints::default()),
            3 => (base64(json.as_bytes()).into_bytes(), Hints::default()),
            4 => (form(&base64(json.as_bytes())), hints(false, true)),
            5 => (form(&base64(&gzip(json.as_bytes()))), Hints::default()),
            _ => (form(&lz_string::compress_to_base64(json)), hints(true, true)),
        }
    }
}

fn form(data: &str) -> Vec<u8> {
    url::form_urlencoded::Serializer::new("ip=1&".to_owned()).append_pair("data", data).finish().into_bytes()
}

/// Base64 by its definition, with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0_u32, |word, at| word << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for digit in 0..4_usize {
            let index = (word >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= chunk.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    text
}
