//! Records deleted from the front of partitions (KIP-107). In: for each partition the first offset that stays. Out: where its log begins now.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use super::{Admin, unanswered};
use crate::kafka::cluster::{Asked, Channel};
use crate::kafka::error::may_pass;
use crate::kafka::net::broker_timeout_ms;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

impl Admin {
    /// Deletes the records that stand before an offset, for each partition; -1 stands for the end of what all replicas have. Returns where
    /// each log begins now: never before where it began, so that an offset from before that deletes nothing.
    ///
    /// A partition is an error of its own when the client may not delete (`DELETE` on the topic), when the offset lies beyond the log, or
    /// when the topic is only compacted (`POLICY_VIOLATION`). All fail together when one is unknown, or has no leader until the deadline.
    pub async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, i64>,
    ) -> Result<BTreeMap<TopicPartition, Result<i64>>> {
        if before.is_empty() {
            return Ok(BTreeMap::new());
        }
        if let Some((partition, offset)) = before.iter().find(|(_, offset)| **offset < -1) {
            let message = format!(
                "records cannot be deleted before offset {offset} of {partition}: it is negative, and -1 stands for the end"
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        let deadline = self.deadline();
        let ask = |node, asked: Vec<Asked<i64>>| async move {
            let request = request(&asked, deadline);
            let response = (self.cluster)
                .call(node, Channel::Shared, &request, deadline)
                .await?;
            let answers = asked.into_iter().map(|asked| {
                let TopicPartition { topic, partition } = &asked.partition;
                let answer = match answer_to(&asked.partition, &response) {
                    Ok(low_watermark) => Ok(Ok(low_watermark)),
                    Err(error) => {
                        let error = error
                            .api(ApiKey::DELETE_RECORDS)
                            .topic_partition(topic.clone(), *partition);
                        if let Some(code) = error.server_error() {
                            (self.cluster).answered_as_leader(topic, *partition, node, code);
                        }
                        match may_pass(&error) && !is_decided(&error) {
                            true => Err(error),
                            false => Ok(Err(error)),
                        }
                    }
                };
                (asked.partition, answer)
            });
            Ok(answers.collect())
        };
        self.cluster.fan_out(before.clone(), deadline, ask).await
    }
}

/// What is the answer for its partition here, though it may pass elsewhere: to readers, that an offset is beyond the log may.
fn is_decided(error: &Error) -> bool {
    error.kind() == ErrorKind::OffsetOutOfRange
        || error.server_error() == Some(ErrorCode::POLICY_VIOLATION)
}

fn request(asked: &[Asked<i64>], deadline: Instant) -> DeleteRecordsRequest {
    let mut topics: BTreeMap<&Arc<str>, Vec<DeleteRecordsPartition>> = BTreeMap::new();
    for Asked {
        partition,
        question,
        ..
    } in asked
    {
        let partitions = topics.entry(&partition.topic).or_default();
        partitions.push(DeleteRecordsPartition {
            partition_index: partition.partition,
            offset: *question,
            ..Default::default()
        });
    }
    let topics = topics.into_iter();
    DeleteRecordsRequest {
        topics: topics
            .map(|(name, partitions)| DeleteRecordsTopic {
                name: name.to_string(),
                partitions,
                ..Default::default()
            })
            .collect(),
        timeout_ms: broker_timeout_ms(deadline.saturating_duration_since(Instant::now())),
        ..Default::default()
    }
}

fn answer_to(partition: &TopicPartition, response: &DeleteRecordsResponse) -> Result<i64> {
    let topics = response.topics.iter();
    let of_topic = topics.filter(|topic| *topic.name == *partition.topic);
    let answer = of_topic
        .flat_map(|topic| &topic.partitions)
        .find(|answer| answer.partition_index == partition.partition);
    match answer {
        Some(answer) if answer.error_code == ErrorCode::NONE => Ok(answer.low_watermark),
        Some(answer) => Err(Error::server(answer.error_code, None)),
        None => Err(unanswered()),
    }
}

#[cfg(all(test, feature = "broker"))]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use crate::kafka::{Client, ClientConfig, Record};

    #[tokio::test]
    async fn what_stands_before_an_offset_goes_and_each_partition_has_its_own_answer() {
        let broker = Broker::builder();
        let broker = broker.start_tcp("127.0.0.1:0").await.expect("a broker");
        broker.create_topic("t", 3).expect("a new topic");
        let compacted = [("cleanup.policy", "compact")];
        let created = broker.create_topic_with("compacted", 1, &compacted);
        created.expect("a new topic");
        let client = Client::connect(ClientConfig::new(&broker.bootstrap_servers()));
        let client = client.await.expect("connected");
        let producer = client.producer(Default::default()).expect("a producer");
        for partition in 0..3 {
            for _ in 0..10 {
                let record = Record::new("t").partition(partition).value(b"x");
                producer.send(record).await.expect("sent");
            }
        }
        let at = |partition| TopicPartition::new("t", partition);
        let before = [
            (at(0), 4),
            (at(1), -1),
            (at(2), 11),
            (TopicPartition::new("compacted", 0), 0),
        ];
        let admin = client.admin();
        let deleted = admin.delete_records(&BTreeMap::from(before)).await;
        let deleted = deleted.expect("answered");
        assert_eq!(deleted[&at(0)].as_ref().ok(), Some(&4));
        assert_eq!(deleted[&at(1)].as_ref().ok(), Some(&10));
        let error = deleted[&at(2)].as_ref().expect_err("beyond the end");
        assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
        assert!(error.to_string().contains("t-2"), "{error}");
        let compacted = TopicPartition::new("compacted", 0);
        let error = deleted[&compacted].as_ref().expect_err("compacted");
        assert_eq!(error.server_error(), Some(ErrorCode::POLICY_VIOLATION));
        let again = BTreeMap::from([(at(0), 2)]);
        let deleted = admin.delete_records(&again).await.expect("answered");
        assert_eq!(
            deleted[&at(0)].as_ref().ok(),
            Some(&4),
            "it never goes back"
        );
        let unknown = BTreeMap::from([(at(3), 0)]);
        let error = admin.delete_records(&unknown).await.expect_err("unknown");
        assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
        let negative = BTreeMap::from([(at(0), -2)]);
        let error = admin.delete_records(&negative).await.expect_err("negative");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
