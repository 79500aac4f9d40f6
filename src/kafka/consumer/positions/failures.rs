//! What goes wrong with a partition, for how long, and when a poll says so: failures that are retried, and errors that wait for the application
//! to seek.

use std::time::Duration;

use tokio::time::Instant;

use super::partition::Partition;
use super::positions::Positions;
use crate::kafka::error::may_pass;
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
    /// The next poll returns it, however short it lasts.
    pub untold: bool,
}

impl Positions {
    /// Nothing of the partition is read, and nobody asked about it, until the application seeks: what was fetched ahead is forgotten, the
    /// position stays.
    pub fn stop(&mut self, partition: &TopicPartition, version: u64, error: Error) {
        let new_version = self.new_version();
        if let Some(known) = self.current(partition, version) {
            known.restart(new_version, known.place);
            known.stopped = Some(Stopped { error, told: None });
            self.failing.insert(partition.clone());
        }
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
        // Repeating cannot help: there is no point in waiting for what does not pass.
        failure.untold = !may_pass(error);
        let attempts = failure.attempts;
        known.not_before = Some(now + pause(attempts));
        self.failing.insert(partition.clone());
        attempts
    }

    /// What a poll must return instead of records. The error of a partition that is stopped comes at once, and then every `pause`. One that
    /// repeating cannot help comes with each attempt that it ends; any other once it has gone on for `patience`, and then once per such time.
    /// What all partitions of a request failed of comes once for all of them.
    pub fn next_error(
        &mut self,
        now: Instant,
        patience: Duration,
        pause: Duration,
    ) -> Option<Error> {
        let mut due: Option<Error> = None;
        let partitions = &mut self.partitions;
        self.failing.retain(|name| {
            let Some(known) = partitions.get_mut(name) else {
                return false;
            };
            match &due {
                None => due = known.due(now, patience, pause),
                Some(error) if error.partition().is_none() => known.told_of(error, now),
                Some(_) => {}
            }
            known.failure.is_some() || known.stopped.is_some()
        });
        due
    }
}

impl Partition {
    fn due(&mut self, now: Instant, patience: Duration, pause: Duration) -> Option<Error> {
        if let Some(stopped) = &mut self.stopped {
            let is_due = stopped.told.is_none_or(|told| told + pause <= now);
            return is_due.then(|| {
                stopped.told = Some(now);
                stopped.error.clone()
            });
        }
        let goes_on = self.gone || self.asking;
        let again_at = self.not_before;
        let failure = self.failure.as_mut()?;
        // What does not exist is not tried, and goes on failing; so does what is being tried again, or will be after a pause.
        let last = match again_at {
            _ if goes_on => now,
            Some(at) => now.min(at).max(failure.last),
            None => failure.last,
        };
        let overdue = last.duration_since(failure.since) >= patience;
        if overdue {
            failure.since = now;
        }
        let untold = std::mem::take(&mut failure.untold);
        (untold || overdue).then(|| failure.error.clone().not_the_end())
    }

    /// A poll returns `error`, of which another partition failed as well.
    fn told_of(&mut self, error: &Error, now: Instant) {
        let failure = self.failure.as_mut();
        let same = |failure: &&mut Failure| {
            failure.error.kind() == error.kind() && failure.error.partition().is_none()
        };
        if let Some(failure) = failure.filter(same) {
            failure.untold = false;
            failure.since = now;
        }
    }
}

impl Failure {
    pub fn new(now: Instant, error: &Error) -> Self {
        Self {
            since: now,
            last: now,
            attempts: 0,
            error: error.clone(),
            untold: false,
        }
    }
}
