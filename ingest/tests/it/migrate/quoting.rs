//! Hostile names in a template, read by the server's own parser and compared byte by byte.

use std::collections::BTreeSet;
use std::env;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::string::string_regex;
use proptest::test_runner::TestRunner;
use weir_ingest::migrate::Rendering;
use weir_ingest::migrate::render;

use super::database::with_database;

/// Names in one query.
const NAMES_AT_ONCE: usize = 500;

#[tokio::test]
async fn a_name_is_what_the_servers_parser_reads_from_a_rendered_statement() {
    let wanted = env::var("WEIR_TEST_NAMES").map_or(5_000, |count| count.parse().unwrap());
    with_database(move |database| async move {
        let mut runner = TestRunner::deterministic();
        // Read once: a pattern that is given as text is parsed for every value.
        let names = |pattern| string_regex(pattern).unwrap();
        let name = prop_oneof![
            names("\\PC*"),
            names("[`'\"\\\\;\\-/* \n\t\r\0%{}a]{1,16}"),
            names("a?\\{(database|on_cluster|definer|engine:A)\\}`?"),
        ];
        for start in (0_usize..wanted).step_by(NAMES_AT_ONCE) {
            let mut names = BTreeSet::new();
            while names.len() < NAMES_AT_ONCE.min(wanted - start) {
                // The number tells apart what would be one name, and makes none empty.
                names.insert(format!("{}{}", name.new_tree(&mut runner).unwrap().current(), names.len()));
            }
            let rendered = names.iter().map(|name| {
                let rendering = Rendering { database: name.clone(), ..Rendering::default() };
                render("1 AS {database}", &rendering)
            });
            let sql = format!("SELECT {} FORMAT JSONEachRow", rendered.collect::<Vec<_>>().join(", "));
            let text = database.client.without_database().query_text(&sql).await.unwrap();
            let row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
            assert_eq!(row.keys().cloned().collect::<BTreeSet<_>>(), names);
        }
        // The figure is part of the result.
        eprintln!("figure: {wanted} hostile names in templates read by the server as they were rendered");
    })
    .await;
}
