//! The body of a call: its pieces are written as they are, and its length is known beforehand.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use hyper::body::Body;
use hyper::body::Frame;
use hyper::body::SizeHint;

use crate::pieces::Pieces;

/// Pieces on their way to ClickHouse.
#[derive(Debug)]
pub(super) struct Outgoing {
    pieces: Pieces,
    next: usize,
    remaining: usize,
}

impl Outgoing {
    pub(super) fn new(pieces: Pieces) -> Self {
        let remaining = pieces.len();
        Self { pieces, next: 0, remaining }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let maybe_piece = self.pieces.piece(self.next).cloned();
        if let Some(piece) = &maybe_piece {
            self.next += 1;
            self.remaining -= piece.len();
        }
        Poll::Ready(maybe_piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining as u64)
    }
}
