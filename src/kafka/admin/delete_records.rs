//! Records deleted from the front of partitions (KIP-107). In: for each partition the first offset that stays. Out: where its log begins now.

use std::collections::BTreeMap;

use protocol::messages::DeleteRecordsRequest;
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};

use super::each::{Ask, Round, Route, checked};
use super::{Admin, about_partition, by_topic};
use crate::kafka::cluster::Answer;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

impl Admin {
    /// Deletes the records that stand before an offset, for each partition; -1 stands for the end of what all replicas have. Returns where
    /// each log begins now: never before where it began, so that an offset from before that deletes nothing.
    ///
    /// A partition is an error of its own when the client may not delete (`DELETE` on the topic), when the offset lies beyond the log, when
    /// the topic is only compacted (`POLICY_VIOLATION`), when it does not exist, or has no leader until the deadline.
    pub async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, i64>,
    ) -> Result<BTreeMap<TopicPartition, Result<i64>>> {
        if let Some((partition, offset)) = before.iter().find(|(_, offset)| **offset < -1) {
            let message = format!(
                "records cannot be deleted before offset {offset} of {partition}: it is negative, and -1 stands for the end"
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        let build = |round: &mut Round<TopicPartition>| {
            let topics = by_topic(&round.items)
                .into_iter()
                .map(|(name, partitions)| {
                    let partition = |partition_index| DeleteRecordsPartition {
                        partition_index,
                        offset: before[&TopicPartition::new(&*name, partition_index)],
                        ..Default::default()
                    };
                    let partitions = partitions.into_iter().map(partition).collect();
                    DeleteRecordsTopic {
                        name,
                        partitions,
                        ..Default::default()
                    }
                });
            Ok(DeleteRecordsRequest {
                topics: topics.collect(),
                timeout_ms: round.timeout_ms,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<DeleteRecordsRequest>, _: &Round<TopicPartition>| {
            let topics = answer.response.topics.iter();
            topics
                .flat_map(|topic| {
                    topic.partitions.iter().map(|it| {
                        let at = TopicPartition::new(&*topic.name, it.partition_index);
                        (
                            at,
                            checked(answer, it.error_code, None, || it.low_watermark),
                        )
                    })
                })
                .collect()
        };
        let open = before.keys().cloned().collect();
        let route = Route::Leader(Box::new(TopicPartition::clone));
        self.each(Ask::new(route, open, about_partition), build, read)
            .await
    }
}

#[cfg(all(test, feature = "broker"))]
mod tests {
    use protocol::ErrorCode;

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
        let one_unknown = BTreeMap::from([(at(0), 5), (at(3), 0)]);
        let deleted = admin.delete_records(&one_unknown).await.expect("answered");
        assert_eq!(deleted[&at(0)].as_ref().ok(), Some(&5), "the other one");
        let error = deleted[&at(3)].as_ref().expect_err("unknown");
        assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
        let negative = BTreeMap::from([(at(0), -2)]);
        let error = admin.delete_records(&negative).await.expect_err("negative");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
