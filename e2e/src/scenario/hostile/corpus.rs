//! Bodies that try to break the service, each with the answers that are right and the events that must be rows.

use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{bomb, lz_string};

/// One request and what must become of it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    /// Every status that is right.
    pub(super) statuses: &'static [u16],
    /// Valid events of this name are in it, and are rows when it is answered with 200.
    pub(super) event: String,
    pub(super) stored: u64,
    /// A property of a strange event that ClickHouse's JSON functions must still read.
    pub(super) read: Option<&'static str>,
}

const JSON: &str = "application/json";
/// What cannot be read shows no key either.
const REFUSED: &[u16] = &[400, 401];
const TOO_LARGE: &[u16] = &[413];
const TAKEN: &[u16] = &[200];

/// Makes cases, each with an event name of its own.
struct Maker<'a> {
    key: &'a str,
    cases: Vec<Case>,
}

/// Every case.
pub(super) fn all(key: &str) -> anyhow::Result<Vec<Case>> {
    let mut maker = Maker { key, cases: Vec::new() };
    maker.bombs()?;
    maker.shapes();
    maker.crowds();
    maker.times();
    maker.values();
    Ok(maker.cases)
}

impl Maker<'_> {
    fn event(&self) -> String {
        format!("hostile {}", self.cases.len())
    }

    fn add(
        &mut self,
        name: &'static str,
        path: &'static str,
        kind: &str,
        body: impl Into<Bytes>,
    ) -> &mut Case {
        let event = self.event();
        let headers = vec![("content-type", kind.to_owned())];
        let body = body.into();
        self.cases.push(Case { name, path, headers, body, statuses: REFUSED, event, stored: 0, read: None });
        self.cases.last_mut().expect("one was pushed")
    }

    /// An envelope with one strange event between two valid ones, which must be rows whatever becomes of the strange one.
    fn between(&mut self, name: &'static str, strange: &str) {
        let event = self.event();
        let good = |id: &str| json!({"event": event, "distinct_id": id, "uuid": Uuid::now_v7()}).to_string();
        let body = format!(r#"{{"api_key":"{}","batch":[{},{strange},{}]}}"#, self.key, good("a"), good("b"));
        let case = self.add(name, "/batch/", JSON, body);
        (case.statuses, case.stored) = (TAKEN, 2);
    }

    fn batch(&mut self, name: &'static str, events: &[Value]) {
        let body = json!({"api_key": self.key, "batch": events}).to_string();
        let stored = events.len() as u64;
        let case = self.add(name, "/batch/", JSON, body);
        (case.statuses, case.stored) = (TAKEN, stored);
    }

    fn bombs(&mut self) -> anyhow::Result<()> {
        let encoded = |case: &mut Case, encoding: &str| {
            case.headers.push(("content-encoding", encoding.to_owned()));
            case.statuses = TOO_LARGE;
        };
        let gzip = bomb::largest_gzip()?;
        encoded(self.add("gzip bomb by its header", "/batch/", JSON, gzip.clone()), "gzip");
        encoded(self.add("gzip bomb of many members", "/batch/", JSON, bomb::gzip_members()?), "gzip");
        for path in ["/e/", "/i/v0/e/", "/capture/", "/batch/?compression=gzip-js"] {
            self.add("gzip bomb by its first bytes", path, "text/plain", gzip.clone()).statuses = TOO_LARGE;
        }
        let keyless = [br#"{"batch":["#.as_slice(), &b" ".repeat(15 << 20), b"]}"].concat();
        let keyless = self.add("a large body without a key", "/batch/", JSON, bomb::gzip_of(&keyless)?);
        keyless.headers.push(("content-encoding", "gzip".to_owned()));
        keyless.statuses = &[400, 401, 413];
        self.add("lz64 bomb", "/e/?compression=lz64", "text/plain", bomb::lz64()).statuses = TOO_LARGE;
        let bombs = [
            ("gzip", gzip),
            ("deflate", bomb::deflate()?.into()),
            ("br", bomb::brotli()?.into()),
            ("zstd", Bytes::from(bomb::zstd())),
        ];
        for (encoding, body) in bombs {
            let authorization = format!("Bearer {}", self.key);
            let case = self.add("bomb on the v1 path", "/i/v1/analytics/events", JSON, body);
            encoded(case, encoding);
            case.headers.extend(v1_headers(&authorization));
        }
        Ok(())
    }

    fn shapes(&mut self) {
        let key = self.key.to_owned();
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let event = |properties: &str| {
            format!(r#"{{"event":"strange","distinct_id":"x","properties":{{"p":{properties}}}}}"#)
        };
        self.between("properties 100 deep", &event(&deep(100)));
        self.between("properties 100,000 deep", &event(&deep(100_000)));
        self.add("an array 1,000,000 deep", "/batch/", JSON, deep(1_000_000));
        self.add("brackets without an end", "/e/", "text/plain", "[".repeat(4 << 20));
        let objects = r#"{"batch":"#.repeat(100_000);
        self.add("envelopes in envelopes", "/batch/", JSON, objects);
        self.add("no JSON", "/batch/", JSON, "\u{0}".repeat(1000));
        self.add("nothing", "/e/", JSON, "");
        self.add(
            "half of a gzip file",
            "/e/",
            "text/plain",
            bomb::gzip(100_000).map_or_else(|_| Vec::new(), |body| body[..40].to_vec()),
        );
        // Each stray byte is replaced, and costs nobody an event.
        self.between(
            "text that is no UTF-8",
            "{\"event\":\"STRAY\",\"distinct_id\":\"u\",\"properties\":{\"STRAY\":1}}",
        );
        self.with_stray_bytes("STRAY");
        let form =
            format!("data={}", lz_string::compress_to_base64(&format!(r#"{{"api_key":"{key}","event":"#)));
        self.add(
            "half of an event by lz64",
            "/e/?compression=lz64",
            "application/x-www-form-urlencoded",
            form,
        );
        self.add(
            "percent signs",
            "/e/",
            "application/x-www-form-urlencoded",
            format!("data={}", "%".repeat(100_000)),
        );
    }

    fn crowds(&mut self) {
        let event = self.event();
        let one = |index: usize| json!({"event": event, "distinct_id": format!("id-{index}"), "uuid": Uuid::now_v7()});
        self.batch("3,000 distinct ids", &(0..3_000).map(one).collect::<Vec<_>>());
        let event = self.event();
        let one = |index: usize| json!({"event": event, "distinct_id": format!("id-{index}"), "uuid": Uuid::now_v7()});
        self.batch("10,000 distinct ids", &(0..10_000).map(one).collect::<Vec<_>>());
        self.batch("10,001 events", &vec![json!({"event": "e", "distinct_id": "d"}); 10_001]);
        self.expect(TOO_LARGE);
        let filler = "x".repeat(21 << 20);
        for path in ["/batch/", "/e/", "/i/v0/e/", "/capture/"] {
            self.add("more than 20 MiB", path, JSON, filler.clone()).statuses = TOO_LARGE;
        }
        let keys: serde_json::Map<String, Value> =
            (0..20_000).map(|index| (format!("key {index}"), json!(index))).collect();
        self.between(
            "20,000 keys",
            &json!({"event": "strange", "distinct_id": "x", "properties": keys}).to_string(),
        );
        let set = json!({"event": "$set", "distinct_id": "x", "properties": {"$set": keys}});
        self.between("20,000 keys of a person", &set.to_string());
    }

    fn times(&mut self) {
        let event = self.event();
        let one = |month: i32| {
            let timestamp = format!("{:04}-{:02}-03T04:05:06Z", 2016 + month / 12, month % 12 + 1);
            json!({"event": event, "distinct_id": "months", "uuid": Uuid::now_v7(), "timestamp": timestamp})
        };
        self.batch("120 months", &(0..120).map(one).collect::<Vec<_>>());
        let event = self.event();
        let years = ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59.999Z"];
        let one = |time: &&str| json!({"event": event, "distinct_id": "years", "uuid": Uuid::now_v7(), "timestamp": time});
        self.batch("years 0001 and 9999", &years.iter().map(one).collect::<Vec<_>>());
    }

    fn values(&mut self) {
        let strange = |field: &str| format!(r#"{{"event":"strange","distinct_id":"x",{field}}}"#);
        self.between(
            "an id of 1 MiB",
            &format!(r#"{{"event":"strange","distinct_id":"{}"}}"#, "i".repeat(1 << 20)),
        );
        self.between(
            "a name of 1 MiB",
            &format!(r#"{{"event":"{}","distinct_id":"x"}}"#, "n".repeat(1 << 20)),
        );
        self.between("a cut emoji in a name", r#"{"event":"\ud83d","distinct_id":"x"}"#);
        self.between(
            "NUL everywhere",
            r#"{"event":"a\u0000","distinct_id":"\u0000b","properties":{"c\u0000":"\u0000"}}"#,
        );
        self.between(
            "numbers without bounds",
            &strange(&format!(
                r#""properties":{{"a":1e999,"b":-1e-999,"c":99999999999999999999999999999999,"d":{},"read":1}}"#,
                "9".repeat(400)
            )),
        );
        self.expect_read("read");
        self.between(
            "one key a thousand times",
            &strange(&format!(r#""properties":{{{}"k":1}}"#, r#""k":0,"#.repeat(1000))),
        );
        self.between(
            "a key of the project in 500,000 places",
            &strange(&format!(r#""properties":{{{}"$host":1}}"#, r#""token":"k","#.repeat(500_000))),
        );
        self.between("an event that is a number", "17");
        self.between("an event that is null", "null");
        self.between("an event that is a list", "[]");
        self.between("an event without a name", r#"{"distinct_id":"x"}"#);
        self.between("an event without an id", r#"{"event":"strange"}"#);
        self.between("properties that are a list", &strange(r#""properties":[1,2]"#));
        self.between(
            "person properties that are no object",
            &strange(r#""properties":{"$set":7,"$set_once":[],"$unset":{"a":1}}"#),
        );
        self.between("an id of an event that is none", &strange(r#""uuid":"not-an-id""#));
    }

    /// Puts bytes that are no text in the place of a mark of the last case.
    fn with_stray_bytes(&mut self, mark: &str) {
        if let Some(case) = self.cases.last_mut() {
            let text = String::from_utf8_lossy(&case.body).into_owned();
            case.body =
                text.split(mark).map(str::as_bytes).collect::<Vec<_>>().join(&b"\xff\xfe\xc3"[..]).into();
        }
    }

    /// The last case's strange event is stored too, and one of its properties is read.
    fn expect_read(&mut self, property: &'static str) {
        if let Some(case) = self.cases.last_mut() {
            case.read = Some(property);
        }
    }

    fn expect(&mut self, statuses: &'static [u16]) {
        if let Some(case) = self.cases.last_mut() {
            (case.statuses, case.stored) = (statuses, 0);
        }
    }
}

fn v1_headers(authorization: &str) -> [(&'static str, String); 5] {
    [
        ("authorization", authorization.to_owned()),
        ("posthog-sdk-info", "weir-e2e/1.0.0".to_owned()),
        ("posthog-attempt", "1".to_owned()),
        ("posthog-request-id", Uuid::now_v7().to_string()),
        ("posthog-request-timestamp", jiff::Timestamp::now().to_string()),
    ]
}
