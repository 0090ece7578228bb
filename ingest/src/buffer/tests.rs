//! The buffer against a sink in memory that the test holds and releases.

use std::sync::Mutex;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::future::FutureExt as _;
use tokio::sync::Semaphore;

use super::*;
use crate::batch::Flush;
use crate::budget::Budget;
use crate::table::Table;

/// Remembers the blocks; each insert takes one permit.
struct MemorySink {
    permits: Semaphore,
    blocks: Mutex<Vec<usize>>,
    refused: Vec<usize>,
    fails: bool,
}

impl Sink for MemorySink {
    fn insert(&self, flush: Flush) -> BoxFuture<'_, Result<Vec<usize>, Unavailable>> {
        self.blocks.lock().unwrap().push(flush.len());
        async move {
            self.permits.acquire().await.unwrap().forget();
            if self.fails { Err(Unavailable) } else { Ok(self.refused.clone()) }
        }
        .boxed()
    }
}

struct Bench {
    buffer: Buffer,
    sink: Arc<MemorySink>,
    budget: Arc<Budget>,
    task: tokio::task::JoinHandle<()>,
}

fn bench(permits: usize, refused: Vec<usize>, fails: bool) -> Bench {
    let sink = MemorySink { permits: Semaphore::new(permits), blocks: Mutex::default(), refused, fails };
    let sink = Arc::new(sink);
    let thresholds = Thresholds { max_rows: 4, max_bytes: 1 << 20, max_age: Duration::from_millis(20) };
    let (buffer, gatherer) =
        buffer(Arc::clone(&sink) as Arc<dyn Sink>, thresholds, Arc::new(Metrics::default()));
    Bench { buffer, sink, budget: Budget::new(1 << 20), task: tokio::spawn(gatherer.run()) }
}

impl Bench {
    /// Sends a request of some events; the answer comes through the handle.
    fn send(&self, events: usize) -> tokio::task::JoinHandle<Result<Stored, Unavailable>> {
        let mut rows = Rows::default();
        for _ in 0..events {
            rows.table_mut(Table::Events).push(1);
            rows.finish_event();
        }
        let mut reservation = self.budget.open();
        reservation.grow(100).unwrap();
        let buffer = self.buffer.clone();
        tokio::spawn(async move { buffer.store(rows, reservation).await })
    }

    fn blocks(&self) -> Vec<usize> {
        self.sink.blocks.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_lone_request_is_stored_and_its_bytes_are_given_back() {
    let bench = bench(9, vec![], false);
    assert_eq!(bench.send(1).await.unwrap(), Ok(Stored { refused: 0 }));
    assert_eq!(bench.budget.used(), 0);
}

#[tokio::test]
async fn requests_that_come_during_an_insert_share_the_next_one() {
    let bench = bench(0, vec![], false);
    let first = bench.send(1);
    while bench.blocks().is_empty() {
        tokio::task::yield_now().await;
    }
    let others = [bench.send(1), bench.send(1)];
    while bench.budget.used() < 300 {
        tokio::task::yield_now().await;
    }
    bench.sink.permits.add_permits(2);
    assert_eq!(first.await.unwrap(), Ok(Stored { refused: 0 }));
    for other in others {
        assert_eq!(other.await.unwrap(), Ok(Stored { refused: 0 }));
    }
    assert_eq!(bench.blocks(), vec![1, 2]);
}

#[tokio::test]
async fn refusals_reach_only_the_request_that_sent_the_event() {
    let bench = bench(9, vec![1], false);
    assert_eq!(bench.send(3).await.unwrap(), Ok(Stored { refused: 1 }));
}

#[tokio::test]
async fn a_failed_flush_reaches_every_waiter_and_frees_the_budget() {
    let bench = bench(9, vec![], true);
    let answers = [bench.send(2), bench.send(3)];
    for answer in answers {
        assert_eq!(answer.await.unwrap(), Err(Unavailable));
    }
    assert_eq!(bench.budget.used(), 0);
}

#[tokio::test]
async fn no_more_inserts_than_allowed_run_at_once() {
    let bench = bench(0, vec![], false);
    let answers: Vec<_> = (0..8).map(|_| bench.send(4)).collect();
    while bench.blocks().len() < MAX_IN_FLIGHT {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(bench.blocks().len(), MAX_IN_FLIGHT);
    bench.sink.permits.add_permits(8);
    for answer in answers {
        assert_eq!(answer.await.unwrap(), Ok(Stored { refused: 0 }));
    }
}

#[tokio::test]
async fn closing_flushes_what_was_gathered() {
    let bench = bench(9, vec![], false);
    let answers = [bench.send(1), bench.send(1)];
    for answer in answers {
        assert_eq!(answer.await.unwrap(), Ok(Stored { refused: 0 }));
    }
    drop(bench.buffer);
    bench.task.await.unwrap();
}
