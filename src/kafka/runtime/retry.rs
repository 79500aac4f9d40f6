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
        match self.failed() {
            Some(again_at) => {
                sleep_until(again_at).await;
                Ok(())
            }
            None => Err(error.attempt(self.failures())),
        }
    }

    /// It failed: when to repeat it. `None` when there is no time for that.
    pub fn failed(&mut self) -> Option<Instant> {
        let again_at = Instant::now() + self.backoff.failed(&mut self.random);
        (again_at < self.deadline).then_some(again_at)
    }

    /// How often it failed.
    pub fn failures(&self) -> u32 {
        self.backoff.failures()
    }
}
