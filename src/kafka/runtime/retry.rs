//! The one way in which a request is repeated: pauses that grow, and an end by the deadline.

use tokio::time::{Instant, sleep_until};

use super::Backoff;
use crate::kafka::{Error, Random, Result};

/// The repetitions of one request.
#[derive(Debug)]
pub(crate) struct Retry {
    backoff: Backoff,
    random: Random,
    deadline: Instant,
}

impl Retry {
    /// Repetitions with the pauses of `backoff`, until `deadline`.
    pub fn new(backoff: Backoff, random: Random, deadline: Instant) -> Self {
        Self {
            backoff,
            random,
            deadline,
        }
    }

    /// Waits before what failed with `error` is repeated; fails with it at once when there is no time for that. Cancel safe.
    pub async fn pause(&mut self, error: Error) -> Result<()> {
        let again_at = Instant::now() + self.backoff.failed(&mut self.random);
        if again_at >= self.deadline {
            return Err(error.attempt(self.backoff.failures()));
        }
        sleep_until(again_at).await;
        Ok(())
    }
}
