//! Answers that the server gives itself, in ClickHouse's form.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{
    access::AccessError,
    body::{BoxBody, full},
};

const EXCEPTION_CODE: &str = "x-clickhouse-exception-code";

/// The number of the exception in an answer.
pub(crate) fn exception_code(headers: &HeaderMap) -> Option<u16> {
    headers.get(EXCEPTION_CODE)?.to_str().ok()?.parse().ok()
}

/// An exception.
pub(crate) fn exception(code: u16, name: &str, message: &str) -> Response<BoxBody> {
    // The front knows only these; ClickHouse maps about forty codes.
    let status = match code {
        497 | 516 | 192 | 512 => StatusCode::FORBIDDEN,
        48 => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let text = format!("Code: {code}. DB::Exception: {message}. ({name})\n");
    let mut response = plain(status, text);
    response.headers_mut().insert(EXCEPTION_CODE, HeaderValue::from(code));
    response
}

/// The refusal of an access statement; the head of the engine's own answer is kept, with its query id.
pub(crate) fn refusal(error: &AccessError, engine: HeaderMap) -> Response<BoxBody> {
    let (code, name) = error.code();
    let mut response = exception(code, name, &error.to_string());
    for (key, value) in without_outcome(engine) {
        if let Some(key) = key {
            response.headers_mut().entry(key).or_insert(value);
        }
    }
    response
}

/// The success of an access statement.
pub(crate) fn done(engine: HeaderMap) -> Response<BoxBody> {
    let mut response = Response::new(full(""));
    *response.headers_mut() = without_outcome(engine);
    response
}

/// What ClickHouse answers to a password that it does not know.
pub(crate) fn unauthenticated(user: &str) -> Response<BoxBody> {
    let message =
        format!("{user}: Authentication failed: password is incorrect, or there is no user with such name");
    exception(516, "AUTHENTICATION_FAILED", &message)
}

/// The engine is gone with the request.
pub(crate) fn bad_gateway(error: &dyn std::error::Error) -> Response<BoxBody> {
    plain(StatusCode::BAD_GATEWAY, format!("{error}\n"))
}

/// Any short text.
pub(crate) fn plain(status: StatusCode, text: String) -> Response<BoxBody> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    response
}

fn without_outcome(mut headers: HeaderMap) -> HeaderMap {
    for name in [EXCEPTION_CODE, "content-length", "transfer-encoding", "connection", "keep-alive"] {
        headers.remove(name);
    }
    headers
}
