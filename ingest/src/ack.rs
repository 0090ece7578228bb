//! The promise of an answer to one request: resolved exactly once, or dropped, which means a retryable failure.

use std::ops::Range;

use tokio::sync::oneshot;

/// The storage cannot take events now. Nothing about why: that is logged where it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("events cannot be stored at the moment")]
pub struct Unavailable;

/// What became of the events of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Events that ClickHouse definitely refused, each for its own content.
    pub refused: usize,
}

/// The side that answers.
#[derive(Debug)]
pub struct Ack(oneshot::Sender<Result<Stored, Unavailable>>);

/// The side that waits.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<Stored, Unavailable>>);

/// Makes both sides.
pub fn promise() -> (Ack, Receipt) {
    let (sender, receiver) = oneshot::channel();
    (Ack(sender), Receipt(receiver))
}

impl Ack {
    /// Answers. A client that went away is nobody's problem.
    pub fn resolve(self, outcome: Result<Stored, Unavailable>) {
        if self.0.send(outcome).is_err() {
            tracing::debug!("the client did not wait for its answer");
        }
    }
}

impl Receipt {
    /// Waits for the answer.
    pub async fn wait(self) -> Result<Stored, Unavailable> {
        self.0.await.unwrap_or(Err(Unavailable))
    }
}

/// How many of the refused events, in ascending order, fall into a request's share of a batch.
pub fn refused_in(share: &Range<usize>, refused: &[usize]) -> usize {
    let before = |limit: usize| refused.partition_point(|event| *event < limit);
    before(share.end) - before(share.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_ack_that_is_dropped_is_a_retryable_failure() {
        let (ack, receipt) = promise();
        drop(ack);
        assert_eq!(receipt.wait().await, Err(Unavailable));
    }

    #[test]
    fn refusals_are_counted_per_request() {
        let refused = [0, 3, 4, 9];
        assert_eq!(refused_in(&(0..3), &refused), 1);
        assert_eq!(refused_in(&(3..5), &refused), 2);
        assert_eq!(refused_in(&(5..9), &refused), 0);
    }
}
