//! What kind of statement a request carries, told from its first words.

use http::{HeaderMap, header::CONTENT_TYPE};

/// What the proxy does with a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Users, roles and their like: asked of the engine, kept by us.
    Access,
    /// Passes while the engine drains.
    KillQuery,
    /// Passed on.
    Other,
}

const ACCESS: [&str; 24] = [
    "CREATE USER",
    "ALTER USER",
    "DROP USER",
    "CREATE ROLE",
    "ALTER ROLE",
    "DROP ROLE",
    "CREATE ROW POLICY",
    "ALTER ROW POLICY",
    "DROP ROW POLICY",
    "CREATE POLICY",
    "ALTER POLICY",
    "DROP POLICY",
    "CREATE QUOTA",
    "ALTER QUOTA",
    "DROP QUOTA",
    "CREATE SETTINGS PROFILE",
    "ALTER SETTINGS PROFILE",
    "DROP SETTINGS PROFILE",
    "CREATE PROFILE",
    "ALTER PROFILE",
    "DROP PROFILE",
    "SET DEFAULT ROLE",
    "GRANT",
    "REVOKE",
];

/// Tells the class.
pub(crate) fn classify(sql: &str) -> Class {
    let start = first_words(sql);
    let begins = |words: &str| start == words || start.starts_with(&format!("{words} "));
    if begins("KILL QUERY") {
        Class::KillQuery
    } else if ACCESS.into_iter().any(begins) {
        Class::Access
    } else {
        Class::Other
    }
}

/// The first three words in capitals, with comments gone.
pub(crate) fn first_words(sql: &str) -> String {
    let mut rest = sql;
    let mut words: Vec<String> = Vec::new();
    while words.len() < 3 {
        rest = rest.trim_start();
        if rest.starts_with("--") || rest.starts_with('#') {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if rest.starts_with("/*") {
            rest = rest.split_once("*/").map_or("", |(_, rest)| rest);
        } else {
            let length = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            if length == 0 {
                break;
            }
            words.push(rest[..length].to_ascii_uppercase());
            rest = &rest[length..];
        }
    }
    words.join(" ")
}

/// The statement of a request: ClickHouse joins the URL's and the body's part.
pub(crate) fn text(headers: &HeaderMap, query: Option<&str>, body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    let boundary = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).and_then(|value| {
        let boundary = value.strip_prefix("multipart/form-data")?.split_once("boundary=")?.1;
        Some(boundary.trim_matches('"').to_owned())
    });
    let body = match &boundary {
        Some(boundary) => form_field(&body, boundary, "query").unwrap_or_default(),
        None => &body,
    };
    match query {
        Some(query) if body.is_empty() => query.to_owned(),
        Some(query) => format!("{query}\n{body}"),
        None => body.to_owned(),
    }
}

fn form_field<'a>(form: &'a str, boundary: &str, name: &str) -> Option<&'a str> {
    let wanted = format!("name=\"{name}\"");
    let separator = format!("--{boundary}");
    let mut parts = form.split(&separator).filter_map(|part| part.split_once("\r\n\r\n"));
    let (_, value) = parts.find(|(head, _)| head.contains(&wanted))?;
    Some(value.trim_end_matches("\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_told_from_the_first_words() {
        assert_eq!(classify("-- x\n /* y */ create  USER `a`"), Class::Access);
        assert_eq!(classify("GRANT`a` TO b"), Class::Access);
        assert_eq!(classify("drop settings profile p"), Class::Access);
        assert_eq!(classify("Kill Query WHERE 1"), Class::KillQuery);
        assert_eq!(classify("CREATE TABLE user (a Int8) ENGINE Null"), Class::Other);
        assert_eq!(classify("INSERT INTO t FORMAT RowBinary"), Class::Other);
    }

    #[test]
    fn a_statement_is_found_in_a_form() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("multipart/form-data; boundary=x"));
        let body = b"--x\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nDROP USER a\r\n--x--\r\n";
        assert_eq!(text(&headers, None, body), "DROP USER a");
    }
}
