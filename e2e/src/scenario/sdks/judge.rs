//! Compares what an SDK says with what a reader of ClickHouse sees.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};

use super::{
    Captured, Said,
    sender::{Kind, Sender},
};
use crate::standalone::Standalone;

/// What a visit must have captured at least, so that an SDK that captures nothing does not pass.
const SHOP: [(&str, usize); 10] = [
    ("$pageview", 2),
    ("$autocapture", 1),
    ("step taken", 3),
    ("cut emoji", 1),
    ("$identify", 1),
    ("$create_alias", 1),
    ("leaving", 1),
    ("paid", 1),
    ("$pageleave", 2),
    ("dropped", 0),
];
const CHOICES: [(&str, usize); 7] = [
    ("$pageview", 2),
    ("$pageleave", 1),
    ("changed", 1),
    ("with consent", 1),
    ("quiet", 1),
    ("dropped", 0),
    ("without consent", 0),
];
const REACT: [(&str, usize); 2] = [("hooked", 1), ("$element_viewed", 3)];

type Rows = Vec<Captured>;

/// Errs with everything that is wrong with the rows of a key or with what its SDK said.
pub(super) async fn judge(weir: &Standalone, name: &str, sender: &Sender, said: &Said) -> anyhow::Result<()> {
    ensure!(said.complaints.is_empty(), "the SDK complained: {}", said.complaints.join("; "));
    captured_enough(sender, &said.captured)?;
    compare(sender, &said.captured, &rows(weir, name).await?)?;
    for (what, sql, expected) in questions(name, sender, &said.key) {
        let found = weir.query(&sql).await.with_context(|| what.to_owned())?;
        ensure!(found.trim() == expected, "{what}: {}, not {expected}", found.trim());
    }
    Ok(())
}

fn captured_enough(sender: &Sender, captured: &[Captured]) -> anyhow::Result<()> {
    let minimum: &[(&str, usize)] = match sender.kind {
        Kind::Shop => &SHOP,
        Kind::Choices => &CHOICES,
        Kind::React => &REACT,
        // Their programs count themselves.
        Kind::Node | Kind::Python { .. } => &[],
    };
    for (event, count) in minimum {
        let found = captured.iter().filter(|captured| captured.event == *event).count();
        ensure!(found == *count, "captured {found} events `{event}`, not {count}");
    }
    ensure!(!captured.is_empty(), "captured nothing");
    Ok(())
}

/// The events of a key, by its name, one entry for each row that a reader sees.
async fn rows(weir: &Standalone, name: &str) -> anyhow::Result<Rows> {
    let sql = format!("SELECT event, toString(uuid) FROM {{database}}.events WHERE api_key = '{name}'");
    let text = weir.query(&sql).await?;
    let row = |line: &str| {
        let (event, uuid) = line.split_once('\t')?;
        Some(Captured { event: event.to_owned(), uuid: Some(uuid.to_owned()) })
    };
    text.lines().map(|line| row(line).with_context(|| format!("not a row: {line}"))).collect()
}

fn compare(sender: &Sender, captured: &[Captured], rows: &Rows) -> anyhow::Result<()> {
    let mut ids: Vec<_> = rows.iter().map(|row| &row.uuid).collect();
    ids.sort_unstable();
    ids.dedup();
    ensure!(ids.len() == rows.len(), "{} rows have {} ids: some are doubled", rows.len(), ids.len());
    let named = sender.has_uuids() && captured.iter().all(|captured| captured.uuid.is_some());
    let wanted = counts(captured, named);
    let mut found = counts(rows, named);
    if sender.engages() {
        // A request to `/engage/` is an event without a capture.
        let extra = found.get_mut(&("$identify".to_owned(), None)).context("no $identify arrived")?;
        *extra = (*extra).min(1);
        found.remove(&("$set".to_owned(), None));
    }
    let lost: Vec<_> = wanted.iter().filter(|(event, count)| found.get(*event) < Some(*count)).collect();
    let strange: Vec<_> = found.iter().filter(|(event, count)| wanted.get(*event) < Some(*count)).collect();
    ensure!(lost.is_empty() && strange.is_empty(), "lost: {lost:?}; not captured, or too often: {strange:?}");
    Ok(())
}

fn counts(events: &[Captured], named: bool) -> BTreeMap<(String, Option<String>), usize> {
    let mut counts = BTreeMap::new();
    for Captured { event, uuid } in events {
        let uuid = uuid.clone().filter(|_| named);
        *counts.entry((event.clone(), uuid)).or_default() += 1;
    }
    counts
}

type Question = (&'static str, String, &'static str);

/// What else a reader must find: content, persons, sessions.
fn questions(name: &str, sender: &Sender, token: &str) -> Vec<Question> {
    let user = sender.user();
    let events = |what: &str| format!("SELECT {what} FROM {{database}}.events WHERE api_key = '{name}'");
    let mut questions = vec![(
        "rows that hold the key",
        events(&format!("countIf(position(properties, '{token}') > 0)")),
        "0",
    )];
    let person = format!(
        "SELECT count() FROM {{database}}.persons \
         WHERE distinct_id = '{user}' AND JSONExtractString(properties, 'plan') = 'enterprise'"
    );
    let alias = format!(
        "SELECT (count(), uniqExact(person_id)) FROM {{database}}.person_distinct_ids \
         WHERE distinct_id IN ('{user}', '{user}-alias')"
    );
    let text = "countIf(event = 'step taken' AND JSONExtractString(properties, 'title') != 'Ünïcode ☃ 🎉')";
    let known = [
        ("persons with their last properties", person, "1"),
        ("the alias and its person", alias, "(2,1)"),
        ("texts that changed on the way", events(text), "0"),
    ];
    match sender.kind {
        Kind::Shop => questions.extend(known.into_iter().chain([
            ("persons of one visit", events("uniqExactIf(person_id, event != '$groupidentify')"), "1"),
            ("views without their page", events("countIf(event = '$pageview' AND current_url = '')"), "0"),
        ])),
        Kind::Node => questions.extend(known),
        Kind::Python { .. } => questions.extend(known.into_iter().chain([(
            "numbers that lost digits",
            events(
                "countIf(event = 'step taken' AND (JSONExtractString(properties, 'big') != '1180591620717411303424' \
                 OR JSONExtractFloat(properties, 'big') != exp2(70)))",
            ),
            "0",
        )])),
        Kind::Choices => questions.extend([
            ("events that the site changed", events("countIf(JSONExtractBool(properties, 'changed'))"), "1"),
            ("events with a denied property", events("countIf(JSONHas(properties, 'secret'))"), "0"),
        ]),
        Kind::React => questions.extend([
            ("views of the element", events("countIf(JSONExtractString(properties, 'element_name') = 'hero')"), "1"),
            ("children that were viewed", events("uniqExactIf(JSONExtractRaw(properties, 'child_index'), JSONHas(properties, 'child_index'))"), "2"),
        ]),
    }
    if sender.package == "posthog-js" && sender.kind == Kind::Shop {
        let sql = "SELECT count() FROM {database}.sessions WHERE session_id IN \
                   (SELECT session_id FROM {database}.events WHERE api_key = 'KEY' AND session_id != '') \
                   AND pageview_count = 2 AND autocapture_count >= 1";
        questions.push(("sessions with views and clicks", sql.replace("KEY", name), "1"));
    }
    questions
}
