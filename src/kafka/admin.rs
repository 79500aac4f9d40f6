//! Topics created, deleted, listed and described; who is in the cluster; in `delete_records`, records deleted. In: names and requests. Out: plain
//! descriptions, one result per topic.

mod delete_records;

use std::collections::{BTreeMap, BTreeSet};

use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::MetadataResponseTopic;
use protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    MetadataRequest,
};
use protocol::{ApiKey, ErrorCode, Request};
use tokio::time::Instant;

use super::cluster::{Answer, Channel, Cluster, Judged, Target};
use super::model::names::{check_text, check_topic};
use super::net::broker_timeout_ms;
use super::{Address, ApiVersions, Client, ClientConfig, Error, ErrorKind, Result};
use crate::kafka::runtime::Mutex;

/// A client for cluster administration. Cheap to clone.
///
/// Every method waits no longer than `request_timeout`, and is cancel safe in that a request given up may still be carried out.
#[derive(Clone, Debug)]
pub struct Admin {
    cluster: Cluster,
}

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
            configs: Vec::new(),
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

/// Who is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterDescription {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The broker that takes requests for the controller.
    pub controller: Option<i32>,
    /// The live brokers, by id.
    pub brokers: Vec<BrokerDescription>,
}

/// A live broker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerDescription {
    /// Its id.
    pub id: i32,
    /// Where it listens.
    pub address: Address,
    /// The rack it stands in.
    pub rack: Option<String>,
}

impl Admin {
    /// Finds the cluster. Fails within `connect_timeout` when no broker answers, with each address and why.
    pub async fn connect(config: ClientConfig) -> Result<Self> {
        let timeout = config.connect_timeout;
        let client = Client::lazy(config)?;
        let admin = client.admin();
        admin.cluster.found(Instant::now() + timeout).await?;
        Ok(admin)
    }

    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    /// Creates topics: a result for each name. All of them fail together only when no broker could be asked.
    ///
    /// A topic that is given twice in the same way is created once; given in two ways, it fails and is not created. Brokers before Kafka 2.4
    /// have no default for partitions and copies: there a topic without them fails, and the error says so.
    pub async fn create_topics(&self, topics: &[NewTopic]) -> Result<BTreeMap<String, Result<()>>> {
        let mut wanted: BTreeMap<&str, &NewTopic> = BTreeMap::new();
        let mut results = BTreeMap::new();
        for topic in topics {
            let name = topic.name.as_str();
            if let Err(error) = check_new(topic) {
                results.insert(name, Err(error));
            } else if *wanted.entry(name).or_insert(topic) != topic {
                results.insert(name, Err(named_twice().topic(name)));
            }
        }
        let open = wanted
            .keys()
            .copied()
            .filter(|name| !results.contains_key(name));
        let open: BTreeSet<&str> = open.collect();
        let request = |_, open: &BTreeSet<&str>, timeout_ms| CreateTopicsRequest {
            topics: open.iter().map(|name| creatable(wanted[name])).collect(),
            timeout_ms,
            ..Default::default()
        };
        let refused = |version, name: &str| match wanted[name] {
            topic if version < CreateTopicsRequest::DEFAULTS_FROM => without_defaults(topic),
            _ => None,
        };
        let said = |response: &CreateTopicsResponse| {
            let topics = response.topics.iter();
            topics
                .map(|topic| {
                    let said = (topic.error_code, topic.error_message.clone());
                    (topic.name.clone(), said)
                })
                .collect()
        };
        let changed = self.change_topics(open, request, refused, said).await?;
        results.extend(changed);
        Ok(by_name(results))
    }

    /// Creates one topic.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<()> {
        let outcomes = self.create_topics(std::slice::from_ref(topic)).await?;
        outcomes.into_values().collect()
    }

    /// Deletes topics and all their records: a result for each name.
    pub async fn delete_topics(&self, names: &[&str]) -> Result<BTreeMap<String, Result<()>>> {
        let (mut results, open) = checked(names);
        let request = |version, open: &BTreeSet<&str>, timeout_ms| {
            let names = open.iter().map(|name| name.to_string());
            match version {
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
            }
        };
        let said = |response: &DeleteTopicsResponse| {
            let topics = response.responses.iter();
            topics
                .filter_map(|topic| {
                    let said = (topic.error_code, topic.error_message.clone());
                    Some((topic.name.clone()?, said))
                })
                .collect()
        };
        let changed = self.change_topics(open, request, |_, _| None, said).await?;
        results.extend(changed);
        Ok(by_name(results))
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
        let (mut results, open) = checked(names);
        let mut described = match open.is_empty() {
            true => BTreeMap::new(),
            false => self.metadata_of(Some(&open)).await?,
        };
        for name in open {
            let unanswered = || Err(unanswered().api(ApiKey::METADATA).topic(name));
            let described = described.remove(name).unwrap_or_else(unanswered);
            results.insert(name, described);
        }
        Ok(by_name(results))
    }

    /// Who is in the cluster now.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        let metadata = self.cluster.refreshed(self.deadline()).await?;
        let brokers = metadata.brokers.values().map(|broker| BrokerDescription {
            id: broker.id,
            address: broker.address.clone(),
            rack: broker.rack.clone(),
        });
        Ok(ClusterDescription {
            cluster_id: metadata.cluster_id.clone(),
            controller: (metadata.controller_id >= 0).then_some(metadata.controller_id),
            brokers: brokers.collect(),
        })
    }

    /// What the broker of this id speaks, beside what this client speaks: every API that either of them knows, by number.
    pub async fn api_versions(&self, broker: i32) -> Result<Vec<ApiVersions>> {
        let cluster = &self.cluster;
        let connection = cluster
            .connection(broker, Channel::Shared, self.deadline())
            .await?;
        Ok(connection.versions().beside_ours())
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.cluster.config().request_timeout
    }

    /// Asks any broker; by name.
    async fn metadata_of(
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

    /// Asks the controller to change topics, again with pauses for those that it did not get to: because it is not the controller any more,
    /// because of a quota, or because the request did not reach it. What may have been done is not repeated.
    ///
    /// `refused` says what cannot be asked of a broker that speaks the version.
    async fn change_topics<'a, R: Request>(
        &self,
        open: BTreeSet<&'a str>,
        request: impl Fn(i16, &BTreeSet<&'a str>, i32) -> R,
        refused: impl Fn(i16, &str) -> Option<Error>,
        said: impl Fn(&R::Response) -> BTreeMap<String, (ErrorCode, Option<String>)>,
    ) -> Result<BTreeMap<&'a str, Result<()>>> {
        if open.is_empty() {
            return Ok(BTreeMap::new());
        }
        let deadline = self.deadline();
        let changes = Mutex::new(Changes {
            open,
            results: BTreeMap::new(),
        });
        let build = |version| {
            let Changes { open, results } = &mut *changes.lock();
            let mut last = None;
            open.retain(|name| match refused(version, name) {
                Some(error) => {
                    let error = error.api(R::KEY).topic(*name);
                    last = Some(error.clone());
                    results.insert(*name, Err(error));
                    false
                }
                None => true,
            });
            match last {
                // Nothing is left to ask for.
                Some(error) if open.is_empty() => Err(error),
                _ => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    Ok(request(version, open, broker_timeout_ms(left)))
                }
            }
        };
        let judge = |answer: Result<Answer<R>>| {
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => return Judged::failed(error),
            };
            let Changes { open, results } = &mut *changes.lock();
            let said = said(&answer.response);
            let mut again = None;
            open.retain(|name| {
                let result = match said.get(*name) {
                    Some((ErrorCode::NONE, _)) => Ok(()),
                    Some((code, text)) => Err(answer.error(*code, text.as_deref())),
                    None => Err(answer.explain(unanswered())),
                };
                match result {
                    Err(error) if was_not_tried(&error) => {
                        again = Some(error);
                        true
                    }
                    result => {
                        results.insert(*name, result.map_err(|error| error.topic(*name)));
                        false
                    }
                }
            });
            again.map_or(Judged::Done(()), Judged::Rerouted)
        };
        let asked = self
            .cluster
            .request(Target::Controller, deadline, build, judge);
        let asked = asked.await;
        let changes = changes.into_inner();
        match asked {
            Ok(()) => Ok(changes.results),
            Err(error) => changes.together(error),
        }
    }
}

/// What becomes of topics that are to be changed.
struct Changes<'a> {
    /// Those that are not done yet.
    open: BTreeSet<&'a str>,
    results: BTreeMap<&'a str, Result<()>>,
}

impl<'a> Changes<'a> {
    /// The results so far, and `error` for the rest; `error` alone when there are none.
    fn together(mut self, error: Error) -> Result<BTreeMap<&'a str, Result<()>>> {
        if self.results.is_empty() {
            return Err(error);
        }
        for name in self.open {
            self.results.insert(name, Err(error.clone().topic(name)));
        }
        Ok(self.results)
    }
}

/// Whether the controller says that it did not even begin.
fn was_not_tried(error: &Error) -> bool {
    matches!(
        error.server_error(),
        Some(ErrorCode::NOT_CONTROLLER | ErrorCode::THROTTLING_QUOTA_EXCEEDED)
    )
}

/// Names that can be, and the errors of those that cannot.
fn checked<'a, T>(names: &[&'a str]) -> (BTreeMap<&'a str, Result<T>>, BTreeSet<&'a str>) {
    let (mut results, mut open) = (BTreeMap::new(), BTreeSet::new());
    for name in names {
        match check_topic(name) {
            Ok(()) => drop(open.insert(*name)),
            Err(error) => drop(results.insert(*name, Err(error))),
        }
    }
    (results, open)
}

fn by_name<T>(results: BTreeMap<&str, Result<T>>) -> BTreeMap<String, Result<T>> {
    let results = results.into_iter();
    results
        .map(|(name, result)| (name.to_string(), result))
        .collect()
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
    CreatableTopic {
        name: topic.name.clone(),
        num_partitions: topic.partitions.unwrap_or(-1),
        replication_factor: topic.replication_factor.unwrap_or(-1),
        configs: configs.collect(),
        ..Default::default()
    }
}

fn state_of(name: String) -> DeleteTopicState {
    DeleteTopicState {
        name: Some(name),
        ..Default::default()
    }
}

fn unanswered() -> Error {
    Error::new(
        ErrorKind::Protocol,
        "the broker's answer leaves the topic out",
    )
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
mod tests;
