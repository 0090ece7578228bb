//! The path of statements about row policies and quotas, of which the engine keeps only what they come to for users.

use bytes::Bytes;
use http::{Request, Response, Uri, uri::PathAndQuery};
use url::form_urlencoded;

use super::{
    access::{AccessError, limit::shown},
    body::{self, BoxBody, full},
    core::Core,
    credential::parameters,
    engine,
    gate::Kind,
    proxy::{consume, send},
    reply,
    statement::first_words,
};

/// Parameters of a URL that are about who asks and what, which the engine's own question says itself.
const OWN: [&str; 4] = ["user", "password", "query", "role"];

/// Whether a statement changes a row policy or quota.
pub(super) fn is_change(sql: &str) -> bool {
    let words = first_words(sql);
    let words: Vec<_> = words.split(' ').collect();
    matches!(words.as_slice(), ["CREATE" | "ALTER" | "DROP", "QUOTA" | "POLICY", ..])
        || matches!(words.as_slice(), ["CREATE" | "ALTER" | "DROP", "ROW", "POLICY"])
}

/// Whether the engine let a change pass for want of anything of that name: 523 and 199, or none with IF EXISTS.
pub(super) const fn is_unknown(code: Option<u16>) -> bool {
    matches!(code, None | Some(523 | 199))
}

/// The statement as the engine writes it, whose conditions are those that ClickHouse would show.
pub(super) async fn engines_form(core: &Core, sql: &str) -> Result<String, AccessError> {
    let text = sql.trim().trim_end_matches(';').replace('\\', "\\\\").replace('\'', "\\'");
    let query = format!("SELECT formatQuerySingleLine('{text}') FORMAT TSVRaw");
    let form = engine::statement(core.engine_address(), &query).await;
    form.map_err(|error| AccessError::Engine(format!("{error:#}")))
}

/// Whether a query reads the system tables that the engine cannot fill.
pub(super) fn is_shown(sql: &str) -> bool {
    sql.len() < body::MAX_READ && shown::substitute(sql, &super::access::Access::default()).is_some()
}

/// Lets the engine judge the query and the caller's rights, and answers it over what is kept.
pub(super) async fn show(core: &Core, sql: &str, request: Request<BoxBody>) -> Response<BoxBody> {
    let uri = request.uri().clone();
    let (answer, pass) = match send(core, Kind::Ordinary, request).await {
        Ok(sent) => sent,
        Err(error) => return reply::bad_gateway(&error),
    };
    if reply::exception_code(answer.headers()).is_some() {
        return answer.map(|body| body::hold(body, pass));
    }
    consume(body::streamed(answer.into_body())).await;
    let sql = shown::substitute(sql, &core.book.current()).unwrap_or_else(|| sql.to_owned());
    let again = Request::post(engines_uri(&uri)).header("host", "engine").body(full(Bytes::from(sql)));
    drop(pass);
    let Ok(again) = again else {
        return reply::refusal(&AccessError::Engine("the URL".into()), http::HeaderMap::new());
    };
    match send(core, Kind::Ordinary, again).await {
        Ok((answer, pass)) => answer.map(|body| body::hold(body, pass)),
        Err(error) => reply::bad_gateway(&error),
    }
}

/// The settings of a request without its login: the engine's own user asks, unlogged.
fn engines_uri(uri: &Uri) -> Uri {
    let kept = parameters(uri).into_iter().filter(|(key, _)| !OWN.contains(&key.as_str()));
    let unlogged = [("log_queries".to_owned(), "0".to_owned())];
    let kept = kept.filter(|(key, _)| key != "log_queries").chain(unlogged);
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish();
    PathAndQuery::try_from(format!("/?{query}")).map(Uri::from).unwrap_or_default()
}
