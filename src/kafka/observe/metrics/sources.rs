//! What connections, producers and consumers add to a snapshot.

use std::collections::BTreeMap;
use std::time::Duration;

use super::catalogue::{self as of, Description};
use super::model::{Distribution, Snapshot, Value};

use crate::kafka::TopicPartition;
use crate::kafka::consumer::{ConsumerMetrics, ShareConsumerMetrics};
use crate::kafka::observe::{BrokerMetrics, Latency, Sizes};
use crate::kafka::producer::{ProducerMetrics, TransactionMetrics};

/// What points are told apart by: names of OpenTelemetry's, or ours.
pub(crate) mod attribute {
    pub const CLIENT: &str = "messaging.client.id";
    pub const SYSTEM: &str = "messaging.system";
    pub const OPERATION: &str = "messaging.operation.name";
    pub const OPERATION_TYPE: &str = "messaging.operation.type";
    pub const GROUP: &str = "messaging.consumer.group.name";
    pub const TOPIC: &str = "messaging.destination.name";
    pub const PARTITION: &str = "messaging.destination.partition.id";
    pub const ERROR: &str = "error.type";
    pub const EVENT: &str = "pat_events.event.type";
    pub const TENANT: &str = "pat_events.tenant";
    pub const BROKER: &str = "pat_events.broker.id";
    pub const API: &str = "pat_events.api";
}
use attribute::*;

/// The conventions' word for an error that is not told apart from others.
pub(crate) const OTHER: &str = "_OTHER";

type Labels<'a> = [(&'static str, &'a str)];

/// What one thing adds: the same attributes with each value.
pub(crate) struct Recorder<'a> {
    to: &'a mut Snapshot,
    own: Vec<(&'static str, &'a str)>,
}

impl<'a> Recorder<'a> {
    /// Of a client, and of a member of `group`.
    pub fn new(to: &'a mut Snapshot, client_id: &'a str, group: Option<&'a str>) -> Self {
        let group = group.map(|group| (GROUP, group));
        let own = std::iter::once((CLIENT, client_id)).chain(group).collect();
        Self { to, own }
    }

    pub fn add(&mut self, what: &'static Description, more: &Labels<'_>, value: Value) {
        let attributes = [&self.own[..], more].concat();
        self.to.add(what, &attributes, value);
    }

    pub fn count(&mut self, what: &'static Description, more: &Labels<'_>, count: u64) {
        self.add(what, more, Value::Count(count));
    }

    pub fn seconds(&mut self, what: &'static Description, more: &Labels<'_>, time: Duration) {
        self.add(what, more, Value::Number(time.as_secs_f64()));
    }

    pub fn latency(&mut self, what: &'static Description, more: &Labels<'_>, latency: &Latency) {
        let value = Distribution {
            bounds: &Latency::BOUNDS,
            counts: latency.buckets.to_vec(),
            sum: latency.sum.as_secs_f64(),
        };
        self.add(what, more, Value::Distribution(value));
    }

    fn sizes(&mut self, what: &'static Description, sizes: &Sizes) {
        let value = Distribution {
            bounds: &Sizes::BOUNDS,
            counts: sizes.buckets.to_vec(),
            sum: sizes.sum as f64,
        };
        self.add(what, &[], Value::Distribution(value));
    }

    /// How far `partition` is behind.
    pub fn lag(
        &mut self,
        [records, time]: [&'static Description; 2],
        partition: &TopicPartition,
        lag: Option<u64>,
        age: Option<Duration>,
    ) {
        let number = partition.partition.to_string();
        let labels = [(TOPIC, &*partition.topic), (PARTITION, &number)];
        if let Some(lag) = lag {
            self.count(records, &labels, lag);
        }
        if let Some(age) = age {
            self.seconds(time, &labels, age);
        }
    }
}

pub(crate) fn of_producer(to: &mut Recorder<'_>, metrics: &ProducerMetrics) {
    let send = [(SYSTEM, "kafka"), (OPERATION, "send")];
    let failed = [&send[..], &[(ERROR, OTHER)]].concat();
    to.count(&of::SENT_MESSAGES, &send, metrics.records_delivered);
    to.count(&of::SENT_MESSAGES, &failed, metrics.records_failed);
    let timed = [&send[..], &[(OPERATION_TYPE, "send")]].concat();
    to.latency(&of::OPERATION_DURATION, &timed, &metrics.delivery_latency);
    for (what, count) in [
        (&of::PRODUCER_BYTES_SENT, metrics.bytes_sent),
        (&of::PRODUCER_BYTES_DELIVERED, metrics.bytes_delivered),
        (&of::PRODUCER_BATCHES, metrics.batches_sent),
        (&of::PRODUCER_REQUESTS, metrics.requests_sent),
        (&of::PRODUCER_RETRIES, metrics.retries),
        (&of::PRODUCER_SPLITS, metrics.splits),
        (&of::PRODUCER_BUFFER_USED, metrics.buffer_bytes_used as u64),
        (
            &of::PRODUCER_REQUESTS_IN_FLIGHT,
            metrics.requests_in_flight as u64,
        ),
    ] {
        to.count(what, &[], count);
    }
    to.latency(&of::PRODUCER_QUEUE_DURATION, &[], &metrics.queue_latency);
    to.sizes(&of::PRODUCER_BATCH_MESSAGES, &metrics.batch_records);
    to.sizes(&of::PRODUCER_BATCH_SIZE, &metrics.batch_bytes);
    if let Some(transactions) = &metrics.transactions {
        of_transactions(to, transactions);
    }
}

fn of_transactions(to: &mut Recorder<'_>, metrics: &TransactionMetrics) {
    for (what, count) in [
        (&of::TRANSACTIONS_BEGUN, metrics.begun),
        (&of::TRANSACTIONS_COMMITTED, metrics.committed),
        (&of::TRANSACTIONS_ABORTED, metrics.aborted),
        (&of::TRANSACTIONS_UNKNOWN, metrics.unknown),
        (&of::TRANSACTIONS_FENCED, metrics.fenced),
    ] {
        to.count(what, &[], count);
    }
    for (what, latency) in [
        (&of::TRANSACTION_INIT_DURATION, &metrics.init_latency),
        (&of::TRANSACTION_OFFSETS_DURATION, &metrics.offsets_latency),
        (&of::TRANSACTION_COMMIT_DURATION, &metrics.commit_latency),
        (&of::TRANSACTION_ABORT_DURATION, &metrics.abort_latency),
    ] {
        to.latency(what, &[], latency);
    }
}

pub(crate) fn of_consumer(to: &mut Recorder<'_>, metrics: &ConsumerMetrics) {
    let poll = [(SYSTEM, "kafka"), (OPERATION, "poll")];
    let timed = [&poll[..], &[(OPERATION_TYPE, "receive")]].concat();
    to.count(&of::CONSUMED_MESSAGES, &poll, metrics.records);
    to.latency(&of::OPERATION_DURATION, &timed, &metrics.fetch_latency);
    for (what, count) in [
        (&of::CONSUMER_BYTES, metrics.bytes),
        (&of::CONSUMER_BUFFER_USED, metrics.bytes_held as u64),
        (&of::CONSUMER_ASSIGNED, metrics.assigned as u64),
        (&of::CONSUMER_REBALANCES, metrics.rebalances),
        (&of::CONSUMER_POSITION_RESETS, metrics.resets.resets),
        (&of::CONSUMER_PASSED_OVER, metrics.resets.passed_over),
    ] {
        to.count(what, &[], count);
    }
    if let Some(epoch) = metrics.group_epoch.and_then(|it| u64::try_from(it).ok()) {
        to.count(&of::CONSUMER_GROUP_EPOCH, &[], epoch);
    }
    to.latency(
        &of::CONSUMER_REBALANCE_DURATION,
        &[],
        &metrics.rebalance_latency,
    );
    to.seconds(&of::CONSUMER_POLL_TIME, &[], metrics.poll_time);
    for (partition, lag) in &metrics.lag {
        let age = metrics.lag_time.get(partition).copied();
        let what = [&of::CONSUMER_LAG, &of::CONSUMER_LAG_TIME];
        to.lag(what, partition, u64::try_from(*lag).ok(), age);
    }
}

pub(crate) fn of_share_consumer(to: &mut Recorder<'_>, metrics: &ShareConsumerMetrics) {
    let poll = [(SYSTEM, "kafka"), (OPERATION, "poll")];
    let timed = [&poll[..], &[(OPERATION_TYPE, "receive")]].concat();
    to.count(&of::CONSUMED_MESSAGES, &poll, metrics.records);
    to.latency(&of::OPERATION_DURATION, &timed, &metrics.fetch_latency);
    let failed = metrics.failed_acknowledgements;
    for (what, count) in [
        (&of::CONSUMER_BYTES, metrics.bytes),
        (&of::CONSUMER_BUFFER_USED, metrics.bytes_held as u64),
        (&of::SHARE_ACQUIRED, metrics.acquired),
        (&of::SHARE_REDELIVERED, metrics.redelivered),
        (&of::SHARE_ACCEPTED, metrics.accepted),
        (&of::SHARE_RELEASED, metrics.released),
        (&of::SHARE_REJECTED, metrics.rejected),
        (&of::SHARE_RENEWED, metrics.renewed),
        (&of::SHARE_ACKNOWLEDGE_FAILURES, failed),
    ] {
        to.count(what, &[], count);
    }
}

pub(crate) fn of_brokers(to: &mut Recorder<'_>, brokers: &BTreeMap<i32, BrokerMetrics>) {
    for (id, metrics) in brokers {
        let id = id.to_string();
        let broker = [(BROKER, &*id)];
        let failed = [(BROKER, &*id), (ERROR, OTHER)];
        to.count(&of::BROKER_CONNECTS, &broker, metrics.connects);
        to.count(&of::BROKER_CONNECTS, &failed, metrics.failed_connects);
        to.count(&of::BROKER_DISCONNECTS, &broker, metrics.disconnects);
        let in_flight = metrics.requests_in_flight as u64;
        to.count(&of::BROKER_REQUESTS_IN_FLIGHT, &broker, in_flight);
        to.latency(
            &of::BROKER_THROTTLE_TIME,
            &broker,
            &metrics.throttle_latency,
        );
        for (api, latency) in &metrics.latency_by_api {
            let labels = [(BROKER, &*id), (API, *api)];
            to.latency(&of::BROKER_REQUEST_DURATION, &labels, latency);
        }
    }
}
