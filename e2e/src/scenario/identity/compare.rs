//! What readers see, against what the oracle says.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value};

use super::history::History;
use super::oracle::{Oracle, Person};
use crate::standalone::Standalone;

/// What the views say.
struct Seen {
    /// Person of each id alone, as a number that compares as ClickHouse does.
    own: BTreeMap<String, String>,
    persons: BTreeMap<String, String>,
    properties: BTreeMap<String, Map<String, Value>>,
}

/// Errs with the first history that ends differently; returns how many links were refused.
pub(super) async fn compare(weir: &Standalone, histories: &[History]) -> anyhow::Result<usize> {
    let seen = read(weir).await?;
    let mut refused = 0;
    for history in histories {
        let oracle = Oracle::tell(history);
        refused += oracle.refused;
        for id in &history.ids {
            let expected = oracle.person(&history.ids, id);
            check(&seen, id, &expected)
                .with_context(|| format!("{id}: expected {expected:?} of {history:#?}"))?;
        }
    }
    let split = "SELECT count() FROM (SELECT distinct_id FROM {database}.events GROUP BY distinct_id \
                 HAVING uniqExact(person_id) > 1)";
    ensure!(weir.query(split).await?.trim() == "0", "events of one id have several persons");
    Ok(refused)
}

fn check(seen: &Seen, id: &str, expected: &Person) -> anyhow::Result<()> {
    let person = seen.persons.get(id).context("the id is not seen")?;
    let roots: Vec<_> = expected.roots.iter().filter_map(|root| seen.own.get(root)).collect();
    let root = roots.iter().min_by_key(|root| halves(root)).context("the root is not seen")?;
    ensure!(person == *root, "its person is {person}, not {root}");
    let properties = seen.properties.get(person);
    ensure!(properties == expected.maybe_properties.as_ref(), "its properties are {properties:?}");
    Ok(())
}

/// ClickHouse compares the second half of an id first.
fn halves(uuid: &str) -> (String, String) {
    let digits = uuid.replace('-', "");
    let (high, low) = digits.split_at(16.min(digits.len()));
    (low.to_owned(), high.to_owned())
}

async fn read(weir: &Standalone) -> anyhow::Result<Seen> {
    let own = "SELECT DISTINCT distinct_id, person_id FROM {database}.events_data FORMAT TSV";
    let persons = "SELECT distinct_id, person_id FROM {database}.person_distinct_ids FORMAT TSV";
    let properties = "SELECT id, properties FROM {database}.persons FORMAT TSVRaw";
    let parse = |(id, text): (String, String)| Ok((id, serde_json::from_str(&text)?));
    Ok(Seen {
        own: pairs(&weir.query(own).await?),
        persons: pairs(&weir.query(persons).await?),
        properties: pairs(&weir.query(properties).await?)
            .into_iter()
            .map(parse)
            .collect::<anyhow::Result<_>>()?,
    })
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(one, other)| (one.to_owned(), other.to_owned()))
        .collect()
}
