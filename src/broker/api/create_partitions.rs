//! CreatePartitions: topics get more (KIP-195).

use protocol::ErrorCode;
use protocol::messages::CreatePartitionsRequest;
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};

use super::create_topics::{MAX_PARTITIONS, Problem, duplicates, problem};
use super::{Api, Context, Reply};
use crate::broker::security::AclOperation;

impl Api for CreatePartitionsRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<CreatePartitionsResponse> {
        let twice = duplicates(self.topics.iter().map(|topic| topic.name.as_str()));
        let twin = |name: &&str| {
            let text = "Duplicate topic name.";
            answer(name, Err(problem(ErrorCode::INVALID_REQUEST, text)))
        };
        let once = self.topics.iter();
        let once = once.filter(|topic| !twice.contains(topic.name.as_str()));
        let create = |topic: &CreatePartitionsTopic| {
            answer(&topic.name, create(topic, self.validate_only, context))
        };
        Reply::Message(CreatePartitionsResponse {
            results: twice.iter().map(twin).chain(once.map(create)).collect(),
            ..Default::default()
        })
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> CreatePartitionsResponse {
        let topics = self.topics.iter();
        let refused = topics.map(|topic| answer(&topic.name, Err((error, String::new()))));
        CreatePartitionsResponse {
            results: refused.collect(),
            ..Default::default()
        }
    }

    fn can_be_refused(&self, _: i16) -> bool {
        !self.topics.is_empty()
    }
}

fn answer(name: &str, created: Result<(), Problem>) -> CreatePartitionsTopicResult {
    let (error_code, message) = created.err().unwrap_or_default();
    CreatePartitionsTopicResult {
        name: name.to_owned(),
        error_code,
        error_message: Some(message).filter(|text| !text.is_empty()),
        ..Default::default()
    }
}

fn create(
    asked: &CreatePartitionsTopic,
    validate_only: bool,
    context: &Context<'_>,
) -> Result<(), Problem> {
    let (name, total) = (&asked.name, asked.count);
    let topic = context.topic(name, None, AclOperation::Alter);
    let topic = topic.map_err(|error| (error, String::new()))?;
    let count = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
    let added = total.checked_sub(count).filter(|added| *added > 0);
    let Some(added) = added else {
        let text = format!(
            "The topic {name} currently has {count} partition(s); {total} would not be an increase."
        );
        return Err((ErrorCode::INVALID_PARTITIONS, text));
    };
    if added > MAX_PARTITIONS {
        let text = "Excessively large number of partitions per request.";
        return Err(problem(ErrorCode::POLICY_VIOLATION, text));
    }
    let placed = match &asked.assignments {
        None => None,
        Some(assignments) => {
            let invalid = |text: String| Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, text));
            if usize::try_from(added) != Ok(assignments.len()) {
                let text = format!(
                    "{added} new partition(s) were asked for, and {} assigned.",
                    assignments.len()
                );
                return invalid(text);
            }
            let replicas = topic.partition(0).map_or(0, |it| it.replicas.len());
            let directory = context.cluster.directory();
            for ids in assignments.iter().map(|it| &it.broker_ids) {
                let is_known = ids.iter().all(|id| directory.endpoint(*id).is_some());
                if ids.len() != replicas || !is_known || !duplicates(ids.iter()).is_empty() {
                    return invalid(format!(
                        "Brokers {ids:?} cannot keep a partition of {name}."
                    ));
                }
            }
            let placed = assignments.iter().map(|it| it.broker_ids.clone());
            Some(placed.collect())
        }
    };
    if validate_only {
        return Ok(());
    }
    let created = context.cluster.add_partitions(name, total, placed);
    created.map_err(|error| (error, String::new()))
}
