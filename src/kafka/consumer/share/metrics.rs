//! What a share consumer counts. Written once a poll, a fetch or an answer, never once a record.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use super::acquired::Acquired;
use super::ledger::{ACCEPT, REJECT, RELEASE, RENEW, Run};
use super::state::ShareContext;
use crate::kafka::observe::metrics::{Recorder, Snapshot, Source, of_share_consumer};
use crate::kafka::observe::{BrokerMetrics, Histogram, Latency};

/// What a share consumer has done so far, and what it holds now.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ShareConsumerMetrics {
    /// Records that brokers have locked for this member, those that no poll has returned yet included.
    pub acquired: u64,
    /// Of these, deliveries that were not the first of their record.
    pub redelivered: u64,
    /// Records that polls have returned.
    pub records: u64,
    /// Their bytes, uncompressed.
    pub bytes: u64,
    /// The bytes of [`buffer_bytes`](super::ShareConsumerConfig::buffer_bytes) in use now.
    pub bytes_held: usize,
    /// Records whose acknowledgement a broker has taken: those that were accepted.
    pub accepted: u64,
    /// Those that were released, to be delivered again: by the application, or because they could not be read.
    pub released: u64,
    /// Those that were rejected, never to be delivered again.
    pub rejected: u64,
    /// Locks that were renewed (KIP-1222).
    pub renewed: u64,
    /// Records whose acknowledgement a broker has refused, or has not answered: what was decided of them counts no more.
    pub failed_acknowledgements: u64,
    /// From sending a fetch to its response, what the broker waited for new records included.
    pub fetch_latency: Latency,
    /// What goes on with each broker, by its id, counted for all that shares the client ([`Client::broker_metrics`](crate::kafka::Client::broker_metrics)).
    pub brokers: BTreeMap<i32, BrokerMetrics>,
}

/// The counters behind [`ShareConsumerMetrics`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    acquired: AtomicU64,
    redelivered: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    accepted: AtomicU64,
    released: AtomicU64,
    rejected: AtomicU64,
    renewed: AtomicU64,
    failed: AtomicU64,
    pub fetch_latency: Histogram,
}

/// How many offsets there are from `first` to `last`.
fn count(first: i64, last: i64) -> u64 {
    last.abs_diff(first).saturating_add(1)
}

impl Counters {
    /// A broker says that these were acquired.
    pub fn acquired(&self, acquired: &[Acquired]) {
        for it in acquired {
            let records = count(it.first, it.last);
            self.acquired.fetch_add(records, Relaxed);
            if it.delivery_count > 1 {
                self.redelivered.fetch_add(records, Relaxed);
            }
        }
    }

    /// A poll returns so much.
    pub fn read(&self, records: usize, bytes: usize) {
        self.records.fetch_add(records as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// What became of what was sent to be acknowledged.
    pub fn answered(&self, runs: &[Run], is_taken: bool) {
        for run in runs {
            let counter = match (run.kind, is_taken) {
                (ACCEPT | RELEASE | REJECT | RENEW, false) => &self.failed,
                (ACCEPT, true) => &self.accepted,
                (RELEASE, true) => &self.released,
                (REJECT, true) => &self.rejected,
                (RENEW, true) => &self.renewed,
                // No record is there.
                _ => continue,
            };
            counter.fetch_add(count(run.first, run.last), Relaxed);
        }
    }

    /// The counted part of the metrics.
    pub fn metrics(&self) -> ShareConsumerMetrics {
        ShareConsumerMetrics {
            acquired: self.acquired.load(Relaxed),
            redelivered: self.redelivered.load(Relaxed),
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            released: self.released.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            renewed: self.renewed.load(Relaxed),
            failed_acknowledgements: self.failed.load(Relaxed),
            fetch_latency: self.fetch_latency.read(),
            ..ShareConsumerMetrics::default()
        }
    }
}

/// A share consumer, as it is measured.
pub(super) struct MeasuredShareConsumer {
    pub client_id: String,
    pub group: Option<String>,
    pub context: Weak<ShareContext>,
    pub counters: Arc<Counters>,
}

impl Source for MeasuredShareConsumer {
    fn measure(&self, to: &mut Snapshot) -> bool {
        let context = self.context.upgrade();
        let mut metrics = self.counters.metrics();
        if let Some(context) = &context {
            metrics.bytes_held = context.budget.used();
        }
        let mut to = Recorder::new(to, &self.client_id, self.group.as_deref());
        of_share_consumer(&mut to, &metrics);
        context.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broker_says_is_counted_whatever_it_says() {
        let counters = Counters::default();
        let acquired = |first, last, delivery_count| Acquired {
            first,
            last,
            delivery_count,
        };
        counters.acquired(&[acquired(0, 9, 1), acquired(20, 20, 3)]);
        let run = |first, last, kind| Run { first, last, kind };
        let runs = [run(0, 7, ACCEPT), run(8, 9, super::super::ledger::GAP)];
        counters.answered(&runs, true);
        counters.answered(&[run(20, 20, RELEASE)], false);
        let metrics = counters.metrics();
        assert_eq!((metrics.acquired, metrics.redelivered), (11, 1));
        assert_eq!((metrics.accepted, metrics.failed_acknowledgements), (8, 1));
        assert_eq!(
            (metrics.released, metrics.rejected, metrics.renewed),
            (0, 0, 0)
        );
        counters.acquired(&[acquired(0, i64::MAX, 1)]);
    }
}
