//! The table of a run, as text.

use super::{direct::Direct, generator::float, measure::Line};

/// Renders every line, and the direct inserts that they are compared with.
pub(super) fn render(lines: &mut [Line], maybe_direct: Option<&Direct>) -> String {
    let mut text = String::from(
        "                            events/s   p50 ms   p99 ms  refused |  CPU s per million events    |    peak |   acknowledged         stored   rows/\n\
         server                conns                                      | service ClickHouse generator |     MiB |                              insert\n",
    );
    text.extend(lines.iter_mut().map(|line| row(line, maybe_direct)));
    text.extend(maybe_direct.map(direct_row));
    text
}

fn direct_row(direct: &Direct) -> String {
    let (rate, spent) = (direct.rate(), direct.per_million());
    format!("direct, 10,000 rows a block{rate:>9.0} {:>37} {spent:>10.1}\n", "|       –")
}

fn row(line: &mut Line, maybe_direct: Option<&Direct>) -> String {
    let figure = |value: Option<f64>, digits: usize| {
        value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
    };
    let service = figure(line.service.map(|spent| line.per_million(spent)), 2);
    let clickhouse = line.clickhouse.map(|spent| line.per_million(spent));
    let ratio = match (clickhouse, maybe_direct) {
        (Some(spent), Some(direct)) => format!("  ClickHouse {:.2} x direct", spent / direct.per_million()),
        _ => String::new(),
    };
    let stored = line.stored;
    let per_insert =
        stored.filter(|stored| stored.inserts > 0).map(|stored| float(stored.rows) / float(stored.inserts));
    format!(
        "{:<21} {:>5}{:>9.0} {:>8.1} {:>8.1} {:>8} | {:>7} {:>10} {:>9.2} | {:>7} | {:>14} {:>14} {:>7}{ratio}\n",
        line.name,
        line.connections,
        line.outcome.rate(),
        line.outcome.quantile(0.5),
        line.outcome.quantile(0.99),
        line.outcome.refused,
        service,
        figure(clickhouse, 1),
        line.per_million(line.generator),
        figure(line.peak_bytes.map(|bytes| float(bytes) / 1_048_576.0), 0),
        line.outcome.acknowledged,
        stored.map_or("–".to_owned(), |stored| stored.events.to_string()),
        figure(per_insert, 0),
    )
}
