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

use crate::authenticate::Admitted;
use crate::metrics::LimitLabel;
use crate::metrics::Metrics;
use crate::settings::AdmissionSettings;
use addresses::Addresses;
use pace::Wait;

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
    metrics: Arc<Metrics>,
}

impl Admission {
    /// Starts with every address having everything.
    pub fn new(settings: &AdmissionSettings, metrics: Arc<Metrics>) -> Self {
        let maybe_addresses = settings.address_rate.map(|rate| Addresses::new(rate.into()));
        Self { opened: Instant::now(), maybe_addresses, metrics }
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
