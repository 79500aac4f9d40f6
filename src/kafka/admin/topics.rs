//! Topics created, deleted, listed and described. In: names and what they are to be. Out: a result for each name.

use std::collections::{BTreeMap, BTreeSet};

use protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::MetadataResponseTopic;
use protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest};
use protocol::{ApiKey, ErrorCode};

use super::each::{Ask, Round, Route, checked, unanswered};
use super::{Admin, ConfigSource};
use crate::kafka::cluster::{Answer, Judged, Target};
use crate::kafka::model::names::{check_text, check_topic};
use crate::kafka::{Error, ErrorKind, Result, TopicId};

/// A topic to be created: [`new`](NewTopic::new), and what differs from the broker's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; `None` takes the broker's default (brokers from Kafka 2.4 on).
    pub partitions: Option<i32>,
    /// How many copies of each; `None` takes the broker's default (brokers from Kafka 2.4 on).
    pub replication_factor: Option<i16>,
    /// The brokers that keep each partition, by its number, the preferred leader first: then brokers do not choose, and what is said of
    /// partitions and copies is not asked for. Empty where brokers choose.
    pub replicas: Vec<Vec<i32>>,
    /// Topic configuration, such as `retention.ms`.
    pub configs: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic with so many partitions and the broker's default for everything else.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self {
            name: name.into(),
            partitions: Some(partitions),
            replication_factor: None,
            replicas: Vec::new(),
            configs: Vec::new(),
        }
    }

    /// A topic whose partitions are kept by these brokers: a list for each partition, by its number, the preferred leader first.
    pub fn with_replicas(name: impl Into<String>, replicas: Vec<Vec<i32>>) -> Self {
        Self {
            replicas,
            partitions: None,
            ..Self::new(name, -1)
        }
    }

    /// With so many copies of each partition.
    pub fn replication_factor(mut self, copies: i16) -> Self {
        self.replication_factor = Some(copies);
        self
    }

    /// With a topic configuration, such as `retention.ms`.
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((name.into(), value.into()));
        self
    }
}

/// How topics are created: [`Default`] creates them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreateTopicsOptions {
    /// Whether brokers only say what would become of it.
    pub validate_only: bool,
}

impl CreateTopicsOptions {
    /// Brokers only say what would become of it.
    pub fn validate_only() -> Self {
        Self {
            validate_only: true,
        }
    }
}

/// What brokers say of a topic that was created, or would be (KIP-525; brokers from Kafka 2.4 on).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedTopic {
    /// Its id (brokers from Kafka 2.8 on); `None` where it was only validated.
    pub id: Option<TopicId>,
    /// How many partitions it has; `None` where the client may not describe its configuration.
    pub partitions: Option<i32>,
    /// How many copies of each; `None` as above.
    pub replication_factor: Option<i16>,
    /// Its whole configuration, by name: what was asked for and what it takes from defaults. `None` as above.
    pub configs: Option<BTreeMap<String, CreatedTopicConfig>>,
}

/// One configuration of a topic that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedTopicConfig {
    /// Its value; `None` for a secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Whether it cannot be altered.
    pub is_read_only: bool,
    /// Whether it is a secret, which brokers do not tell.
    pub is_sensitive: bool,
}

/// A topic as brokers describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id as Kafka's tools print it; `None` from brokers that have none.
    pub id: Option<String>,
    /// Whether it is the brokers' own.
    pub is_internal: bool,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition as brokers describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionDescription {
    /// Its number.
    pub partition: i32,
    /// The broker that leads it; `None` while there is none.
    pub leader: Option<i32>,
    /// The brokers that keep a copy.
    pub replicas: Vec<i32>,
    /// Those that are in sync.
    pub in_sync_replicas: Vec<i32>,
}

impl Admin {
    /// Creates topics: a result for each name. All of them fail together only when no broker could be asked.
    ///
    /// A topic that is given twice in the same way is created once; given in two ways, it fails and is not created. Brokers before Kafka 2.4
    /// have no default for partitions and copies: there a topic without them fails, and the error says so.
    pub async fn create_topics(&self, topics: &[NewTopic]) -> Result<BTreeMap<String, Result<()>>> {
        let created = self.create_topics_with(topics, &Default::default()).await?;
        let created = created.into_iter();
        Ok(created
            .map(|(name, result)| (name, result.map(drop)))
            .collect())
    }

    /// As [`create_topics`](Self::create_topics), with options, and with what brokers say of each topic.
    pub async fn create_topics_with(
        &self,
        topics: &[NewTopic],
        options: &CreateTopicsOptions,
    ) -> Result<BTreeMap<String, Result<CreatedTopic>>> {
        let mut wanted: BTreeMap<&str, &NewTopic> = BTreeMap::new();
        let mut results = BTreeMap::new();
        for topic in topics {
            let name = topic.name.as_str();
            if let Err(error) = check_new(topic) {
                results.insert(name.to_string(), Err(error));
            } else if *wanted.entry(name).or_insert(topic) != topic {
                results.insert(name.to_string(), Err(named_twice().topic(name)));
            }
        }
        let open = wanted.keys().map(|name| name.to_string());
        let open = open.filter(|name| !results.contains_key(name)).collect();
        let build = |round: &mut Round<String>| {
            if round.version < CreateTopicsRequest::DEFAULTS_FROM {
                round.refuse(|name| without_defaults(wanted[&**name]));
            }
            let topics = round.items.iter();
            Ok(CreateTopicsRequest {
                topics: topics.map(|name| creatable(wanted[&**name])).collect(),
                timeout_ms: round.timeout_ms,
                validate_only: options.validate_only,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<CreateTopicsRequest>, _: &Round<String>| {
            let topics = answer.response.topics.iter();
            topics
                .map(|topic| {
                    let (code, message) = (topic.error_code, topic.error_message.as_deref());
                    let created = checked(answer, code, message, || created(topic));
                    (topic.name.clone(), created)
                })
                .collect()
        };
        let created = self.each(changed_topics(open), build, read).await?;
        results.extend(created);
        Ok(results)
    }

    /// Creates one topic.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<()> {
        let outcomes = self.create_topics(std::slice::from_ref(topic)).await?;
        outcomes.into_values().collect()
    }

    /// Deletes topics and all their records: a result for each name.
    pub async fn delete_topics(&self, names: &[&str]) -> Result<BTreeMap<String, Result<()>>> {
        let (mut results, open) = named(names);
        let build = |round: &mut Round<String>| {
            let names = round.items.iter().cloned();
            let timeout_ms = round.timeout_ms;
            Ok(match round.version {
                ..=5 => DeleteTopicsRequest {
                    topic_names: names.collect(),
                    timeout_ms,
                    ..Default::default()
                },
                _ => DeleteTopicsRequest {
                    topics: names.map(state_of).collect(),
                    timeout_ms,
                    ..Default::default()
                },
            })
        };
        let read = |answer: &Answer<DeleteTopicsRequest>, _: &Round<String>| {
            let topics = answer.response.responses.iter();
            topics
                .filter_map(|topic| {
                    let (code, message) = (topic.error_code, topic.error_message.as_deref());
                    Some((topic.name.clone()?, checked(answer, code, message, || ())))
                })
                .collect()
        };
        let deleted = self.each(changed_topics(open), build, read).await?;
        results.extend(deleted);
        Ok(results)
    }

    /// All topics that this client may see, by name, the brokers' own included. One that cannot be described now is an error that names it.
    pub async fn list_topics(&self) -> Result<BTreeMap<String, Result<TopicDescription>>> {
        self.metadata_of(None).await
    }

    /// Partitions and leaders of topics: a result for each name.
    pub async fn describe_topics(
        &self,
        names: &[&str],
    ) -> Result<BTreeMap<String, Result<TopicDescription>>> {
        let (mut results, open) = named(names);
        let mut described = match open.is_empty() {
            true => BTreeMap::new(),
            false => {
                let open: BTreeSet<&str> = open.iter().map(String::as_str).collect();
                self.metadata_of(Some(&open)).await?
            }
        };
        for name in open {
            let unanswered = || Err(unanswered().api(ApiKey::METADATA).topic(&*name));
            let described = described.remove(&name).unwrap_or_else(unanswered);
            results.insert(name, described);
        }
        Ok(results)
    }

    /// Asks any broker; by name.
    pub(super) async fn metadata_of(
        &self,
        names: Option<&BTreeSet<&str>>,
    ) -> Result<BTreeMap<String, Result<TopicDescription>>> {
        let topic = |name: &&str| MetadataRequestTopic {
            name: Some(name.to_string()),
            ..Default::default()
        };
        let request = |_| {
            Ok(MetadataRequest {
                topics: names.map(|names| names.iter().map(topic).collect()),
                allow_auto_topic_creation: false,
                ..Default::default()
            })
        };
        let judge = |answer: Result<Answer<MetadataRequest>>| match answer {
            Ok(answer) => match answer.response.error_code {
                ErrorCode::NONE => Judged::Done(answer.response.topics),
                code => Judged::failed(answer.error(code, None)),
            },
            Err(error) => Judged::failed(error),
        };
        let asked = self
            .cluster
            .request(Target::Any, self.deadline(), request, judge);
        let topics = asked.await?.into_iter();
        Ok(topics
            .map(|topic| (topic.name.clone().unwrap_or_default(), describe(topic)))
            .collect())
    }
}

/// A result for each name, so far, and the names that are to be asked for.
pub(super) type Named<T> = (BTreeMap<String, Result<T>>, BTreeSet<String>);

/// Names that can be, and the errors of those that cannot.
pub(super) fn named<T>(names: &[&str]) -> Named<T> {
    let (mut results, mut open) = (BTreeMap::new(), BTreeSet::new());
    for name in names {
        match check_topic(name) {
            Ok(()) => drop(open.insert(name.to_string())),
            Err(error) => drop(results.insert(name.to_string(), Err(error))),
        }
    }
    (results, open)
}

/// The controller, about topics.
pub(super) fn changed_topics(open: BTreeSet<String>) -> Ask<String> {
    Ask::new(Route::Controller, open, |name, error| error.topic(&**name))
}

fn check_new(topic: &NewTopic) -> Result<()> {
    check_topic(&topic.name)?;
    for (name, value) in &topic.configs {
        check_text("the name of a topic configuration", name)?;
        check_text("the value of a topic configuration", value)?;
    }
    Ok(())
}

/// What a broker cannot be asked for that has no defaults.
fn without_defaults(topic: &NewTopic) -> Option<Error> {
    if !topic.replicas.is_empty() {
        return None;
    }
    let missing = match (topic.partitions, topic.replication_factor) {
        (Some(_), Some(_)) => return None,
        (None, Some(_)) => "the number of partitions",
        (Some(_), None) => "the number of copies of each partition (replication factor)",
        (None, None) => {
            "the number of partitions and the number of copies of each (replication factor)"
        }
    };
    let message = format!(
        "this broker is older than Kafka 2.4 and has no default to take here: say {missing}"
    );
    Some(Error::new(ErrorKind::Config, message))
}

fn named_twice() -> Error {
    Error::new(
        ErrorKind::Config,
        "the topic is to be created twice, in different ways: neither was asked for",
    )
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let configs = topic
        .configs
        .iter()
        .map(|(name, value)| CreatableTopicConfig {
            name: name.clone(),
            value: Some(value.clone()),
            ..Default::default()
        });
    let assignments = (0..).zip(&topic.replicas);
    let assignments = assignments.map(|(partition_index, brokers)| CreatableReplicaAssignment {
        partition_index,
        broker_ids: brokers.clone(),
        ..Default::default()
    });
    let brokers_choose = topic.replicas.is_empty();
    CreatableTopic {
        name: topic.name.clone(),
        num_partitions: topic.partitions.filter(|_| brokers_choose).unwrap_or(-1),
        replication_factor: (topic.replication_factor)
            .filter(|_| brokers_choose)
            .unwrap_or(-1),
        assignments: assignments.collect(),
        configs: configs.collect(),
        ..Default::default()
    }
}

fn created(topic: &CreatableTopicResult) -> CreatedTopic {
    let configs = topic.configs.as_ref().map(|configs| {
        let config = |it: &CreatableTopicConfigs| CreatedTopicConfig {
            value: it.value.clone(),
            source: ConfigSource::from_number(it.config_source),
            is_read_only: it.read_only,
            is_sensitive: it.is_sensitive,
        };
        let configs = configs.iter();
        configs.map(|it| (it.name.clone(), config(it))).collect()
    });
    CreatedTopic {
        id: TopicId::known(topic.topic_id),
        partitions: (topic.num_partitions >= 0).then_some(topic.num_partitions),
        replication_factor: (topic.replication_factor >= 0).then_some(topic.replication_factor),
        configs: configs.filter(|_| topic.topic_config_error_code == 0),
    }
}

fn state_of(name: String) -> DeleteTopicState {
    DeleteTopicState {
        name: Some(name),
        ..Default::default()
    }
}

fn describe(topic: MetadataResponseTopic) -> Result<TopicDescription> {
    let name = topic.name.unwrap_or_default();
    if topic.error_code != ErrorCode::NONE {
        return Err(Error::server(topic.error_code, None)
            .api(ApiKey::METADATA)
            .topic(name));
    }
    let partitions = topic
        .partitions
        .into_iter()
        .map(|partition| PartitionDescription {
            partition: partition.partition_index,
            leader: (partition.leader_id >= 0).then_some(partition.leader_id),
            replicas: partition.replica_nodes,
            in_sync_replicas: partition.isr_nodes,
        });
    let mut partitions: Vec<_> = partitions.collect();
    partitions.sort_by_key(|partition| partition.partition);
    Ok(TopicDescription {
        name,
        id: (!topic.topic_id.is_zero()).then(|| topic.topic_id.to_string()),
        is_internal: topic.is_internal,
        partitions,
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
