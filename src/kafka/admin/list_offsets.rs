//! Offsets of logs by place and by time. In: partitions and what is looked for in each. Out: a result for each.

use std::collections::BTreeMap;

use protocol::messages::ListOffsetsRequest;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};

use super::each::{Ask, Round, Route, checked};
use super::{Admin, about_partition, by_topic};
use crate::kafka::cluster::Answer;
use crate::kafka::{Error, ErrorKind, IsolationLevel, Result, TopicPartition};

/// Which offset is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffsetSpec {
    /// The first that the log still has.
    Earliest,
    /// The one that the next record gets; for [`IsolationLevel::ReadCommitted`] that of the first record of an open transaction, if there is
    /// one.
    Latest,
    /// That of the first record of this time or a later one, in milliseconds since 1970.
    Timestamp(i64),
    /// That of the record with the largest timestamp (KIP-734; brokers from Kafka 3.0 on).
    MaxTimestamp,
    /// The first that is on the leader's own disk, and not in tiered storage alone (KIP-405; brokers from Kafka 3.4 on).
    EarliestLocal,
    /// The last that is in tiered storage (KIP-1005; brokers from Kafka 3.9 on).
    LatestTiered,
    /// The first that is not yet in tiered storage (KIP-1023; brokers from Kafka 4.2 on).
    EarliestPendingUpload,
}

impl OffsetSpec {
    fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::EarliestLocal => -4,
            Self::LatestTiered => -5,
            Self::EarliestPendingUpload => -6,
            Self::Timestamp(timestamp) => timestamp,
        }
    }

    /// The first version of ListOffsets that knows it.
    fn since_version(self) -> i16 {
        match self {
            Self::Latest | Self::Earliest | Self::Timestamp(_) => 1,
            Self::MaxTimestamp => 7,
            Self::EarliestLocal => 8,
            Self::LatestTiered => 9,
            Self::EarliestPendingUpload => 11,
        }
    }
}

/// How offsets are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListOffsetsOptions {
    /// Where the log ends for whoever asks.
    pub isolation_level: IsolationLevel,
}

impl ListOffsetsOptions {
    /// The log ends at the first record of an open transaction.
    pub fn read_committed() -> Self {
        Self {
            isolation_level: IsolationLevel::ReadCommitted,
        }
    }
}

/// An offset that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedOffset {
    /// The offset; `None` where there is none: no record of the time or a later one, none at all, none in tiered storage.
    pub offset: Option<i64>,
    /// The timestamp of the record that was found by its time, in milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// The epoch of the leader that appended it.
    pub leader_epoch: Option<i32>,
}

impl Admin {
    /// The offset that is looked for in each partition: a result for each.
    ///
    /// A negative [timestamp](OffsetSpec::Timestamp), and what the leader's version does not know, are errors of their partition; likewise a
    /// topic that does not exist, which is asked for for two seconds, and a partition without a leader, which is waited for.
    pub async fn list_offsets(
        &self,
        partitions: &BTreeMap<TopicPartition, OffsetSpec>,
        options: &ListOffsetsOptions,
    ) -> Result<BTreeMap<TopicPartition, Result<ListedOffset>>> {
        let build = |round: &mut Round<TopicPartition>| {
            let version = round.version;
            round.refuse(|at| refused(partitions[at], version));
            let topics = by_topic(&round.items).into_iter().map(|(name, indexes)| {
                let partition = |partition_index| ListOffsetsPartition {
                    partition_index,
                    timestamp: partitions[&TopicPartition::new(&*name, partition_index)]
                        .timestamp(),
                    ..Default::default()
                };
                let partitions = indexes.into_iter().map(partition).collect();
                ListOffsetsTopic {
                    name,
                    partitions,
                    ..Default::default()
                }
            });
            let is_committed = options.isolation_level == IsolationLevel::ReadCommitted;
            Ok(ListOffsetsRequest {
                replica_id: -1,
                isolation_level: i8::from(is_committed),
                topics: topics.collect(),
                timeout_ms: round.timeout_ms,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<ListOffsetsRequest>, _: &Round<TopicPartition>| {
            let topics = answer.response.topics.iter();
            topics
                .flat_map(|topic| {
                    topic.partitions.iter().map(|it| {
                        let at = TopicPartition::new(&*topic.name, it.partition_index);
                        let listed = || ListedOffset {
                            offset: (it.offset >= 0).then_some(it.offset),
                            timestamp_ms: (it.timestamp >= 0).then_some(it.timestamp),
                            leader_epoch: (it.leader_epoch >= 0).then_some(it.leader_epoch),
                        };
                        (at, checked(answer, it.error_code, None, listed))
                    })
                })
                .collect()
        };
        let open = partitions.keys().cloned().collect();
        let route = Route::Leader(Box::new(TopicPartition::clone));
        self.each(Ask::new(route, open, about_partition), build, read)
            .await
    }
}

/// What cannot be looked for at a broker of this version.
fn refused(spec: OffsetSpec, version: i16) -> Option<Error> {
    match spec {
        OffsetSpec::Timestamp(timestamp) if timestamp < 0 => {
            let message = format!("{timestamp} is no time of a record: it is negative");
            Some(Error::new(ErrorKind::Config, message))
        }
        spec if version < spec.since_version() => {
            let message = format!("this broker is too old to look for {spec:?}");
            Some(Error::new(ErrorKind::UnsupportedVersion, message))
        }
        _ => None,
    }
}
