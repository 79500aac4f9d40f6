//! What a consumer of events counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::error::ConsumerError;
use crate::events::tenants::TenantCounts;
use crate::events::{CircuitState, TenantMetrics};
use crate::kafka::consumer::{PositionReset, ResetCounts};
use crate::kafka::observe::{Histogram, Latency};
use crate::kafka::runtime::Mutex;
use crate::kafka::{Error, TopicPartition};

/// What a consumer of events has done since its start, and how far it is behind.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConsumerMetrics {
    /// Records fetched.
    pub received: u64,
    /// Bytes of what was handed out to be handled: keys, values, and headers with 8 bytes more for each.
    pub received_bytes: u64,
    /// Records whose handler has finished its work, whatever they were.
    pub handled: u64,
    /// Of these, the events of the set: by their type, in the order of the declaration.
    pub handled_by_type: BTreeMap<&'static str, u64>,
    /// Events whose type is not in the set: skipped, unless `handle_unknown` is implemented.
    pub unknown: u64,
    /// Records that are no event, or could not be read.
    pub undecodable: u64,
    /// Records whose handler failed for the last time: what [`OnFailure`](crate::events::OnFailure) says was done about them.
    pub failed: u64,
    /// Calls of handlers that failed and are repeated.
    pub retried: u64,
    /// Calls of handlers that were dropped because they took longer than `handler.timeout.ms`.
    pub timed_out: u64,
    /// Dead letters written.
    pub dead_lettered: u64,
    /// Of these, such as were written without a part of the record, because all of it is too large for the topic.
    pub dead_letters_reduced: u64,
    /// Attempts to write dead letters that failed and are repeated.
    pub dead_letter_failures: u64,
    /// Records that failed and were written to a [retry topic](crate::events::RetryTopics).
    pub sent_to_retry: u64,
    /// Records that were written to a retry topic behind another of their key, unhandled.
    pub sent_behind: u64,
    /// Attempts to write to retry topics that failed and are repeated.
    pub retry_topic_failures: u64,
    /// Records that are under way in retry topics, of the partitions that are assigned now.
    pub retry_pending: u64,
    /// Whether records are taken in, or nothing for a while because nearly all handlers failed.
    pub circuit: CircuitState,
    /// How often nothing was taken in for a while.
    pub circuit_opened: u64,
    /// Records passed over because they had been finished before a restart.
    pub repeated: u64,
    /// Commits that the broker has taken, each of one or more partitions.
    pub commits: u64,
    /// Commits that failed; what they held goes into the next one.
    pub failed_commits: u64,
    /// Polls that failed and were repeated.
    pub failed_polls: u64,
    /// What the last poll, commit or attempt to write to a retry topic that failed did so with.
    pub last_error: Option<Error>,
    /// How often the client moved a position by itself, because there was no offset to go on from or it was not in the log any more, and
    /// how many offsets it passed over thereby, as far as that is known.
    pub resets: ResetCounts,
    /// The last time that it did so.
    pub last_reset: Option<PositionReset>,
    /// How long handlers took.
    pub handler_latency: Latency,
    /// How many records are not finished, in all partitions together: those that wait in the log, as of the last response about its end, and
    /// those that were fetched and wait for their handlers or are with them. After the end of the consumer: how many were not finished then.
    pub lag: u64,
    /// The same for each assigned partition. One of which nothing is known yet is not in it.
    pub lag_by_partition: BTreeMap<TopicPartition, u64>,
    /// How old the oldest event of each assigned partition is that is fetched and not finished, by its timestamp; or else the last one that
    /// was finished, where there are others to read; zero where there are none. One of which nothing is known yet is not in it.
    pub lag_time_by_partition: BTreeMap<TopicPartition, Duration>,
    /// Records whose tenant the [filter](crate::events::ConsumerConfig::tenant_filter) left out.
    pub filtered: u64,
    /// The [tenants](crate::events::ConsumerConfig::tenants) that most events came for, the busiest first, and then all others together.
    pub tenants: Vec<TenantMetrics>,
    /// The event that was fetched longest ago and is not finished: one that gets ever older is with a handler that is stuck.
    pub oldest: Option<OldestEvent>,
}

/// An event that has been fetched and is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OldestEvent {
    /// Where it stands.
    pub partition: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// How long ago it was fetched.
    pub age: Duration,
}

/// The counters of one worker: its own, so that workers do not take each other's cache lines.
#[derive(Debug)]
pub(crate) struct WorkerCounters {
    pub handled: AtomicU64,
    pub handled_by_type: Box<[AtomicU64]>,
    pub unknown: AtomicU64,
    pub undecodable: AtomicU64,
    pub failed: AtomicU64,
    pub retried: AtomicU64,
    pub timed_out: AtomicU64,
    pub handler_latency: Histogram,
}

impl WorkerCounters {
    pub(crate) fn new(types: usize) -> Self {
        Self {
            handled: AtomicU64::new(0),
            handled_by_type: (0..types).map(|_| AtomicU64::new(0)).collect(),
            unknown: AtomicU64::new(0),
            undecodable: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
            handler_latency: Histogram::default(),
        }
    }
}

/// Everything counted in one run of a consumer.
#[derive(Debug)]
pub(crate) struct Counters {
    pub received: AtomicU64,
    pub received_bytes: AtomicU64,
    pub repeated: AtomicU64,
    pub filtered: AtomicU64,
    pub tenants: Mutex<TenantCounts>,
    pub dead_lettered: AtomicU64,
    pub dead_letters_reduced: AtomicU64,
    pub dead_letter_failures: AtomicU64,
    pub sent_to_retry: AtomicU64,
    pub sent_behind: AtomicU64,
    pub retry_topic_failures: AtomicU64,
    pub commits: AtomicU64,
    failed_commits: AtomicU64,
    failed_polls: AtomicU64,
    last_error: Mutex<Option<Error>>,
    /// What it has ended by.
    ended_by: Mutex<Option<String>>,
    resets: Mutex<(ResetCounts, Option<PositionReset>)>,
    pub workers: Vec<WorkerCounters>,
}

impl Counters {
    pub(crate) fn new(workers: usize, types: usize) -> Self {
        Self {
            received: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            tenants: Mutex::default(),
            dead_lettered: AtomicU64::new(0),
            dead_letters_reduced: AtomicU64::new(0),
            dead_letter_failures: AtomicU64::new(0),
            sent_to_retry: AtomicU64::new(0),
            sent_behind: AtomicU64::new(0),
            retry_topic_failures: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            failed_commits: AtomicU64::new(0),
            failed_polls: AtomicU64::new(0),
            last_error: Mutex::new(None),
            ended_by: Mutex::default(),
            resets: Mutex::default(),
            workers: (0..workers).map(|_| WorkerCounters::new(types)).collect(),
        }
    }

    /// The run has ended by itself.
    pub(crate) fn ended(&self, error: &ConsumerError) {
        *self.ended_by.lock() = Some(error.to_string());
    }

    /// What the run has ended by, unless it was stopped, or goes on.
    pub(crate) fn ended_by(&self) -> Option<String> {
        self.ended_by.lock().clone()
    }

    pub(crate) fn failed_to_poll(&self, error: Error) {
        count(&self.failed_polls, 1);
        *self.last_error.lock() = Some(error);
    }

    /// A record could not be written to a retry topic.
    pub(crate) fn failed_to_send(&self, error: Error) {
        count(&self.retry_topic_failures, 1);
        *self.last_error.lock() = Some(error);
    }

    pub(crate) fn failed_to_commit(&self, error: Error) {
        count(&self.failed_commits, 1);
        *self.last_error.lock() = Some(error);
    }

    /// The client moved a position by itself.
    pub(crate) fn reset(&self, reset: &PositionReset) {
        let (counts, last) = &mut *self.resets.lock();
        counts.resets += 1;
        counts.passed_over += reset.passed_over.unwrap_or(0);
        *last = Some(reset.clone());
    }

    /// What failed last.
    pub(crate) fn last_error(&self) -> Option<Error> {
        self.last_error.lock().clone()
    }

    /// How many records were handled, in all.
    pub(crate) fn handled(&self) -> u64 {
        self.workers
            .iter()
            .map(|worker| read(&worker.handled))
            .sum()
    }

    /// What was counted; the lag, the oldest event, the circuit and the tenants are for others to fill in.
    pub(crate) fn summary(&self, types: &'static [&'static str]) -> ConsumerMetrics {
        let sum = |counter: fn(&WorkerCounters) -> &AtomicU64| {
            self.workers
                .iter()
                .map(|worker| read(counter(worker)))
                .sum()
        };
        let (resets, last_reset) = self.resets.lock().clone();
        ConsumerMetrics {
            resets,
            last_reset,
            received: read(&self.received),
            received_bytes: read(&self.received_bytes),
            handled: sum(|worker| &worker.handled),
            handled_by_type: types
                .iter()
                .enumerate()
                .map(|(i, name)| {
                    let workers = self.workers.iter();
                    (
                        *name,
                        workers.map(|worker| read(&worker.handled_by_type[i])).sum(),
                    )
                })
                .collect(),
            unknown: sum(|worker| &worker.unknown),
            undecodable: sum(|worker| &worker.undecodable),
            failed: sum(|worker| &worker.failed),
            retried: sum(|worker| &worker.retried),
            timed_out: sum(|worker| &worker.timed_out),
            circuit: CircuitState::default(),
            circuit_opened: 0,
            dead_lettered: read(&self.dead_lettered),
            dead_letters_reduced: read(&self.dead_letters_reduced),
            dead_letter_failures: read(&self.dead_letter_failures),
            sent_to_retry: read(&self.sent_to_retry),
            sent_behind: read(&self.sent_behind),
            retry_topic_failures: read(&self.retry_topic_failures),
            retry_pending: 0,
            repeated: read(&self.repeated),
            filtered: read(&self.filtered),
            tenants: Vec::new(),
            commits: read(&self.commits),
            failed_commits: read(&self.failed_commits),
            failed_polls: read(&self.failed_polls),
            last_error: self.last_error(),
            handler_latency: Histogram::read_all(
                self.workers.iter().map(|worker| &worker.handler_latency),
            ),
            lag: 0,
            lag_by_partition: BTreeMap::new(),
            lag_time_by_partition: BTreeMap::new(),
            oldest: None,
        }
    }
}

pub(crate) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
