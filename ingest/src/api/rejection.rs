//! The public error table: one row per way to say no.
//!
//! Clients look at the status: 4xx means never send this again, 408 and 5xx mean send it again. So nothing that the
//! storage or the service is to blame for is ever a 4xx, and no text comes from ClickHouse.

use axum::Json;
use axum::http::HeaderValue;
use axum::http::Method;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::http::header::RETRY_AFTER;
use axum::response::IntoResponse;
use axum::response::Response;
use serde::Serialize;

use crate::ack::Unavailable;
use crate::admission::Limited;
use crate::authenticate::Refusal;
use crate::budget::Denied;
use crate::decode;
use crate::decode::Malformed;
use crate::decode::analytics;
use crate::event::Dropped;
use crate::normalize::BadTimestamp;

/// Why a request is not answered 200.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// `Content-Encoding` is neither absent, `identity` nor `gzip`, or compression is asked for in the query.
    Encoding,
    /// `Content-Type` is not JSON.
    ContentType,
    /// The body, as sent or inflated, or the memory it needs is over the limit.
    TooLarge,
    /// More events than allowed.
    TooManyEvents,
    /// The body is not what it is packed as.
    BadPacking(&'static str),
    /// No event of the request can be stored; this is why the first cannot.
    NothingLeft(Dropped),
    /// A header that the path needs is missing.
    NoHeader(&'static str),
    /// No batch of the v1 path.
    BadAnalytics(analytics::Refused),
    /// The connection ended before the body did.
    Cut,
    /// The body did not arrive in time.
    Slow,
    /// No batch.
    Malformed(Malformed),
    /// An event has a time that cannot be read.
    BadTimestamp,
    /// Not authenticated.
    Refused(Refusal),
    /// The key or the address sends too much.
    Limited(Limited),
    /// The buffer is full.
    Overloaded,
    /// ClickHouse did not take the events in time.
    Unavailable,
    /// The service broke a promise to itself.
    Internal,
}

/// Seconds after which a client may try again; SDKs add their own jitter.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

#[derive(Serialize)]
struct Body<'a> {
    status: &'a str,
    error: &'a str,
}

impl Rejection {
    /// Status and public text.
    pub(super) fn row(&self) -> (StatusCode, String) {
        let (status, text) = match self {
            Self::Encoding => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "this Content-Encoding is not supported"),
            Self::ContentType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json")
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the batch is too large"),
            Self::TooManyEvents => (StatusCode::PAYLOAD_TOO_LARGE, "the batch holds too many events"),
            Self::BadPacking(packing) => {
                return (StatusCode::BAD_REQUEST, format!("the body is not valid {packing}"));
            }
            Self::NothingLeft(reason) => {
                let text = format!("no event of the request can be stored; the first: {}", reason.label());
                return (StatusCode::BAD_REQUEST, text);
            }
            Self::NoHeader(name) => {
                return (StatusCode::BAD_REQUEST, format!("the header {name} is missing"));
            }
            Self::BadAnalytics(refused) => {
                let is_too_many = *refused == analytics::Refused::TooMany;
                let status =
                    if is_too_many { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
                return (status, refused.to_string());
            }
            Self::Cut => (StatusCode::BAD_REQUEST, "the body is incomplete"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
            Self::Malformed(malformed) => return (StatusCode::BAD_REQUEST, malformed.to_string()),
            Self::BadTimestamp => (StatusCode::BAD_REQUEST, "an event has an invalid timestamp"),
            Self::Refused(refusal) => return (status_of(*refusal), refusal.to_string()),
            Self::Limited(limited) => return (StatusCode::SERVICE_UNAVAILABLE, limited.to_string()),
            Self::Overloaded => {
                (StatusCode::SERVICE_UNAVAILABLE, "the service is overloaded, send again later")
            }
            Self::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "events cannot be stored at the moment, send again later")
            }
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal error"),
        };
        (status, text.to_owned())
    }
}

fn status_of(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::MixedKeys => StatusCode::BAD_REQUEST,
        Refusal::Origin => StatusCode::FORBIDDEN,
        Refusal::MixedTokens | Refusal::NoKey | Refusal::Key | Refusal::PersonalKey => {
            StatusCode::UNAUTHORIZED
        }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let (status, error) = self.row();
        let retry_after = match &self {
            Self::Limited(limited) => HeaderValue::from(limited.retry_after),
            _ => RETRY_AFTER_SECONDS,
        };
        let mut response = (status, Json(Body { status: "error", error: &error })).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, retry_after);
        }
        if let Self::Limited(limited) = self {
            response.extensions_mut().insert(limited);
        }
        response
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotFound {
    message: String,
    error: &'static str,
    status_code: u16,
}

/// The answer on every path that is none of ours; it has a shape of its own in the contract.
pub(crate) async fn not_found(method: Method, uri: Uri) -> Response {
    let message = format!("Route {method}:{} not found", uri.path());
    let body = NotFound { message, error: "Not Found", status_code: 404 };
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

/// The answer to a method that a path does not take.
pub(crate) async fn method_not_allowed() -> Response {
    let body = Body { status: "error", error: "this path does not take this method" };
    (StatusCode::METHOD_NOT_ALLOWED, Json(body)).into_response()
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Limited> for Rejection {
    fn from(limited: Limited) -> Self {
        Self::Limited(limited)
    }
}

impl From<Malformed> for Rejection {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<BadTimestamp> for Rejection {
    fn from(_: BadTimestamp) -> Self {
        Self::BadTimestamp
    }
}

impl From<Unavailable> for Rejection {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl From<Denied> for Rejection {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Full => Self::Overloaded,
            Denied::Never => Self::TooLarge,
        }
    }
}

impl From<decode::Refused> for Rejection {
    fn from(refused: decode::Refused) -> Self {
        match refused {
            decode::Refused::Invalid(packing) => Self::BadPacking(packing),
            decode::Refused::TooLarge => Self::TooLarge,
            decode::Refused::Memory(denied) => denied.into(),
        }
    }
}

impl From<analytics::Refused> for Rejection {
    fn from(refused: analytics::Refused) -> Self {
        Self::BadAnalytics(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Rejection::Unavailable, 503, true)]
    #[case(Rejection::Overloaded, 503, true)]
    #[case(Rejection::Slow, 408, false)]
    #[case(Rejection::Internal, 500, false)]
    #[case(Rejection::TooLarge, 413, false)]
    #[case(Rejection::from(Refusal::Key), 401, false)]
    #[case(Rejection::from(Refusal::Origin), 403, false)]
    #[case(Rejection::from(Refusal::MixedKeys), 400, false)]
    #[case(Rejection::from(Refusal::MixedTokens), 401, false)]
    #[case(Rejection::NothingLeft(Dropped::NoName), 400, false)]
    #[case(Rejection::BadAnalytics(analytics::Refused::TooMany), 413, false)]
    fn each_rejection_has_its_status(
        #[case] rejection: Rejection,
        #[case] status: u16,
        #[case] retry_after: bool,
    ) {
        let response = rejection.into_response();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers().contains_key(RETRY_AFTER), retry_after);
    }
}
