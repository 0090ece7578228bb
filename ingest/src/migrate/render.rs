//! From a template of a statement to the statement that one database gets. Pure.
//!
//! Placeholders: `{database}`, `{on_cluster}`, `{definer}` (of views), `{table_definer}` (of materialized views, which
//! cannot run as whoever triggers them) and `{engine:Name}`. Any other brace is text.

/// Where and as whom the schema lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendering {
    /// Database of every table and view.
    pub database: String,
    /// User that views run as; the reader itself when absent.
    pub maybe_definer: Option<String>,
    /// Cluster that statements run on, with replicated engines; one server when absent.
    pub maybe_cluster: Option<String>,
}

/// Fills in the placeholders of a template.
pub fn render(template: &str, rendering: &Rendering) -> String {
    let Rendering { database, maybe_definer, maybe_cluster } = rendering;
    let definer = match maybe_definer {
        Some(user) => format!("DEFINER = {} SQL SECURITY DEFINER", quote_identifier(user)),
        None => "SQL SECURITY INVOKER".to_owned(),
    };
    // Without a name it is who creates the view.
    let table_definer = if maybe_definer.is_some() { definer.as_str() } else { "" };
    let on_cluster = on_cluster(maybe_cluster.as_deref());
    // Without a cluster the placeholder leaves no space behind.
    let spaced = if on_cluster.is_empty() { String::new() } else { format!(" {on_cluster}") };
    let text = template
        .replace("{database}", &quote_identifier(database))
        .replace(" {on_cluster}", &spaced)
        .replace("{table_definer}", table_definer)
        .replace("{definer}", &definer);
    render_engines(&text, maybe_cluster.is_some())
}

/// `ON CLUSTER` clause, or nothing.
pub(super) fn on_cluster(maybe_cluster: Option<&str>) -> String {
    maybe_cluster.map(|name| format!("ON CLUSTER {}", quote_identifier(name))).unwrap_or_default()
}

/// Replicated engines take path and replica name from the server's defaults.
fn render_engines(text: &str, is_replicated: bool) -> String {
    let mut rendered = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{engine:") {
        rendered.push_str(before);
        let (engine, tail) = after.split_once('}').unwrap_or((after, ""));
        rendered.push_str(if is_replicated { "Replicated" } else { "" });
        rendered.push_str(engine);
        rest = tail;
    }
    rendered.push_str(rest);
    rendered
}

/// A name in backticks, whatever it holds.
pub(super) fn quote_identifier(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// A text in quotes, whatever it holds.
pub(super) fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::super::embedded;
    use super::*;

    const TEMPLATE: &str =
        "CREATE VIEW {database}.v {on_cluster} {definer} AS SELECT '{'; ENGINE = {engine:MergeTree} '}'";

    #[test]
    fn one_server_gets_plain_engines_and_views_of_the_reader() {
        let rendering = Rendering { database: "shop".into(), ..Rendering::default() };
        assert_eq!(
            render(TEMPLATE, &rendering),
            "CREATE VIEW `shop`.v SQL SECURITY INVOKER AS SELECT '{'; ENGINE = MergeTree '}'"
        );
    }

    #[test]
    fn a_cluster_gets_replicated_engines_everywhere() {
        let rendering = Rendering {
            database: "shop".into(),
            maybe_definer: Some("shop_definer".into()),
            maybe_cluster: Some("a`b".into()),
        };
        assert_eq!(
            render(TEMPLATE, &rendering),
            "CREATE VIEW `shop`.v ON CLUSTER `a\\`b` DEFINER = `shop_definer` SQL SECURITY DEFINER AS SELECT '{'; \
             ENGINE = ReplicatedMergeTree '}'"
        );
    }

    #[test]
    fn every_statement_on_a_cluster_names_it_and_no_placeholder_is_left() {
        let rendering = Rendering {
            database: "shop".into(),
            maybe_definer: Some("d".into()),
            maybe_cluster: Some("main".into()),
        };
        let ledger = embedded::steps_of(&[("ledger", embedded::LEDGER)]).unwrap();
        for step in embedded::steps().unwrap().iter().chain(&ledger) {
            let sql = render(&step.template, &rendering);
            assert!(sql.contains(" ON CLUSTER `main`"), "{sql}");
            assert!(!sql.contains("ENGINE =") || sql.contains("ENGINE = Replicated"), "{sql}");
            assert!(!sql.contains(" VIEW ") || sql.contains("DEFINER = `d`"), "{sql}");
            let left =
                sql.match_indices('{').any(|(at, _)| sql[at + 1..].starts_with(|c: char| c.is_alphabetic()));
            assert!(!left, "{sql}");
        }
    }
}
