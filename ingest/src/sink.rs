//! Where flushed rows go: the one trait that is substituted in tests.

mod clickhouse;
mod insert;
mod token;

use futures::future::BoxFuture;

use crate::ack::Unavailable;
use crate::batch::Flush;

pub use clickhouse::ClickhouseSink;
pub(crate) use insert::Block;
pub(crate) use insert::Deadline;
pub(crate) use insert::Inserter;
pub(crate) use insert::Stopped;

/// Takes the rows of a flush.
pub trait Sink: Send + Sync + 'static {
    /// Stores the rows of all events and returns the indices of those that are refused for ever, in ascending order.
    ///
    /// `Ok` means that everything else is confirmed. After `Err` some of it may be stored; the clients will send it
    /// again, and readers see a repeated event once.
    fn insert(&self, flush: Flush) -> BoxFuture<'_, Result<Vec<usize>, Unavailable>>;
}
