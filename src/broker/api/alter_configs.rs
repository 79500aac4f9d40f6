//! IncrementalAlterConfigs and AlterConfigs: what topics and groups set for themselves (KIP-133, KIP-339). Those of brokers cannot be altered here, and
//! there are neither loggers nor subscriptions to metrics that could be.

use std::collections::BTreeSet;

use protocol::ErrorCode;
use protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, alter_configs_response, incremental_alter_configs_response,
};

use super::describe_configs::{ResourceKind, unauthorized};
use super::{Api, Context, Reply};
use crate::broker::configs::{
    Alteration, Change, GroupConfig, Own, Refusal, Schema, group_schema, topic_schema,
};
use crate::broker::lock;
use crate::broker::security::AclOperation;
use crate::broker::storage::{Change as Kept, GroupConfigNote, Key};
use crate::broker::topic::name_problem;

/// What is asked of one resource.
struct Asked<'a> {
    kind: i8,
    name: &'a str,
    /// Name, operation, value.
    changes: Vec<(&'a str, i8, Option<&'a str>)>,
    /// Whether what is not named goes.
    replaces: bool,
}

const SET: i8 = 0;

macro_rules! alter_configs {
    ($Request:ident => $Response:ident in $answers:ident, |$config:ident| $operation:expr, replaces $replaces:literal) => {
        impl Api for $Request {
            const USES_FILES: bool = true;

            async fn handle(self, context: &Context<'_>) -> Reply<$Response> {
                let asked = self.resources.iter().map(|resource| Asked {
                    kind: resource.resource_type,
                    name: &resource.resource_name,
                    changes: (resource.configs.iter())
                        .map(|$config| (&*$config.name, $operation, $config.value.as_deref()))
                        .collect(),
                    replaces: $replaces,
                });
                let asked: Vec<_> = asked.collect();
                let results = alter(&asked, self.validate_only, context);
                let answers = asked.iter().zip(results).map(|(asked, result)| {
                    let (error_code, error_message) =
                        result.err().unwrap_or((ErrorCode::NONE, None));
                    $answers::AlterConfigsResourceResponse {
                        error_code,
                        error_message,
                        resource_type: asked.kind,
                        resource_name: asked.name.to_owned(),
                        ..Default::default()
                    }
                });
                Reply::Message($Response {
                    responses: answers.collect(),
                    ..Default::default()
                })
            }

            fn refusal(&self, _: i16, error_code: ErrorCode) -> $Response {
                let resources = self.resources.iter();
                let answers = resources.map(|it| $answers::AlterConfigsResourceResponse {
                    error_code,
                    resource_type: it.resource_type,
                    resource_name: it.resource_name.clone(),
                    ..Default::default()
                });
                $Response {
                    responses: answers.collect(),
                    ..Default::default()
                }
            }

            fn can_be_refused(&self, _: i16) -> bool {
                !self.resources.is_empty()
            }
        }
    };
}

alter_configs!(IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse in incremental_alter_configs_response, |it| it.config_operation, replaces false);
alter_configs!(AlterConfigsRequest => AlterConfigsResponse in alter_configs_response, |it| SET, replaces true);

/// A result for each.
fn alter(
    asked: &[Asked<'_>],
    validate_only: bool,
    context: &Context<'_>,
) -> Vec<Result<(), Refusal>> {
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for it in asked {
        if !seen.insert((it.kind, it.name)) {
            twice.insert((it.kind, it.name));
        }
    }
    let alter = |it: &Asked<'_>| match twice.contains(&(it.kind, it.name)) {
        true => Err(invalid("Each resource must appear at most once.")),
        false => it.alter(validate_only, context),
    };
    asked.iter().map(alter).collect()
}

impl Asked<'_> {
    fn alter(&self, validate_only: bool, context: &Context<'_>) -> Result<(), Refusal> {
        let alterations = self.alterations()?;
        let kind = ResourceKind::from_number(self.kind)
            .ok_or_else(|| invalid(format!("Unknown resource type {}", self.kind)))?;
        if kind == ResourceKind::Broker {
            self.check_node(context)?;
        }
        // Of a broker's, Kafka says no more than the error.
        let is_broker = kind == ResourceKind::Broker;
        kind.check(AclOperation::AlterConfigs, self.name, context)
            .map_err(|error| (error, (!is_broker).then(|| unauthorized(kind).to_owned())))?;
        match kind {
            ResourceKind::Topic => self.alter_topic(&alterations, validate_only, context),
            ResourceKind::Group => self.alter_group(&alterations, validate_only, context),
            // There are none.
            ResourceKind::BrokerLogger => match self.changes.first() {
                Some((name, ..)) => Err(bad(format!("Logger {name} does not exist!"))),
                None => Ok(()),
            },
            ResourceKind::Broker | ResourceKind::ClientMetrics => match self.changes.is_empty() {
                true => Ok(()),
                false => {
                    let names: Vec<_> = self.changes.iter().map(|(name, ..)| *name).collect();
                    let names = names.join(", ");
                    let text = format!("Cannot update these configs dynamically: [{names}]");
                    Err(invalid(text))
                }
            },
        }
    }

    /// What Kafka's brokers check before they ask the controller.
    fn alterations(&self) -> Result<Vec<Alteration>, Refusal> {
        let names: BTreeSet<_> = self.changes.iter().map(|(name, ..)| *name).collect();
        if names.len() < self.changes.len() {
            return Err(invalid("Error due to duplicate config keys"));
        }
        let mut alterations = Vec::new();
        let mut without = Vec::new();
        for (name, operation, value) in &self.changes {
            let change = Change::from_number(*operation)
                .ok_or_else(|| invalid(format!("Unknown operations type {operation}")))?;
            if value.is_none() && change != Change::Delete {
                without.push(*name);
            }
            alterations.push(Alteration {
                name: (*name).to_owned(),
                change,
                value: value.unwrap_or_default().to_owned(),
            });
        }
        match without.is_empty() {
            true => Ok(alterations),
            false => {
                let names = without.join(", ");
                Err(invalid(format!("Null value not supported for : {names}")))
            }
        }
    }

    /// A node alters its own, or those of all.
    fn check_node(&self, context: &Context<'_>) -> Result<(), Refusal> {
        match self.name.parse::<i32>() {
            Ok(node) if context.node == node => Ok(()),
            _ if self.name.is_empty() => Ok(()),
            Ok(_) => {
                let (expected, name) = (context.node, self.name);
                Err(invalid(format!(
                    "Unexpected broker id, expected {expected}, but received {name}"
                )))
            }
            Err(_) => {
                let name = self.name;
                Err(invalid(format!(
                    "Node id must be an integer, but it is: {name}"
                )))
            }
        }
    }

    fn altered(
        &self,
        schema: Schema,
        own: &Own,
        alterations: &[Alteration],
    ) -> Result<Own, Refusal> {
        let nothing = Own::new();
        schema.altered(if self.replaces { &nothing } else { own }, alterations)
    }

    fn alter_topic(
        &self,
        alterations: &[Alteration],
        validate_only: bool,
        context: &Context<'_>,
    ) -> Result<(), Refusal> {
        if self.name.is_empty() {
            return Err(invalid("Default topic resources are not allowed."));
        }
        if let Some(text) = name_problem(self.name) {
            return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, Some(text)));
        }
        let cluster = context.cluster;
        let settle = |own: &Own| {
            let own = self.altered(topic_schema(), own, alterations)?;
            let configs = own.iter();
            let configs = configs.map(|(name, value)| (name.as_str(), value.as_str()));
            cluster.settings.topic.with(configs).map_err(bad)
        };
        cluster.alter_topic(self.name, validate_only, settle)
    }

    fn alter_group(
        &self,
        alterations: &[Alteration],
        validate_only: bool,
        context: &Context<'_>,
    ) -> Result<(), Refusal> {
        if self.name.is_empty() {
            return Err(invalid("Default group resources are not allowed."));
        }
        let cluster = context.cluster;
        let own = lock(&cluster.shares).config(self.name);
        let own = self.altered(group_schema(), own.own(), alterations)?;
        let config = GroupConfig::new(own, &cluster.settings.groups).map_err(bad)?;
        if validate_only {
            return Ok(());
        }
        let key = Key::GroupConfig(self.name.to_owned());
        let note = GroupConfigNote {
            configs: config.own().clone(),
        };
        let kept = match note.configs.is_empty() {
            true => Kept::remove(&key),
            false => Kept::put(&key, &note.to_bytes()),
        };
        cluster.keep(&[kept]).map_err(|error| (error, None))?;
        cluster.set_group_config(self.name, config);
        Ok(())
    }
}

fn invalid(text: impl Into<String>) -> Refusal {
    (ErrorCode::INVALID_REQUEST, Some(text.into()))
}

fn bad(text: String) -> Refusal {
    (ErrorCode::INVALID_CONFIG, Some(text))
}
