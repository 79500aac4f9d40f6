//! What the producer counts. Written once a batch or a request, never once a record.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use super::state::ProducerState;
use super::transaction::{TransactionCounters, TransactionMetrics};
use crate::kafka::observe::metrics::{Recorder, Snapshot, Source, of_producer};
use crate::kafka::observe::{BrokerMetrics, Histogram, Latency, SizeHistogram, Sizes};

/// What a producer has done so far, and what it holds now.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ProducerMetrics {
    /// Records accepted by `send`, `enqueue` and `try_enqueue`.
    pub records_accepted: u64,
    /// Records acknowledged.
    pub records_delivered: u64,
    /// Records that failed for good.
    pub records_failed: u64,
    /// Bytes of acknowledged batches, before compression.
    pub bytes_delivered: u64,
    /// Bytes of batches handed to connections, compressed, repetitions included.
    pub bytes_sent: u64,
    /// Batches handed to connections, repetitions included.
    pub batches_sent: u64,
    /// Produce requests handed to connections.
    pub requests_sent: u64,
    /// Batches sent again.
    pub retries: u64,
    /// Batches split because a broker found them too large.
    pub splits: u64,
    /// Produce requests in flight now.
    pub requests_in_flight: usize,
    /// Bytes of the buffer in use now.
    pub buffer_bytes_used: usize,
    /// From handing a request to its connection to its answer.
    pub request_latency: Latency,
    /// From opening a batch, with its first record, to the request that it was first sent with.
    pub queue_latency: Latency,
    /// From opening a batch, with its first record, to its acknowledgement.
    pub delivery_latency: Latency,
    /// How many records acknowledged batches had.
    pub batch_records: Sizes,
    /// How many bytes acknowledged batches had, before compression.
    pub batch_bytes: Sizes,
    /// What its transactions have come to, of a transactional producer.
    pub transactions: Option<TransactionMetrics>,
    /// What goes on with each broker, by its id, counted for all that shares the client ([`Client::broker_metrics`](crate::kafka::Client::broker_metrics)).
    pub brokers: BTreeMap<i32, BrokerMetrics>,
}

/// The counters behind [`ProducerMetrics`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub records_delivered: AtomicU64,
    pub records_failed: AtomicU64,
    pub bytes_delivered: AtomicU64,
    pub bytes_sent: AtomicU64,
    pub batches_sent: AtomicU64,
    pub requests_sent: AtomicU64,
    pub retries: AtomicU64,
    pub splits: AtomicU64,
    pub request_latency: Histogram,
    pub queue_latency: Histogram,
    pub delivery_latency: Histogram,
    pub batch_records: SizeHistogram,
    pub batch_bytes: SizeHistogram,
    /// Of a transactional producer.
    pub transactions: Option<Arc<TransactionCounters>>,
}

pub(super) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Relaxed);
}

impl Counters {
    /// The counted part of the metrics.
    pub fn read(&self) -> ProducerMetrics {
        ProducerMetrics {
            records_delivered: self.records_delivered.load(Relaxed),
            records_failed: self.records_failed.load(Relaxed),
            bytes_delivered: self.bytes_delivered.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            batches_sent: self.batches_sent.load(Relaxed),
            requests_sent: self.requests_sent.load(Relaxed),
            retries: self.retries.load(Relaxed),
            splits: self.splits.load(Relaxed),
            request_latency: self.request_latency.read(),
            queue_latency: self.queue_latency.read(),
            delivery_latency: self.delivery_latency.read(),
            batch_records: self.batch_records.read(),
            batch_bytes: self.batch_bytes.read(),
            transactions: self.transactions.as_ref().map(|it| it.read()),
            ..ProducerMetrics::default()
        }
    }
}

/// A producer, as it is measured.
pub(super) struct MeasuredProducer {
    pub client_id: String,
    pub state: Weak<ProducerState>,
    pub counters: Arc<Counters>,
}

impl Source for MeasuredProducer {
    fn measure(&self, to: &mut Snapshot) -> bool {
        let state = self.state.upgrade();
        let metrics = match &state {
            Some(state) => state.own_metrics(),
            None => self.counters.read(),
        };
        of_producer(&mut Recorder::new(to, &self.client_id, None), &metrics);
        state.is_some()
    }
}
