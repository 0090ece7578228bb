//! Where flushed rows go: the one trait that is substituted in tests.

mod clickhouse;

use futures::future::BoxFuture;

use crate::ack::Unavailable;
use crate::batch::Rows;

pub use clickhouse::ClickhouseSink;

/// Takes the rows of a flush.
pub trait Sink: Send + Sync + 'static {
    /// Stores the rows of all events and returns the indices of those that are refused for ever, in ascending order.
    ///
    /// `Ok` means that everything else is confirmed. After `Err` some of it may be stored; the clients will send it
    /// again, and readers see a repeated event once.
    fn insert(&self, rows: Rows) -> BoxFuture<'_, Result<Vec<usize>, Unavailable>>;
}
