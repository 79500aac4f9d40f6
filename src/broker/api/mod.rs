//! One file for each API: what a request does, and how it is answered.
//!
//! In: a frame, the cluster, the connection that it came by. Out: the frame to write, or that there is none. Handlers are thin: they look things up,
//! ask the structs that decide, and fill in the response. [`Api`] is what a file implements; the list below is what the broker speaks.

mod acls;
mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod api_versions;
mod client_quotas;
mod consumer_groups;
mod coordination;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_transactions;
mod elect_leaders;
mod end_txn;
mod fetch;
mod find_coordinator;
mod group_descriptions;
mod init_producer_id;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod produce;
mod records_placeholder;
mod sasl;
mod scram_users;
mod share_acknowledge;
mod share_fetch;
mod share_groups;
mod telemetry;
mod txn_offset_commit;
mod write_txn_markers;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use protocol::frame::{LENGTH_BYTES, decode_request_header, encode_response};
use protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AlterClientQuotasRequest,
    AlterConfigsRequest, AlterUserScramCredentialsRequest, ApiVersionsRequest,
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, CreateAclsRequest,
    CreatePartitionsRequest, CreateTopicsRequest, DeleteAclsRequest, DeleteGroupsRequest,
    DeleteRecordsRequest, DeleteTopicsRequest, DescribeAclsRequest, DescribeClientQuotasRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeGroupsRequest, DescribeLogDirsRequest,
    DescribeProducersRequest, DescribeQuorumRequest, DescribeTransactionsRequest,
    DescribeUserScramCredentialsRequest, ElectLeadersRequest, EndTxnRequest, FetchRequest,
    FindCoordinatorRequest, GetTelemetrySubscriptionsRequest, HeartbeatRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
    ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest,
    ListPartitionReassignmentsRequest, ListTransactionsRequest, MetadataRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, ProduceRequest,
    PushTelemetryRequest, RequestHeader, SaslAuthenticateRequest, SaslHandshakeRequest,
    ShareAcknowledgeRequest, ShareFetchRequest, ShareGroupDescribeRequest,
    ShareGroupHeartbeatRequest, SyncGroupRequest, TxnOffsetCommitRequest, WriteTxnMarkersRequest,
};
use protocol::wire::field::Structure;
use protocol::{ApiKey, Decoder, ErrorCode, Message, Request, Uuid, VersionRange};
use tokio::runtime::Handle;
use tokio::time::Instant;

pub(super) use client_quotas::ClientQuotas;

use super::cluster::Cluster;
use super::faults::FaultAction;
use super::lock;
use super::quota::Quota;
use super::security::{AclOperation, Admission, CLUSTER_NAME, ResourceKind};
use super::server::Connection;
use super::topic::Topic;
use records_placeholder::RecordsPlaceholders;

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// `frame` is written; then nothing is read until `mute_until`.
    Answer {
        frame: Vec<Bytes>,
        mute_until: Option<Instant>,
    },
    /// Nothing is written.
    Nothing,
    Disconnect,
}

/// Where a request came in.
pub(super) struct Context<'a> {
    pub(super) cluster: &'a Arc<Cluster>,
    pub(super) node: i32,
    pub(super) connection: &'a Arc<Connection>,
    pub(super) version: i16,
    pub(super) client_id: &'a str,
}

impl Context<'_> {
    /// Whether the client may do this.
    fn allows(&self, operation: AclOperation, kind: ResourceKind, name: &str) -> bool {
        let security = &self.cluster.security;
        security.allow(self.connection, operation, kind, name)
    }

    /// Whether it may do this to the cluster.
    fn allows_cluster(&self, operation: AclOperation) -> bool {
        self.allows(operation, ResourceKind::Cluster, CLUSTER_NAME)
    }

    /// What it may do to the cluster, as answers say it to who asked for it: nothing for who may not even describe it.
    fn cluster_operations(&self, is_asked: bool) -> i32 {
        let security = &self.cluster.security;
        match is_asked {
            true if self.allows_cluster(AclOperation::Describe) => {
                security.operations(self.connection, ResourceKind::Cluster, CLUSTER_NAME)
            }
            true => 0,
            false => i32::MIN,
        }
    }

    fn check_topic(&self, operation: AclOperation, name: &str) -> Result<(), ErrorCode> {
        match self.allows(operation, ResourceKind::Topic, name) {
            true => Ok(()),
            false => Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
        }
    }

    fn check_group(&self, operation: AclOperation, id: &str) -> Result<(), ErrorCode> {
        match self.allows(operation, ResourceKind::Group, id) {
            true => Ok(()),
            false => Err(ErrorCode::GROUP_AUTHORIZATION_FAILED),
        }
    }

    fn check_transactional_id(&self, operation: AclOperation, id: &str) -> Result<(), ErrorCode> {
        match self.allows(operation, ResourceKind::TransactionalId, id) {
            true => Ok(()),
            false => Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        }
    }

    /// The topic of this name, or of this id, if the client may do this with it. Of a name that it may not use, it does not hear whether there
    /// is one.
    fn topic(
        &self,
        name: &str,
        id: Option<&Uuid>,
        operation: AclOperation,
    ) -> Result<Arc<Topic>, ErrorCode> {
        match id {
            Some(id) => {
                let topic = self.cluster.directory().topic_by_id(id);
                let topic = topic.ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
                self.check_topic(operation, &topic.name)?;
                Ok(topic)
            }
            None => {
                self.check_topic(operation, name)?;
                let topic = self.cluster.directory().topic(name);
                topic.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
            }
        }
    }
}

/// A handler's answer.
enum Reply<R> {
    Message(R),
    /// A message in which the records are still placeholders.
    WithRecords(R, RecordsPlaceholders),
    Nothing,
    Disconnect,
}

/// What an API's file implements for its request.
trait Api: Request {
    /// The versions that Kafka 4.4 offers, where that is not all that we speak.
    const OFFERED: VersionRange = Self::VERSIONS;

    /// Does what the request asks for.
    fn handle(self, context: &Context<'_>) -> impl Future<Output = Reply<Self::Response>> + Send;

    /// Answers every part of the request with an error: where the answer as a whole has a place for one, there.
    fn refusal(&self, _version: i16, error: ErrorCode) -> Self::Response {
        let mut response = Self::Response::default();
        let has_place = response.set_error_code(error);
        debug_assert!(
            has_place,
            "{} has its errors elsewhere",
            Self::Response::NAME
        );
        response
    }

    /// Whether that answer has a place for the error.
    fn can_be_refused(&self, _version: i16) -> bool {
        true
    }

    /// The quota that the request is charged to, and with how many bytes.
    fn quota<'a>(&self, _cluster: &'a Cluster) -> Option<(&'a Mutex<Quota>, usize)> {
        None
    }

    /// Whether handling it reads or writes what a data directory has: it is done where that holds up nobody, then.
    const USES_FILES: bool = false;

    /// Whether its answer may rest on what was written, and has to wait until that is on the disk.
    const RESTS_ON_FILES: bool = true;

    /// Whether the client reads an answer at all.
    fn is_answered(&self) -> bool {
        true
    }
}

macro_rules! apis {
    ($($request:ident,)*) => {
        /// Every API that this cluster offers, and its versions.
        fn offered(cluster: &Cluster) -> Vec<(ApiKey, VersionRange)> {
            let spoken = [$(($request::KEY, <$request as Api>::OFFERED),)*];
            spoken.into_iter().filter_map(|(key, range)| Some((key, cluster.versions(key, range)?))).collect()
        }

        async fn dispatch(
            header: &RequestHeader,
            body: Decoder,
            cluster: &Arc<Cluster>,
            connection: &Arc<Connection>,
        ) -> Outcome {
            match ApiKey(header.request_api_key) {
                $(key if key == $request::KEY => serve::<$request>(header, body, cluster, connection).await,)*
                // Kafka, too, closes the connection on what it can't read.
                _ => Outcome::Disconnect,
            }
        }
    };
}

apis! {
    ProduceRequest,
    FetchRequest,
    ListOffsetsRequest,
    MetadataRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
    FindCoordinatorRequest,
    JoinGroupRequest,
    HeartbeatRequest,
    LeaveGroupRequest,
    SyncGroupRequest,
    DescribeGroupsRequest,
    ListGroupsRequest,
    ApiVersionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteRecordsRequest,
    InitProducerIdRequest,
    AddPartitionsToTxnRequest,
    AddOffsetsToTxnRequest,
    EndTxnRequest,
    WriteTxnMarkersRequest,
    TxnOffsetCommitRequest,
    DescribeProducersRequest,
    DescribeTransactionsRequest,
    ListTransactionsRequest,
    SaslHandshakeRequest,
    SaslAuthenticateRequest,
    DescribeAclsRequest,
    CreateAclsRequest,
    DeleteAclsRequest,
    DescribeUserScramCredentialsRequest,
    DescribeConfigsRequest,
    AlterConfigsRequest,
    IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest,
    DescribeQuorumRequest,
    AlterUserScramCredentialsRequest,
    CreatePartitionsRequest,
    DescribeLogDirsRequest,
    DeleteGroupsRequest,
    ElectLeadersRequest,
    ListPartitionReassignmentsRequest,
    OffsetDeleteRequest,
    DescribeClientQuotasRequest,
    AlterClientQuotasRequest,
    DescribeClusterRequest,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupDescribeRequest,
    ShareGroupHeartbeatRequest,
    ShareGroupDescribeRequest,
    ShareFetchRequest,
    ShareAcknowledgeRequest,
    GetTelemetrySubscriptionsRequest,
    PushTelemetryRequest,
}

/// Answers one request. What can't be read, or is in a version that is not offered, closes the connection, as Kafka does.
pub(super) async fn answer(
    frame: Bytes,
    cluster: &Arc<Cluster>,
    connection: &Arc<Connection>,
) -> Outcome {
    if connection.session().takes_raw_message() {
        return answer_raw(&frame, cluster, connection);
    }
    let mut body = Decoder::new(frame);
    match decode_request_header(&mut body) {
        Ok(header) => dispatch(&header, body, cluster, connection).await,
        Err(_) => Outcome::Disconnect,
    }
}

/// Answers a mechanism's message that came without a request around it, likewise.
fn answer_raw(message: &[u8], cluster: &Cluster, connection: &Connection) -> Outcome {
    let Ok(reply) = sasl::authenticate(message, cluster, connection) else {
        return Outcome::Disconnect;
    };
    let Ok(length) = u32::try_from(reply.message.len()) else {
        return Outcome::Disconnect;
    };
    let length: [u8; LENGTH_BYTES] = length.to_be_bytes();
    Outcome::Answer {
        frame: vec![Bytes::copy_from_slice(&length), reply.message.into()],
        mute_until: None,
    }
}

async fn serve<R: Api>(
    header: &RequestHeader,
    mut body: Decoder,
    cluster: &Arc<Cluster>,
    connection: &Arc<Connection>,
) -> Outcome {
    let (version, correlation_id) = (header.request_api_version, header.correlation_id);
    let admission = connection.session().admit(R::KEY, Instant::now());
    if admission == Admission::Disconnect {
        return Outcome::Disconnect;
    }
    let node = connection.node;
    if !cluster
        .versions(R::KEY, R::OFFERED)
        .is_some_and(|range| range.contains(version))
    {
        return api_versions::answer_unsupported(R::KEY, cluster, correlation_id);
    }
    // Bytes after the message are ignored, as Kafka does: librdkafka leaves some behind its Metadata request for all topics.
    let Ok(request) = R::decode(&mut body, version) else {
        return Outcome::Disconnect;
    };
    let client_id = header.client_id.as_deref().unwrap_or_default();
    let context = Context {
        cluster,
        node,
        connection,
        version,
        client_id,
    };
    if admission == Admission::Refuse {
        let response = request.refusal(version, ErrorCode::ILLEGAL_SASL_STATE);
        return encode_response(version, correlation_id, &response).map_or(
            Outcome::Disconnect,
            |frame| Outcome::Answer {
                frame,
                mute_until: None,
            },
        );
    }
    let over_quota = request
        .quota(cluster)
        .map(|(quota, bytes)| lock(quota).charge(client_id, bytes, Instant::now()));
    let faults = lock(&cluster.faults).matching(R::KEY, node);
    let (mut reply, throttle) = if faults.is_empty() {
        (handle(request, &context).await, Duration::ZERO)
    } else {
        handle_with_faults(request, &context, &faults).await
    };
    if R::RESTS_ON_FILES
        && let Some(data) = &cluster.data
        && matches!(reply, Reply::Message(_) | Reply::WithRecords(..))
        && data.settled().await.is_err()
    {
        // Whether it will be there after a restart, nobody knows.
        return Outcome::Disconnect;
    }
    let throttle = throttle.max(over_quota.unwrap_or_default());
    let mute_until = (!throttle.is_zero()).then(|| Instant::now() + throttle);
    if let Reply::Message(response) | Reply::WithRecords(response, _) = &mut reply
        && !throttle.is_zero()
    {
        response.set_throttle_time_ms(i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX));
    }
    let garbling = faults.iter().find_map(|fault| match *fault {
        FaultAction::ApplyThenGarble(how) => Some(how),
        _ => None,
    });
    let frame = match reply {
        Reply::Message(response) => encode_response(version, correlation_id, &response),
        Reply::WithRecords(response, placeholders) => {
            encode_response(version, correlation_id, &response)
                .map(|frame| placeholders.fill(frame))
        }
        Reply::Nothing => return Outcome::Nothing,
        Reply::Disconnect => return Outcome::Disconnect,
    };
    match frame {
        Ok(frame) => Outcome::Answer {
            frame: match garbling {
                Some(how) => vec![how.apply(&frame)],
                None => frame,
            },
            mute_until,
        },
        Err(_) => Outcome::Disconnect,
    }
}

/// Does what the request asks for; what may wait for files is done where that holds up no other task.
async fn handle<R: Api>(request: R, context: &Context<'_>) -> Reply<R::Response> {
    if !R::USES_FILES || context.cluster.data.is_none() {
        return request.handle(context).await;
    }
    let (cluster, connection) = (context.cluster.clone(), context.connection.clone());
    let (node, version) = (context.node, context.version);
    let client_id = context.client_id.to_owned();
    let runtime = Handle::current();
    let handled = tokio::task::spawn_blocking(move || {
        let context = Context {
            cluster: &cluster,
            node,
            connection: &connection,
            version,
            client_id: &client_id,
        };
        runtime.block_on(request.handle(&context))
    });
    // It has panicked, or its runtime is at its end.
    handled.await.unwrap_or(Reply::Disconnect)
}

async fn handle_with_faults<R: Api>(
    request: R,
    context: &Context<'_>,
    faults: &[FaultAction],
) -> (Reply<R::Response>, Duration) {
    let can_be_refused = request.is_answered() && request.can_be_refused(context.version);
    let refuse = |request: &R, error| match can_be_refused {
        true => Reply::Message(request.refusal(context.version, error)),
        false => Reply::Disconnect,
    };
    let (mut delay, mut throttle, mut disconnect, mut instead) =
        (Duration::ZERO, Duration::ZERO, false, None);
    let mut applies = true;
    for fault in faults {
        match *fault {
            FaultAction::Disconnect => return (Reply::Disconnect, Duration::ZERO),
            FaultAction::ApplyThenDisconnect => disconnect = true,
            FaultAction::Delay(time) => delay += time,
            FaultAction::Throttle(time) => throttle += time,
            FaultAction::ApplyThenAnswer(error) => instead = Some(refuse(&request, error)),
            FaultAction::AnswerNothing => {
                instead = Some(Reply::Message(R::Response::default()));
                applies = false;
            }
            FaultAction::ApplyThenGarble(_) => {}
            FaultAction::Answer(error) => {
                instead = Some(refuse(&request, error));
                applies = false;
            }
        }
    }
    let applied = if applies {
        handle(request, context).await
    } else {
        Reply::Nothing
    };
    let reply = instead.unwrap_or(applied);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    match disconnect {
        true => (Reply::Disconnect, Duration::ZERO),
        false => (reply, throttle),
    }
}
