//! When a stack is looked at again without anything having changed.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;
use tokio::time::Instant;
use weir_crds::{AnalyticsStack, UpdatePolicy};

use super::memory::Memory;
use super::observe::interval_seconds;
use super::plan::Hold;
use super::status::Outcome;
use super::{Context, observe};
use crate::metrics;

/// First and longest delay of something that passes by itself.
const TRANSIENT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// First and longest delay of something that somebody has to mend.
const PERMANENT: (Duration, Duration) = (Duration::from_mins(1), Duration::from_mins(5));
/// Delay of work in progress, in case a watch was lost; it is the watch that ends the wait.
const PROGRESS: Duration = Duration::from_secs(30);
/// Delay after a credential was written ahead, likewise.
const WRITTEN_AHEAD: Duration = Duration::from_secs(2);

/// How a pass ended, and when the next one starts at the latest.
pub(crate) fn after(
    ctx: &Context,
    stack: &AnalyticsStack,
    outcome: &Outcome,
    done: usize,
    memory: &mut Memory,
) -> (metrics::Outcome, Action) {
    let holds = &outcome.holds;
    let fault = holds.iter().find(|hold| !hold.is_progress());
    let ended = match fault {
        Some(hold) if hold.reason.is_permanent() => metrics::Outcome::Stalled,
        Some(_) => metrics::Outcome::Failed,
        None if holds.iter().any(|hold| !hold.is_aside()) => metrics::Outcome::Waiting,
        None if done > 0 => metrics::Outcome::Applied,
        None => metrics::Outcome::Settled,
    };
    let delay = if let Some(hold) = fault {
        let count = memory.fail(format!("{}/{}", hold.reason.as_str(), hold.object));
        exponential(if hold.reason.is_permanent() { PERMANENT } else { TRANSIENT }, count)
    } else {
        memory.failures = None;
        progress_delay(holds).unwrap_or_else(|| settled_delay(ctx, stack, memory))
    };
    (ended, Action::requeue(sooner(delay, holds, observe::now())))
}

/// Delay after a pass that failed as a whole.
pub(crate) fn backoff(count: u32) -> Duration {
    exponential(TRANSIENT, count)
}

fn progress_delay(holds: &[Hold]) -> Option<Duration> {
    let blocking = holds.iter().find(|hold| hold.blocks)?;
    let is_pending = blocking.reason == weir_crds::Reason::Progressing;
    Some(if is_pending { WRITTEN_AHEAD } else { PROGRESS })
}

/// A settled stack is compared right after the catalogue that it shares is due, spread over a tenth of the period.
fn settled_delay(ctx: &Context, stack: &AnalyticsStack, memory: &Memory) -> Duration {
    let left =
        memory.catalogue.as_ref().map(|(_, expires)| expires.saturating_duration_since(Instant::now()));
    let spread = ctx.settings.drift.mul_f64(rand::random_range(0.0..0.1));
    let drift = left.unwrap_or_else(|| ctx.settings.jittered_drift()) + spread;
    let image = &stack.spec.ingest.image;
    if image.update_policy != UpdatePolicy::Always {
        return drift;
    }
    let interval = Duration::from_secs(interval_seconds(&image.interval).unsigned_abs());
    drift.min(interval.mul_f64(rand::random_range(1.0..1.1)))
}

/// A wait that time ends is looked at right after its end.
fn sooner(delay: Duration, holds: &[Hold], now: Timestamp) -> Duration {
    let ends = holds.iter().filter_map(|hold| hold.until);
    let left = ends.map(|end| end.duration_since(now).unsigned_abs().saturating_add(Duration::from_secs(1)));
    left.chain([delay]).min().unwrap_or(delay)
}

/// Doubles from the first to the longest delay, moved by up to a fifth.
fn exponential((first, longest): (Duration, Duration), count: u32) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(count.saturating_sub(1).min(16)));
    doubled.min(longest).mul_f64(rand::random_range(0.8..1.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_their_bound() {
        for (count, expected) in [(1, 1.0), (2, 2.0), (4, 8.0), (30, 60.0)] {
            let delay = exponential(TRANSIENT, count).as_secs_f64();
            assert!((expected * 0.8..=expected * 1.2).contains(&delay), "{count}: {delay}");
        }
    }
}
