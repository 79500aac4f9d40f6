//! Who writes to partitions (KIP-664). In: partitions. Out: producers, for each.

use std::collections::BTreeMap;

use protocol::messages::DescribeProducersRequest;
use protocol::messages::describe_producers_request::TopicRequest;
use protocol::messages::describe_producers_response as described;

use super::each::{Ask, Round, Route, checked};
use super::{Admin, about_partition, by_topic};
use crate::kafka::cluster::Answer;
use crate::kafka::{Result, TopicPartition};

/// An idempotent producer as a partition knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerState {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i32,
    /// The sequence of the last record that it wrote.
    pub last_sequence: Option<i32>,
    /// When it wrote last, in milliseconds since 1970.
    pub last_timestamp_ms: Option<i64>,
    /// The epoch of the coordinator that ended its last transaction here.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins, if it has one here. One that is open for longer than
    /// [transactions may take](super::TransactionDescription::timeout) hangs: see [`Admin::abort_transaction`].
    pub transaction_start_offset: Option<i64>,
}

impl Admin {
    /// The producers that partitions know, by their leaders, or by the broker of this id: a result for each partition. Cancel safe: nothing is
    /// changed.
    ///
    /// Errors by partition: `UNKNOWN_TOPIC_OR_PARTITION`, which is asked for for two seconds, `NOT_LEADER_OR_FOLLOWER` for a broker that keeps
    /// no copy, an authorization error where the client may not (`READ` on the topic). Needs Kafka 2.8.
    pub async fn describe_producers(
        &self,
        partitions: &[TopicPartition],
        broker: Option<i32>,
    ) -> Result<BTreeMap<TopicPartition, Result<Vec<ProducerState>>>> {
        let route = match broker {
            Some(broker) => Route::Broker(Box::new(move |_: &TopicPartition| broker)),
            None => Route::Leader(Box::new(TopicPartition::clone)),
        };
        let build = |round: &mut Round<TopicPartition>| {
            let topics = by_topic(&round.items).into_iter();
            let topics = topics.map(|(name, partition_indexes)| TopicRequest {
                name,
                partition_indexes,
                ..Default::default()
            });
            Ok(DescribeProducersRequest {
                topics: topics.collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<DescribeProducersRequest>, _: &Round<TopicPartition>| {
            let topics = answer.response.topics.iter();
            topics
                .flat_map(|topic| {
                    topic.partitions.iter().map(|it| {
                        let at = TopicPartition::new(&*topic.name, it.partition_index);
                        let producers = || it.active_producers.iter().map(producer).collect();
                        let message = it.error_message.as_deref();
                        (at, checked(answer, it.error_code, message, producers))
                    })
                })
                .collect()
        };
        let items = partitions.iter().cloned().collect();
        self.each(Ask::new(route, items, about_partition), build, read)
            .await
    }
}

fn producer(it: &described::ProducerState) -> ProducerState {
    let known = |it: i64| (it >= 0).then_some(it);
    ProducerState {
        producer_id: it.producer_id,
        producer_epoch: it.producer_epoch,
        last_sequence: (it.last_sequence >= 0).then_some(it.last_sequence),
        last_timestamp_ms: known(it.last_timestamp),
        coordinator_epoch: (it.coordinator_epoch >= 0).then_some(it.coordinator_epoch),
        transaction_start_offset: known(it.current_txn_start_offset),
    }
}
