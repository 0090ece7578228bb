//! Which endpoint a call goes to: the first in the list that works, and back to it once it works again.
//!
//! Endpoints are ways to one database: several addresses of one server, or replicas of one another. Two servers that
//! know nothing of each other would each hold half of the rows, whatever is done here.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use url::Url;

/// How long a failed endpoint is left alone while there are others.
const REST: Duration = Duration::from_secs(5);

/// The endpoints in order of preference.
#[derive(Debug)]
pub(super) struct Endpoints {
    list: Vec<Endpoint>,
    started: Instant,
}

#[derive(Debug)]
struct Endpoint {
    url: Url,
    /// When it may be looked at again, in milliseconds from the start; 0 while it works.
    rested_at: AtomicU64,
}

/// One endpoint that a call may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) index: usize,
    /// Whether it failed last time, so that it should be looked at before it gets a whole block.
    pub(super) is_suspect: bool,
}

/// Where the attempts of one block go.
///
/// Once it is unknown whether an endpoint has stored the block, the same bytes go to that endpoint again, which knows
/// their deduplication token. Only replicas of one another share what they know.
#[derive(Debug, Default)]
pub struct Route {
    pub(super) maybe_pinned: Option<usize>,
}

impl Endpoints {
    pub(super) fn new(urls: &[Url]) -> Self {
        let list = urls.iter().map(|url| Endpoint { url: url.clone(), rested_at: AtomicU64::new(0) });
        Self { list: list.collect(), started: Instant::now() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn url(&self, index: usize) -> &Url {
        &self.list[index].url
    }

    /// What to try for one call, in order: what works or has rested, then what rests.
    ///
    /// The call that gets a rested endpoint is the only one until it has rested again.
    pub(super) fn candidates(&self, route: &Route) -> Vec<Candidate> {
        match route.maybe_pinned {
            Some(index) => vec![Candidate { index, is_suspect: false }],
            None => self.candidates_after(self.started.elapsed()),
        }
    }

    fn candidates_after(&self, elapsed: Duration) -> Vec<Candidate> {
        let (now, next) = (millis(elapsed), millis(elapsed + REST));
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for (index, endpoint) in self.list.iter().enumerate() {
            let rested_at = endpoint.rested_at.load(Ordering::Relaxed);
            let is_suspect = rested_at != 0;
            let is_taken = || {
                let taken = endpoint.rested_at.compare_exchange(
                    rested_at,
                    next,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                taken.is_ok()
            };
            let is_usable = !is_suspect || (rested_at <= now && is_taken());
            let group = if is_usable { &mut first } else { &mut last };
            group.push(Candidate { index, is_suspect });
        }
        first.append(&mut last);
        first
    }

    pub(super) fn works(&self, index: usize) {
        self.list[index].rested_at.store(0, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, index: usize) {
        self.failed_after(index, self.started.elapsed());
    }

    fn failed_after(&self, index: usize, elapsed: Duration) {
        self.list[index].rested_at.store(millis(elapsed + REST), Ordering::Relaxed);
    }
}

/// Milliseconds; never 0, which stands for an endpoint that works.
fn millis(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints() -> Endpoints {
        Endpoints::new(&["http://a:1".parse().unwrap(), "http://b:1".parse().unwrap()])
    }

    fn order(endpoints: &Endpoints, seconds: u64) -> Vec<(usize, bool)> {
        let candidates = endpoints.candidates_after(Duration::from_secs(seconds));
        candidates.into_iter().map(|candidate| (candidate.index, candidate.is_suspect)).collect()
    }

    #[test]
    fn a_failed_endpoint_comes_last_until_it_has_rested_and_then_for_one_call() {
        let endpoints = endpoints();
        assert_eq!(order(&endpoints, 0), [(0, false), (1, false)]);
        endpoints.failed_after(0, Duration::from_secs(10));
        assert_eq!(order(&endpoints, 11), [(1, false), (0, true)]);
        assert_eq!(order(&endpoints, 15), [(0, true), (1, false)]);
        assert_eq!(order(&endpoints, 15), [(1, false), (0, true)], "one call looks at it, not all");
        endpoints.works(0);
        assert_eq!(order(&endpoints, 15), [(0, false), (1, false)]);
    }

    #[test]
    fn a_pinned_block_goes_nowhere_else() {
        let endpoints = endpoints();
        endpoints.failed(1);
        let route = Route { maybe_pinned: Some(1) };
        assert_eq!(endpoints.candidates(&route), [Candidate { index: 1, is_suspect: false }]);
    }
}
