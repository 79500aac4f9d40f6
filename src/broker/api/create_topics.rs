//! CreateTopics, with Kafka's checks and messages.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ErrorCode;
use protocol::messages::CreateTopicsRequest;
use protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};

use super::{Api, Context, Reply};
use crate::broker::cluster::NewTopic;
use crate::broker::configs::describe_topic;
use crate::broker::lock;
use crate::broker::security::{AclOperation, ResourceKind};
use crate::broker::topic::name_problem;
use crate::broker::topic_settings::TopicSettings;

/// The most partitions that Kafka's controller creates at once.
pub(super) const MAX_PARTITIONS: i32 = 10_000;

impl Api for CreateTopicsRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<CreateTopicsResponse> {
        let twice = duplicates(self.topics.iter().map(|topic| topic.name.as_str()));
        let create = |topic: &CreatableTopic| {
            let created = create(topic, self.validate_only, context);
            created.unwrap_or_else(|problem| failed(&topic.name, problem))
        };
        // What is named twice is answered once.
        let twin = |name: &&str| {
            failed(
                name,
                problem(ErrorCode::INVALID_REQUEST, "Duplicate topic name."),
            )
        };
        let once = self
            .topics
            .iter()
            .filter(|topic| !twice.contains(topic.name.as_str()));
        let topics = twice.iter().map(twin).chain(once.map(create)).collect();
        Reply::Message(CreateTopicsResponse {
            topics,
            ..Default::default()
        })
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> CreateTopicsResponse {
        let refused = |topic: &CreatableTopic| CreatableTopicResult {
            name: topic.name.clone(),
            error_code: error,
            ..Default::default()
        };
        CreateTopicsResponse {
            topics: self.topics.iter().map(refused).collect(),
            ..Default::default()
        }
    }
}

pub(super) type Problem = (ErrorCode, String);

fn failed(name: &str, (error_code, message): Problem) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.to_owned(),
        error_code,
        error_message: Some(message),
        configs: Some(Vec::new()),
        ..Default::default()
    }
}

pub(super) fn problem(error: ErrorCode, message: impl Into<String>) -> Problem {
    (error, message.into())
}

fn create(
    asked: &CreatableTopic,
    validate_only: bool,
    context: &Context<'_>,
) -> Result<CreatableTopicResult, Problem> {
    let name = &asked.name;
    let may_create = context.allows_cluster(AclOperation::Create)
        || context.allows(AclOperation::Create, ResourceKind::Topic, name);
    if !may_create {
        let error = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
        return Err(problem(error, "Authorization failed."));
    }
    if let Some(message) = name_problem(name) {
        return Err(problem(ErrorCode::INVALID_TOPIC_EXCEPTION, message));
    }
    check_free(name, context)?;
    let settings = settings(asked, context)?;
    let replicas = replicas(asked, context)?;
    let (num_partitions, replication_factor) =
        (replicas.len(), replicas.first().map_or(0, Vec::len));
    let configs = configs(&settings, &context.cluster.settings.topic);
    let topic_id = match validate_only {
        // Kafka names the id that the topic would have had.
        true => lock(&context.cluster.random).uuid(),
        false => {
            let created = context.cluster.create_topic(NewTopic {
                name: name.clone(),
                replicas,
                settings,
            });
            created
                .map_err(|error| problem(error, format!("Topic '{name}' could not be created.")))?
                .id
        }
    };
    if !context.allows(AclOperation::DescribeConfigs, ResourceKind::Topic, name) {
        return Ok(CreatableTopicResult {
            name: name.clone(),
            topic_id,
            error_message: None,
            topic_config_error_code: ErrorCode::TOPIC_AUTHORIZATION_FAILED.0,
            ..Default::default()
        });
    }
    Ok(CreatableTopicResult {
        name: name.clone(),
        topic_id,
        error_message: None,
        num_partitions: i32::try_from(num_partitions).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(replication_factor).unwrap_or(i16::MAX),
        configs: Some(configs),
        ..Default::default()
    })
}

fn check_free(name: &str, context: &Context<'_>) -> Result<(), Problem> {
    context
        .cluster
        .directory()
        .check_free(name)
        .map_err(|error| match error {
            ErrorCode::TOPIC_ALREADY_EXISTS => {
                problem(error, format!("Topic '{name}' already exists."))
            }
            error => problem(
                error,
                format!("Topic '{name}' collides with an existing topic."),
            ),
        })
}

fn settings(asked: &CreatableTopic, context: &Context<'_>) -> Result<TopicSettings, Problem> {
    let mut configs = Vec::new();
    for config in &asked.configs {
        let name = config.name.as_str();
        let value = config.value.as_deref().ok_or_else(|| {
            problem(
                ErrorCode::INVALID_CONFIG,
                format!("Null value not supported for topic configs: {name}"),
            )
        })?;
        configs.push((name, value));
    }
    let settings = context.cluster.settings.topic.with(configs);
    settings.map_err(|message| problem(ErrorCode::INVALID_CONFIG, message))
}

/// What the topic is set to.
fn configs(settings: &TopicSettings, broker: &TopicSettings) -> Vec<CreatableTopicConfigs> {
    let described = describe_topic(&settings.configs, broker).into_iter();
    let configs = described.map(|it| CreatableTopicConfigs {
        name: it.name,
        value: it.value,
        read_only: it.read_only,
        config_source: it.config_source,
        is_sensitive: it.is_sensitive,
        ..Default::default()
    });
    configs.collect()
}

fn replicas(asked: &CreatableTopic, context: &Context<'_>) -> Result<Vec<Vec<i32>>, Problem> {
    let (defaults, directory) = (&context.cluster.settings, context.cluster.directory());
    if !asked.assignments.is_empty() {
        if asked.num_partitions != -1 {
            return Err(problem(
                ErrorCode::INVALID_REQUEST,
                "A manual partition assignment was specified, but numPartitions was not set to -1.",
            ));
        }
        if asked.replication_factor != -1 {
            return Err(problem(
                ErrorCode::INVALID_REQUEST,
                "A manual partition assignment was specified, but replication factor was not set to -1.",
            ));
        }
        let known = |id: &i32| directory.endpoint(*id).is_some();
        return assigned(&asked.assignments, known);
    }
    let partitions = if asked.num_partitions == -1 {
        defaults.default_partitions
    } else {
        asked.num_partitions
    };
    if partitions <= 0 {
        return Err(problem(
            ErrorCode::INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        ));
    }
    if partitions > MAX_PARTITIONS {
        return Err(problem(
            ErrorCode::POLICY_VIOLATION,
            "Excessively large number of partitions per request.",
        ));
    }
    let replication = match asked.replication_factor {
        -1 => defaults.default_replication_factor,
        replication => replication,
    };
    if replication <= 0 {
        return Err(problem(
            ErrorCode::INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ));
    }
    let nodes = directory.node_count();
    if usize::try_from(replication).is_ok_and(|replication| replication > nodes) {
        return Err(problem(
            ErrorCode::INVALID_REPLICATION_FACTOR,
            format!(
                "Unable to replicate the partition {replication} time(s): The target replication factor of {replication} cannot \
                 be reached because only {nodes} broker(s) are registered."
            ),
        ));
    }
    Ok(directory.place(partitions, replication))
}

/// The replicas that an administrator names: for partitions 0 to n, the same number for each, nodes that exist, none twice.
fn assigned(
    assignments: &[CreatableReplicaAssignment],
    known: impl Fn(&i32) -> bool,
) -> Result<Vec<Vec<i32>>, Problem> {
    let invalid = |message: String| problem(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message);
    let mut replicas = BTreeMap::new();
    for assignment in assignments {
        let (index, ids) = (assignment.partition_index, &assignment.broker_ids);
        if ids.is_empty() || !duplicates(ids.iter()).is_empty() {
            return Err(invalid(format!(
                "Partition {index} must have replicas, each on a node of its own."
            )));
        }
        if let Some(unknown) = ids.iter().find(|id| !known(id)) {
            return Err(invalid(format!(
                "The manual partition assignment includes broker {unknown}, but no such broker is registered."
            )));
        }
        if replicas.insert(index, ids.clone()).is_some() {
            return Err(invalid(format!(
                "Found multiple manual partition assignments for partition {index}"
            )));
        }
    }
    if !replicas.keys().copied().eq((0..).take(replicas.len())) {
        return Err(invalid(
            "partitions should be a consecutive 0-based integer sequence".into(),
        ));
    }
    let mut sizes: Vec<_> = replicas.values().map(Vec::len).collect();
    sizes.dedup();
    if sizes.len() > 1 {
        return Err(invalid(
            "The manual partition assignment has partitions with different numbers of replicas."
                .into(),
        ));
    }
    Ok(replicas.into_values().collect())
}

/// What occurs more than once.
pub(super) fn duplicates<T: Ord + Copy>(items: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    items.filter(|item| !seen.insert(*item)).collect()
}
