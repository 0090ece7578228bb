//! What must stand in each kind of output: a search of outputs that were not gathered would find nothing either.

use anyhow::ensure;

use super::outputs::Output;

/// A kind of output, and what one line of it must hold.
pub(super) struct Kind {
    what: &'static str,
    /// How the names of its outputs begin.
    outputs: &'static str,
    marks: &'static [&'static str],
}

/// Kinds that there are while the stack is.
pub(super) const OF_THE_STACK: [Kind; 17] = [
    kind("the stack", "object AnalyticsStack shop/canary", &["\"conditions\""]),
    kind("the Deployment of ingest", "object Deployment shop/canary-ingest", &["\"containers\""]),
    kind("a pod of ingest", "object Pod shop/canary-ingest-", &["\"containerStatuses\""]),
    kind("the Job of a migration", "object Job shop/canary-migrate-", &["\"containers\""]),
    kind("descriptions", "descriptions", &["canary-ingest-"]),
    kind("kubectl's list of objects", "log objects.txt", &["canary-ingest"]),
    kind("kubectl's description of pods", "log pods.txt", &["canary-ingest-"]),
    kind("kubectl's list of stacks", "log stacks.yaml", &["name: canary"]),
    kind("the log of ingest", "log shop.canary-ingest-", &["\"message\":\"serving\""]),
    kind("the log of a migration", "log shop.canary-migrate-", &["migration statement has run"]),
    kind("the arguments of ingest", "arguments of", &["/weir-ingest serve "]),
    kind("the metrics of ingest", "metrics of canary-ingest-", &["weir_ingest_keys_generation "]),
    kind("rows of events", "rows of weir_shop__canary.events_data", &["\"event\":\"canary\""]),
    kind("rows of the ledger", "rows of weir_ledger.intents", &["\"stack\":\"canary\""]),
    kind("events", "object Event shop/canary.", &["\"reportingController\":\"weir.dev/operator\""]),
    kind("a refusal of ingest", "answer", &["401 Unauthorized", "\"error\":"]),
    kind("a refusal of ClickHouse", "answer", &["Authentication failed"]),
];

/// Kinds that outlive the stack.
pub(super) const LASTING: [Kind; 11] = [
    kind("kubectl's list of events", "log events.txt", &["canary"]),
    kind("kubectl's description of nodes", "log nodes.txt", &["Non-terminated Pods"]),
    kind(
        "the audit log",
        "audit log",
        &["/namespaces/shop/analyticsstacks/canary/status", "\"requestObject\":"],
    ),
    kind("the log of the operator", "log weir-system.weir-", &["\"message\":\"plan\"", "weir_shop__canary_"]),
    kind("the arguments of the operator", "arguments of", &["/weir-operator "]),
    kind("the metrics of the operator", "metrics of weir-", &["weir_operator_passes_total{"]),
    kind("the query log", "system.query_log", &[r#""log_comment":"{\"weir\":{\"stack\":\"shop/canary\""#]),
    kind("the session log", "system.session_log", &["\"LoginSuccess\"", "\"user\":\"weir_shop__canary_"]),
    kind("the list of queries", "system.processes", &["system.processes"]),
    kind("the list of errors", "system.errors", &["UNKNOWN_IDENTIFIER"]),
    kind("ClickHouse's text log", "ClickHouse's text log", &["weir_shop__canary_"]),
];

const fn kind(what: &'static str, outputs: &'static str, marks: &'static [&'static str]) -> Kind {
    Kind { what, outputs, marks }
}

/// Errs with the kinds that are not among the outputs.
pub(super) fn require(outputs: &[Output], kinds: &[Kind]) -> anyhow::Result<()> {
    let missing: Vec<_> = kinds.iter().filter(|kind| !kind.is_among(outputs)).map(|kind| kind.what).collect();
    ensure!(missing.is_empty(), "not gathered: {}", missing.join(", "));
    Ok(())
}

impl Kind {
    fn is_among(&self, outputs: &[Output]) -> bool {
        let is_marked = |line: &str| self.marks.iter().all(|mark| line.contains(mark));
        let of_kind = outputs.iter().filter(|output| output.name.starts_with(self.outputs));
        of_kind.flat_map(|output| output.text.lines()).any(is_marked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 2] = [kind("a log", "log x", &["one", "two"]), kind("rows", "rows of", &["three"])];

    fn missing(outputs: &[(&str, &str)]) -> String {
        let output = |(name, text): &(&str, &str)| Output { name: (*name).into(), text: (*text).into() };
        let outputs: Vec<_> = outputs.iter().map(output).collect();
        require(&outputs, &KINDS).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn a_kind_is_there_when_one_line_of_one_of_its_outputs_holds_all_marks() {
        assert_eq!(
            missing(&[("log x", "none\nonly one"), ("log x1", "0\ntwo, one"), ("rows of t", "three")]),
            ""
        );
    }

    #[test]
    fn each_kind_that_is_missing_is_named() {
        assert_eq!(missing(&[]), "not gathered: a log, rows");
        assert_eq!(missing(&[("log x", "one\ntwo"), ("rows of t", "three")]), "not gathered: a log");
        assert_eq!(missing(&[("log y", "one two"), ("rows of t", "three")]), "not gathered: a log");
        assert_eq!(missing(&[("log x", "one two"), ("rows of t", "")]), "not gathered: rows");
    }
}
