//! What a consumer counts. Written once a poll or a fetch, never once a record.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::ResetCounts;
use super::state::ConsumerContext;
use crate::kafka::TopicPartition;
use crate::kafka::observe::metrics::{Recorder, Snapshot, Source, of_consumer};
use crate::kafka::observe::{BrokerMetrics, Histogram, Latency};

/// What a consumer has done so far, and what it holds now.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ConsumerMetrics {
    /// Records that polls have returned.
    pub records: u64,
    /// Their bytes, uncompressed.
    pub bytes: u64,
    /// The bytes of [`buffer_bytes`](super::ConsumerConfig::buffer_bytes) in use now: on their way, waiting to be polled, and in
    /// [`Records`](super::Records) not yet dropped.
    pub bytes_held: usize,
    /// How long polls have waited, all in all.
    pub poll_time: Duration,
    /// How many partitions are assigned.
    pub assigned: usize,
    /// The generation, or by the consumer protocol the epoch, in which the consumer is a member of its group; `None` while it is none.
    pub group_epoch: Option<i32>,
    /// From sending a fetch to its response, what the broker waited for new records included.
    pub fetch_latency: Latency,
    /// [`lag`](super::ConsumerHandle::lag) of each assigned partition of which it is known.
    pub lag: BTreeMap<TopicPartition, i64>,
    /// [`lag_time`](super::ConsumerHandle::lag_time) of each assigned partition of which it is known.
    pub lag_time: BTreeMap<TopicPartition, Duration>,
    /// How often the group has assigned partitions to this member, none included.
    pub rebalances: u64,
    /// How long rebalances took: from their begin, or that of joining, to the assignment.
    pub rebalance_latency: Latency,
    /// How often the client moved a position by itself.
    pub resets: ResetCounts,
    /// What goes on with each broker, by its id, counted for all that shares the client ([`Client::broker_metrics`](crate::kafka::Client::broker_metrics)).
    pub brokers: BTreeMap<i32, BrokerMetrics>,
}

/// The counters behind [`ConsumerMetrics`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    records: AtomicU64,
    bytes: AtomicU64,
    polled_us: AtomicU64,
    pub fetch_latency: Histogram,
    pub rebalances: AtomicU64,
    pub rebalance_latency: Histogram,
}

impl Counters {
    /// A poll returns so much.
    pub fn read(&self, records: usize, bytes: usize) {
        self.records.fetch_add(records as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// A poll has waited so long.
    pub fn waited(&self, time: Duration) {
        let us = time.as_micros() as u64;
        self.polled_us.fetch_add(us, Relaxed);
    }

    /// The counted part of the metrics.
    pub fn metrics(&self) -> ConsumerMetrics {
        ConsumerMetrics {
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            poll_time: Duration::from_micros(self.polled_us.load(Relaxed)),
            fetch_latency: self.fetch_latency.read(),
            rebalances: self.rebalances.load(Relaxed),
            rebalance_latency: self.rebalance_latency.read(),
            ..ConsumerMetrics::default()
        }
    }
}

/// A consumer, as it is measured.
pub(super) struct MeasuredConsumer {
    pub client_id: String,
    pub group: Option<String>,
    pub context: Weak<ConsumerContext>,
    pub counters: Arc<Counters>,
}

impl Source for MeasuredConsumer {
    fn measure(&self, to: &mut Snapshot) -> bool {
        let context = self.context.upgrade();
        let metrics = match &context {
            Some(context) => context.own_metrics(),
            None => self.counters.metrics(),
        };
        let mut to = Recorder::new(to, &self.client_id, self.group.as_deref());
        of_consumer(&mut to, &metrics);
        context.is_some()
    }
}
