//! Administration of a cluster: what Java's `Admin` does, by subject.
//!
//! [`Admin`] comes from [`Admin::connect`] or [`Client::admin`]. Every call about
//! several things returns a result for each of them, by name: that one fails says
//! nothing of the others. All fail together, as the error of the call, only when no
//! broker could be asked.
//!
//! ```no_run
//! # async fn example() -> pat_events::kafka::Result<()> {
//! use pat_events::kafka::{Admin, ClientConfig, NewTopic};
//!
//! let admin = Admin::connect(ClientConfig::new("localhost:9092")).await?;
//! let topics = [NewTopic::new("orders", 6), NewTopic::new("refunds", 3)];
//! for (topic, result) in admin.create_topics(&topics).await? {
//!     match result {
//!         Ok(()) => println!("{topic} is there"),
//!         Err(error) => println!("{topic}: {error}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Calls find the broker that they are for: the controller, a coordinator, the leader of each partition, each broker. What was certainly not done
//! is repeated with pauses until the deadline ([`Admin::with_timeout`]); what may have been done is not, unless it only reads.
//!
//! # Java's `Admin`
//!
//! | there | here |
//! | --- | --- |
//! | `createTopics` | [`Admin::create_topics`], [`Admin::create_topics_with`] |
//! | `deleteTopics` | [`Admin::delete_topics`] |
//! | `listTopics` | [`Admin::list_topics`] |
//! | `describeTopics` | [`Admin::describe_topics`] |
//! | `createPartitions` | [`Admin::create_partitions`] |
//! | `deleteRecords` | [`Admin::delete_records`] |
//! | `listOffsets` | [`Admin::list_offsets`] |
//! | `describeConfigs` | [`Admin::describe_configs`] |
//! | `incrementalAlterConfigs` | [`Admin::incremental_alter_configs`] |
//! | `listConfigResources` | [`Admin::list_config_resources`] |
//! | `listClientMetricsResources` | [`Admin::list_config_resources`] of [`ConfigResourceKind::ClientMetrics`] |
//! | `describeCluster` | [`Admin::describe_cluster`], [`Admin::describe_cluster_with`] |
//! | `unregisterBroker` | [`Admin::unregister_broker`] |
//! | `unregisterController` | [`Admin::unregister_controller`] |
//! | `describeFeatures` | [`Admin::describe_features`] |
//! | `updateFeatures` | [`Admin::update_features`] |
//! | `describeMetadataQuorum` | [`Admin::describe_metadata_quorum`] |
//! | `addRaftVoter` | [`Admin::add_raft_voter`] |
//! | `removeRaftVoter` | [`Admin::remove_raft_voter`] |
//! | `describeLogDirs` | [`Admin::describe_log_dirs`] |
//! | `describeReplicaLogDirs` | [`Admin::describe_replica_log_dirs`] |
//! | `alterReplicaLogDirs` | [`Admin::alter_replica_log_dirs`] |
//! | `alterPartitionReassignments` | [`Admin::alter_partition_reassignments`] |
//! | `listPartitionReassignments` | [`Admin::list_partition_reassignments`] |
//! | `electLeaders` | [`Admin::elect_leaders`] |
//! | `createAcls` | [`Admin::create_acls`] |
//! | `describeAcls` | [`Admin::describe_acls`] |
//! | `deleteAcls` | [`Admin::delete_acls`] |
//! | `describeUserScramCredentials` | [`Admin::describe_user_scram_credentials`] |
//! | `alterUserScramCredentials` | [`Admin::alter_user_scram_credentials`] |
//! | `describeClientQuotas` | [`Admin::describe_client_quotas`] |
//! | `alterClientQuotas` | [`Admin::alter_client_quotas`] |
//! | `createDelegationToken` | [`Admin::create_delegation_token`] |
//! | `renewDelegationToken` | [`Admin::renew_delegation_token`] |
//! | `expireDelegationToken` | [`Admin::expire_delegation_token`] |
//! | `describeDelegationToken` | [`Admin::describe_delegation_tokens`] |
//! | `listTransactions` | [`Admin::list_transactions`] |
//! | `describeTransactions` | [`Admin::describe_transactions`] |
//! | `abortTransaction` | [`Admin::abort_transaction`] |
//! | `fenceProducers` | [`Admin::fence_producers`] |
//! | `forceTerminateTransaction` | [`Admin::force_terminate_transaction`] |
//! | `describeProducers` | [`Admin::describe_producers`] |
//! | `listGroups` | [`Admin::list_groups`] |
//! | `listConsumerGroups` | [`Admin::list_groups`] of [`GroupKind::Classic`] and [`GroupKind::Consumer`] |
//! | `describeConsumerGroups` | [`Admin::describe_consumer_groups`] |
//! | `describeClassicGroups` | [`Admin::describe_classic_groups`] |
//! | `describeShareGroups` | [`Admin::describe_share_groups`] |
//! | `describeStreamsGroups` | [`Admin::describe_streams_groups`] |
//! | `deleteConsumerGroups` | [`Admin::delete_groups`] |
//! | `deleteShareGroups` | [`Admin::delete_groups`] |
//! | `deleteStreamsGroups` | [`Admin::delete_groups`] |
//! | `listConsumerGroupOffsets` | [`Admin::list_group_offsets`] |
//! | `listStreamsGroupOffsets` | [`Admin::list_group_offsets`] |
//! | `listShareGroupOffsets` | [`Admin::list_share_group_offsets`] |
//! | `alterConsumerGroupOffsets` | [`Admin::alter_group_offsets`] |
//! | `alterStreamsGroupOffsets` | [`Admin::alter_group_offsets`] |
//! | `alterShareGroupOffsets` | [`Admin::alter_share_group_offsets`] |
//! | `deleteConsumerGroupOffsets` | [`Admin::delete_group_offsets`] |
//! | `deleteStreamsGroupOffsets` | [`Admin::delete_group_offsets`] |
//! | `deleteShareGroupOffsets` | [`Admin::delete_share_group_offsets`] |
//! | `removeMembersFromConsumerGroup` | [`Admin::remove_members_from_group`] |
//! | `create` | [`Admin::connect`], [`Client::admin`] |
//! | `close` | dropping it |
//! | `metrics` | [`ClientConfig::metrics`] |
//! | `clientInstanceId` | [`Client::client_instance_id`] |
//! | `registerMetricForSubscription` | none: a client tells what it measures itself |
//! | `unregisterMetricFromSubscription` | none, likewise |
//!
//! With [`ClientConfig::bootstrap_controllers`] an [`Admin`] speaks with the controllers themselves (KIP-919), as Java's with
//! `bootstrap.controllers`: configurations, features, the quorum and its voters, access rules, quotas and users, also while no broker runs.

// | file | what lives there |
// | --- | --- |
// | `each` | one question about many items: split by whom it is for, merged by item, again for those that nobody got to |
// | `acl_rules` | access rules and filters of them |
// | `acls` | access rules created, described and deleted |
// | `cluster` | who is in the cluster |
// | `configs` | configuration described and altered |
// | `delete_records` | records deleted from the front of partitions |
// | `elections` | leaders elected on demand |
// | `features` | levels of features described, raised and lowered |
// | `group_descriptions` | groups and their members |
// | `group_offsets` | what groups have committed |
// | `groups` | groups listed and deleted, members removed |
// | `list_offsets` | offsets by time and by place |
// | `log_dirs` | directories of brokers' logs, and replicas moved between them |
// | `names` | enumerations by Kafka's numbers and names |
// | `partitions` | partitions added |
// | `producers` | who writes to partitions |
// | `quorum` | the quorum of controllers |
// | `quotas` | quotas of clients |
// | `reassignments` | partitions moved to other brokers |
// | `share_group_offsets` | where share groups go on |
// | `streams_groups` | groups of Kafka Streams |
// | `tokens` | delegation tokens |
// | `topics` | topics created, deleted, listed and described |
// | `transactions` | transactions listed, described and aborted, their producers fenced |
// | `users` | whom SCRAM lets in |

mod acl_rules;
mod acls;
mod cluster;
mod configs;
mod delete_records;
mod each;
mod elections;
mod features;
mod group_descriptions;
mod group_offsets;
mod groups;
mod list_offsets;
mod log_dirs;
mod names;
mod partitions;
mod producers;
mod quorum;
mod quotas;
mod reassignments;
mod share_group_offsets;
mod streams_groups;
mod tokens;
mod topics;
mod transactions;
mod users;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

pub use acl_rules::{
    AclBinding, AclBindingFilter, AclOperation, AclPattern, AclPatternFilter, AclPermission,
    AclResource, AclResourceKind,
};
pub use cluster::{BrokerDescription, ClusterDescription, DescribeClusterOptions};
pub use configs::{
    AlterConfig, ConfigDescription, ConfigKind, ConfigResource, ConfigResourceKind, ConfigSource,
    ConfigSynonym, DescribeConfigsOptions,
};
pub use elections::ElectionType;
pub use features::{FeatureDescription, FeatureUpdate, FeatureUpgradeType};
pub use group_descriptions::{
    ClassicGroupDescription, ConsumerGroupDescription, GroupMember, ShareGroupDescription,
};
pub use group_offsets::{GroupOffsets, ListGroupOffsetsOptions};
pub use groups::{GroupFilter, GroupKind, GroupListing, GroupListings, GroupState, MemberToRemove};
pub use list_offsets::{ListOffsetsOptions, ListedOffset, OffsetSpec};
pub use log_dirs::{LogDirDescription, LogDirReplica, LogDirs, Replica, ReplicaLogDirs};
pub use partitions::NewPartitions;
pub use producers::ProducerState;
pub use quorum::{DirectoryId, QuorumDescription, QuorumListener, QuorumReplica, RaftVoterOptions};
pub use quotas::{QuotaEntity, QuotaFilter, QuotaMatch};
pub use reassignments::{PartitionReassignment, ReassignmentOptions};
pub use share_group_offsets::ShareGroupOffset;
pub use streams_groups::{
    StreamsGroupDescription, StreamsGroupMember, StreamsSubtopology, StreamsTasks, StreamsTopic,
};
pub use tokens::{CreateDelegationTokenOptions, DelegationToken, KafkaPrincipal};
pub use topics::{
    CreateTopicsOptions, CreatedTopic, CreatedTopicConfig, NewTopic, PartitionDescription,
    TopicDescription,
};
pub use transactions::{
    FencedProducer, HangingTransaction, TransactionDescription, TransactionFilter,
    TransactionListing, TransactionListings, TransactionState,
};
pub use users::{AlterScramCredential, ScramCredential, ScramMechanism, ScramUpsertion};

use super::cluster::Cluster;
use super::{Client, ClientConfig, Error, Result, TopicPartition};

/// A client for cluster administration. Cheap to clone.
///
/// Every method waits no longer than [`with_timeout`](Self::with_timeout) says, `request_timeout` by default, and is cancel safe in that a
/// request given up may still be carried out.
#[derive(Clone, Debug)]
pub struct Admin {
    cluster: Cluster,
    timeout: Option<Duration>,
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
        Self {
            cluster,
            timeout: None,
        }
    }

    /// The same client, with methods that wait so long, and tell brokers to. Default: `request_timeout`.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    fn deadline(&self) -> Instant {
        let timeout = self.timeout;
        Instant::now() + timeout.unwrap_or(self.cluster.config().request_timeout)
    }
}

/// The partitions of each topic, by number.
fn by_topic<'a>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
) -> BTreeMap<String, Vec<i32>> {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for TopicPartition { topic, partition } in partitions {
        topics
            .entry(topic.to_string())
            .or_default()
            .push(*partition);
    }
    topics
}

/// Names the partition in its error.
fn about_partition(at: &TopicPartition, error: Error) -> Error {
    error.topic_partition(at.topic.clone(), at.partition)
}
