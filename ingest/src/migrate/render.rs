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

/// Fills in the placeholders of a template, in one go: what a name holds is never taken for a placeholder.
pub fn render(template: &str, rendering: &Rendering) -> String {
    let mut rendered = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        rendered.push_str(before);
        let filled = after.split_once('}').and_then(|(name, tail)| Some((fill_in(name, rendering)?, tail)));
        if let Some((text, tail)) = filled {
            // Without a cluster the placeholder leaves no space behind.
            if text.is_empty() && after.starts_with("on_cluster") && rendered.ends_with(' ') {
                rendered.pop();
            }
            rendered.push_str(&text);
            rest = tail;
        } else {
            rendered.push('{');
            rest = after;
        }
    }
    rendered.push_str(rest);
    rendered
}

fn fill_in(placeholder: &str, rendering: &Rendering) -> Option<String> {
    let Rendering { database, maybe_definer, maybe_cluster } = rendering;
    let definer = |user: &String| format!("DEFINER = {} SQL SECURITY DEFINER", quote_identifier(user));
    match placeholder {
        "database" => Some(quote_identifier(database)),
        "on_cluster" => Some(on_cluster(maybe_cluster.as_deref())),
        "definer" => Some(maybe_definer.as_ref().map_or_else(|| "SQL SECURITY INVOKER".to_owned(), definer)),
        // Without a name it is who creates the view.
        "table_definer" => Some(maybe_definer.as_ref().map(definer).unwrap_or_default()),
        _ => {
            let engine = placeholder.strip_prefix("engine:")?;
            // Replicated engines take path and replica name from the server's defaults.
            Some(format!("{}{engine}", if maybe_cluster.is_some() { "Replicated" } else { "" }))
        }
    }
}

/// `ON CLUSTER` clause, or nothing.
pub(super) fn on_cluster(maybe_cluster: Option<&str>) -> String {
    maybe_cluster.map(|name| format!("ON CLUSTER {}", quote_identifier(name))).unwrap_or_default()
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
