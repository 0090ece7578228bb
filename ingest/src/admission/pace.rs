//! A rate of events with a burst, as one number for each sender. Pure.
//!
//! The number is the moment at which the sender's bucket is full again (the generic cell rate algorithm). A request is
//! let in while anything is left and then charged for all of its events, so a batch larger than the burst is not
//! refused for ever: it is paid for afterwards.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use serde::Deserialize;

/// Seconds of its rate that a sender may save up when no burst is given: ten.
const BURST_SECONDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// How many events a second a sender may send in the long run, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// In the long run, for each second.
    pub events_per_second: NonZeroU32,
    /// At once after a pause; ten seconds' worth when absent.
    pub burst: Option<NonZeroU32>,
}

/// The text is no rate.
#[derive(Debug, thiserror::Error)]
#[error("not a rate")]
pub struct NotARate;

impl FromStr for Rate {
    type Err = NotARate;

    /// Reads `100` or `100:2000`: events a second, then the burst.
    fn from_str(text: &str) -> Result<Self, NotARate> {
        let number = |text: &str| text.trim().parse().map_err(|_| NotARate);
        let (rate, burst) = match text.split_once(':') {
            Some((rate, burst)) => (rate, Some(number(burst)?)),
            None => (text, None),
        };
        Ok(Self { events_per_second: number(rate)?, burst })
    }
}

/// Time until a sender may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Whole seconds, at least one.
    pub seconds: u64,
}

/// A rate in the form that requests are judged by. Moments are nanoseconds of a clock that never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pace {
    spacing: u64,
    tolerance: u64,
}

impl Pace {
    /// Whether a bucket that is full again at `full_at` has anything left.
    pub fn check(&self, full_at: u64, now: u64) -> Result<(), Wait> {
        let owed = full_at.saturating_sub(now);
        if owed < self.tolerance {
            return Ok(());
        }
        let seconds = (owed - self.tolerance + self.spacing).div_ceil(NANOS_PER_SECOND).max(1);
        Err(Wait { seconds })
    }

    /// When the bucket is full again once these events were taken from it.
    pub fn charge(&self, full_at: u64, now: u64, events: usize) -> u64 {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        full_at.max(now).saturating_add(self.spacing.saturating_mul(events))
    }
}

impl From<Rate> for Pace {
    fn from(rate: Rate) -> Self {
        let burst = rate.burst.unwrap_or(rate.events_per_second.saturating_mul(BURST_SECONDS));
        let spacing = (NANOS_PER_SECOND / u64::from(rate.events_per_second.get())).max(1);
        Self { spacing, tolerance: spacing.saturating_mul(u64::from(burst.get())) }
    }
}

/// The bucket of one sender, shared by all threads without a lock.
#[derive(Debug)]
pub struct Bucket {
    pace: Pace,
    full_at: AtomicU64,
}

impl Bucket {
    /// A full one.
    pub fn new(pace: Pace) -> Self {
        Self { pace, full_at: AtomicU64::new(0) }
    }

    /// What it is filled at.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Whether anything is left.
    pub fn check(&self, now: u64) -> Result<(), Wait> {
        self.pace.check(self.full_at.load(Ordering::Relaxed), now)
    }

    /// Takes events out, more than there are when it must be.
    pub fn charge(&self, now: u64, events: usize) {
        let charged = |full_at| Some(self.pace.charge(full_at, now, events));
        let updated = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, charged);
        debug_assert!(updated.is_ok(), "every moment has a next one");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn bucket(rate: &str) -> Bucket {
        Bucket::new(rate.parse::<Rate>().unwrap().into())
    }

    const SECOND: u64 = NANOS_PER_SECOND;

    #[test]
    fn a_burst_is_let_in_and_then_the_rate() {
        let bucket = bucket("2:4");
        for _ in 0..4 {
            assert_eq!(bucket.check(SECOND), Ok(()));
            bucket.charge(SECOND, 1);
        }
        assert_eq!(bucket.check(SECOND), Err(Wait { seconds: 1 }));
        assert_eq!(bucket.check(SECOND + SECOND / 2 + 1), Ok(()));
    }

    #[test]
    fn a_batch_above_the_burst_is_let_in_once_and_paid_for_afterwards() {
        let bucket = bucket("10:10");
        assert_eq!(bucket.check(0), Ok(()));
        bucket.charge(0, 1000);
        assert_eq!(bucket.check(0), Err(Wait { seconds: 100 }));
        assert_eq!(bucket.check(98 * SECOND), Err(Wait { seconds: 2 }));
        assert_eq!(bucket.check(99 * SECOND + 1), Ok(()));
    }

    #[rstest]
    #[case("100", 100, None)]
    #[case(" 100 : 2000 ", 100, Some(2000))]
    fn a_rate_is_read_with_or_without_a_burst(
        #[case] text: &str,
        #[case] rate: u32,
        #[case] burst: Option<u32>,
    ) {
        let read: Rate = text.parse().unwrap();
        assert_eq!((read.events_per_second.get(), read.burst.map(NonZeroU32::get)), (rate, burst));
    }

    #[rstest]
    #[case("0")]
    #[case("")]
    #[case("1:0")]
    #[case("-1")]
    #[case("1:2:3")]
    fn another_text_is_no_rate(#[case] text: &str) {
        assert!(text.parse::<Rate>().is_err());
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_and_one_batch_pass(
            rate in 1_u32..1000, burst in 1_u32..1000, batch in 1_usize..50, steps in proptest::collection::vec(0_u64..SECOND / 10, 1..200)
        ) {
            let bucket = bucket(&format!("{rate}:{burst}"));
            let mut now = 0;
            let mut passed = 0;
            for step in steps {
                now += step;
                if bucket.check(now).is_ok() {
                    bucket.charge(now, batch);
                    passed += batch as u64;
                }
            }
            let allowed = u64::from(burst) + u64::from(rate) * now / SECOND + 1 + batch as u64;
            prop_assert!(passed <= allowed, "{} > {}", passed, allowed);
        }
    }
}
