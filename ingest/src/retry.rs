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
    /// Time left for further attempts.
    pub remaining: Duration,
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Decides; `jitter` is between 0 and 1.
///
/// An unknown outcome is retried with the same bytes and never split, since half of a stored block has another
/// deduplication token and would be stored twice. A definite refusal that is not about the rows, such as a missing
/// table, is no client's fault: rows are kept with their senders until somebody has repaired it.
pub fn decide(failure: Failure, jitter: f64) -> Decision {
    match failure.class {
        Class::Definite if failure.is_data_fault => return Decision::Split,
        Class::Definite => return Decision::GiveUp,
        Class::Transient | Class::Unknown | Class::Auth => {}
    }
    let doubled = FIRST_PAUSE.saturating_mul(1 << failure.attempts.saturating_sub(1).min(10));
    let pause = doubled.min(LONGEST_PAUSE).mul_f64(0.5 + jitter / 2.0);
    if pause < failure.remaining { Decision::RetryAfter(pause) } else { Decision::GiveUp }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn failure(class: Class, is_data_fault: bool, attempts: u32, remaining_ms: u64) -> Failure {
        Failure { class, is_data_fault, attempts, remaining: Duration::from_millis(remaining_ms) }
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
}
