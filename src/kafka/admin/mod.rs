//! What there is to administer a cluster: topics, groups, configuration, rights, and what brokers say of themselves.
//!
//! Every call about several things returns a result for each of them, by name: that one fails says nothing of the others. All fail together,
//! as the error of the call, only when no broker could be asked.

// | file | what lives there |
// | --- | --- |
// | `each` | one question about many items: split by whom it is for, merged by item, again for those that nobody got to |
// | `cluster` | who is in the cluster |
// | `configs` | configuration described and altered |
// | `delete_records` | records deleted from the front of partitions |
// | `group_descriptions` | groups and their members |
// | `group_offsets` | what groups have committed |
// | `groups` | groups listed and deleted, members removed |
// | `list_offsets` | offsets by time and by place |
// | `partitions` | partitions added |
// | `share_group_offsets` | where share groups go on |
// | `topics` | topics created, deleted, listed and described |

mod cluster;
mod configs;
mod delete_records;
mod each;
mod group_descriptions;
mod group_offsets;
mod groups;
mod list_offsets;
mod partitions;
mod share_group_offsets;
mod topics;

use std::collections::BTreeMap;

use tokio::time::Instant;

pub use cluster::{BrokerDescription, ClusterDescription};
pub use configs::{
    AlterConfig, ConfigDescription, ConfigKind, ConfigResource, ConfigResourceKind, ConfigSource,
    ConfigSynonym, DescribeConfigsOptions,
};
pub use group_descriptions::{
    ClassicGroupDescription, ConsumerGroupDescription, GroupMember, ShareGroupDescription,
};
pub use group_offsets::{GroupOffsets, ListGroupOffsetsOptions};
pub use groups::{GroupFilter, GroupKind, GroupListing, GroupListings, GroupState, MemberToRemove};
pub use list_offsets::{ListOffsetsOptions, ListedOffset, OffsetSpec};
pub use partitions::NewPartitions;
pub use share_group_offsets::ShareGroupOffset;
pub use topics::{
    CreateTopicsOptions, CreatedTopic, CreatedTopicConfig, NewTopic, PartitionDescription,
    TopicDescription,
};

use super::cluster::Cluster;
use super::{Client, ClientConfig, Error, Result, TopicPartition};

/// A client for cluster administration. Cheap to clone.
///
/// Every method waits no longer than `request_timeout`, and is cancel safe in that a request given up may still be carried out.
#[derive(Clone, Debug)]
pub struct Admin {
    cluster: Cluster,
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
        Self { cluster }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.cluster.config().request_timeout
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
