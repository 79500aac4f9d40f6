//! One record, borrowed from what was fetched.

use std::fmt;

use protocol::records as wire;

use super::Headers;
use super::records::Batch;
use crate::kafka::TopicPartition;

/// A record, borrowed from the [`Records`](super::Records) it came in.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct RecordView<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since 1970: when it was made, or, if the topic says so, when the broker appended it; -1 for none.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
    /// The epoch of the leader that appended it, to commit along with its offset.
    pub leader_epoch: Option<i32>,
    pub(super) batch: &'a Batch,
}

impl<'a> RecordView<'a> {
    #[inline(always)]
    pub(super) fn new(batch: &'a Batch, record: wire::RecordView<'a>) -> Self {
        let epoch = batch.records.header().partition_leader_epoch;
        Self {
            topic: &batch.partition.topic,
            partition: batch.partition.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key,
            value: record.value,
            headers: Headers::new(record.headers),
            leader_epoch: (epoch >= 0).then_some(epoch),
            batch,
        }
    }

    /// Its topic and partition.
    pub fn topic_partition(&self) -> &'a TopicPartition {
        &self.batch.partition
    }
}

impl fmt::Debug for RecordView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.topic_partition();
        let Self {
            offset,
            timestamp_ms,
            key,
            value,
            ..
        } = self;
        let text = |bytes: &Option<&[u8]>| bytes.map(|bytes| bytes.escape_ascii().to_string());
        f.debug_struct("Record")
            .field("at", &format_args!("{name}@{offset}"))
            .field("timestamp_ms", timestamp_ms)
            .field("key", &text(key))
            .field("value", &text(value))
            .field("headers", &self.headers)
            .finish()
    }
}
