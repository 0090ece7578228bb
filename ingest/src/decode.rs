//! Bytes to [`RawBatch`](crate::event::RawBatch), one module per wire format, and the inflating before it.

pub mod analytics;
mod base64;
pub mod batch;
pub(crate) mod codec;
mod events;
mod expand;
pub(crate) mod form;
#[cfg(test)]
mod fuzz;
pub mod gzip;
pub(crate) mod json;
mod lz;
pub(crate) mod number;
pub mod posthog;
mod properties;
pub(crate) mod repair;
mod text;
pub(crate) mod unpack;

pub(crate) use events::Events;
pub use expand::Refused;
pub(crate) use text::Text;
pub(crate) use text::string;

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

impl From<json::Error> for Malformed {
    /// The text names positions and types, and may quote a wrong value: kept short.
    fn from(error: json::Error) -> Self {
        Self::NotABatch(error.to_string().chars().take(200).collect())
    }
}
