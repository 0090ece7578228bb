//! The numbers that the design asks of the ingest, beside what was measured and what direct inserts took in the same run.

use super::{direct::Direct, generator::float, measure::Line};

/// Events a second.
const RATE: f64 = 100_000.0;
/// Seconds of the service's CPU for a million events, plain and compressed.
const SERVICE: (f64, f64) = (2.0, 3.0);
/// ClickHouse's CPU against that of direct inserts.
const RATIO: f64 = 1.3;
/// MiB beside the buffer, and of the buffer as it is unless configured.
const MEMORY: (f64, f64) = (64.0, 64.0);
/// Milliseconds beside the flush age, and the flush age as it is unless configured.
const LATENCY: (f64, f64) = (20.0, 20.0);

/// One line of the list.
struct Number {
    what: &'static str,
    target: String,
    measured: String,
    direct: String,
    is_reached: bool,
}

/// Everything that one run says about the numbers.
pub(super) struct Run<'a> {
    /// The load of one server at its fastest.
    pub(super) best: &'a mut Line,
    /// The same server with lone events.
    pub(super) lone: &'a mut Line,
    pub(super) direct: &'a Direct,
    pub(super) gzip: bool,
}

/// Renders the list.
pub(super) fn render(run: Run<'_>) -> String {
    let Run { best, lone, direct, gzip } = run;
    let mut text = format!(
        "\n{:<34} {:>16} {:>12} {:>34}\n",
        format!("over {} connections", best.connections),
        "target",
        "measured",
        "direct inserts of the same rows"
    );
    let all = [
        rate(best, direct),
        rows(best),
        service(best, direct, gzip),
        clickhouse(best, direct),
        memory(best),
        latency(lone, direct),
    ];
    text.extend(all.into_iter().map(row));
    text
}

fn row(number: Number) -> String {
    let Number { what, target, measured, direct, is_reached } = number;
    let verdict = if is_reached { "reached" } else { "missed" };
    format!("{what:<34} {target:>16} {measured:>12} {direct:>34}  {verdict}\n")
}

fn rate(line: &Line, direct: &Direct) -> Number {
    let rate = line.outcome.rate();
    Number {
        what: "events/s, acknowledged",
        target: format!("{RATE:.0}"),
        measured: format!("{rate:.0}"),
        direct: format!("{:.0} rows/s, nothing else running", direct.rate()),
        is_reached: rate >= RATE,
    }
}

fn rows(line: &Line) -> Number {
    let rows = line.stored.map(|stored| stored.rows);
    Number {
        what: "rows stored",
        target: line.outcome.acknowledged.to_string(),
        measured: rows.map_or("–".to_owned(), |rows| rows.to_string()),
        direct: String::new(),
        is_reached: rows == Some(line.outcome.acknowledged),
    }
}

fn service(line: &Line, direct: &Direct, gzip: bool) -> Number {
    let target = if gzip { SERVICE.1 } else { SERVICE.0 };
    let spent = line.service.map_or(f64::NAN, |spent| line.per_million(spent));
    Number {
        what: "ingest, CPU s per million",
        target: format!("{target:.1}"),
        measured: format!("{spent:.2}"),
        direct: format!("{:.1} of ClickHouse", direct.per_million()),
        is_reached: spent <= target,
    }
}

fn clickhouse(line: &Line, direct: &Direct) -> Number {
    let spent = line.clickhouse.map_or(f64::NAN, |spent| line.per_million(spent));
    Number {
        what: "ClickHouse, CPU s per million",
        target: format!("{RATIO} x direct"),
        measured: format!("{spent:.1}"),
        direct: format!("{:.1}, so {:.2} x", direct.per_million(), spent / direct.per_million()),
        is_reached: spent <= RATIO * direct.per_million(),
    }
}

fn memory(line: &Line) -> Number {
    let peak = line.peak_bytes.map_or(f64::NAN, |bytes| float(bytes) / 1_048_576.0);
    Number {
        what: "ingest, peak MiB with the buffer",
        target: format!("{:.0} + {:.0}", MEMORY.0, MEMORY.1),
        measured: format!("{peak:.0}"),
        direct: String::new(),
        is_reached: peak <= MEMORY.0 + MEMORY.1,
    }
}

fn latency(line: &mut Line, direct: &Direct) -> Number {
    let p99 = line.outcome.quantile(0.99);
    Number {
        what: "a lone event, p99 ms",
        target: format!("{:.0} + {:.0}", LATENCY.0, LATENCY.1),
        measured: format!("{p99:.1}"),
        direct: format!("{:.1} p99 of one-row inserts", direct.lone_quantile(0.99)),
        is_reached: p99 <= LATENCY.0 + LATENCY.1,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::{generator::Outcome, subject::Stored};

    #[test]
    fn every_number_stands_beside_its_target_and_the_direct_inserts() {
        let seconds = Duration::from_secs;
        let direct = Direct {
            events: 1_000_000,
            clickhouse: seconds(10),
            elapsed: seconds(10),
            lone: vec![Duration::from_millis(9)],
        };
        let outcome = Outcome {
            acknowledged: 2_000_000,
            elapsed: seconds(10),
            latencies: vec![41_000],
            ..Outcome::default()
        };
        let mut best = Line {
            outcome,
            service: Some(seconds(5)),
            clickhouse: Some(seconds(24)),
            peak_bytes: Some(100 << 20),
            stored: Some(Stored { rows: 2_000_000, events: 2_000_000, inserts: 200 }),
            ..Line::default()
        };
        let mut lone = best.clone();
        let text = render(Run { best: &mut best, lone: &mut lone, direct: &direct, gzip: false });
        let verdicts: Vec<_> =
            text.lines().filter_map(|line| line.split_whitespace().last()).skip(1).collect();
        assert_eq!(verdicts, ["reached", "reached", "missed", "reached", "reached", "missed"]);
        assert!(text.contains("10.0, so 1.20 x") && text.contains("2.50"), "{text}");
        assert!(text.contains("9.0 p99 of one-row inserts"), "{text}");
    }
}
