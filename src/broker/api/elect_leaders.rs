//! ElectLeaders: the preferred replica leads again, or any that runs (KIP-183, KIP-460).

use protocol::ErrorCode;
use protocol::messages::ElectLeadersRequest;
use protocol::messages::elect_leaders_request::TopicPartitions;
use protocol::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};

use super::{Api, Context, Reply};
use crate::broker::partition::Partition;
use crate::broker::security::AclOperation;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

impl Api for ElectLeadersRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<ElectLeadersResponse> {
        let error = match self.election_type {
            PREFERRED | UNCLEAN if context.allows_cluster(AclOperation::Alter) => None,
            PREFERRED | UNCLEAN => Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED),
            _ => Some(ErrorCode::INVALID_REQUEST),
        };
        if let Some(error) = error {
            return Reply::Message(self.refusal(context.version, error));
        }
        let all = self.topic_partitions.is_none();
        let asked = self.topic_partitions.unwrap_or_else(|| {
            let topics: Vec<_> = context.cluster.directory().topics().cloned().collect();
            let every = topics.iter().map(|topic| TopicPartitions {
                topic: topic.name.clone(),
                partitions: (0..).take(topic.partition_count()).collect(),
                ..Default::default()
            });
            every.collect()
        });
        let elect = |topic: &str, index| elect(topic, index, self.election_type, context);
        let topics = asked.iter().map(|it| answer(it, &elect));
        // Of all, only those of which there is something to say.
        let topics = topics.filter_map(|mut topic| {
            if all {
                let partitions = &mut topic.partition_result;
                partitions.retain(|it| it.error_code != ErrorCode::ELECTION_NOT_NEEDED);
            }
            (!all || !topic.partition_result.is_empty()).then_some(topic)
        });
        Reply::Message(ElectLeadersResponse {
            replica_election_results: topics.collect(),
            ..Default::default()
        })
    }

    fn refusal(&self, version: i16, error: ErrorCode) -> ElectLeadersResponse {
        let topics = self.topic_partitions.iter().flatten();
        ElectLeadersResponse {
            error_code: if version >= 1 { error } else { ErrorCode::NONE },
            replica_election_results: topics.map(|it| answer(it, &|_, _| error)).collect(),
            ..Default::default()
        }
    }

    fn can_be_refused(&self, version: i16) -> bool {
        version >= 1 || self.topic_partitions.iter().flatten().next().is_some()
    }
}

fn answer(
    asked: &TopicPartitions,
    each: &impl Fn(&str, i32) -> ErrorCode,
) -> ReplicaElectionResult {
    let partitions = asked.partitions.iter().map(|index| PartitionResult {
        partition_id: *index,
        error_code: each(&asked.topic, *index),
        ..Default::default()
    });
    ReplicaElectionResult {
        topic: asked.topic.clone(),
        partition_result: partitions.collect(),
        ..Default::default()
    }
}

fn elect(topic: &str, index: i32, election: i8, context: &Context<'_>) -> ErrorCode {
    let topic = context.cluster.directory().topic(topic);
    let running: Vec<i32> = {
        let directory = context.cluster.directory();
        directory.running().map(|endpoint| endpoint.node).collect()
    };
    match topic.as_ref().and_then(|topic| topic.partition(index)) {
        Some(mut partition) => elect_of(&mut partition, election, &running),
        None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    }
}

fn elect_of(partition: &mut Partition, election: i8, running: &[i32]) -> ErrorCode {
    let preferred = partition.replicas.first().copied();
    let (is_needed, next, unavailable) = match election {
        PREFERRED => (
            partition.leader != preferred,
            preferred.filter(|id| running.contains(id) && partition.isr.contains(id)),
            ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE,
        ),
        _ => {
            let mut living = partition.replicas.iter().filter(|id| running.contains(id));
            (
                partition.leader.is_none(),
                living.next().copied(),
                ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE,
            )
        }
    };
    match next {
        _ if !is_needed => ErrorCode::ELECTION_NOT_NEEDED,
        Some(next) => {
            partition.lead(Some(next));
            ErrorCode::NONE
        }
        None => unavailable,
    }
}
