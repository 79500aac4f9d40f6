//! Every API that is spoken over the client listeners of Kafka 4.4, and the blobs inside of them.
//!
//! One file per family; the language of the tables is told in `table.rs`. A message `FetchRequest` is here by its name, the
//! structures in it are in [`fetch_request`].
//!
//! - `acls`: access control lists.
//! - `blobs`: messages inside other messages: what members of a classic group tell each other, and the
//!   principal that a broker forwards.
//! - `configs`: configuration of topics, brokers, groups and client metrics.
//! - `consumer_groups`: consumer groups whose assignment is made by the broker (KIP-848).
//! - `control`: values of control records, their keys, and the entries of the index of aborted transactions.
//! - `features`: what a broker speaks, and cluster-wide feature levels.
//! - `fetch`: reading records.
//! - `groups`: coordinators and classic groups.
//! - `headers`: headers of requests and responses. Their versions are chosen by [`frame`](crate::frame).
//! - `metadata`: where topics, partitions and brokers are.
//! - `offsets`: offsets: of logs, of leader epochs, and committed by groups.
//! - `partitions`: moving replicas and leaders, and where replicas lie on disk.
//! - `produce`: producing records.
//! - `quorum`: the quorum of controllers, and who belongs to the cluster.
//! - `quotas`: client quotas (KIP-546).
//! - `sasl`: authentication, and credentials for SCRAM.
//! - `share_groups`: share groups: records acknowledged one by one (KIP-932).
//! - `share_state`: the state of share groups, kept by the share coordinator (KIP-932).
//! - `streams_groups`: groups of Kafka Streams (KIP-1071).
//! - `telemetry`: metrics that clients send to brokers (KIP-714).
//! - `tokens`: delegation tokens (KIP-48).
//! - `topics`: making and changing topics, partitions and their records.
//! - `transactions`: idempotent producers and transactions.

mod acls;
mod blobs;
mod configs;
mod consumer_groups;
mod control;
mod features;
mod fetch;
mod groups;
mod headers;
mod metadata;
mod offsets;
mod partitions;
mod produce;
mod quorum;
mod quotas;
mod sasl;
mod share_groups;
mod share_state;
mod streams_groups;
mod telemetry;
mod tokens;
mod topics;
mod transactions;

pub use acls::*;
pub use blobs::*;
pub use configs::*;
pub use consumer_groups::*;
pub use control::*;
pub use features::*;
pub use fetch::*;
pub use groups::*;
pub use headers::*;
pub use metadata::*;
pub use offsets::*;
pub use partitions::*;
pub use produce::*;
pub use quorum::*;
pub use quotas::*;
pub use sasl::*;
pub use share_groups::*;
pub use share_state::*;
pub use streams_groups::*;
pub use telemetry::*;
pub use tokens::*;
pub use topics::*;
pub use transactions::*;

use crate::api::{Api, ApiKey, Codec};
use crate::{Request, Response};

macro_rules! apis {
    ($($key:literal $NAME:ident: $Request:ident => $Response:ident;)*) => {
        impl ApiKey {
            $(
                #[doc = concat!("[`", stringify!($Request), "`] and [`", stringify!($Response), "`].")]
                pub const $NAME: ApiKey = ApiKey($key);
            )*
        }

        $(
            impl Request for $Request {
                const KEY: ApiKey = ApiKey::$NAME;
                type Response = $Response;
            }

            impl Response for $Response {
                const KEY: ApiKey = ApiKey::$NAME;
            }
        )*

        /// Every API, by ascending key.
        pub static APIS: &[Api] = &[
            $(Api { key: ApiKey::$NAME, request: Codec::of::<$Request>(), response: Codec::of::<$Response>() },)*
        ];
    };
}

apis! {
    0  PRODUCE:                                   ProduceRequest                               => ProduceResponse;
    1  FETCH:                                     FetchRequest                                 => FetchResponse;
    2  LIST_OFFSETS:                              ListOffsetsRequest                           => ListOffsetsResponse;
    3  METADATA:                                  MetadataRequest                              => MetadataResponse;
    8  OFFSET_COMMIT:                             OffsetCommitRequest                          => OffsetCommitResponse;
    9  OFFSET_FETCH:                              OffsetFetchRequest                           => OffsetFetchResponse;
    10 FIND_COORDINATOR:                          FindCoordinatorRequest                       => FindCoordinatorResponse;
    11 JOIN_GROUP:                                JoinGroupRequest                             => JoinGroupResponse;
    12 HEARTBEAT:                                 HeartbeatRequest                             => HeartbeatResponse;
    13 LEAVE_GROUP:                               LeaveGroupRequest                            => LeaveGroupResponse;
    14 SYNC_GROUP:                                SyncGroupRequest                             => SyncGroupResponse;
    15 DESCRIBE_GROUPS:                           DescribeGroupsRequest                        => DescribeGroupsResponse;
    16 LIST_GROUPS:                               ListGroupsRequest                            => ListGroupsResponse;
    17 SASL_HANDSHAKE:                            SaslHandshakeRequest                         => SaslHandshakeResponse;
    18 API_VERSIONS:                              ApiVersionsRequest                           => ApiVersionsResponse;
    19 CREATE_TOPICS:                             CreateTopicsRequest                          => CreateTopicsResponse;
    20 DELETE_TOPICS:                             DeleteTopicsRequest                          => DeleteTopicsResponse;
    21 DELETE_RECORDS:                            DeleteRecordsRequest                         => DeleteRecordsResponse;
    22 INIT_PRODUCER_ID:                          InitProducerIdRequest                        => InitProducerIdResponse;
    23 OFFSET_FOR_LEADER_EPOCH:                   OffsetForLeaderEpochRequest                  => OffsetForLeaderEpochResponse;
    24 ADD_PARTITIONS_TO_TXN:                     AddPartitionsToTxnRequest                    => AddPartitionsToTxnResponse;
    25 ADD_OFFSETS_TO_TXN:                        AddOffsetsToTxnRequest                       => AddOffsetsToTxnResponse;
    26 END_TXN:                                   EndTxnRequest                                => EndTxnResponse;
    27 WRITE_TXN_MARKERS:                         WriteTxnMarkersRequest                       => WriteTxnMarkersResponse;
    28 TXN_OFFSET_COMMIT:                         TxnOffsetCommitRequest                       => TxnOffsetCommitResponse;
    29 DESCRIBE_ACLS:                             DescribeAclsRequest                          => DescribeAclsResponse;
    30 CREATE_ACLS:                               CreateAclsRequest                            => CreateAclsResponse;
    31 DELETE_ACLS:                               DeleteAclsRequest                            => DeleteAclsResponse;
    32 DESCRIBE_CONFIGS:                          DescribeConfigsRequest                       => DescribeConfigsResponse;
    33 ALTER_CONFIGS:                             AlterConfigsRequest                          => AlterConfigsResponse;
    34 ALTER_REPLICA_LOG_DIRS:                    AlterReplicaLogDirsRequest                   => AlterReplicaLogDirsResponse;
    35 DESCRIBE_LOG_DIRS:                         DescribeLogDirsRequest                       => DescribeLogDirsResponse;
    36 SASL_AUTHENTICATE:                         SaslAuthenticateRequest                      => SaslAuthenticateResponse;
    37 CREATE_PARTITIONS:                         CreatePartitionsRequest                      => CreatePartitionsResponse;
    38 CREATE_DELEGATION_TOKEN:                   CreateDelegationTokenRequest                 => CreateDelegationTokenResponse;
    39 RENEW_DELEGATION_TOKEN:                    RenewDelegationTokenRequest                  => RenewDelegationTokenResponse;
    40 EXPIRE_DELEGATION_TOKEN:                   ExpireDelegationTokenRequest                 => ExpireDelegationTokenResponse;
    41 DESCRIBE_DELEGATION_TOKEN:                 DescribeDelegationTokenRequest               => DescribeDelegationTokenResponse;
    42 DELETE_GROUPS:                             DeleteGroupsRequest                          => DeleteGroupsResponse;
    43 ELECT_LEADERS:                             ElectLeadersRequest                          => ElectLeadersResponse;
    44 INCREMENTAL_ALTER_CONFIGS:                 IncrementalAlterConfigsRequest               => IncrementalAlterConfigsResponse;
    45 ALTER_PARTITION_REASSIGNMENTS:             AlterPartitionReassignmentsRequest           => AlterPartitionReassignmentsResponse;
    46 LIST_PARTITION_REASSIGNMENTS:              ListPartitionReassignmentsRequest            => ListPartitionReassignmentsResponse;
    47 OFFSET_DELETE:                             OffsetDeleteRequest                          => OffsetDeleteResponse;
    48 DESCRIBE_CLIENT_QUOTAS:                    DescribeClientQuotasRequest                  => DescribeClientQuotasResponse;
    49 ALTER_CLIENT_QUOTAS:                       AlterClientQuotasRequest                     => AlterClientQuotasResponse;
    50 DESCRIBE_USER_SCRAM_CREDENTIALS:           DescribeUserScramCredentialsRequest          => DescribeUserScramCredentialsResponse;
    51 ALTER_USER_SCRAM_CREDENTIALS:              AlterUserScramCredentialsRequest             => AlterUserScramCredentialsResponse;
    55 DESCRIBE_QUORUM:                           DescribeQuorumRequest                        => DescribeQuorumResponse;
    57 UPDATE_FEATURES:                           UpdateFeaturesRequest                        => UpdateFeaturesResponse;
    60 DESCRIBE_CLUSTER:                          DescribeClusterRequest                       => DescribeClusterResponse;
    61 DESCRIBE_PRODUCERS:                        DescribeProducersRequest                     => DescribeProducersResponse;
    64 UNREGISTER_BROKER:                         UnregisterBrokerRequest                      => UnregisterBrokerResponse;
    65 DESCRIBE_TRANSACTIONS:                     DescribeTransactionsRequest                  => DescribeTransactionsResponse;
    66 LIST_TRANSACTIONS:                         ListTransactionsRequest                      => ListTransactionsResponse;
    68 CONSUMER_GROUP_HEARTBEAT:                  ConsumerGroupHeartbeatRequest                => ConsumerGroupHeartbeatResponse;
    69 CONSUMER_GROUP_DESCRIBE:                   ConsumerGroupDescribeRequest                 => ConsumerGroupDescribeResponse;
    71 GET_TELEMETRY_SUBSCRIPTIONS:               GetTelemetrySubscriptionsRequest             => GetTelemetrySubscriptionsResponse;
    72 PUSH_TELEMETRY:                            PushTelemetryRequest                         => PushTelemetryResponse;
    74 LIST_CONFIG_RESOURCES:                     ListConfigResourcesRequest                   => ListConfigResourcesResponse;
    75 DESCRIBE_TOPIC_PARTITIONS:                 DescribeTopicPartitionsRequest               => DescribeTopicPartitionsResponse;
    76 SHARE_GROUP_HEARTBEAT:                     ShareGroupHeartbeatRequest                   => ShareGroupHeartbeatResponse;
    77 SHARE_GROUP_DESCRIBE:                      ShareGroupDescribeRequest                    => ShareGroupDescribeResponse;
    78 SHARE_FETCH:                               ShareFetchRequest                            => ShareFetchResponse;
    79 SHARE_ACKNOWLEDGE:                         ShareAcknowledgeRequest                      => ShareAcknowledgeResponse;
    80 ADD_RAFT_VOTER:                            AddRaftVoterRequest                          => AddRaftVoterResponse;
    81 REMOVE_RAFT_VOTER:                         RemoveRaftVoterRequest                       => RemoveRaftVoterResponse;
    83 INITIALIZE_SHARE_GROUP_STATE:              InitializeShareGroupStateRequest             => InitializeShareGroupStateResponse;
    84 READ_SHARE_GROUP_STATE:                    ReadShareGroupStateRequest                   => ReadShareGroupStateResponse;
    85 WRITE_SHARE_GROUP_STATE:                   WriteShareGroupStateRequest                  => WriteShareGroupStateResponse;
    86 DELETE_SHARE_GROUP_STATE:                  DeleteShareGroupStateRequest                 => DeleteShareGroupStateResponse;
    87 READ_SHARE_GROUP_STATE_SUMMARY:            ReadShareGroupStateSummaryRequest            => ReadShareGroupStateSummaryResponse;
    88 STREAMS_GROUP_HEARTBEAT:                   StreamsGroupHeartbeatRequest                 => StreamsGroupHeartbeatResponse;
    89 STREAMS_GROUP_DESCRIBE:                    StreamsGroupDescribeRequest                  => StreamsGroupDescribeResponse;
    90 DESCRIBE_SHARE_GROUP_OFFSETS:              DescribeShareGroupOffsetsRequest             => DescribeShareGroupOffsetsResponse;
    91 ALTER_SHARE_GROUP_OFFSETS:                 AlterShareGroupOffsetsRequest                => AlterShareGroupOffsetsResponse;
    92 DELETE_SHARE_GROUP_OFFSETS:                DeleteShareGroupOffsetsRequest               => DeleteShareGroupOffsetsResponse;
    93 STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE: StreamsGroupTopologyDescriptionUpdateRequest => StreamsGroupTopologyDescriptionUpdateResponse;
    94 UNREGISTER_CONTROLLER:                     UnregisterControllerRequest                  => UnregisterControllerResponse;
}

/// Messages that are no API: headers, blobs inside of messages, control records.
pub static BLOBS: &[Codec] = &[
    Codec::of::<RequestHeader>(),
    Codec::of::<ResponseHeader>(),
    Codec::of::<ConsumerProtocolSubscription>(),
    Codec::of::<ConsumerProtocolAssignment>(),
    Codec::of::<DefaultPrincipalData>(),
    Codec::of::<ControlRecordTypeSchema>(),
    Codec::of::<EndTxnMarker>(),
    Codec::of::<AbortedTxn>(),
    Codec::of::<LeaderChangeMessage>(),
    Codec::of::<SnapshotHeaderRecord>(),
    Codec::of::<SnapshotFooterRecord>(),
    Codec::of::<KRaftVersionRecord>(),
    Codec::of::<VotersRecord>(),
];

/// Every message: requests, responses, and those that are no API.
pub fn codecs() -> impl Iterator<Item = &'static Codec> {
    APIS.iter()
        .flat_map(|api| [&api.request, &api.response])
        .chain(BLOBS)
}
