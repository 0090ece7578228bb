//! What to do after a failed insert, as a value.

use std::time::Duration;

use crate::clickhouse::Class;

/// What to do after a failed insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Send the same bytes again after this time.
    RetryAfter(Duration),
    /// Nothing was stored and never will be with these rows together: find the one that is refused.
    Split,
    /// Tell the clients to come back later.
    GiveUp,
}

/// One failed attempt.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// What the failure means.
    pub class: Class,
    /// Whether ClickHouse refused because of the rows themselves.
    pub is_data_fault: bool,
    /// How many attempts have failed, this one included.
    pub attempts: u32,
    /// Time left for further attempts; absent when they go on until one succeeds.
    pub maybe_remaining: Option<Duration>,
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Pause of those who never give up after a refusal that somebody has to mend.
const MENDING_PAUSE: Duration = Duration::from_secs(5);

/// Decides; `jitter` is between 0 and 1.
///
/// An unknown outcome is retried with the same bytes and never split, since half of a stored block has another
/// deduplication token and would be stored twice. A definite refusal that is not about the rows, such as a missing
/// table, is no client's fault: rows are kept with their senders until somebody has repaired it.
pub fn decide(failure: Failure, jitter: f64) -> Decision {
    match failure.class {
        Class::Definite if failure.is_data_fault => return Decision::Split,
        Class::Definite if failure.maybe_remaining.is_none() => return Decision::RetryAfter(MENDING_PAUSE),
        Class::Definite => return Decision::GiveUp,
        Class::Transient | Class::Unknown | Class::Auth => {}
    }
    let doubled = FIRST_PAUSE.saturating_mul(1 << failure.attempts.saturating_sub(1).min(10));
    let pause = doubled.min(LONGEST_PAUSE).mul_f64(0.5 + jitter / 2.0);
    match failure.maybe_remaining {
        Some(remaining) if pause >= remaining => Decision::GiveUp,
        Some(_) | None => Decision::RetryAfter(pause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn failure(class: Class, is_data_fault: bool, attempts: u32, remaining_ms: u64) -> Failure {
        let maybe_remaining = Some(Duration::from_millis(remaining_ms));
        Failure { class, is_data_fault, attempts, maybe_remaining }
    }

    #[rstest]
    #[case(failure(Class::Transient, false, 1, 5000), Decision::RetryAfter(Duration::from_millis(50)))]
    #[case(failure(Class::Unknown, false, 2, 5000), Decision::RetryAfter(Duration::from_millis(100)))]
    #[case(failure(Class::Auth, false, 3, 5000), Decision::RetryAfter(Duration::from_millis(200)))]
    #[case(failure(Class::Transient, false, 60, 5000), Decision::RetryAfter(Duration::from_secs(1)))]
    #[case(failure(Class::Transient, false, 1, 10), Decision::GiveUp)]
    #[case(failure(Class::Definite, false, 1, 5000), Decision::GiveUp)]
    #[case(failure(Class::Definite, true, 1, 0), Decision::Split)]
    fn the_class_decides(#[case] failure: Failure, #[case] expected: Decision) {
        assert_eq!(decide(failure, 1.0), expected);
    }

    #[rstest]
    #[case(Class::Transient, 40, Duration::from_secs(1))]
    #[case(Class::Unknown, 40, Duration::from_secs(1))]
    #[case(Class::Definite, 1, MENDING_PAUSE)]
    fn without_an_end_every_failure_is_tried_again(
        #[case] class: Class,
        #[case] attempts: u32,
        #[case] pause: Duration,
    ) {
        let failure = Failure { class, is_data_fault: false, attempts, maybe_remaining: None };
        assert_eq!(decide(failure, 1.0), Decision::RetryAfter(pause));
    }
}
