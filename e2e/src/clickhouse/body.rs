//! Bodies: the part of a request that is read to know its statement, and answers that hold their pass to the end.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::gate::Pass;

/// Any failure of a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body of either direction.
pub(crate) type BoxBody = UnsyncBoxBody<Bytes, BoxError>;

/// How much of a body is read to know the statement.
pub(crate) const MAX_READ: usize = 256 * 1024;

/// A body in memory.
pub(crate) fn full(bytes: impl Into<Bytes>) -> BoxBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is only passed on.
pub(crate) fn streamed(body: Incoming) -> BoxBody {
    body.map_err(BoxError::from).boxed_unsync()
}

/// The beginning of a body, and a body to pass on that is whole again.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) beginning: Bytes,
    pub(crate) body: BoxBody,
}

/// Reads until the end or the limit.
pub(crate) async fn read(mut body: Incoming) -> Result<Read, hyper::Error> {
    let mut beginning = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            beginning.extend_from_slice(&data);
        }
        if beginning.len() > MAX_READ {
            let beginning = Bytes::from(beginning);
            let first = stream::iter([Ok(Frame::data(beginning.clone()))]);
            let rest = BodyStream::new(body).map(|frame| frame.map_err(BoxError::from));
            let body = StreamBody::new(first.chain(rest)).boxed_unsync();
            return Ok(Read { beginning, body });
        }
    }
    let beginning = Bytes::from(beginning);
    Ok(Read { body: full(beginning.clone()), beginning })
}

/// An answer that keeps its pass until its last byte was sent, or until the client has left.
#[derive(Debug)]
pub(crate) struct Held {
    inner: Incoming,
    pass: Option<Pass>,
}

/// Ties a pass to an answer.
pub(crate) fn hold(inner: Incoming, pass: Pass) -> BoxBody {
    Held { inner, pass: Some(pass) }.boxed_unsync()
}

impl Body for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(context));
        if frame.is_none() {
            self.pass = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
