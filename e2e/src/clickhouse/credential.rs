//! Who a request says it is, in any of the ways that ClickHouse's HTTP interface takes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Uri, header::AUTHORIZATION, uri::PathAndQuery};
use url::form_urlencoded;

const USER: &str = "x-clickhouse-user";
const KEY: &str = "x-clickhouse-key";

/// User and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// The decoded parameters of a request's URL.
pub(crate) fn parameters(uri: &Uri) -> Vec<(String, String)> {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
}

impl Credential {
    /// Reads the headers of ClickHouse first, then basic authentication, then the URL.
    pub(crate) fn read(headers: &HeaderMap, parameters: &[(String, String)]) -> Self {
        let header =
            |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let parameter = |name| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        if let Some(user) = header(USER) {
            return Self { user, password: header(KEY).unwrap_or_default() };
        }
        if let Some((user, password)) = header(AUTHORIZATION.as_str()).and_then(|value| basic(&value)) {
            return Self { user, password };
        }
        let user = parameter("user").unwrap_or_else(|| "default".to_owned());
        Self { user, password: parameter("password").unwrap_or_default() }
    }

    /// Puts another password into the request, so that the engine itself refuses it and logs the refusal.
    pub(crate) fn spoil(&self, headers: &mut HeaderMap, uri: &mut Uri) {
        headers.remove(AUTHORIZATION);
        if let Ok(user) = HeaderValue::from_str(&self.user) {
            headers.insert(USER, user);
        }
        headers.insert(KEY, HeaderValue::from_static("this credential is over"));
        let kept = parameters(uri).into_iter().filter(|(key, _)| key != "user" && key != "password");
        set_parameters(uri, kept);
    }
}

/// Adds parameters to a URL.
pub(crate) fn add_parameters(uri: &mut Uri, added: impl IntoIterator<Item = (String, String)>) {
    set_parameters(uri, parameters(uri).into_iter().chain(added).collect::<Vec<_>>());
}

fn set_parameters(uri: &mut Uri, parameters: impl IntoIterator<Item = (String, String)>) {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    if let Ok(path) = PathAndQuery::try_from(format!("{}?{query}", uri.path())) {
        *uri = Uri::from(path);
    }
}

fn basic(value: &str) -> Option<(String, String)> {
    let encoded = value.strip_prefix("Basic ").or_else(|| value.strip_prefix("basic "))?;
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
