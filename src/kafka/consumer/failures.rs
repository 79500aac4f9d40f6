//! What becomes of what failed: partitions pause, polls say why, the observer is told.

use std::time::Duration;

use tokio::time::Instant;

use super::state::ConsumerContext;
use crate::kafka::observe::ClientEvent;
use crate::kafka::{Backoff, Error, TopicPartition};

/// How long, at most, between two questions whether a partition that is gone is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl ConsumerContext {
    /// The pause before the repetition that follows `attempts` failures (KIP-580).
    pub fn pause(&self, attempts: u32) -> Duration {
        self.pause_up_to(attempts, self.config.client.retry_backoff_max)
    }

    /// The pause before the metadata is asked again about a partition that does not exist, by its `attempts` so far.
    pub fn long_pause(&self, attempts: u32) -> Duration {
        self.pause_up_to(attempts, LONGEST_PAUSE)
    }

    fn pause_up_to(&self, attempts: u32, longest: Duration) -> Duration {
        let first = self.config.client.retry_backoff;
        Backoff::pause(first, longest, attempts, &mut self.random.lock())
    }

    /// Something about these partitions failed, all for the same reason: they pause, and the metadata may be to blame.
    pub fn failed<'a>(
        &self,
        partitions: impl IntoIterator<Item = (&'a TopicPartition, u64)>,
        error: &Error,
    ) {
        self.failed_since(Instant::now(), partitions, error);
    }

    /// As [`failed`](Self::failed), of what was asked at `asked`: nothing was heard since.
    pub fn failed_since<'a>(
        &self,
        asked: Instant,
        partitions: impl IntoIterator<Item = (&'a TopicPartition, u64)>,
        error: &Error,
    ) {
        self.failed_with_pause(asked, partitions, error, |attempts| self.pause(attempts));
    }

    /// As [`failed_since`](Self::failed_since), with pauses by the number of attempts.
    pub fn failed_with_pause<'a>(
        &self,
        asked: Instant,
        partitions: impl IntoIterator<Item = (&'a TopicPartition, u64)>,
        error: &Error,
        pause: impl Fn(u32) -> Duration,
    ) {
        let now = Instant::now();
        let mut state = self.state();
        let mut concerned = None::<(&TopicPartition, usize, u32)>;
        for (partition, version) in partitions {
            let failures = state
                .positions
                .failed(partition, version, asked, now, &pause, error);
            let (_, others, most) = concerned.get_or_insert((partition, 0, 0));
            (*others, *most) = (*others + 1, failures.max(*most));
        }
        drop(state);
        if let Some((partition, count, failures @ 1..)) = concerned {
            self.config.client.tell(|| ClientEvent::Retry {
                what: "reading",
                partition: Some(partition),
                others: count - 1,
                error,
                failures,
            });
        }
        self.cluster.refresh();
        self.wake_all();
        // It may be due.
        self.ready.notify_waiters();
    }

    /// Tells the observer that offsets could not be committed.
    pub fn tell_commit_failed(&self, error: &Error, retried: bool) {
        self.config.client.tell(|| ClientEvent::CommitFailed {
            group: self.config.group_id.as_deref().unwrap_or_default(),
            error,
            retried,
        });
    }

    /// Nothing of the partition is read until the application seeks; polls say why.
    pub fn stopped(&self, partition: &TopicPartition, version: u64, error: Error) {
        self.state().positions.stop(partition, version, error);
        self.wake_all();
        self.ready.notify_waiters();
    }
}
