//! Topics made, removed, listed and described; who is in the cluster. In: names and wishes. Out: plain descriptions, one result per topic.

use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::MetadataResponseTopic;
use protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest};
use protocol::{ApiKey, ErrorCode, Request};
use tokio::time::{Instant, sleep, timeout_at};

use super::cluster::{Cluster, Purpose};
use super::net::Call;
use super::{Address, ClientConfig, Configuration, Error, ErrorKind, Result};

/// A client for cluster administration. Cheap to clone.
///
/// Every method waits no longer than `request_timeout`, and is cancel safe in that a request given up may still be carried out.
#[derive(Clone, Debug)]
pub struct Admin {
    cluster: Cluster,
}

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// An API and the versions of it that both sides speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiVersions {
    /// The API's number.
    pub key: i16,
    /// Its name; `Unknown` where this client does not know it.
    pub name: &'static str,
    /// The first and last version that this client speaks.
    pub client: Option<(i16, i16)>,
    /// The first and last version that the broker speaks.
    pub broker: Option<(i16, i16)>,
}

impl ApiVersions {
    /// The version that is spoken: the newest that both know.
    pub fn chosen(&self) -> Option<i16> {
        let (client, broker) = (self.client?, self.broker?);
        let newest = client.1.min(broker.1);
        (newest >= client.0.max(broker.0)).then_some(newest)
    }
}

/// Whom a request is for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Any,
    Controller,
}

impl Admin {
    /// Finds the cluster. Fails within `connect_timeout` when no broker answers, with each address and why.
    pub async fn connect(config: ClientConfig) -> Result<Self> {
        config.validate()?;
        let deadline = Instant::now() + config.connect_timeout;
        let cluster = Cluster::connect(&config, deadline).await?;
        Ok(Self { cluster })
    }

    /// Makes topics: one result for each, in the same order. All of them fail together only when no broker could be asked.
    pub async fn create_topics(&self, topics: &[NewTopic]) -> Result<Vec<Result<()>>> {
        let config = self.cluster.config();
        let request = CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: i32::try_from(config.request_timeout.as_millis()).unwrap_or(i32::MAX),
            ..Default::default()
        };
        let moved = |response: &<CreateTopicsRequest as Request>::Response| {
            response
                .topics
                .iter()
                .any(|topic| topic.error_code == ErrorCode::NOT_CONTROLLER)
        };
        let response = self.call_controller(|_| request.clone(), moved).await?;
        let outcomes = topics.iter().map(|wanted| {
            let outcome = response
                .topics
                .iter()
                .find(|topic| topic.name == wanted.name);
            let outcome = outcome.map(|topic| (topic.error_code, topic.error_message.as_deref()));
            outcome_of(CreateTopicsRequest::KEY, &wanted.name, outcome)
        });
        Ok(outcomes.collect())
    }

    /// Makes one topic.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<()> {
        let outcomes = self.create_topics(std::slice::from_ref(topic)).await?;
        outcomes.into_iter().collect()
    }

    /// Removes topics and all their records: one result for each, in the same order.
    pub async fn delete_topics(&self, names: &[&str]) -> Result<Vec<Result<()>>> {
        let config = self.cluster.config();
        let timeout_ms = i32::try_from(config.request_timeout.as_millis()).unwrap_or(i32::MAX);
        let all = || names.iter().map(|name| name.to_string());
        let request = |version| match version {
            ..=5 => DeleteTopicsRequest {
                topic_names: all().collect(),
                timeout_ms,
                ..Default::default()
            },
            _ => DeleteTopicsRequest {
                topics: all().map(by_name).collect(),
                timeout_ms,
                ..Default::default()
            },
        };
        let moved = |response: &<DeleteTopicsRequest as Request>::Response| {
            response
                .responses
                .iter()
                .any(|topic| topic.error_code == ErrorCode::NOT_CONTROLLER)
        };
        let response = self.call_controller(request, moved).await?;
        let outcomes = names.iter().map(|wanted| {
            let mut outcomes = response.responses.iter();
            let outcome = outcomes.find(|topic| topic.name.as_deref() == Some(*wanted));
            let outcome = outcome.map(|topic| (topic.error_code, topic.error_message.as_deref()));
            outcome_of(DeleteTopicsRequest::KEY, wanted, outcome)
        });
        Ok(outcomes.collect())
    }

    /// All topics that this client may see, by name, the brokers' own included.
    pub async fn list_topics(&self) -> Result<Vec<TopicDescription>> {
        let topics = self.metadata_of(None).await?;
        let mut listed: Vec<_> = topics
            .into_iter()
            .filter_map(|topic| describe(topic).ok())
            .collect();
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listed)
    }

    /// Partitions and leaders of topics: one result for each, in the same order.
    pub async fn describe_topics(&self, names: &[&str]) -> Result<Vec<Result<TopicDescription>>> {
        let mut topics = self.metadata_of(Some(names)).await?;
        let described = names.iter().map(|name| {
            let found = topics
                .iter()
                .position(|topic| topic.name.as_deref() == Some(*name));
            match found {
                Some(index) => describe(topics.swap_remove(index)),
                None => Err(unanswered().api(ApiKey::METADATA).topic(*name)),
            }
        });
        Ok(described.collect())
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
            .connection(broker, Purpose::Other, self.deadline())
            .await?;
        let ours = protocol::messages::APIS.iter().map(|api| api.key);
        let mut keys: Vec<_> = ours.chain(connection.broker_apis()).collect();
        keys.sort_unstable();
        keys.dedup();
        let described = keys.into_iter().map(|key| ApiVersions {
            key: key.0,
            name: key.name(),
            client: key.versions().map(|range| (range.min, range.max)),
            broker: connection.broker_range(key),
        });
        Ok(described.collect())
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.cluster.config().request_timeout
    }

    async fn metadata_of(&self, names: Option<&[&str]>) -> Result<Vec<MetadataResponseTopic>> {
        let topics = names.map(|names| {
            let topics = names.iter().map(|name| MetadataRequestTopic {
                name: Some(name.to_string()),
                ..Default::default()
            });
            topics.collect()
        });
        let request = MetadataRequest {
            topics,
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let deadline = self.deadline();
        let response = self
            .call(Asked::Any, |_| request.clone(), |_| false, deadline)
            .await?;
        Ok(response.topics)
    }

    /// Asks the controller; again with pauses while the one asked says that it is not the controller any more.
    async fn call_controller<R: Call>(
        &self,
        request: impl Fn(i16) -> R,
        moved: impl Fn(&R::Response) -> bool,
    ) -> Result<R::Response> {
        let deadline = self.deadline();
        self.call(Asked::Controller, request, moved, deadline).await
    }

    /// Sends a request in the version that the broker speaks, again with pauses while that may help. What may have been done is not
    /// repeated.
    async fn call<R: Call>(
        &self,
        asked: Asked,
        request: impl Fn(i16) -> R,
        moved: impl Fn(&R::Response) -> bool,
        deadline: Instant,
    ) -> Result<R::Response> {
        let mut backoff = self.cluster.retry_backoff();
        let mut random = self.cluster.random("admin");
        loop {
            let error = match self.call_once(asked, &request, deadline).await {
                Ok(response) if moved(&response) => {
                    Error::server(ErrorCode::NOT_CONTROLLER, None).api(R::KEY)
                }
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let not_done =
                error.outcome() == super::WriteOutcome::NotWritten || R::KEY == ApiKey::METADATA;
            if !error.is_retriable() || !not_done {
                return Err(error);
            }
            self.cluster.refresh();
            let pause = backoff.failed(&mut random);
            if timeout_at(deadline, sleep(pause)).await.is_err() {
                return Err(error.attempt(backoff.failures()));
            }
        }
    }

    async fn call_once<R: Call>(
        &self,
        asked: Asked,
        request: impl Fn(i16) -> R,
        deadline: Instant,
    ) -> Result<R::Response> {
        let connection = match asked {
            Asked::Any => self.cluster.any_connection(deadline).await?,
            Asked::Controller => self.cluster.controller(deadline).await?,
        };
        let version = connection.version_of::<R>()?;
        connection
            .call_at(&request(version), version, deadline)
            .await
    }
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

fn by_name(name: String) -> DeleteTopicState {
    DeleteTopicState {
        name: Some(name),
        ..Default::default()
    }
}

fn outcome_of(api: ApiKey, topic: &str, outcome: Option<(ErrorCode, Option<&str>)>) -> Result<()> {
    match outcome {
        Some((ErrorCode::NONE, _)) => Ok(()),
        Some((code, message)) => Err(Error::server(code, message).api(api).topic(topic)),
        None => Err(unanswered().api(api).topic(topic)),
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
