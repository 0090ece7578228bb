//! Hostile names and values, read by the server's own parser and compared byte by byte.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::string::string_regex;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

/// Texts in one query.
const TEXTS_AT_ONCE: usize = 500;

#[tokio::test]
async fn quoted_text_is_what_the_servers_parser_reads() {
    #[derive(serde::Deserialize)]
    struct Row {
        texts: Vec<String>,
    }
    let (wanted, seed) = (count("WEIR_TEST_NAMES", 5_000), seed());
    let connection = administrator().await;
    let mut texts = Texts::new(seed);
    for start in (0..wanted).step_by(TEXTS_AT_ONCE) {
        // An empty name is refused by the parser, whoever quotes it, and one answer has a name only once.
        let texts: BTreeSet<String> = texts.take((wanted - start).min(TEXTS_AT_ONCE));
        let literals: Vec<_> = texts.iter().map(|text| literal(text)).collect();
        let rows: Vec<Row> =
            connection.rows(&format!("SELECT [{}] AS texts", literals.join(", "))).await.unwrap();
        assert_eq!(rows[0].texts, texts.iter().cloned().collect::<Vec<_>>());
        let columns: Vec<_> = texts.iter().map(|name| format!("1 AS {}", identifier(name))).collect();
        let rows: Vec<serde_json::Map<String, serde_json::Value>> =
            connection.rows(&format!("SELECT {}", columns.join(", "))).await.unwrap();
        assert_eq!(rows[0].keys().cloned().collect::<BTreeSet<_>>(), texts);
    }
    // The figures are part of the result.
    eprintln!(
        "figure: {wanted} hostile names and values (seed {seed}) read by the server as they were quoted"
    );
}

struct Texts {
    runner: TestRunner,
    any: BoxedStrategy<String>,
}

impl Texts {
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        // Read once: a pattern that is given as text is parsed for every value.
        let texts = |pattern| string_regex(pattern).unwrap();
        let any = prop_oneof![
            texts("\\PC*"),
            texts("[`'\"\\\\;\\-/* \n\t\r\0%{}a]{1,16}"),
            texts("[\u{0}-\u{2ff}]{1,8}")
        ];
        Self { runner: TestRunner::new_with_rng(Config::default(), random), any: any.boxed() }
    }

    fn take(&mut self, count: usize) -> BTreeSet<String> {
        let mut texts = BTreeSet::new();
        while texts.len() < count {
            let text = self.any.new_tree(&mut self.runner).unwrap().current();
            if !text.is_empty() {
                texts.insert(text);
            }
        }
        texts
    }
}
