//! Every metric of the client, by its name, unit and kind.
//!
//! Those of OpenTelemetry's messaging conventions have their names, ours begin with `pat_events.`. Those of typed events are in [`events::observe`](crate::events::observe::catalogue).
//!
//! Counters only grow; gauges are as of now. Units are those of UCUM: `s`, `By`, `{message}`. Attributes by which points are told apart are
//! the conventions' (`messaging.client.id`, `messaging.consumer.group.name`, `messaging.destination.name`, …) and, of ours,
//! `pat_events.broker.id` and `pat_events.api`.

/// What a metric is.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// Its name, in OpenTelemetry's manner.
    pub name: &'static str,
    /// Its unit, by UCUM.
    pub unit: &'static str,
    /// How its values follow each other.
    pub kind: MetricKind,
    /// What it says, in a few words.
    pub text: &'static str,
}

/// How the values of a metric follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// They grow.
    Counter,
    /// Each is as of its moment.
    Gauge,
    /// They are counted by size; the counts grow.
    Histogram,
}

/// Writes down metrics, and a list of all of them: name of the constant, kind, name, unit, what it says.
macro_rules! catalogue {
    ($($id:ident $kind:ident $name:literal $unit:literal $text:literal)*) => {
        $(
            #[doc = concat!("`", $name, "` (", $unit, "): ", $text, ".")]
            pub static $id: $crate::kafka::observe::metrics::Description = $crate::kafka::observe::metrics::Description {
                name: $name,
                unit: $unit,
                kind: $crate::kafka::observe::metrics::MetricKind::$kind,
                text: $text,
            };
        )*
        /// All of these.
        pub static ALL: &[&$crate::kafka::observe::metrics::Description] = &[$(&$id),*];
    };
}
pub(crate) use catalogue;

catalogue! {
    SENT_MESSAGES Counter "messaging.client.sent.messages" "{message}" "Messages that were sent, and by error.type those that could not be"
    CONSUMED_MESSAGES Counter "messaging.client.consumed.messages" "{message}" "Messages that polls have returned"
    OPERATION_DURATION Histogram "messaging.client.operation.duration" "s" "Of sends, from the first message of a batch to its acknowledgement; of polls, from a fetch to its response"

    PRODUCER_BYTES_SENT Counter "pat_events.producer.sent" "By" "Bytes of batches handed to connections, compressed, repetitions included"
    PRODUCER_BYTES_DELIVERED Counter "pat_events.producer.delivered" "By" "Bytes of acknowledged batches, before compression"
    PRODUCER_BATCHES Counter "pat_events.producer.batches" "{batch}" "Batches handed to connections, repetitions included"
    PRODUCER_REQUESTS Counter "pat_events.producer.requests" "{request}" "Produce requests handed to connections"
    PRODUCER_RETRIES Counter "pat_events.producer.retries" "{batch}" "Batches sent again"
    PRODUCER_SPLITS Counter "pat_events.producer.splits" "{batch}" "Batches split because a broker found them too large"
    PRODUCER_QUEUE_DURATION Histogram "pat_events.producer.queue.duration" "s" "From the first message of a batch to the request that it was first sent with"
    PRODUCER_BATCH_MESSAGES Histogram "pat_events.producer.batch.messages" "{message}" "Messages of an acknowledged batch"
    PRODUCER_BATCH_SIZE Histogram "pat_events.producer.batch.size" "By" "Bytes of an acknowledged batch, before compression"
    PRODUCER_BUFFER_USED Gauge "pat_events.producer.buffer.used" "By" "Bytes of buffer.memory in use"
    PRODUCER_REQUESTS_IN_FLIGHT Gauge "pat_events.producer.requests.in_flight" "{request}" "Produce requests in flight"

    TRANSACTIONS_BEGUN Counter "pat_events.producer.transactions.begun" "{transaction}" "Transactions that were begun"
    TRANSACTIONS_COMMITTED Counter "pat_events.producer.transactions.committed" "{transaction}" "Transactions that were committed, as the coordinator said"
    TRANSACTIONS_ABORTED Counter "pat_events.producer.transactions.aborted" "{transaction}" "Transactions that were aborted, as the application asked or because something of them failed"
    TRANSACTIONS_UNKNOWN Counter "pat_events.producer.transactions.unknown" "{transaction}" "Transactions of which nobody can tell whether they were committed"
    TRANSACTIONS_FENCED Counter "pat_events.producer.transactions.fenced" "{producer}" "Producers whose transactional id another one has taken over"
    TRANSACTION_INIT_DURATION Histogram "pat_events.producer.transaction.init.duration" "s" "From needing a producer id and epoch to having them"
    TRANSACTION_OFFSETS_DURATION Histogram "pat_events.producer.transaction.offsets.duration" "s" "From offsets that are to be committed in a transaction to the answer of their group"
    TRANSACTION_COMMIT_DURATION Histogram "pat_events.producer.transaction.commit.duration" "s" "From asking for a commit to the coordinator's answer, with the messages that were not yet written"
    TRANSACTION_ABORT_DURATION Histogram "pat_events.producer.transaction.abort.duration" "s" "From the begin of an abort to its end"

    CONSUMER_BYTES Counter "pat_events.consumer.consumed" "By" "Bytes of messages that polls have returned, uncompressed"
    CONSUMER_POLL_TIME Counter "pat_events.consumer.poll.time" "s" "Time that polls have waited"
    CONSUMER_ASSIGNED Gauge "pat_events.consumer.assigned" "{partition}" "Partitions that are assigned"
    CONSUMER_GROUP_EPOCH Gauge "pat_events.consumer.group.epoch" "{epoch}" "The generation, or the member epoch, in which the consumer is a member of its group"
    CONSUMER_BUFFER_USED Gauge "pat_events.consumer.buffer.used" "By" "Bytes of the consumer's buffer in use"
    CONSUMER_LAG Gauge "pat_events.consumer.lag" "{message}" "Messages of a partition that polls have not returned"
    CONSUMER_LAG_TIME Gauge "pat_events.consumer.lag.time" "s" "The age of the last message of a partition that a poll has returned; 0 where there are no others"
    CONSUMER_REBALANCES Counter "pat_events.consumer.rebalances" "{rebalance}" "Assignments from the group"
    CONSUMER_REBALANCE_DURATION Histogram "pat_events.consumer.rebalance.duration" "s" "From the begin of a rebalance, or of joining, to the assignment"
    CONSUMER_POSITION_RESETS Counter "pat_events.consumer.position.resets" "{reset}" "Positions that the client moved by itself"
    CONSUMER_PASSED_OVER Counter "pat_events.consumer.position.passed_over" "{message}" "Messages that such resets passed over, as far as that is known"

    SHARE_ACQUIRED Counter "pat_events.share.acquired" "{message}" "Messages that brokers have locked for a member of a share group"
    SHARE_REDELIVERED Counter "pat_events.share.redelivered" "{message}" "Of these, deliveries that were not the first of their message"
    SHARE_ACCEPTED Counter "pat_events.share.accepted" "{message}" "Messages of a share group that were accepted, as brokers have acknowledged"
    SHARE_RELEASED Counter "pat_events.share.released" "{message}" "Messages of a share group that were released, to be delivered again"
    SHARE_REJECTED Counter "pat_events.share.rejected" "{message}" "Messages of a share group that were rejected, never to be delivered again"
    SHARE_RENEWED Counter "pat_events.share.renewed" "{lock}" "Locks of messages of a share group that were renewed"
    SHARE_ACKNOWLEDGE_FAILURES Counter "pat_events.share.acknowledge.failures" "{message}" "Messages of a share group whose acknowledgement a broker has refused, or has not answered"

    BROKER_CONNECTS Counter "pat_events.broker.connects" "{connection}" "Connections opened, and by error.type attempts that failed"
    BROKER_DISCONNECTS Counter "pat_events.broker.disconnects" "{connection}" "Connections that ended"
    BROKER_REQUESTS_IN_FLIGHT Gauge "pat_events.broker.requests.in_flight" "{request}" "Requests that wait for their response"
    BROKER_REQUEST_DURATION Histogram "pat_events.broker.request.duration" "s" "From handing a request to be written to its response, by API and broker"
    BROKER_THROTTLE_TIME Histogram "pat_events.broker.throttle.duration" "s" "Pauses that responses asked for"
}
