//! Whether a request is let in: rates of keys and of client addresses, and what a request without a key may cost.
//!
//! The api asks in two places. [`Admission::check_address`] comes before the body is read. [`Admission::admit`] comes
//! once key and number of events are known: it charges the events to both and refuses when the key has none left.
//! Rates are judged when a request arrives and charged afterwards, so a batch is let in or refused as a whole.

pub mod addresses;
pub mod look;
pub mod pace;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::authenticate::Admitted;
use crate::budget::Budget;
use crate::metrics::LimitLabel;
use crate::metrics::Metrics;
use crate::settings::Settings;
use addresses::Addresses;
use pace::Wait;

/// Bodies without a key so far may fill this part of the buffer.
const SHARE: usize = 4;

/// Why a request is not let in now. It may come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more events than the {limit} may send")]
pub struct Limited {
    /// `key` or `address`.
    pub limit: &'static str,
    /// Seconds after which something is left again.
    pub retry_after: u64,
}

/// What requests are judged by.
#[derive(Debug)]
pub struct Admission {
    opened: Instant,
    maybe_addresses: Option<Addresses>,
    unauthenticated_bytes: usize,
    unauthenticated: Arc<Budget>,
    lane: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Admission {
    /// Starts with every address having everything.
    pub fn new(settings: &Settings, metrics: Arc<Metrics>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // At least the largest body must fit, or it could never come in.
        let shared = (settings.buffer.max_bytes / SHARE).max(settings.limits.max_batch_bytes);
        Self {
            opened: Instant::now(),
            maybe_addresses: settings.admission.address_rate.map(|rate| Addresses::new(rate.into())),
            unauthenticated_bytes: settings.admission.unauthenticated_bytes,
            unauthenticated: Budget::new(shared),
            lane: Arc::new(Semaphore::new((cores / 2).max(1))),
            metrics,
        }
    }

    /// Bytes of a body, inflated, that are taken before a valid key was seen in it.
    pub fn unauthenticated_bytes(&self) -> usize {
        self.unauthenticated_bytes
    }

    /// What bodies without a key so far share besides those bytes.
    pub fn unauthenticated(&self) -> &Arc<Budget> {
        &self.unauthenticated
    }

    /// Where long bodies without a key in front are worked on, one after another.
    pub fn lane(&self) -> Arc<Semaphore> {
        Arc::clone(&self.lane)
    }

    /// Whether an address has anything left.
    pub fn check_address(&self, address: IpAddr) -> Result<(), Limited> {
        let Some(addresses) = &self.maybe_addresses else { return Ok(()) };
        addresses.check(address, self.now()).map_err(|wait| self.limited("address", wait))
    }

    /// Lets in a request of this many events, or says that its key has none left. `received_at` is in microseconds
    /// since 1970 and only remembered as the time of the key's use.
    pub fn admit(
        &self,
        admitted: &Admitted,
        address: IpAddr,
        events: usize,
        received_at: i64,
    ) -> Result<(), Limited> {
        if let Some(entry) = &admitted.maybe_key {
            entry.usage.record(received_at);
            if let Some(bucket) = &entry.maybe_bucket {
                let now = self.now();
                bucket.check(now).map_err(|wait| self.limited("key", wait))?;
                bucket.charge(now, events);
            }
        }
        self.charge(address, events);
        Ok(())
    }

    /// Charges a refused request as one event, so that guessing keys is bounded as well.
    pub fn charge_refused(&self, address: IpAddr) {
        self.charge(address, 1);
    }

    fn charge(&self, address: IpAddr, events: usize) {
        if let Some(addresses) = &self.maybe_addresses {
            addresses.charge(address, self.now(), events);
        }
    }

    fn limited(&self, limit: &'static str, wait: Wait) -> Limited {
        self.metrics.limited_requests.get_or_create(&LimitLabel { limit }).inc();
        Limited { limit, retry_after: wait.seconds }
    }

    /// Nanoseconds on a clock that never goes back.
    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
