//! A batch with its place in its partition and its sequence number, and the rules that keep batches in order.

use protocol::compression::Compression;
use tokio::time::{Duration, Instant};

use crate::kafka::Error;
use crate::kafka::producer::producer_id::ProducerIdAndEpoch;

/// What makes a batch recognisable when it arrives twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchSequence {
    pub producer_id: ProducerIdAndEpoch,
    pub base_sequence: i32,
}

/// A partition's leader, as metadata has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    pub node: i32,
    pub epoch: i32,
}

/// How a producer keeps its batches in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub discipline: Discipline,
    /// The most batches of a partition in flight.
    pub max_in_flight: usize,
    /// How often a batch is sent again.
    pub retries: u32,
}

/// What a producer was told of the partitions of one topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartitionSettings {
    pub compression: Compression,
    /// The longest a record waits for more records.
    pub linger: Duration,
    /// How much longer, or shorter, than in partitions of other topics.
    pub more_patient: Duration,
    pub less_patient: Duration,
    pub delivery_timeout: Duration,
}

impl PartitionSettings {
    /// Since when a record would have waited, with the patience of all partitions, that has waited since `since` with this one's.
    pub fn as_if(&self, since: Instant) -> Instant {
        let later = since + self.more_patient;
        later.checked_sub(self.less_patient).unwrap_or(later)
    }
}

/// What keeps a retry from overtaking, or being overtaken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discipline {
    /// Sequence numbers: brokers refuse what is out of order and recognise what is repeated.
    Sequences,
    /// The same, under the epoch of a transaction: nothing goes on under another one, what is left of the transaction fails.
    Transactions,
    /// One batch in flight.
    OneByOne,
    /// Nothing: no batch is ever sent twice, nor a part of it.
    NoRetries,
}

/// A batch with what its partition must remember of it. Owned by the sequencer or by the request that carries it, never by both.
#[derive(Debug)]
pub(crate) struct Sequenced<T> {
    /// Its place among the partition's batches; the second number tells the parts of a split one apart.
    pub(super) order: (u64, u32),
    pub count: u32,
    pub sequence: Option<BatchSequence>,
    /// An attempt may have been written.
    pub maybe_written: bool,
    pub attempts: u32,
    pub deadline: Instant,
    pub content: T,
    pub(super) last_error: Option<Error>,
}

/// What a partition may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendDecision {
    /// Nothing, until something of it is resolved.
    Wait,
    /// Nothing before this moment.
    Until(Instant),
    /// Send again what [`PartitionSequencer::retry`](super::sequencer::PartitionSequencer::retry) returns.
    Retry,
    /// Send a new batch, numbered by [`PartitionSequencer::start`](super::sequencer::PartitionSequencer::start).
    New,
}

/// The sequence `count` records after `sequence`; after 2^31-1 comes 0.
pub(crate) fn advance(sequence: i32, count: u32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) & 0x7fff_ffff) as i32
}
