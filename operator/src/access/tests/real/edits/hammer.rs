//! A client that never rests: it runs queries which must all succeed, whatever is edited meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::RwLock;
use tokio::task::JoinHandle;

use super::super::client::Client;

/// The running client.
pub(super) struct Hammer {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    // Held by each query, so that new ones are in force once no query of the old ones runs any more.
    queries: RwLock<Vec<String>>,
    refusals: Mutex<Vec<String>>,
    count: AtomicU64,
    is_over: AtomicBool,
}

impl Hammer {
    /// Starts a client that has nothing to ask yet.
    pub(super) fn start(client: Client) -> Self {
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(strike(client, Arc::clone(&shared)));
        Self { shared, task }
    }

    /// Runs these queries from now on and, once this returns, no others.
    pub(super) async fn strike(&self, queries: Vec<String>) {
        *self.shared.queries.write().await = queries;
    }

    /// Queries that did not succeed, and how.
    pub(super) fn refusals(&self) -> Vec<String> {
        self.shared.refusals.lock().unwrap().clone()
    }

    /// Ends the client and counts its queries.
    pub(super) async fn stop(self) -> u64 {
        let Self { shared, task } = self;
        shared.is_over.store(true, Ordering::Relaxed);
        task.await.unwrap();
        assert_eq!(*shared.refusals.lock().unwrap(), Vec::<String>::new());
        shared.count.load(Ordering::Relaxed)
    }
}

async fn strike(client: Client, shared: Arc<Shared>) {
    while !shared.is_over.load(Ordering::Relaxed) {
        let queries = shared.queries.read().await;
        if queries.is_empty() {
            tokio::task::yield_now().await;
            continue;
        }
        let index = shared.count.fetch_add(1, Ordering::Relaxed);
        let query = &queries[usize::try_from(index).unwrap() % queries.len()];
        if let Err(refusal) = client.query("", query).await {
            shared.refusals.lock().unwrap().push(format!("{refusal}: {query}"));
        }
    }
}
