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
    ($($key:literal $NAME:ident: $Request:ident => $Response:ident $(, pauses $pauses:literal+)? $(, KIP-$kip:literal)?;)*) => {
        impl ApiKey {
            $(
                #[doc = concat!("[`", stringify!($Request), "`] and [`", stringify!($Response), "`]" $(, ", of KIP-", $kip)?, ".")]
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
                const CLIENT_PAUSES_FROM: i16 = first!($($pauses,)? i16::MAX);
            }
        )*

        /// Every API, by ascending key.
        pub static APIS: &[Api] = &[
            $(Api {
                key: ApiKey::$NAME,
                request: Codec::of::<$Request>(),
                response: Codec::of::<$Response>(),
                kip: first!($(Some($kip),)? None),
            },)*
        ];
    };
}

// `pauses`: from which version on the client has to wait out `throttle_time_ms` itself (KIP-219), as in Java's client.
apis! {
    0  PRODUCE:                                   ProduceRequest                               => ProduceResponse, pauses 6+;
    1  FETCH:                                     FetchRequest                                 => FetchResponse, pauses 8+;
    2  LIST_OFFSETS:                              ListOffsetsRequest                           => ListOffsetsResponse, pauses 3+;
    3  METADATA:                                  MetadataRequest                              => MetadataResponse, pauses 6+;
    8  OFFSET_COMMIT:                             OffsetCommitRequest                          => OffsetCommitResponse, pauses 4+;
    9  OFFSET_FETCH:                              OffsetFetchRequest                           => OffsetFetchResponse, pauses 4+;
    10 FIND_COORDINATOR:                          FindCoordinatorRequest                       => FindCoordinatorResponse, pauses 2+;
    11 JOIN_GROUP:                                JoinGroupRequest                             => JoinGroupResponse, pauses 3+;
    12 HEARTBEAT:                                 HeartbeatRequest                             => HeartbeatResponse, pauses 2+;
    13 LEAVE_GROUP:                               LeaveGroupRequest                            => LeaveGroupResponse, pauses 2+;
    14 SYNC_GROUP:                                SyncGroupRequest                             => SyncGroupResponse, pauses 2+;
    15 DESCRIBE_GROUPS:                           DescribeGroupsRequest                        => DescribeGroupsResponse, pauses 2+;
    16 LIST_GROUPS:                               ListGroupsRequest                            => ListGroupsResponse, pauses 2+;
    17 SASL_HANDSHAKE:                            SaslHandshakeRequest                         => SaslHandshakeResponse, KIP-43;
    18 API_VERSIONS:                              ApiVersionsRequest                           => ApiVersionsResponse, pauses 2+, KIP-35;
    19 CREATE_TOPICS:                             CreateTopicsRequest                          => CreateTopicsResponse, pauses 3+, KIP-4;
    20 DELETE_TOPICS:                             DeleteTopicsRequest                          => DeleteTopicsResponse, pauses 2+, KIP-4;
    21 DELETE_RECORDS:                            DeleteRecordsRequest                         => DeleteRecordsResponse, pauses 1+, KIP-107;
    22 INIT_PRODUCER_ID:                          InitProducerIdRequest                        => InitProducerIdResponse, pauses 1+, KIP-98;
    23 OFFSET_FOR_LEADER_EPOCH:                   OffsetForLeaderEpochRequest                  => OffsetForLeaderEpochResponse, KIP-101;
    24 ADD_PARTITIONS_TO_TXN:                     AddPartitionsToTxnRequest                    => AddPartitionsToTxnResponse, pauses 1+, KIP-98;
    25 ADD_OFFSETS_TO_TXN:                        AddOffsetsToTxnRequest                       => AddOffsetsToTxnResponse, pauses 1+, KIP-98;
    26 END_TXN:                                   EndTxnRequest                                => EndTxnResponse, pauses 1+, KIP-98;
    27 WRITE_TXN_MARKERS:                         WriteTxnMarkersRequest                       => WriteTxnMarkersResponse, KIP-98;
    28 TXN_OFFSET_COMMIT:                         TxnOffsetCommitRequest                       => TxnOffsetCommitResponse, pauses 1+, KIP-98;
    29 DESCRIBE_ACLS:                             DescribeAclsRequest                          => DescribeAclsResponse, pauses 1+, KIP-140;
    30 CREATE_ACLS:                               CreateAclsRequest                            => CreateAclsResponse, pauses 1+, KIP-140;
    31 DELETE_ACLS:                               DeleteAclsRequest                            => DeleteAclsResponse, pauses 1+, KIP-140;
    32 DESCRIBE_CONFIGS:                          DescribeConfigsRequest                       => DescribeConfigsResponse, pauses 2+, KIP-133;
    33 ALTER_CONFIGS:                             AlterConfigsRequest                          => AlterConfigsResponse, pauses 1+, KIP-133;
    34 ALTER_REPLICA_LOG_DIRS:                    AlterReplicaLogDirsRequest                   => AlterReplicaLogDirsResponse, pauses 1+, KIP-113;
    35 DESCRIBE_LOG_DIRS:                         DescribeLogDirsRequest                       => DescribeLogDirsResponse, pauses 1+, KIP-113;
    36 SASL_AUTHENTICATE:                         SaslAuthenticateRequest                      => SaslAuthenticateResponse, KIP-152;
    37 CREATE_PARTITIONS:                         CreatePartitionsRequest                      => CreatePartitionsResponse, pauses 1+, KIP-195;
    38 CREATE_DELEGATION_TOKEN:                   CreateDelegationTokenRequest                 => CreateDelegationTokenResponse, pauses 1+, KIP-48;
    39 RENEW_DELEGATION_TOKEN:                    RenewDelegationTokenRequest                  => RenewDelegationTokenResponse, pauses 1+, KIP-48;
    40 EXPIRE_DELEGATION_TOKEN:                   ExpireDelegationTokenRequest                 => ExpireDelegationTokenResponse, pauses 1+, KIP-48;
    41 DESCRIBE_DELEGATION_TOKEN:                 DescribeDelegationTokenRequest               => DescribeDelegationTokenResponse, pauses 1+, KIP-48;
    42 DELETE_GROUPS:                             DeleteGroupsRequest                          => DeleteGroupsResponse, pauses 1+, KIP-229;
    43 ELECT_LEADERS:                             ElectLeadersRequest                          => ElectLeadersResponse, KIP-183;
    44 INCREMENTAL_ALTER_CONFIGS:                 IncrementalAlterConfigsRequest               => IncrementalAlterConfigsResponse, KIP-339;
    45 ALTER_PARTITION_REASSIGNMENTS:             AlterPartitionReassignmentsRequest           => AlterPartitionReassignmentsResponse, pauses 0+, KIP-455;
    46 LIST_PARTITION_REASSIGNMENTS:              ListPartitionReassignmentsRequest            => ListPartitionReassignmentsResponse, pauses 0+, KIP-455;
    47 OFFSET_DELETE:                             OffsetDeleteRequest                          => OffsetDeleteResponse, pauses 0+, KIP-496;
    48 DESCRIBE_CLIENT_QUOTAS:                    DescribeClientQuotasRequest                  => DescribeClientQuotasResponse, KIP-546;
    49 ALTER_CLIENT_QUOTAS:                       AlterClientQuotasRequest                     => AlterClientQuotasResponse, KIP-546;
    50 DESCRIBE_USER_SCRAM_CREDENTIALS:           DescribeUserScramCredentialsRequest          => DescribeUserScramCredentialsResponse, KIP-554;
    51 ALTER_USER_SCRAM_CREDENTIALS:              AlterUserScramCredentialsRequest             => AlterUserScramCredentialsResponse, KIP-554;
    55 DESCRIBE_QUORUM:                           DescribeQuorumRequest                        => DescribeQuorumResponse, KIP-595;
    57 UPDATE_FEATURES:                           UpdateFeaturesRequest                        => UpdateFeaturesResponse, KIP-584;
    60 DESCRIBE_CLUSTER:                          DescribeClusterRequest                       => DescribeClusterResponse, KIP-700;
    61 DESCRIBE_PRODUCERS:                        DescribeProducersRequest                     => DescribeProducersResponse, KIP-664;
    64 UNREGISTER_BROKER:                         UnregisterBrokerRequest                      => UnregisterBrokerResponse, KIP-631;
    65 DESCRIBE_TRANSACTIONS:                     DescribeTransactionsRequest                  => DescribeTransactionsResponse, KIP-664;
    66 LIST_TRANSACTIONS:                         ListTransactionsRequest                      => ListTransactionsResponse, KIP-664;
    68 CONSUMER_GROUP_HEARTBEAT:                  ConsumerGroupHeartbeatRequest                => ConsumerGroupHeartbeatResponse, KIP-848;
    69 CONSUMER_GROUP_DESCRIBE:                   ConsumerGroupDescribeRequest                 => ConsumerGroupDescribeResponse, KIP-848;
    71 GET_TELEMETRY_SUBSCRIPTIONS:               GetTelemetrySubscriptionsRequest             => GetTelemetrySubscriptionsResponse, KIP-714;
    72 PUSH_TELEMETRY:                            PushTelemetryRequest                         => PushTelemetryResponse, KIP-714;
    74 LIST_CONFIG_RESOURCES:                     ListConfigResourcesRequest                   => ListConfigResourcesResponse, KIP-714;
    75 DESCRIBE_TOPIC_PARTITIONS:                 DescribeTopicPartitionsRequest               => DescribeTopicPartitionsResponse, KIP-966;
    76 SHARE_GROUP_HEARTBEAT:                     ShareGroupHeartbeatRequest                   => ShareGroupHeartbeatResponse, KIP-932;
    77 SHARE_GROUP_DESCRIBE:                      ShareGroupDescribeRequest                    => ShareGroupDescribeResponse, KIP-932;
    78 SHARE_FETCH:                               ShareFetchRequest                            => ShareFetchResponse, KIP-932;
    79 SHARE_ACKNOWLEDGE:                         ShareAcknowledgeRequest                      => ShareAcknowledgeResponse, KIP-932;
    80 ADD_RAFT_VOTER:                            AddRaftVoterRequest                          => AddRaftVoterResponse, KIP-853;
    81 REMOVE_RAFT_VOTER:                         RemoveRaftVoterRequest                       => RemoveRaftVoterResponse, KIP-853;
    83 INITIALIZE_SHARE_GROUP_STATE:              InitializeShareGroupStateRequest             => InitializeShareGroupStateResponse, KIP-932;
    84 READ_SHARE_GROUP_STATE:                    ReadShareGroupStateRequest                   => ReadShareGroupStateResponse, KIP-932;
    85 WRITE_SHARE_GROUP_STATE:                   WriteShareGroupStateRequest                  => WriteShareGroupStateResponse, KIP-932;
    86 DELETE_SHARE_GROUP_STATE:                  DeleteShareGroupStateRequest                 => DeleteShareGroupStateResponse, KIP-932;
    87 READ_SHARE_GROUP_STATE_SUMMARY:            ReadShareGroupStateSummaryRequest            => ReadShareGroupStateSummaryResponse, KIP-932;
    88 STREAMS_GROUP_HEARTBEAT:                   StreamsGroupHeartbeatRequest                 => StreamsGroupHeartbeatResponse, KIP-1071;
    89 STREAMS_GROUP_DESCRIBE:                    StreamsGroupDescribeRequest                  => StreamsGroupDescribeResponse, KIP-1071;
    90 DESCRIBE_SHARE_GROUP_OFFSETS:              DescribeShareGroupOffsetsRequest             => DescribeShareGroupOffsetsResponse, KIP-932;
    91 ALTER_SHARE_GROUP_OFFSETS:                 AlterShareGroupOffsetsRequest                => AlterShareGroupOffsetsResponse, KIP-932;
    92 DELETE_SHARE_GROUP_OFFSETS:                DeleteShareGroupOffsetsRequest               => DeleteShareGroupOffsetsResponse, KIP-932;
    93 STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE: StreamsGroupTopologyDescriptionUpdateRequest => StreamsGroupTopologyDescriptionUpdateResponse, KIP-1331;
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
