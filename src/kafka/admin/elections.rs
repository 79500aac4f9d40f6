//! Leaders elected on demand (KIP-183, KIP-460). In: partitions. Out: a result for each.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ErrorCode;
use protocol::messages::ElectLeadersRequest;
use protocol::messages::elect_leaders_request::TopicPartitions;

use super::each::{Ask, Results, Round, Route, checked};
use super::names::kafka_names;
use super::{Admin, about_partition, by_topic};
use crate::kafka::cluster::Answer;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// Who is elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ElectionType {
    /// The preferred replica, which is the first, where it is in sync.
    Preferred,
    /// The first that lives, where none is in sync: records may be lost (KIP-460; brokers from Kafka 2.4 on).
    Unclean,
    /// One that this version does not know, by Kafka's number.
    Other(i8),
}

kafka_names!(ElectionType, "election", {
    Preferred = 0 "PREFERRED",
    Unclean = 1 "UNCLEAN",
});

impl Admin {
    /// Elects leaders of partitions: a result for each. With `None` all partitions are looked at, and those that need no election are left out.
    ///
    /// Errors by partition: `ELECTION_NOT_NEEDED` where the leader is the preferred one, or there is one, `PREFERRED_LEADER_NOT_AVAILABLE`,
    /// `ELIGIBLE_LEADERS_NOT_AVAILABLE`, `UNKNOWN_TOPIC_OR_PARTITION`, an authorization error where the client may not (`ALTER` on the
    /// cluster). Needs Kafka 2.2. A call that is dropped may still be carried out; it can be repeated.
    pub async fn elect_leaders(
        &self,
        election: ElectionType,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, Result<()>>> {
        let Some(partitions) = partitions else {
            let build = |round: &mut Round<()>| request(election, None, round);
            let read = |answer: &Answer<ElectLeadersRequest>, round: &Round<()>| {
                let code = answer.response.error_code;
                let elected = checked(answer, code, None, || elected(answer));
                round.all(elected)
            };
            let elected = self.one(Route::Controller, build, read).await?;
            let named = elected.into_iter().map(|(at, result)| {
                let result = result.map_err(|error| about_partition(&at, error));
                (at, result)
            });
            return Ok(named.collect());
        };
        let build = |round: &mut Round<TopicPartition>| {
            let items = round.items.clone();
            request(election, Some(&items), round)
        };
        let read = |answer: &Answer<ElectLeadersRequest>, round: &Round<TopicPartition>| {
            let code = answer.response.error_code;
            match code {
                ErrorCode::NONE => elected(answer),
                code => round.all_failed(&answer.error(code, None)),
            }
        };
        let items = partitions.iter().cloned().collect();
        let ask = Ask::new(Route::Controller, items, about_partition);
        self.each(ask, build, read).await
    }
}

fn request<K>(
    election: ElectionType,
    partitions: Option<&BTreeSet<TopicPartition>>,
    round: &Round<K>,
) -> Result<ElectLeadersRequest> {
    if round.version < 1 && election != ElectionType::Preferred {
        let message = "this broker is older than Kafka 2.4 and elects preferred leaders alone";
        return Err(Error::new(ErrorKind::UnsupportedVersion, message));
    }
    let topics = |partitions| {
        let topics = by_topic(partitions).into_iter();
        let topics = topics.map(|(topic, partitions)| TopicPartitions {
            topic,
            partitions,
            ..Default::default()
        });
        topics.collect()
    };
    Ok(ElectLeadersRequest {
        election_type: election.number(),
        topic_partitions: partitions.map(topics),
        timeout_ms: round.timeout_ms,
        ..Default::default()
    })
}

fn elected(answer: &Answer<ElectLeadersRequest>) -> Results<TopicPartition, ()> {
    let topics = answer.response.replica_election_results.iter();
    topics
        .flat_map(|topic| {
            topic.partition_result.iter().map(|it| {
                let at = TopicPartition::new(&*topic.topic, it.partition_id);
                let message = it.error_message.as_deref();
                (at, checked(answer, it.error_code, message, || ()))
            })
        })
        .collect()
}
