//! Every status that a stack ever showed, in order, as a watcher saw it.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _};
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::task::JoinHandle;
use weir_crds::AnalyticsStack;

use crate::{
    kstatus::Judgement,
    stack::{Stack, judgement, summary},
};

/// One status and when it was seen.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Time since the recording began.
    pub at: Duration,
    /// What kstatus concluded.
    pub judgement: Judgement,
    /// Conditions in one line.
    pub summary: String,
}

/// A recording in progress.
#[derive(Debug)]
pub struct Timeline {
    moments: Arc<Mutex<Vec<Moment>>>,
    watch: JoinHandle<()>,
}

impl Timeline {
    /// Starts to record; best before the stack is created, so that its first moment is in it.
    pub fn record(stack: &Stack) -> Self {
        let moments = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&moments);
        let started = Instant::now();
        let config = watcher::Config::default().fields(&format!("metadata.name={}", stack.name));
        let stream = watcher(stack.api(), config).default_backoff().touched_objects();
        let watch = tokio::spawn(async move {
            let mut stream = Box::pin(stream.into_stream());
            while let Some(seen) = stream.next().await {
                let Ok(stack) = seen else { continue };
                let moment = moment_of(&stack, started.elapsed());
                if let Ok(mut moments) = sink.lock() {
                    moments.push(moment);
                }
            }
        });
        Self { moments, watch }
    }

    /// The moments so far.
    pub fn moments(&self) -> Vec<Moment> {
        self.moments.lock().map(|moments| moments.clone()).unwrap_or_default()
    }

    /// When the stack was first called Current.
    pub fn first_current(&self) -> Option<Duration> {
        self.moments().iter().find(|moment| moment.judgement == Judgement::Current).map(|moment| moment.at)
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn moment_of(stack: &AnalyticsStack, at: Duration) -> Moment {
    Moment { at, judgement: judgement(stack), summary: summary(stack) }
}
