//! Partitions moved to other brokers (KIP-455): begun, cancelled and listed. In: partitions and brokers. Out: a result for each partition.

use std::collections::BTreeMap;

use protocol::ErrorCode;
use protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use protocol::messages::{AlterPartitionReassignmentsRequest, ListPartitionReassignmentsRequest};

use super::each::{Ask, Round, Route, checked};
use super::{Admin, about_partition, by_topic};
use crate::kafka::cluster::Answer;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// How partitions are moved: [`Default`] moves them as they are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReassignmentOptions {
    /// Whether a partition must keep as many replicas as it has: where it would not, it is an error (KIP-860; brokers from Kafka 4.1 on).
    pub keep_replication_factor: bool,
}

impl ReassignmentOptions {
    /// Each partition must keep as many replicas as it has.
    pub fn keep_replication_factor() -> Self {
        Self {
            keep_replication_factor: true,
        }
    }
}

/// A partition on the move.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionReassignment {
    /// The brokers that keep it now, those that come and those that go included, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those that are to keep it, and follow already.
    pub adding_replicas: Vec<i32>,
    /// Those that are to keep it no more.
    pub removing_replicas: Vec<i32>,
}

impl Admin {
    /// Begins to move partitions to these brokers, the preferred leader first; `None` cancels a move that is under way: a result for each
    /// partition. That it is begun is all that is waited for.
    ///
    /// Errors by partition: `INVALID_REPLICA_ASSIGNMENT`, `NO_REASSIGNMENT_IN_PROGRESS` where there is none to cancel,
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_REPLICATION_FACTOR` where it [must be kept](ReassignmentOptions::keep_replication_factor), an
    /// authorization error where the client may not (`ALTER` on the cluster). Needs Kafka 2.4. A call that is dropped may still be carried out.
    pub async fn alter_partition_reassignments(
        &self,
        targets: &BTreeMap<TopicPartition, Option<Vec<i32>>>,
        options: &ReassignmentOptions,
    ) -> Result<BTreeMap<TopicPartition, Result<()>>> {
        let build = |round: &mut Round<TopicPartition>| {
            if options.keep_replication_factor && round.version < 1 {
                let message = "this broker is too old to be told that partitions must keep as many replicas as they have";
                return Err(Error::new(ErrorKind::UnsupportedVersion, message));
            }
            let topics = by_topic(&round.items)
                .into_iter()
                .map(|(name, partitions)| {
                    let partition = |partition_index| ReassignablePartition {
                        partition_index,
                        replicas: targets[&TopicPartition::new(&*name, partition_index)].clone(),
                        ..Default::default()
                    };
                    let partitions = partitions.into_iter().map(partition).collect();
                    ReassignableTopic {
                        name,
                        partitions,
                        ..Default::default()
                    }
                });
            Ok(AlterPartitionReassignmentsRequest {
                timeout_ms: round.timeout_ms,
                allow_replication_factor_change: !options.keep_replication_factor,
                topics: topics.collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<AlterPartitionReassignmentsRequest>,
                    round: &Round<TopicPartition>| {
            let response = &answer.response;
            if response.error_code != ErrorCode::NONE {
                let message = response.error_message.as_deref();
                return round.all_failed(&answer.error(response.error_code, message));
            }
            let topics = response.responses.iter();
            topics
                .flat_map(|topic| {
                    topic.partitions.iter().map(|it| {
                        let at = TopicPartition::new(&*topic.name, it.partition_index);
                        let message = it.error_message.as_deref();
                        (at, checked(answer, it.error_code, message, || ()))
                    })
                })
                .collect()
        };
        let items = targets.keys().cloned().collect();
        let ask = Ask::new(Route::Controller, items, about_partition);
        self.each(ask, build, read).await
    }

    /// The partitions that are on the move: of these, or of all where `None` is given. One that is not on the move is left out. Cancel safe:
    /// nothing is changed.
    ///
    /// Errors: an authorization error where the client may not (`DESCRIBE` on the cluster). Needs Kafka 2.4.
    pub async fn list_partition_reassignments(
        &self,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, PartitionReassignment>> {
        let build = |round: &mut Round<()>| {
            let topics = partitions.map(|partitions| {
                let topics = by_topic(partitions).into_iter();
                topics
                    .map(
                        |(name, partition_indexes)| ListPartitionReassignmentsTopics {
                            name,
                            partition_indexes,
                            ..Default::default()
                        },
                    )
                    .collect()
            });
            Ok(ListPartitionReassignmentsRequest {
                timeout_ms: round.timeout_ms,
                topics,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<ListPartitionReassignmentsRequest>, round: &Round<()>| {
            let response = &answer.response;
            let message = response.error_message.as_deref();
            let listed = || -> BTreeMap<_, _> {
                let topics = response.topics.iter();
                topics
                    .flat_map(|topic| {
                        topic.partitions.iter().map(|it| {
                            let at = TopicPartition::new(&*topic.name, it.partition_index);
                            let reassignment = PartitionReassignment {
                                replicas: it.replicas.clone(),
                                adding_replicas: it.adding_replicas.clone(),
                                removing_replicas: it.removing_replicas.clone(),
                            };
                            (at, reassignment)
                        })
                    })
                    .collect()
            };
            round.all(checked(answer, response.error_code, message, listed))
        };
        self.one(Route::Controller, build, read).await
    }
}
