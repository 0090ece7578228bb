//! How a client is told that its key or its address has used up its rate: by a status that makes it come again.
//!
//! posthog-js drops events for good on 429 and comes back after 503, for which it reads Retry-After. The clients of
//! `/batch` come back after both, and only on 429 those of Python and Android wait as long as they are told. So `/batch`
//! answers 429 and every other path 503.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use crate::admission::Limited;

/// Turns the 503 of a used up rate into 429 where that is better.
pub(crate) async fn limited(request: Request, next: Next) -> Response {
    let is_batch = is_batch(request.uri().path());
    let mut response = next.run(request).await;
    if is_batch && response.extensions().get::<Limited>().is_some() {
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    }
    response
}

/// Whether only clients that come back after 429 send to this path, under whatever prefix.
fn is_batch(path: &str) -> bool {
    path.trim_end_matches('/').ends_with("/batch")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/batch/", true)]
    #[case("/batch", true)]
    #[case("/ingest/batch", true)]
    #[case("/e/", false)]
    #[case("/i/v0/e", false)]
    #[case("/i/v1/analytics/events", false)]
    #[case("/minibatch", false)]
    fn only_batch_is_told_429(#[case] path: &str, #[case] expected: bool) {
        assert_eq!(is_batch(path), expected);
    }
}
