//! What goes wrong with a partition, for how long, and when a poll says so: failures that are retried, and errors that wait for the application
//! to seek.

use std::time::Duration;

use tokio::time::Instant;

use super::partition::Partition;
use super::positions::Positions;
use crate::kafka::{Error, TopicPartition};

/// Why nothing of a partition is read until the application seeks, and when a poll said so last.
#[derive(Debug)]
pub(super) struct Stopped {
    pub error: Error,
    pub told: Option<Instant>,
}

/// What has been failing without a success in between.
#[derive(Debug)]
pub(super) struct Failure {
    pub since: Instant,
    /// The last failure: what is not tried, because it is paused or is somebody else's now, is not failing.
    pub last: Instant,
    pub attempts: u32,
    pub error: Error,
}

impl Positions {
    /// Nothing of the partition is read until the application seeks: what was fetched ahead is forgotten, the position stays.
    pub fn stop(&mut self, partition: &TopicPartition, version: u64, error: Error) {
        let new_version = self.new_version();
        if let Some(known) = self.current(partition, version) {
            known.restart(new_version, known.place);
            known.stopped = Some(Stopped { error, told: None });
        }
    }

    /// The error of a partition that is stopped: at once, and then every `pause`.
    pub fn stopped(&mut self, now: Instant, pause: Duration) -> Option<Error> {
        let stopped = self.partitions.values_mut().find_map(|known| {
            known
                .stopped
                .as_mut()
                .filter(|stopped| stopped.told.is_none_or(|told| told + pause <= now))
        })?;
        stopped.told = Some(now);
        Some(stopped.error.clone())
    }

    /// A question or a fetch of this partition failed: try again after a pause, the leader if it was another replica, and remember for how
    /// long it has been so: nothing was heard since it was `asked`. Returns how often in a row it failed.
    pub fn failed(
        &mut self,
        partition: &TopicPartition,
        version: u64,
        asked: Instant,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
        error: &Error,
    ) -> u32 {
        let Some(known) = self.current(partition, version) else {
            return 0;
        };
        known.asking = false;
        known.preferred = None;
        let failure = known
            .failure
            .get_or_insert_with(|| Failure::new(asked, error));
        failure.last = now;
        failure.attempts += 1;
        failure.error = error.clone();
        let attempts = failure.attempts;
        known.not_before = Some(now + pause(attempts));
        attempts
    }

    /// The error of a partition that has gone on failing for `patience`; it is returned once per such time.
    pub fn overdue(&mut self, now: Instant, patience: Duration) -> Option<Error> {
        let overdue = |known: &mut Partition| {
            let goes_on = known.gone || known.asking;
            let again_at = known.not_before;
            let failure = known.failure.as_mut()?;
            // What does not exist is not tried, and goes on failing; so does what is being tried again, or will be after a pause.
            let last = match again_at {
                _ if goes_on => now,
                Some(at) => now.min(at).max(failure.last),
                None => failure.last,
            };
            if last.duration_since(failure.since) < patience {
                return None;
            }
            failure.since = now;
            Some(failure.error.clone().not_the_end())
        };
        self.partitions.values_mut().find_map(overdue)
    }
}

impl Failure {
    pub fn new(now: Instant, error: &Error) -> Self {
        Self {
            since: now,
            last: now,
            attempts: 0,
            error: error.clone(),
        }
    }
}
