//! What a request to ClickHouse looks like: its URL and its headers. Pure.

use http::HeaderMap;
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use http::header::USER_AGENT;
use secrecy::ExposeSecret as _;
use url::Url;

use super::credentials::Login;

const PRODUCT: &str = concat!("weir-ingest/", env!("CARGO_PKG_VERSION"));

/// URL of one call: the endpoint with the statement, when it is not the body, and the settings.
///
/// The answer is held back until the statement has ended, so that its status is the true one.
pub(super) fn uri(endpoint: &Url, maybe_statement: Option<&str>, settings: &[(&str, &str)]) -> String {
    let mut url = endpoint.clone();
    let mut pairs = url.query_pairs_mut();
    pairs.clear().append_pair("wait_end_of_query", "1").extend_pairs(settings);
    if let Some(statement) = maybe_statement {
        pairs.append_pair("query", statement);
    }
    drop(pairs);
    url.into()
}

/// URL that ClickHouse answers without a login.
pub(super) fn ping_uri(endpoint: &Url) -> String {
    let mut url = endpoint.clone();
    url.set_query(None);
    let path = format!("{}/ping", endpoint.path().trim_end_matches('/'));
    url.set_path(&path);
    url.into()
}

/// Puts login and database where no proxy logs them.
pub(super) fn put_headers(
    headers: &mut HeaderMap,
    login: &Login,
    maybe_database: Option<&str>,
) -> Result<(), InvalidHeaderValue> {
    let mut password = HeaderValue::from_bytes(login.password.expose_secret().as_bytes())?;
    password.set_sensitive(true);
    headers.insert("x-clickhouse-key", password);
    headers.insert("x-clickhouse-user", HeaderValue::from_bytes(login.user.as_bytes())?);
    if let Some(database) = maybe_database {
        headers.insert("x-clickhouse-database", HeaderValue::from_str(database)?);
    }
    headers.insert(USER_AGENT, HeaderValue::from_static(PRODUCT));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prefix_is_kept_and_values_are_encoded() {
        let endpoint = Url::parse("https://ch.example/proxy/").unwrap();
        let uri = uri(&endpoint, Some("INSERT INTO t FORMAT RowBinary"), &[("a", "1&b=2")]);
        assert_eq!(
            uri,
            "https://ch.example/proxy/?wait_end_of_query=1&a=1%26b%3D2&query=INSERT+INTO+t+FORMAT+RowBinary"
        );
    }

    #[test]
    fn a_ping_goes_behind_the_path_prefix() {
        let ping = |text: &str| ping_uri(&Url::parse(text).unwrap());
        assert_eq!(ping("https://ch.example/proxy/?a=1"), "https://ch.example/proxy/ping");
        assert_eq!(ping("http://ch.example:8123"), "http://ch.example:8123/ping");
    }

    #[test]
    fn the_password_is_in_a_header_that_debug_hides() {
        let login = Login { user: "web".into(), password: "sw\u{f6}rdfish".into() };
        let mut headers = HeaderMap::new();
        put_headers(&mut headers, &login, Some("shop")).unwrap();
        assert_eq!(headers["x-clickhouse-key"].as_bytes(), "sw\u{f6}rdfish".as_bytes());
        assert_eq!(headers["x-clickhouse-database"], "shop");
        assert!(!format!("{headers:?}").contains("rdfish"));
    }

    #[test]
    fn a_password_that_no_header_can_carry_is_an_error() {
        let login = Login { user: "web".into(), password: "a\nb".into() };
        assert!(put_headers(&mut HeaderMap::new(), &login, None).is_err());
    }
}
