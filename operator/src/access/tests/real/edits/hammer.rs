//! A client that never rests: it runs queries which must all succeed, whatever is edited meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::RwLock;
use tokio::task::JoinHandle;

use super::super::client::{Client, UNLOGGED};

/// The client, which runs once it has something to ask.
pub(in super::super) struct Hammer {
    client: Client,
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
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
    /// A client that has nothing to ask yet.
    pub(in super::super) fn new(client: Client) -> Self {
        Self { client, shared: Arc::default(), task: None }
    }

    /// Runs these queries from now on and, once this returns, no others.
    pub(in super::super) async fn strike(&mut self, queries: Vec<String>) {
        *self.shared.queries.write().await = queries;
        self.task.get_or_insert_with(|| tokio::spawn(strike(self.client.clone(), Arc::clone(&self.shared))));
    }

    /// Queries that did not succeed, and how.
    pub(in super::super) fn refusals(&self) -> Vec<String> {
        self.shared.refusals.lock().unwrap().clone()
    }

    /// Ends the client and counts its queries.
    pub(in super::super) async fn stop(self) -> u64 {
        let Self { client: _, shared, task } = self;
        shared.is_over.store(true, Ordering::Relaxed);
        task.expect("it was told what to ask").await.unwrap();
        assert_eq!(*shared.refusals.lock().unwrap(), Vec::<String>::new());
        shared.count.load(Ordering::Relaxed)
    }
}

async fn strike(client: Client, shared: Arc<Shared>) {
    while !shared.is_over.load(Ordering::Relaxed) {
        let queries = shared.queries.read().await;
        let index = shared.count.fetch_add(1, Ordering::Relaxed);
        let query = &queries[usize::try_from(index).unwrap() % queries.len()];
        if let Err(refusal) = client.query(UNLOGGED, query).await {
            shared.refusals.lock().unwrap().push(format!("{refusal}: {query}"));
        }
    }
}
