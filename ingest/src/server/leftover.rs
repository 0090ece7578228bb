//! What is left of a body when its request was answered without it: read and thrown away, within bounds.
//!
//! An early 401 or 413 must reach a client that is still sending, and its connection must serve the next request. So the
//! answer goes out at once and the rest of the body is read beside it; only beyond the bounds the connection is closed.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::Version;
use axum::http::header;
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::body::Body as HttpBody;
use hyper::body::Frame;
use hyper::body::Incoming;
use hyper::body::SizeHint;
use tokio::sync::oneshot;

/// Bytes of a body that are thrown away for the sake of its connection.
const MAX_DISCARDED: u64 = 64 * 1024 * 1024;
/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(20);

/// A body that comes back when it is dropped before its end.
struct Lent {
    body: Option<Incoming>,
    maybe_back: Option<oneshot::Sender<Incoming>>,
}

/// Where a body comes back to; none when nothing can be left of it.
pub(super) struct Leftover(Option<oneshot::Receiver<Incoming>>);

/// Lends the body of a request to its handler.
pub(super) fn lend(version: Version, headers: &HeaderMap, body: Incoming) -> (Body, Leftover) {
    // A stream of HTTP/2 ends alone; and who expects a go-ahead sends nothing when refused.
    let has_own_end = version == Version::HTTP_2 || headers.contains_key(header::EXPECT);
    if has_own_end || body.is_end_stream() {
        return (Body::new(body), Leftover(None));
    }
    let (back, receiver) = oneshot::channel();
    (Body::new(Lent { body: Some(body), maybe_back: Some(back) }), Leftover(Some(receiver)))
}

impl Leftover {
    /// Throws away what is left, while the answer is sent; or has the connection closed after it.
    pub(super) fn discard(self, response: &mut Response) {
        let Self(Some(mut receiver)) = self else { return };
        let Ok(body) = receiver.try_recv() else { return };
        let is_small = body.size_hint().lower() <= MAX_DISCARDED;
        // Who was too slow for its own request does not get more time.
        if is_small && response.status() != StatusCode::REQUEST_TIMEOUT {
            tokio::spawn(tokio::time::timeout(DISCARD_TIMEOUT, discard(body)));
        } else {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

async fn discard(mut body: Incoming) {
    let mut discarded = 0;
    while let Some(Ok(frame)) = body.frame().await {
        discarded += frame.data_ref().map_or(0, Bytes::len) as u64;
        if discarded > MAX_DISCARDED {
            return;
        }
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.get_mut().body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let left = self.body.take().filter(|body| !body.is_end_stream());
        if let (Some(body), Some(back)) = (left, self.maybe_back.take()) {
            // The connection is gone when nobody waits for it.
            drop(back.send(body));
        }
    }
}
