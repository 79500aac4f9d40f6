//! Configuration of topics, brokers, groups and client metrics, described and altered (KIP-133, KIP-339). In: resources. Out: a result for
//! each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use protocol::messages::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
};

use super::Admin;
use super::each::{Ask, Round, Route, checked};
use crate::kafka::cluster::Answer;
use crate::kafka::{Error, ErrorKind, Result};

/// What sort of thing has a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConfigResourceKind {
    /// A topic.
    Topic,
    /// A broker, by its id; the empty name is the default of all brokers.
    Broker,
    /// The levels at which a broker logs, by its id (KIP-412).
    BrokerLogger,
    /// A subscription to clients' metrics (KIP-714).
    ClientMetrics,
    /// A group (KIP-848).
    Group,
    /// One that this version does not know, by Kafka's number.
    Other(i8),
}

impl ConfigResourceKind {
    fn number(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::ClientMetrics => 16,
            Self::Group => 32,
            Self::Other(number) => number,
        }
    }

    fn from_number(number: i8) -> Self {
        match number {
            2 => Self::Topic,
            4 => Self::Broker,
            8 => Self::BrokerLogger,
            16 => Self::ClientMetrics,
            32 => Self::Group,
            number => Self::Other(number),
        }
    }
}

/// Something that has a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct ConfigResource {
    /// What sort of thing.
    pub kind: ConfigResourceKind,
    /// Its name.
    pub name: String,
}

impl ConfigResource {
    /// The thing of this sort and name.
    pub fn new(kind: ConfigResourceKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }

    /// The topic of this name.
    pub fn topic(name: impl Into<String>) -> Self {
        Self::new(ConfigResourceKind::Topic, name)
    }

    /// The broker of this id.
    pub fn broker(id: i32) -> Self {
        Self::new(ConfigResourceKind::Broker, id.to_string())
    }

    /// What brokers take that have no value of their own.
    pub fn all_brokers() -> Self {
        Self::new(ConfigResourceKind::Broker, "")
    }

    /// The loggers of the broker of this id.
    pub fn broker_logger(id: i32) -> Self {
        Self::new(ConfigResourceKind::BrokerLogger, id.to_string())
    }

    /// The group of this id.
    pub fn group(id: impl Into<String>) -> Self {
        Self::new(ConfigResourceKind::Group, id)
    }

    /// The subscription to clients' metrics of this name.
    pub fn client_metrics(name: impl Into<String>) -> Self {
        Self::new(ConfigResourceKind::ClientMetrics, name)
    }

    /// The broker that alone may be asked.
    fn own_broker(&self) -> Option<i32> {
        match self.kind {
            ConfigResourceKind::Broker | ConfigResourceKind::BrokerLogger => self.name.parse().ok(),
            _ => None,
        }
    }
}

/// Such as `topic orders`.
impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name } = self;
        match kind {
            ConfigResourceKind::Topic => write!(f, "topic {name}"),
            ConfigResourceKind::Broker if name.is_empty() => write!(f, "all brokers"),
            ConfigResourceKind::Broker => write!(f, "broker {name}"),
            ConfigResourceKind::BrokerLogger => write!(f, "loggers of broker {name}"),
            ConfigResourceKind::ClientMetrics => write!(f, "client metrics {name}"),
            ConfigResourceKind::Group => write!(f, "group {name}"),
            ConfigResourceKind::Other(number) => write!(f, "resource {name} of type {number}"),
        }
    }
}

/// Where a configuration's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConfigSource {
    /// The topic's own.
    Topic,
    /// The broker's own, altered while it runs.
    DynamicBroker,
    /// That of all brokers, altered while they run.
    DynamicDefaultBroker,
    /// The file that the broker was started with.
    StaticBroker,
    /// Kafka's default.
    Default,
    /// A broker's logger.
    DynamicBrokerLogger,
    /// A subscription to clients' metrics.
    ClientMetrics,
    /// The group's own.
    Group,
    /// The broker did not say, or names one that this version does not know.
    Unknown,
}

impl ConfigSource {
    pub(super) fn from_number(number: i8) -> Self {
        match number {
            1 => Self::Topic,
            2 => Self::DynamicBroker,
            3 => Self::DynamicDefaultBroker,
            4 => Self::StaticBroker,
            5 => Self::Default,
            6 => Self::DynamicBrokerLogger,
            7 => Self::ClientMetrics,
            8 => Self::Group,
            _ => Self::Unknown,
        }
    }
}

/// What values a configuration takes (KIP-569; brokers from Kafka 2.6 on).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConfigKind {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 16 bits.
    Short,
    /// A whole number of 64 bits.
    Long,
    /// A fraction.
    Double,
    /// Several, separated by commas.
    List,
    /// The name of a Java class.
    Class,
    /// A secret.
    Password,
    /// The broker did not say, or names one that this version does not know.
    Unknown,
}

impl ConfigKind {
    fn from_number(number: i8) -> Self {
        match number {
            1 => Self::Boolean,
            2 => Self::String,
            3 => Self::Int,
            4 => Self::Short,
            5 => Self::Long,
            6 => Self::Double,
            7 => Self::List,
            8 => Self::Class,
            9 => Self::Password,
            _ => Self::Unknown,
        }
    }
}

/// What brokers are asked to say of configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DescribeConfigsOptions {
    /// Whether they say which other configurations would have set the value.
    pub include_synonyms: bool,
    /// Whether they say what it is for (brokers from Kafka 2.6 on).
    pub include_documentation: bool,
}

impl DescribeConfigsOptions {
    /// With the other configurations that would have set the value.
    pub fn include_synonyms(mut self) -> Self {
        self.include_synonyms = true;
        self
    }

    /// With what each is for.
    pub fn include_documentation(mut self) -> Self {
        self.include_documentation = true;
        self
    }
}

/// A configuration as brokers describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigDescription {
    /// Its value; `None` for a secret, and where there is none.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// What values it takes.
    pub kind: ConfigKind,
    /// Whether it cannot be altered.
    pub is_read_only: bool,
    /// Whether it is a secret, which brokers do not tell.
    pub is_sensitive: bool,
    /// What would have set the value, the strongest first, where it was asked for.
    pub synonyms: Vec<ConfigSynonym>,
    /// What it is for, where it was asked for.
    pub documentation: Option<String>,
}

/// A configuration that could have set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigSynonym {
    /// Its name, which may be another one.
    pub name: String,
    /// Its value; `None` for a secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// How a configuration is altered (KIP-339).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlterConfig {
    /// It gets this value.
    Set(String),
    /// It takes its default again.
    Delete,
    /// This is added to a list.
    Append(String),
    /// This is taken out of a list.
    Subtract(String),
}

impl Admin {
    /// The whole configuration of each resource, by its names. A broker is asked itself about its own and about its loggers.
    ///
    /// Errors by resource: `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_REQUEST` for a name that cannot be, and an authorization error where the
    /// client may not (`DESCRIBE_CONFIGS`). Of a group or a subscription that does not exist, its defaults are described.
    pub async fn describe_configs(
        &self,
        resources: &[ConfigResource],
        options: &DescribeConfigsOptions,
    ) -> Result<BTreeMap<ConfigResource, Result<BTreeMap<String, ConfigDescription>>>> {
        let build = |round: &mut Round<ConfigResource>| {
            let resources = round.items.iter();
            let resources = resources.map(|it| DescribeConfigsResource {
                resource_type: it.kind.number(),
                resource_name: it.name.clone(),
                configuration_keys: None,
                ..Default::default()
            });
            Ok(DescribeConfigsRequest {
                resources: resources.collect(),
                include_synonyms: options.include_synonyms,
                include_documentation: options.include_documentation && round.version >= 3,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<DescribeConfigsRequest>, _: &Round<ConfigResource>| {
            let results = answer.response.results.iter();
            results
                .map(|it| {
                    let message = it.error_message.as_deref();
                    let described = || {
                        let configs = it.configs.iter();
                        configs.map(|it| (it.name.clone(), described(it))).collect()
                    };
                    let kind = ConfigResourceKind::from_number(it.resource_type);
                    let result = checked(answer, it.error_code, message, described);
                    (ConfigResource::new(kind, &*it.resource_name), result)
                })
                .collect()
        };
        let resources = resources.iter().cloned().collect();
        self.each_resource(resources, Route::Any, build, read).await
    }

    /// Alters single configurations of each resource, and leaves all others as they are: a result for each resource, whose alterations are
    /// done together or not at all. Needs Kafka 2.3.
    ///
    /// With `validate_only` brokers only say what would become of it. Errors by resource: `INVALID_CONFIG` for a value that cannot be,
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_REQUEST`, and an authorization error where the client may not (`ALTER_CONFIGS`).
    pub async fn incremental_alter_configs(
        &self,
        alterations: &BTreeMap<ConfigResource, Vec<(String, AlterConfig)>>,
        validate_only: bool,
    ) -> Result<BTreeMap<ConfigResource, Result<()>>> {
        let build = |round: &mut Round<ConfigResource>| {
            let resources = round.items.iter();
            let resources = resources.map(|it| AlterConfigsResource {
                resource_type: it.kind.number(),
                resource_name: it.name.clone(),
                configs: alterations[it].iter().map(alterable).collect(),
                ..Default::default()
            });
            Ok(IncrementalAlterConfigsRequest {
                resources: resources.collect(),
                validate_only,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<IncrementalAlterConfigsRequest>, _: &Round<ConfigResource>| {
            let responses = answer.response.responses.iter();
            responses
                .map(|it| {
                    let message = it.error_message.as_deref();
                    let kind = ConfigResourceKind::from_number(it.resource_type);
                    let result = checked(answer, it.error_code, message, || ());
                    (ConfigResource::new(kind, &*it.resource_name), result)
                })
                .collect()
        };
        let resources = alterations.keys().cloned().collect();
        let others = Route::Controller;
        self.each_resource(resources, others, build, read).await
    }

    /// The resources of these sorts that have a configuration of their own, or may have one; all sorts where none is given (KIP-1142).
    ///
    /// Brokers before Kafka 4.1 list subscriptions to clients' metrics alone: asked for others, the call fails there.
    pub async fn list_config_resources(
        &self,
        kinds: &[ConfigResourceKind],
    ) -> Result<Vec<ConfigResource>> {
        let build = |round: &mut Round<()>| {
            let mut resource_types: Vec<i8> = kinds.iter().map(|kind| kind.number()).collect();
            if round.version == 0 {
                if kinds
                    .iter()
                    .any(|kind| *kind != ConfigResourceKind::ClientMetrics)
                {
                    let message =
                        "this broker is older than Kafka 4.1 and lists client metrics alone";
                    return Err(Error::new(ErrorKind::UnsupportedVersion, message));
                }
                resource_types.clear();
            }
            Ok(ListConfigResourcesRequest {
                resource_types,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<ListConfigResourcesRequest>, round: &Round<()>| {
            let response = &answer.response;
            let listed = || {
                let resources = response.config_resources.iter();
                resources
                    .map(|it| {
                        let kind = ConfigResourceKind::from_number(it.resource_type);
                        ConfigResource::new(kind, &*it.resource_name)
                    })
                    .collect::<Vec<_>>()
            };
            round.all(checked(answer, response.error_code, None, listed))
        };
        self.one(Route::Any, build, read).await
    }

    /// Asks brokers about themselves, and `others` about all else.
    async fn each_resource<R: protocol::Request, T>(
        &self,
        resources: BTreeSet<ConfigResource>,
        others: Route<ConfigResource>,
        build: impl Fn(&mut Round<ConfigResource>) -> Result<R>,
        read: impl Fn(&Answer<R>, &Round<ConfigResource>) -> BTreeMap<ConfigResource, Result<T>>,
    ) -> Result<BTreeMap<ConfigResource, Result<T>>> {
        // The active controller takes what is of any broker; what one logs, each says itself.
        let of_controllers = self.cluster.config().is_of_controllers();
        let asks_itself = |it: &ConfigResource| {
            it.own_broker().is_some()
                && (it.kind == ConfigResourceKind::BrokerLogger || !of_controllers)
        };
        let (own, others_own): (BTreeSet<_>, BTreeSet<_>) =
            resources.into_iter().partition(asks_itself);
        let about = |it: &ConfigResource, error: Error| match it.kind {
            ConfigResourceKind::Topic => error.topic(&*it.name),
            _ => error.prefixed(&it.to_string()),
        };
        let of_brokers = Route::Broker(Box::new(|it: &ConfigResource| {
            it.own_broker().unwrap_or(-1)
        }));
        let own_asked = Ask::new(of_brokers, own.clone(), about);
        let others_asked = Ask::new(others, others_own.clone(), about);
        let (own_said, others_said) = tokio::join!(
            self.each(own_asked, &build, &read),
            self.each(others_asked, &build, &read)
        );
        let mut results = BTreeMap::new();
        let halves = [(own, own_said), (others_own, others_said)];
        let answered = halves
            .iter()
            .any(|(items, said)| !items.is_empty() && said.is_ok());
        for (items, said) in halves {
            match said {
                Ok(said) => results.extend(said),
                Err(error) if !answered => return Err(error),
                Err(error) => {
                    let failed = items.into_iter().map(|it| {
                        let error = about(&it, error.clone());
                        (it, Err(error))
                    });
                    results.extend(failed);
                }
            }
        }
        Ok(results)
    }
}

fn described(it: &DescribeConfigsResourceResult) -> ConfigDescription {
    let synonyms = it.synonyms.iter().map(|it| ConfigSynonym {
        name: it.name.clone(),
        value: it.value.clone(),
        source: ConfigSource::from_number(it.source),
    });
    ConfigDescription {
        value: it.value.clone(),
        source: ConfigSource::from_number(it.config_source),
        kind: ConfigKind::from_number(it.config_type),
        is_read_only: it.read_only,
        is_sensitive: it.is_sensitive,
        synonyms: synonyms.collect(),
        documentation: it.documentation.clone(),
    }
}

fn alterable((name, alteration): &(String, AlterConfig)) -> AlterableConfig {
    let (config_operation, value) = match alteration {
        AlterConfig::Set(value) => (0, Some(value.clone())),
        AlterConfig::Delete => (1, None),
        AlterConfig::Append(value) => (2, Some(value.clone())),
        AlterConfig::Subtract(value) => (3, Some(value.clone())),
    };
    AlterableConfig {
        name: name.clone(),
        config_operation,
        value,
        ..Default::default()
    }
}
