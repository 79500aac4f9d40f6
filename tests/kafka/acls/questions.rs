//! The questions that the table has a row for: what is asked, and what of the answer is compared.

use protocol::compression::Compression;
use protocol::messages::alter_user_scram_credentials_request::ScramCredentialDeletion;
use protocol::messages::create_acls_request::AclCreation;
use protocol::messages::delete_acls_request::DeleteAclsFilter;
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::*;
use protocol::records::SealOptions;
use protocol::{ErrorCode, Request, Uuid};

use super::{ALLOW, GROUP, IS_TOPIC, MISSING, TOPIC, TRANSACTIONAL_ID, UNKNOWN_ID, create_topic};
use crate::parity::produce_request;
use crate::raw::{Raw, batch, batch_of};

fn named(error: ErrorCode, name: Option<&str>, id: Uuid) -> String {
    let id = if id.is_zero() { "no id" } else { "id" };
    format!("{} {}, {id}", error.name(), name.unwrap_or("no name"))
}

/// Asks what a row is about, and says what came of it.
pub(super) async fn ask(raw: &mut Raw, case: &str, id: Uuid) -> String {
    let (what, about) = case.split_once([',', ' ']).unwrap_or((case, ""));
    let name = match about.contains("unknown") {
        true => MISSING,
        false => TOPIC,
    };
    let id = match about.contains("unknown") {
        true => UNKNOWN_ID,
        false => id,
    };
    let by_id = about.contains("id");
    match what {
        "produce" => {
            produce(
                raw,
                name,
                by_id.then_some(id),
                about.contains("transaction"),
            )
            .await
        }
        "fetch" => fetch(raw, name, by_id.then_some(id)).await,
        "metadata" => metadata(raw, about, name, by_id.then_some(id)).await,
        "list" => {
            let topics = vec![ListOffsetsTopic {
                name: name.to_owned(),
                partitions: vec![ListOffsetsPartition {
                    timestamp: -1,
                    ..Default::default()
                }],
                ..Default::default()
            }];
            let request = ListOffsetsRequest {
                replica_id: -1,
                topics,
                ..Default::default()
            };
            let response = told(raw, 8, &request).await;
            let partition = &response.topics[0].partitions[0];
            format!("{} {}", partition.error_code.name(), partition.offset)
        }
        "configs" => configs(raw, about).await,
        "offset" if about.starts_with("commit") => commit(raw, by_id.then_some(id)).await,
        "offset" => committed(raw, about, by_id.then_some(id)).await,
        "find" => find_coordinator(raw, about).await,
        "join" | "sync" | "heartbeat" | "leave" => group(raw, what).await,
        "create" if about == "acls" => {
            let request = CreateAclsRequest {
                creations: vec![AclCreation {
                    resource_type: IS_TOPIC,
                    resource_name: TOPIC.to_owned(),
                    principal: "User:nobody".to_owned(),
                    host: "*".to_owned(),
                    operation: 2,
                    permission_type: ALLOW,
                    ..Default::default()
                }],
                ..Default::default()
            };
            let response = told(raw, 3, &request).await;
            response.results[0].error_code.name().to_owned()
        }
        "create" => {
            let response = told(raw, 7, &create_topic("acls-new")).await;
            let topic = &response.topics[0];
            format!(
                "{} {:?} {} {} {}",
                topic.error_code.name(),
                topic.error_message,
                topic.num_partitions,
                topic.replication_factor,
                topic.topic_config_error_code
            )
        }
        "delete" if about == "acls" => {
            let any = DeleteAclsFilter {
                resource_type_filter: 1,
                operation: 1,
                permission_type: 1,
                ..Default::default()
            };
            let filters = vec![any];
            let request = DeleteAclsRequest {
                filters,
                ..Default::default()
            };
            let response = told(raw, 3, &request).await;
            let result = &response.filter_results[0];
            format!(
                "{} {}",
                result.error_code.name(),
                result.matching_acls.len()
            )
        }
        "delete" => {
            let topic = DeleteTopicState {
                name: (!by_id).then(|| name.to_owned()),
                topic_id: if by_id { id } else { Uuid::ZERO },
                ..Default::default()
            };
            let request = DeleteTopicsRequest {
                topics: vec![topic],
                timeout_ms: 5_000,
                ..Default::default()
            };
            let response = told(raw, 6, &request).await;
            let topic = &response.responses[0];
            named(topic.error_code, topic.name.as_deref(), topic.topic_id)
        }
        "init" => {
            let id = about.contains("transactional");
            let request = InitProducerIdRequest {
                transactional_id: id.then(|| TRANSACTIONAL_ID.to_owned()),
                transaction_timeout_ms: 10_000,
                producer_id: -1,
                producer_epoch: -1,
                ..Default::default()
            };
            let response = told(raw, 4, &request).await;
            match response.error_code {
                ErrorCode::NONE => "NONE".to_owned(),
                error => {
                    let (id, epoch) = (response.producer_id, response.producer_epoch);
                    format!("{} {id} {epoch}", error.name())
                }
            }
        }
        "describe" if about == "scram users" => {
            let request = DescribeUserScramCredentialsRequest {
                users: Some(Vec::new()),
                ..Default::default()
            };
            let response = told(raw, 0, &request).await;
            response.error_code.name().to_owned()
        }
        "alter" => {
            let request = AlterUserScramCredentialsRequest {
                deletions: vec![ScramCredentialDeletion {
                    name: "nobody".to_owned(),
                    mechanism: 1,
                    ..Default::default()
                }],
                ..Default::default()
            };
            let response = told(raw, 0, &request).await;
            response.results[0].error_code.name().to_owned()
        }
        "describe" => {
            let request = DescribeAclsRequest {
                resource_type_filter: 1,
                resource_name_filter: None,
                pattern_type_filter: 1,
                principal_filter: None,
                host_filter: None,
                operation: 1,
                permission_type: 1,
                ..Default::default()
            };
            let response = told(raw, 3, &request).await;
            format!(
                "{} {}",
                response.error_code.name(),
                response.resources.len()
            )
        }
        "transaction" => super::transactions::ask(raw, about.trim()).await,
        what => panic!("nobody knows how to {what}"),
    }
}

pub(super) async fn told<R: Request>(raw: &mut Raw, version: i16, request: &R) -> R::Response {
    let answer = raw.call(version, request).await;
    answer.unwrap_or_else(|error| panic!("{}: {error}", R::NAME))
}

async fn produce(raw: &mut Raw, name: &str, id: Option<Uuid>, in_transaction: bool) -> String {
    let records = match in_transaction {
        true => {
            let options = SealOptions {
                producer_id: 1,
                producer_epoch: 0,
                base_sequence: 0,
                transactional: true,
                ..Default::default()
            };
            batch_of(&[1_000], 10, options, Compression::NONE)
        }
        false => batch(1),
    };
    let mut request = produce_request(name.to_owned(), 0, 1, Some(records));
    request.transactional_id = in_transaction.then(|| TRANSACTIONAL_ID.to_owned());
    if let Some(id) = id.filter(|_| !in_transaction) {
        (request.topic_data[0].name, request.topic_data[0].topic_id) = (String::new(), id);
    }
    let version = if request.topic_data[0].name.is_empty() {
        13
    } else {
        12
    };
    let response = told(raw, version, &request).await;
    let partition = &response.responses[0].partition_responses[0];
    format!("{} {}", partition.error_code.name(), partition.base_offset)
}

async fn fetch(raw: &mut Raw, name: &str, id: Option<Uuid>) -> String {
    let partition = FetchPartition {
        partition_max_bytes: 1_000,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic: id.map_or_else(|| name.to_owned(), |_| String::new()),
        topic_id: id.unwrap_or_default(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = FetchRequest {
        max_bytes: 1_000,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let version = if id.is_some() { 17 } else { 12 };
    let response = told(raw, version, &request).await;
    let partition = &response.responses[0].partitions[0];
    format!(
        "{}, {} {}",
        response.error_code.name(),
        partition.error_code.name(),
        partition.high_watermark
    )
}

async fn metadata(raw: &mut Raw, about: &str, name: &str, id: Option<Uuid>) -> String {
    let topic = MetadataRequestTopic {
        name: id.is_none().then(|| name.to_owned()),
        topic_id: id.unwrap_or_default(),
        ..Default::default()
    };
    let mut request = MetadataRequest {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: true,
        include_topic_authorized_operations: true,
        ..Default::default()
    };
    if about.contains("operations") {
        request.include_cluster_authorized_operations = true;
        let response = told(raw, 10, &request).await;
        return response.cluster_authorized_operations.to_string();
    }
    if about == "of all" {
        request.topics = None;
        let response = told(raw, 12, &request).await;
        let names = response.topics.into_iter().filter_map(|topic| topic.name);
        // Kafka has topics of its own, and what others have created is theirs to see.
        let ours = names.filter(|name| name == TOPIC || name == MISSING);
        return ours.collect::<Vec<_>>().join(" ");
    }
    let response = told(raw, 12, &request).await;
    let topic = &response.topics[0];
    format!(
        "{}, {} partitions, may {}",
        named(topic.error_code, topic.name.as_deref(), topic.topic_id),
        topic.partitions.len(),
        topic.topic_authorized_operations
    )
}

async fn commit(raw: &mut Raw, id: Option<Uuid>) -> String {
    let topic = OffsetCommitRequestTopic {
        name: id.map_or_else(|| TOPIC.to_owned(), |_| String::new()),
        topic_id: id.unwrap_or_default(),
        partitions: vec![OffsetCommitRequestPartition::default()],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: GROUP.to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let version = if id.is_some() { 10 } else { 9 };
    let response = told(raw, version, &request).await;
    let partition = &response.topics[0].partitions[0];
    partition.error_code.name().to_owned()
}

async fn committed(raw: &mut Raw, about: &str, id: Option<Uuid>) -> String {
    let topic = OffsetFetchRequestTopics {
        name: id.map_or_else(|| TOPIC.to_owned(), |_| String::new()),
        topic_id: id.unwrap_or_default(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let group = OffsetFetchRequestGroup {
        group_id: GROUP.to_owned(),
        member_epoch: -1,
        topics: (!about.contains("all")).then(|| vec![topic]),
        ..Default::default()
    };
    let request = OffsetFetchRequest {
        groups: vec![group],
        ..Default::default()
    };
    let version = if id.is_some() { 10 } else { 9 };
    let response = told(raw, version, &request).await;
    let group = &response.groups[0];
    let mut said = group.error_code.name().to_owned();
    for partition in group.topics.iter().flat_map(|topic| &topic.partitions) {
        let (error, offset) = (partition.error_code.name(), partition.committed_offset);
        said += &format!(", {error} {offset}");
    }
    said
}

async fn find_coordinator(raw: &mut Raw, about: &str) -> String {
    let (key, key_type) = match about.contains("group") {
        true => (GROUP, 0),
        false => (TRANSACTIONAL_ID, 1),
    };
    let mut request = FindCoordinatorRequest {
        key_type,
        ..Default::default()
    };
    if about.contains("old") {
        request.key = key.to_owned();
        let response = told(raw, 3, &request).await;
        return format!("{} {}", response.error_code.name(), response.node_id);
    }
    request.coordinator_keys = vec![key.to_owned()];
    let response = told(raw, 4, &request).await;
    let found = &response.coordinators[0];
    format!("{} {}", found.error_code.name(), found.node_id)
}

/// Configurations described, altered and listed, and the quorum described.
async fn configs(raw: &mut Raw, about: &str) -> String {
    let resource = match about {
        _ if about.contains("topic") => (2, TOPIC),
        _ if about.contains("broker") => (4, "1"),
        _ if about.contains("metrics") => (16, "metrics"),
        _ => (32, GROUP),
    };
    let (resource_type, resource_name) = (resource.0, resource.1.to_owned());
    let said = |error: ErrorCode, message: Option<String>| format!("{} {message:?}", error.name());
    if about.starts_with("described") {
        let request = DescribeConfigsRequest {
            resources: vec![describe_configs_request::DescribeConfigsResource {
                resource_type,
                resource_name,
                ..Default::default()
            }],
            ..Default::default()
        };
        let result = told(raw, 4, &request).await.results.remove(0);
        return said(result.error_code, result.error_message);
    }
    if about.starts_with("altered") {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![incremental_alter_configs_request::AlterConfigsResource {
                resource_type,
                resource_name,
                ..Default::default()
            }],
            ..Default::default()
        };
        let result = told(raw, 1, &request).await.responses.remove(0);
        return said(result.error_code, result.error_message);
    }
    if about.starts_with("replaced") {
        let request = AlterConfigsRequest {
            resources: vec![alter_configs_request::AlterConfigsResource {
                resource_type,
                resource_name,
                ..Default::default()
            }],
            ..Default::default()
        };
        let result = told(raw, 2, &request).await.responses.remove(0);
        return said(result.error_code, result.error_message);
    }
    if about.starts_with("listed") {
        let response = told(raw, 1, &ListConfigResourcesRequest::default()).await;
        let resources = response.config_resources.len();
        return format!("{} {resources}", response.error_code.name());
    }
    let request = DescribeQuorumRequest {
        topics: vec![describe_quorum_request::TopicData {
            topic_name: "__cluster_metadata".to_owned(),
            partitions: vec![describe_quorum_request::PartitionData::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = told(raw, 2, &request).await;
    let topics = response.topics.len();
    format!("{} {topics}", response.error_code.name())
}

async fn group(raw: &mut Raw, what: &str) -> String {
    let (group_id, member_id) = (GROUP.to_owned(), "member".to_owned());
    match what {
        "join" => {
            let request = JoinGroupRequest {
                group_id,
                session_timeout_ms: 10_000,
                rebalance_timeout_ms: 10_000,
                protocol_type: "consumer".to_owned(),
                ..Default::default()
            };
            let response = told(raw, 9, &request).await;
            let (member, generation) = (response.member_id, response.generation_id);
            format!("{} {member:?} {generation}", response.error_code.name())
        }
        "sync" => {
            let request = SyncGroupRequest {
                group_id,
                member_id,
                protocol_type: Some("consumer".to_owned()),
                protocol_name: Some("range".to_owned()),
                ..Default::default()
            };
            told(raw, 5, &request).await.error_code.name().to_owned()
        }
        "heartbeat" => {
            let request = HeartbeatRequest {
                group_id,
                member_id,
                ..Default::default()
            };
            told(raw, 4, &request).await.error_code.name().to_owned()
        }
        _ => {
            let member = MemberIdentity {
                member_id,
                ..Default::default()
            };
            let request = LeaveGroupRequest {
                group_id,
                members: vec![member],
                ..Default::default()
            };
            let response = told(raw, 5, &request).await;
            let error = response.error_code.name();
            format!("{error}, {} members", response.members.len())
        }
    }
}
