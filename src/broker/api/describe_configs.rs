//! DescribeConfigs and ListConfigResources: what topics, groups and nodes are set to, and where it comes from (KIP-133, KIP-226, KIP-569, KIP-1142).

use protocol::ErrorCode;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use protocol::messages::list_config_resources_response::ConfigResource;
use protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, ListConfigResourcesRequest,
    ListConfigResourcesResponse,
};

use super::{Api, Context, Reply};
use crate::broker::configs::{Refusal, describe_broker, describe_group, describe_topic};
use crate::broker::lock;
use crate::broker::security::AclOperation;
use crate::broker::topic::name_problem;

/// What has a configuration, in Kafka's numbering.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ResourceKind {
    Topic = 2,
    Broker = 4,
    BrokerLogger = 8,
    ClientMetrics = 16,
    Group = 32,
}

impl ResourceKind {
    const ALL: [Self; 5] = [
        Self::Topic,
        Self::Broker,
        Self::BrokerLogger,
        Self::ClientMetrics,
        Self::Group,
    ];

    pub(super) fn from_number(number: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i8 == number)
    }

    /// Whether the client may do this with the resource.
    pub(super) fn check(
        self,
        operation: AclOperation,
        name: &str,
        context: &Context<'_>,
    ) -> Result<(), ErrorCode> {
        match self {
            Self::Topic => context.check_topic(operation, name),
            Self::Group => context.check_group(operation, name),
            _ if context.allows_cluster(operation) => Ok(()),
            _ => Err(ErrorCode::CLUSTER_AUTHORIZATION_FAILED),
        }
    }
}

impl Api for DescribeConfigsRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<DescribeConfigsResponse> {
        let results = self.resources.iter().map(|resource| {
            let described = describe(resource, context);
            let (error_code, error_message) = match &described {
                Ok(_) => (ErrorCode::NONE, None),
                Err((error, text)) => (*error, text.clone()),
            };
            let mut configs = described.unwrap_or_default();
            if let Some(names) = resource
                .configuration_keys
                .as_ref()
                .filter(|it| !it.is_empty())
            {
                configs.retain(|config| names.contains(&config.name));
            }
            for config in &mut configs {
                if !self.include_synonyms {
                    config.synonyms.clear();
                }
                if !self.include_documentation {
                    config.documentation = None;
                }
            }
            DescribeConfigsResult {
                error_code,
                error_message,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                configs,
                ..Default::default()
            }
        });
        Reply::Message(DescribeConfigsResponse {
            results: results.collect(),
            ..Default::default()
        })
    }

    fn refusal(&self, _: i16, error_code: ErrorCode) -> DescribeConfigsResponse {
        let results = self.resources.iter().map(|it| DescribeConfigsResult {
            error_code,
            resource_type: it.resource_type,
            resource_name: it.resource_name.clone(),
            ..Default::default()
        });
        DescribeConfigsResponse {
            results: results.collect(),
            ..Default::default()
        }
    }

    fn can_be_refused(&self, _: i16) -> bool {
        !self.resources.is_empty()
    }
}

fn describe(
    resource: &DescribeConfigsResource,
    context: &Context<'_>,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let (cluster, name) = (context.cluster, resource.resource_name.as_str());
    let settings = &cluster.settings;
    let kind = ResourceKind::from_number(resource.resource_type).ok_or_else(|| {
        let number = resource.resource_type;
        invalid(format!(
            "Unexpected resource type {number} for resource {name}"
        ))
    })?;
    (kind.check(AclOperation::DescribeConfigs, name, context))
        .map_err(|error| (error, Some(unauthorized(kind).to_owned())))?;
    match kind {
        ResourceKind::Topic => {
            if let Some(text) = name_problem(name) {
                return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, Some(text)));
            }
            let topic = cluster.directory().topic(name);
            let unknown = (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Some(String::new()));
            let topic = topic.ok_or(unknown)?;
            Ok(describe_topic(&topic.settings.configs, &settings.topic))
        }
        ResourceKind::Group if name.is_empty() => Err(invalid("Group name must not be empty")),
        ResourceKind::Group => {
            let config = lock(&cluster.shares).config(name);
            Ok(describe_group(&config, &settings.groups, &settings.shares))
        }
        // Nothing is altered of all nodes at once.
        ResourceKind::Broker if name.is_empty() => Ok(Vec::new()),
        ResourceKind::Broker => {
            check_node(name, " or empty string,", context)?;
            Ok(describe_broker(context.node, settings))
        }
        ResourceKind::BrokerLogger if name.is_empty() => {
            Err(invalid("Broker id must not be empty"))
        }
        // There are none.
        ResourceKind::BrokerLogger => check_node(name, "", context).map(|()| Vec::new()),
        ResourceKind::ClientMetrics if name.is_empty() => Err(invalid(
            "Client metrics subscription name must not be empty",
        )),
        // What is wanted of clients says who holds the broker.
        ResourceKind::ClientMetrics => Ok(Vec::new()),
    }
}

/// A node describes itself.
fn check_node(name: &str, or: &str, context: &Context<'_>) -> Result<(), Refusal> {
    let expected = context.node;
    match name.parse::<i32>() {
        Ok(node) if node == expected => Ok(()),
        Ok(_) => Err(invalid(format!(
            "Unexpected broker id, expected {expected}{or} but received {name}"
        ))),
        Err(_) => Err(invalid(format!(
            "Broker id must be an integer, but it is: {name}"
        ))),
    }
}

/// Kafka's words for it.
pub(super) fn unauthorized(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Topic => "Topic authorization failed.",
        ResourceKind::Group => "Group authorization failed.",
        _ => "Cluster authorization failed.",
    }
}

fn invalid(text: impl Into<String>) -> Refusal {
    (ErrorCode::INVALID_REQUEST, Some(text.into()))
}

impl Api for ListConfigResourcesRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<ListConfigResourcesResponse> {
        if !context.allows_cluster(AclOperation::DescribeConfigs) {
            let error = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
            return Reply::Message(self.refusal(context.version, error));
        }
        let kinds = match self.resource_types.as_slice() {
            // The first version is about subscriptions alone.
            _ if context.version == 0 => Some(vec![ResourceKind::ClientMetrics]),
            [] => Some(ResourceKind::ALL.to_vec()),
            numbers => numbers
                .iter()
                .copied()
                .map(ResourceKind::from_number)
                .collect(),
        };
        let Some(kinds) = kinds else {
            let error = ErrorCode::UNSUPPORTED_VERSION;
            return Reply::Message(self.refusal(context.version, error));
        };
        let mut config_resources = Vec::new();
        for kind in ResourceKind::ALL
            .into_iter()
            .filter(|kind| kinds.contains(kind))
        {
            let names = names(kind, context).into_iter();
            config_resources.extend(names.map(|resource_name| ConfigResource {
                resource_name,
                resource_type: kind as i8,
                ..Default::default()
            }));
        }
        Reply::Message(ListConfigResourcesResponse {
            config_resources,
            ..Default::default()
        })
    }
}

fn names(kind: ResourceKind, context: &Context<'_>) -> Vec<String> {
    let cluster = context.cluster;
    match kind {
        ResourceKind::Topic => {
            let directory = cluster.directory();
            directory.topics().map(|topic| topic.name.clone()).collect()
        }
        ResourceKind::Broker | ResourceKind::BrokerLogger => {
            let directory = cluster.directory();
            let nodes = directory.running();
            nodes.map(|endpoint| endpoint.node.to_string()).collect()
        }
        ResourceKind::Group => lock(&cluster.shares).configured().cloned().collect(),
        ResourceKind::ClientMetrics => Vec::new(),
    }
}
