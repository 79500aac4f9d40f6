//! Metadata: the nodes, and topics with their partitions and leaders. May create topics.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::ErrorCode;
use protocol::messages::MetadataRequest;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

use super::{Api, Context, Reply};
use crate::broker::cluster::Directory;
use crate::broker::partition::Partition;
use crate::broker::security::{AclOperation, ResourceKind};
use crate::broker::topic::{Topic, name_problem};

impl Api for MetadataRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<MetadataResponse> {
        let cluster = context.cluster;
        let auto_create = self.allow_auto_topic_creation && cluster.settings.auto_create_topics;
        let all = self.topics.is_none()
            || (context.version == 0 && self.topics.as_ref().is_some_and(Vec::is_empty));
        let mut topics: Vec<_> = match self.topics {
            _ if all => {
                let topics: Vec<_> = cluster.directory().topics().cloned().collect();
                // Those that the client may not see are not there for it.
                let visible = |topic: &&Arc<Topic>| {
                    context
                        .check_topic(AclOperation::Describe, &topic.name)
                        .is_ok()
                };
                topics
                    .iter()
                    .filter(visible)
                    .map(|topic| described(topic, context))
                    .collect()
            }
            Some(asked) => {
                let mut seen = BTreeSet::new();
                let new = |asked: &&MetadataRequestTopic| {
                    seen.insert((asked.name.clone(), asked.topic_id))
                };
                asked
                    .iter()
                    .filter(new)
                    .map(|asked| describe(asked, auto_create, context))
                    .collect()
            }
            None => Vec::new(),
        };
        if self.include_topic_authorized_operations {
            let hidden = [
                ErrorCode::UNKNOWN_TOPIC_ID,
                ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            ];
            for topic in topics
                .iter_mut()
                .filter(|topic| !hidden.contains(&topic.error_code))
            {
                let name = topic.name.as_deref().unwrap_or_default();
                topic.topic_authorized_operations =
                    cluster
                        .security
                        .operations(context.connection, ResourceKind::Topic, name);
            }
        }
        let cluster_authorized_operations =
            context.cluster_operations(self.include_cluster_authorized_operations);
        let directory = cluster.directory();
        Reply::Message(MetadataResponse {
            brokers: brokers(&directory),
            cluster_id: Some(cluster.id.clone()),
            controller_id: directory.controller(),
            topics,
            cluster_authorized_operations,
            ..Default::default()
        })
    }

    fn refusal(&self, version: i16, error: ErrorCode) -> MetadataResponse {
        let refused = |asked: &MetadataRequestTopic| failed(asked.name.clone(), asked, error);
        let topics = self.topics.iter().flatten().map(refused).collect();
        let error_code = if version >= Self::ERROR_FROM {
            error
        } else {
            ErrorCode::NONE
        };
        MetadataResponse {
            topics,
            error_code,
            ..Default::default()
        }
    }

    fn can_be_refused(&self, version: i16) -> bool {
        version >= Self::ERROR_FROM || self.topics.iter().flatten().next().is_some()
    }
}

fn brokers(directory: &Directory) -> Vec<MetadataResponseBroker> {
    let broker = |endpoint: &crate::broker::cluster::Endpoint| MetadataResponseBroker {
        node_id: endpoint.node,
        host: endpoint.host.clone(),
        port: i32::from(endpoint.port),
        ..Default::default()
    };
    directory.running().map(broker).collect()
}

fn describe(
    asked: &MetadataRequestTopic,
    auto_create: bool,
    context: &Context<'_>,
) -> MetadataResponseTopic {
    let Some(name) = asked.name.as_deref() else {
        let topic = context.cluster.directory().topic_by_id(&asked.topic_id);
        return match topic {
            Some(topic)
                if context
                    .check_topic(AclOperation::Describe, &topic.name)
                    .is_err() =>
            {
                failed(None, asked, ErrorCode::TOPIC_AUTHORIZATION_FAILED)
            }
            Some(topic) => described(&topic, context),
            None => failed(None, asked, ErrorCode::UNKNOWN_TOPIC_ID),
        };
    };
    match context.topic(name, None, AclOperation::Describe) {
        Ok(topic) => return described(&topic, context),
        Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {}
        Err(error) => return failed(Some(name.to_owned()), asked, error),
    }
    let may_create = || {
        context.allows_cluster(AclOperation::Create)
            || context.allows(AclOperation::Create, ResourceKind::Topic, name)
    };
    if auto_create && !may_create() {
        let error = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
        return failed(Some(name.to_owned()), asked, error);
    }
    let error = match name_problem(name) {
        Some(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
        None if !auto_create => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        None => match context.cluster.auto_create(name) {
            // As in Kafka, it is under way: the next request will find it.
            Ok(_) | Err(ErrorCode::TOPIC_ALREADY_EXISTS) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            Err(error) => error,
        },
    };
    failed(Some(name.to_owned()), asked, error)
}

fn failed(
    name: Option<String>,
    asked: &MetadataRequestTopic,
    error: ErrorCode,
) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: error,
        name,
        topic_id: asked.topic_id,
        ..Default::default()
    }
}

fn described(topic: &Arc<Topic>, context: &Context<'_>) -> MetadataResponseTopic {
    let running: Vec<_> = context
        .cluster
        .directory()
        .running()
        .map(|endpoint| endpoint.node)
        .collect();
    let partitions = topic.partitions().zip(0..);
    MetadataResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        partitions: partitions
            .map(|(partition, index)| describe_partition(&partition, index, &running))
            .collect(),
        ..Default::default()
    }
}

fn describe_partition(
    partition: &Partition,
    partition_index: i32,
    running: &[i32],
) -> MetadataResponsePartition {
    let error_code = if partition.leader.is_some() {
        ErrorCode::NONE
    } else {
        ErrorCode::LEADER_NOT_AVAILABLE
    };
    let offline = partition
        .replicas
        .iter()
        .copied()
        .filter(|id| !running.contains(id));
    MetadataResponsePartition {
        error_code,
        partition_index,
        leader_id: partition.leader.unwrap_or(-1),
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replicas.clone(),
        isr_nodes: partition.isr.clone(),
        offline_replicas: offline.collect(),
        ..Default::default()
    }
}
