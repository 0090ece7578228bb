//! Cases and properties of the splitter.

use proptest::prelude::*;

use super::*;

fn texts(text: &str) -> Vec<String> {
    split(text).unwrap().into_iter().map(|statement| statement.text).collect()
}

#[test]
fn semicolons_in_literals_names_and_comments_end_nothing() {
    let text = "-- one; two\nSELECT 'a;b', `c;d`, \"e;f\" /* g;h */ ; # i;j\n SELECT 'it''s;', '\\';', $x$ k;$ $x$;;\n-- end";
    assert_eq!(
        texts(text),
        ["SELECT 'a;b', `c;d`, \"e;f\" /* g;h */", "SELECT 'it''s;', '\\';', $x$ k;$ $x$"]
    );
}

#[test]
fn the_last_statement_needs_no_semicolon() {
    assert_eq!(texts("SELECT 1;\nSELECT 2\n"), ["SELECT 1", "SELECT 2"]);
}

#[test]
fn comments_and_spacing_do_not_change_the_checksum_but_literals_do() {
    let checksum = |text: &str| split(text).unwrap().remove(0).checksum;
    assert_eq!(checksum("SELECT  1 -- why\n , 2"), checksum("/* a */ SELECT 1\n, 2;"));
    assert_ne!(checksum("SELECT 'a  b'"), checksum("SELECT 'a b'"));
}

#[test]
fn what_is_not_closed_is_named_with_its_place() {
    let message = |text: &str| split(text).unwrap_err().to_string();
    assert_eq!(message("SELECT 'a"), "a literal that begins at byte 7 is not closed");
    assert_eq!(message("/* a"), "a comment that begins at byte 0 is not closed");
    assert_eq!(message("`a"), "a quoted name that begins at byte 0 is not closed");
    assert_eq!(message("$a$ b"), "a heredoc that begins at byte 0 is not closed");
}

/// Pieces of a statement; each may hold semicolons where they end nothing.
fn piece() -> impl Strategy<Value = String> {
    let quoted = |quote: char| {
        "[a-z;$#é ]{0,8}|--|/\\*".prop_map(move |inner| {
            let escaped = inner.replace('\\', "\\\\").replace(quote, &format!("{quote}{quote}"));
            format!("{quote}{escaped}{quote}")
        })
    };
    prop_oneof![
        "[a-z0-9(),=+é]{1,8}",
        quoted('\''),
        quoted('`'),
        quoted('"'),
        "[a-z;'`é ]{0,8}".prop_map(|inner| format!("/*{inner}*/")),
        "[a-z;'`é ]{0,8}".prop_map(|inner| format!("-- {inner}\n")),
        "[a-z;'`é ]{0,8}".prop_map(|inner| format!("$t${inner}$t$")),
    ]
}

fn statement() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..6).prop_map(|pieces| format!("SELECT {} END", pieces.join(" ")))
}

proptest! {
    #[test]
    fn joined_statements_are_split_where_they_were_joined(written in prop::collection::vec(statement(), 0..5)) {
        let joined = written.join("\n;\n");
        prop_assert_eq!(texts(&joined), written);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-z;'`\"$#/*\\\\ \n-é]{0,40}") {
        if let Ok(statements) = split(&text) {
            prop_assert!(statements.iter().all(|statement| !statement.text.is_empty()));
        }
    }
}
