//! What a consumer does about failures, with all that it takes to decide and to tell of it: the policy, the time, random numbers, the observer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::time::Instant;

use super::policy::{FailurePolicy, Failures, Next};
use super::{DeadLetter, FailureClass, OnFailure};
use crate::events::{Context, HandlerError};
use crate::kafka::observe::{AfterFailure, ClientEvent, Watch, tell};
use crate::kafka::runtime::Mutex;
use crate::kafka::{Backoff, ClientConfig, Clock, Error, Random, TopicPartition};

/// The first and the longest pause between attempts to write a dead letter.
const DEAD_LETTER_PAUSES: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(30));

/// Shared by the workers of a consumer.
#[derive(Debug)]
pub(crate) struct FailureHandling {
    pub policy: FailurePolicy,
    group: String,
    watch: Watch,
    clock: Clock,
    random: Mutex<Random>,
}

/// What becomes of a record after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its handler is called again, then.
    Again(Instant),
    /// It is over: skipped.
    Skipped,
    /// It is written to the dead-letter topic, with this.
    Dead(Box<DeadLetter>),
    /// The consumer stops because of it.
    Stop,
}

impl FailureHandling {
    pub(crate) fn new(policy: FailurePolicy, group: &str, client: &ClientConfig) -> Self {
        Self {
            policy,
            group: group.to_string(),
            watch: client.observer.clone(),
            clock: client.clock,
            random: Mutex::new(client.random("handlers' failures")),
        }
    }

    /// The handler of the record in `context`, in `partition`, has failed with `error`, as often before as `failures` says: notes it there,
    /// tells of it, and returns what becomes of the record.
    pub(crate) fn failed(
        &self,
        partition: &TopicPartition,
        context: &Context<'_>,
        error: &HandlerError,
        failures: &mut Option<Box<Failures>>,
    ) -> Fate {
        let now = Instant::now();
        let failures = failures.get_or_insert_with(|| {
            Box::new(Failures {
                count: 0,
                first: now,
                first_ms: self.clock.now_ms(),
            })
        });
        failures.count = failures.count.saturating_add(1);
        let class = self.policy.class(error);
        let next = (self.policy).next(class, failures, now, &mut self.random.lock());
        let (fate, then) = match (next, &self.policy.on_failure) {
            (Next::Again(pause), _) => (Fate::Again(now + pause), AfterFailure::Retried(pause)),
            // What tells of a failure is the application's too, and may panic as well: then the record is not given up.
            (Next::GiveUp, OnFailure::Skip(skipped))
                if catch_unwind(AssertUnwindSafe(|| skipped(context, error))).is_ok() =>
            {
                (Fate::Skipped, AfterFailure::Skipped)
            }
            (Next::GiveUp, OnFailure::DeadLetter) => {
                let record = context.record();
                let letter = DeadLetter {
                    topic: record.topic.to_string(),
                    partition: record.partition,
                    offset: record.offset,
                    timestamp_ms: record.timestamp_ms,
                    group: self.group.clone(),
                    class,
                    error_type: error.type_name().to_string(),
                    message: error.to_string(),
                    attempts: failures.count,
                    first_failure_ms: failures.first_ms,
                    last_failure_ms: self.clock.now_ms(),
                };
                (Fate::Dead(Box::new(letter)), AfterFailure::DeadLettered)
            }
            _ => (Fate::Stop, AfterFailure::Stopped),
        };
        self.tell(partition, context, (class, error), failures.count, then);
        fate
    }

    /// A dead letter of `partition` could not be written, so often in a row: tells of it, and returns the pause before the next attempt.
    pub(crate) fn dead_letter_failed(
        &self,
        partition: &TopicPartition,
        error: &Error,
        failures: u32,
    ) -> Duration {
        tell(&self.watch, || ClientEvent::Retry {
            what: "writing a dead letter of",
            partition: Some(partition),
            others: 0,
            error,
            failures,
        });
        let (first, longest) = DEAD_LETTER_PAUSES;
        Backoff::pause(first, longest, failures, &mut self.random.lock())
    }

    fn tell(
        &self,
        partition: &TopicPartition,
        context: &Context<'_>,
        (class, error): (FailureClass, &HandlerError),
        attempts: u32,
        then: AfterFailure,
    ) {
        tell(&self.watch, || ClientEvent::HandlerFailed {
            group: &self.group,
            partition,
            offset: context.offset(),
            attempts,
            error: format!("{error} ({class})").into(),
            then,
        });
    }
}
