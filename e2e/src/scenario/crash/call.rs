//! Calls of the operator that change something, by what they do.
//!
//! Calls that only read leave nothing behind: to die around one is to die after the change before it. The Lease is renewed
//! by the clock and counts for nothing.

use std::{collections::BTreeSet, fmt};

use bytes::Bytes;
use http::{Method, Request};
use serde_json::Value;

/// A call that changes something. Their order differs from run to run, so a number would mean another one each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// What it does, without what differs between lanes and turns.
    what: String,
    /// How many that do the same came before it.
    earlier: usize,
}

/// The call at which the operator dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) call: Call,
    /// Whether the call is still carried out: then only its answer is lost.
    pub(super) is_delivered: bool,
}

impl Call {
    /// The next call, behind those that were seen.
    pub(super) fn after(seen: &[Self], what: String) -> Self {
        let earlier = seen.iter().filter(|call| call.what == what).count();
        Self { what, earlier }
    }

    /// Whether it comes every time. What tells of the work depends on how fast that goes, and a repetition may be spared.
    pub(super) fn is_certain(&self) -> bool {
        let is_told = |part| self.what.contains(part);
        self.earlier == 0 && !["/status", "/events", "/pods"].into_iter().any(is_told)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, earlier } = self;
        if *earlier == 0 {
            formatter.write_str(what)
        } else {
            write!(formatter, "{what}, time {}", earlier + 1)
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", if self.is_delivered { "after" } else { "before" }, self.call)
    }
}

/// Says what a request changes in Kubernetes.
pub(super) fn kubernetes_change(request: &Request<Bytes>) -> Option<String> {
    let path = request.uri().path();
    let is_change = request.method() != Method::GET && !path.contains("/leases");
    // No two lanes have the same pod.
    let path = path.split_inclusive("/pods").next()?;
    is_change.then(|| without_numbers(&[request.method().as_str(), " ", path, &created(request)].concat()))
}

/// Names what a request creates: only its body does. No two events have the same name.
fn created(request: &Request<Bytes>) -> String {
    let is_named = request.method() == Method::POST && !request.uri().path().ends_with("/events");
    let object = is_named.then(|| serde_json::from_slice(request.body()).unwrap_or_default());
    let name = object.as_ref().and_then(|object: &Value| object["metadata"]["name"].as_str());
    name.map_or_else(String::new, |name| format!("/{name}"))
}

/// Says what a request changes in ClickHouse.
pub(super) fn clickhouse_change(request: &Request<Bytes>) -> Option<String> {
    let text = String::from_utf8_lossy(request.body());
    let statement = text.trim_start();
    let statement = match statement.strip_prefix("/*") {
        Some(commented) => commented.split_once("*/").map_or("", |(_, statement)| statement.trim_start()),
        None => statement,
    };
    let word = statement.split_whitespace().next()?;
    let is_read = matches!(word, "SELECT" | "SHOW" | "EXISTS" | "WITH" | "DESCRIBE" | "CHECK");
    (!is_read).then(|| without_numbers(&told(statement)))
}

/// A statement without what is random or secret: up to the hash of a password, and of rows neither nonce nor order.
fn told(statement: &str) -> String {
    let Some((table, rows)) = statement.split_once(" VALUES (") else {
        return statement.split(" IDENTIFIED ").next().unwrap_or_default().to_owned();
    };
    let table = table.split(" (").next().unwrap_or_default();
    let row = |row: &str| row.split(", ").skip(1).take(3).collect::<Vec<_>>().join(" ");
    let rows: BTreeSet<String> = rows.split("), (").map(row).collect();
    format!("{table} {}", rows.into_iter().collect::<Vec<_>>().join(", "))
}

/// Puts `#` for every word with a digit: lanes, turns, generations and hashes.
fn without_numbers(text: &str) -> String {
    let is_end = |character: char| !character.is_ascii_alphanumeric();
    let parts = text.split_inclusive(is_end).map(|part| {
        let word = part.trim_end_matches(is_end);
        let has_number = word.contains(|character: char| character.is_ascii_digit());
        [if has_number { "#" } else { word }, &part[word.len()..]].concat()
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(method: Method, path: &str, body: &'static str) -> Request<Bytes> {
        let request = Request::builder().method(method).uri(path);
        request.body(Bytes::from_static(body.as_bytes())).expect("the request is valid")
    }

    #[test]
    fn the_same_change_has_one_name_in_every_lane_and_turn() {
        let of_pods = |path| kubernetes_change(&sent(Method::PATCH, path, "")).expect("a change");
        assert_eq!(
            of_pods("/api/v1/namespaces/crash-0/pods/standing-ingest-77646d485f-bcdfg"),
            of_pods("/api/v1/namespaces/crash-3/pods/standing-ingest-5f4b7c9d8f-9l2vw"),
        );
        let drop = |body| clickhouse_change(&sent(Method::POST, "/", body)).expect("a change");
        assert_eq!(
            drop("/* weir */ DROP USER IF EXISTS `weir_crash_0__standing_reader_bi_g1`"),
            drop("DROP USER IF EXISTS `weir_crash_5__standing_reader_bi_g7`"),
        );
        assert_ne!(
            drop("DROP USER IF EXISTS `weir_crash_0__standing_reader_bi_g1`"),
            drop("DROP USER IF EXISTS `weir_crash_0__standing_ingest_g1`"),
        );
    }

    #[test]
    fn what_is_created_or_claimed_is_told_by_its_name_alone() {
        let secrets = "/api/v1/namespaces/crash-0/secrets";
        let create = |body| kubernetes_change(&sent(Method::POST, secrets, body)).expect("a change");
        assert_eq!(
            create(
                r#"{ "metadata": { "name": "standing-key-web-g2" }, "stringData": { "key": "phc_canary" } }"#
            ),
            "POST /api/#/namespaces/crash-#/secrets/standing-key-web-#",
        );
        let event = r#"{ "metadata": { "name": "standing.fffffffffffffffe" } }"#;
        let path = "/apis/events.k8s.io/v1/namespaces/crash-0/events";
        let event = kubernetes_change(&sent(Method::POST, path, event));
        assert_eq!(event.as_deref(), Some("POST /apis/events.#.io/#/namespaces/crash-#/events"));

        let insert = "/* weir */ INSERT INTO weir_ledger.intents (nonce, state, kind, name, class) VALUES \
            ('beef-cafe', 'claimed', 'user', 'x', 'reader'), ('dead', 'claimed', 'row policy', 'y ON z', 'reader')";
        assert_eq!(
            clickhouse_change(&sent(Method::POST, "/", insert)).as_deref(),
            Some("INSERT INTO weir_ledger.intents 'claimed' 'row policy' 'y ON z', 'claimed' 'user' 'x'"),
        );
        let create = "CREATE USER `weir_crash_0__standing_ingest_g1` IDENTIFIED WITH sha256_hash BY 'beef'";
        assert_eq!(
            clickhouse_change(&sent(Method::POST, "/", create)).as_deref(),
            Some("CREATE USER `weir_crash_#__standing_ingest_#`"),
        );
    }

    #[test]
    fn a_read_and_the_lease_change_nothing() {
        let lease = "/apis/coordination.k8s.io/v1/namespaces/crash-0/leases/weir";
        assert_eq!(kubernetes_change(&sent(Method::PUT, lease, "")), None);
        assert_eq!(kubernetes_change(&sent(Method::GET, "/api/v1/pods", "")), None);
        assert_eq!(clickhouse_change(&sent(Method::POST, "/", "/* weir */ SELECT 1")), None);
    }

    #[test]
    fn a_repetition_is_another_call_that_may_not_come() {
        let first = Call::after(&[], "KILL QUERY".into());
        let second = Call::after(std::slice::from_ref(&first), "KILL QUERY".into());
        assert!(first.is_certain() && !second.is_certain() && first != second);
        assert!(!Call::after(&[], "PATCH /analyticsstacks/made-#/status".into()).is_certain());
    }
}
