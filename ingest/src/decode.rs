//! Bytes to [`RawBatch`](crate::event::RawBatch), one module per wire format, and the inflating before it.

pub mod batch;
pub mod gzip;
mod text;

pub(crate) use text::Text;

/// Why a body is no batch. The text is ours and safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not UTF-8.
    #[error("the body is not valid UTF-8")]
    NotUtf8,
    /// No JSON, or JSON of another shape.
    #[error("the body is not a valid batch: {0}")]
    NotABatch(String),
    /// Nothing in it.
    #[error("batch must hold at least one event")]
    Empty,
}
