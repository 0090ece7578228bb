//! Load over a number of connections for a while, each request answered before the next one is sent.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rand::{SeedableRng as _, rngs::SmallRng};

use super::{
    body::{Bodies, Request},
    connection::Connection,
};

/// How long a request is sent again after the load is over, until it counts as lost.
const LAST_CHANCE: Duration = Duration::from_secs(20);
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(50);

/// One load.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) address: SocketAddr,
    pub(super) connections: usize,
    pub(super) time: Duration,
    pub(super) requests: Requests,
    /// Pause of a connection between an answer and its next request.
    pub(super) pause: Duration,
}

/// Where the requests come from.
#[derive(Clone, Debug)]
pub(super) enum Requests {
    /// Rendered as they are sent.
    Rendered(Arc<Bodies>),
    /// Rendered before; the load ends early when there are no more.
    Ready(Arc<Pool>),
}

/// Requests that were rendered before, because compressing them costs more than answering them.
#[derive(Debug)]
pub(super) struct Pool {
    requests: Vec<Request>,
    next: AtomicUsize,
}

/// What became of a load.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Events of requests that were answered 200.
    pub(super) acknowledged: u64,
    /// Events of requests that were never answered 200; whether they are stored nobody knows.
    pub(super) lost: u64,
    /// Answers other than 200, and broken connections; the request was sent again.
    pub(super) refused: u64,
    /// From the first request to the last answer.
    pub(super) elapsed: Duration,
    /// Microseconds from a request to its answer, for every attempt that was answered 200.
    pub(super) latencies: Vec<u32>,
}

impl Pool {
    /// Renders about `events` events on two threads.
    pub(super) fn render(bodies: &Bodies, events: usize) -> Arc<Self> {
        let threads: usize = 2;
        let requests = std::thread::scope(|scope| {
            let workers: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| render(bodies, events / threads))).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
        });
        Arc::new(Self { requests, next: AtomicUsize::new(0) })
    }
}

fn render(bodies: &Bodies, events: usize) -> Vec<Request> {
    let mut random = SmallRng::from_rng(&mut rand::rng());
    let (mut scratch, mut rendered, mut requests) = (Vec::new(), 0, Vec::new());
    while rendered < events {
        let mut request = Request::default();
        bodies.render(&mut random, &mut scratch, &mut request);
        request.bytes.shrink_to_fit();
        rendered += request.events;
        requests.push(request);
    }
    requests
}

impl Load {
    /// Sends, and blocks until everything is answered.
    pub(super) fn run(&self) -> anyhow::Result<Outcome> {
        let started = Instant::now();
        let over = AtomicBool::new(false);
        let outcomes: Vec<std::io::Result<Outcome>> = std::thread::scope(|scope| {
            let connections: Vec<_> = (0..self.connections)
                .map(|_| {
                    std::thread::Builder::new()
                        .stack_size(256 * 1024)
                        .spawn_scoped(scope, || self.connection(&over))
                })
                .collect();
            std::thread::sleep(self.time);
            over.store(true, Ordering::Relaxed);
            connections
                .into_iter()
                .map(|thread| thread?.join().map_err(|_| std::io::Error::other("it panicked")))
                .collect()
        });
        let mut total = Outcome::default();
        for outcome in outcomes {
            total.add(outcome.context("a connection's thread failed")?);
        }
        total.elapsed = started.elapsed();
        Ok(total)
    }

    fn connection(&self, over: &AtomicBool) -> Outcome {
        let mut connection = Connection::new(self.address);
        let mut outcome = Outcome::default();
        let mut random = SmallRng::from_rng(&mut rand::rng());
        let (mut scratch, mut rendered) = (Vec::new(), Request::default());
        while !over.load(Ordering::Relaxed) {
            let request = match &self.requests {
                Requests::Rendered(bodies) => {
                    bodies.render(&mut random, &mut scratch, &mut rendered);
                    &rendered
                }
                Requests::Ready(pool) => match pool.requests.get(pool.next.fetch_add(1, Ordering::Relaxed)) {
                    Some(request) => request,
                    None => break,
                },
            };
            send(&mut connection, request, over, &mut outcome);
            if !self.pause.is_zero() {
                std::thread::sleep(self.pause);
            }
        }
        outcome
    }
}

/// Sends a request until it is acknowledged: the same bytes, as an SDK does.
fn send(connection: &mut Connection, request: &Request, over: &AtomicBool, outcome: &mut Outcome) {
    let mut last_chance = None;
    loop {
        let sent = Instant::now();
        if connection.exchange(&request.bytes).is_ok_and(|answer| answer.status == 200) {
            outcome.acknowledged += request.events as u64;
            outcome.latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
            return;
        }
        outcome.refused += 1;
        if over.load(Ordering::Relaxed) && last_chance.get_or_insert(sent).elapsed() > LAST_CHANCE {
            outcome.lost += request.events as u64;
            return;
        }
        std::thread::sleep(PAUSE_AFTER_REFUSAL);
    }
}

impl Outcome {
    /// Adds another outcome, of the same time or of another slice.
    pub(super) fn add(&mut self, other: Self) {
        let Self { acknowledged, lost, refused, elapsed, latencies } = other;
        self.acknowledged += acknowledged;
        self.lost += lost;
        self.refused += refused;
        self.elapsed += elapsed;
        self.latencies.extend(latencies);
    }

    /// Milliseconds within which this share of the requests was answered.
    pub(super) fn quantile(&mut self, share: f64) -> f64 {
        self.latencies.sort_unstable();
        quantile(&self.latencies, share) / 1000.0
    }

    /// Acknowledged events a second.
    pub(super) fn rate(&self) -> f64 {
        float(self.acknowledged) / self.elapsed.as_secs_f64()
    }
}

/// The value below which this share of sorted values lies; no number when there are none.
pub(super) fn quantile<T: Copy + Into<f64>>(sorted: &[T], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index below the length"
    )]
    let index = (last as f64 * share).round() as usize;
    sorted[index].into()
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "figures are printed with few digits")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}
