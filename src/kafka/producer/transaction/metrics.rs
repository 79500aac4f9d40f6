//! What transactions count: written once for each of them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::time::Duration;

use super::state::Ended;
use crate::kafka::WriteOutcome;
use crate::kafka::observe::{Histogram, Latency};

/// What a transactional producer's transactions have come to so far. Those that are neither committed nor aborted nor unknown are under way.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TransactionMetrics {
    /// Transactions that were begun.
    pub begun: u64,
    /// Those that were committed, as the coordinator said.
    pub committed: u64,
    /// Those that were aborted: as the application asked, or because something of them failed.
    pub aborted: u64,
    /// Those of which nobody can tell any more whether they were committed.
    pub unknown: u64,
    /// 1 when another producer has taken over the transactional id.
    pub fenced: u64,
    /// From needing a producer id and epoch to having them: once for a producer, after failures, and on clusters before Kafka 4 after some
    /// aborts.
    pub init_latency: Latency,
    /// From `send_offsets` to the group's answer.
    pub offsets_latency: Latency,
    /// From the call of `commit` to the coordinator's answer, the records that were not yet written included.
    pub commit_latency: Latency,
    /// From the begin of an abort, by the application or after a failure, to its end.
    pub abort_latency: Latency,
}

/// The counters behind [`TransactionMetrics`].
#[derive(Default)]
pub(in crate::kafka::producer) struct TransactionCounters {
    begun: AtomicU64,
    committed: AtomicU64,
    aborted: AtomicU64,
    unknown: AtomicU64,
    fenced: AtomicU64,
    init_latency: Histogram,
    offsets_latency: Histogram,
    commit_latency: Histogram,
    abort_latency: Histogram,
}

/// Without the buckets, of which there are many.
impl fmt::Debug for TransactionCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionCounters")
            .finish_non_exhaustive()
    }
}

impl TransactionCounters {
    pub fn begun(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    pub fn fenced(&self) {
        self.fenced.fetch_add(1, Relaxed);
    }

    pub fn initialised(&self, took: Duration) {
        self.init_latency.record(took);
    }

    pub fn offsets_sent(&self, took: Duration) {
        self.offsets_latency.record(took);
    }

    /// A transaction ended, so long after it was asked to.
    pub(super) fn ended(&self, how: &Ended, took: Option<Duration>) {
        let (count, latency) = match how {
            Ended::Committed => (&self.committed, Some(&self.commit_latency)),
            Ended::Failed(error) if error.outcome() == WriteOutcome::Unknown => {
                (&self.unknown, None)
            }
            Ended::Aborted | Ended::Failed(_) => (&self.aborted, Some(&self.abort_latency)),
        };
        count.fetch_add(1, Relaxed);
        if let Some((latency, took)) = latency.zip(took) {
            latency.record(took);
        }
    }

    pub fn read(&self) -> TransactionMetrics {
        TransactionMetrics {
            begun: self.begun.load(Relaxed),
            committed: self.committed.load(Relaxed),
            aborted: self.aborted.load(Relaxed),
            unknown: self.unknown.load(Relaxed),
            fenced: self.fenced.load(Relaxed),
            init_latency: self.init_latency.read(),
            offsets_latency: self.offsets_latency.read(),
            commit_latency: self.commit_latency.read(),
            abort_latency: self.abort_latency.read(),
        }
    }
}
