//! Who is in the cluster, and who is to be forgotten. In: ids of brokers. Out: descriptions.

use super::Admin;
use crate::kafka::cluster::Channel;
use crate::kafka::{Address, ApiVersions, Result};

/// Who is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterDescription {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The broker that takes requests for the controller.
    pub controller: Option<i32>,
    /// The live brokers, by id.
    pub brokers: Vec<BrokerDescription>,
}

/// A live broker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerDescription {
    /// Its id.
    pub id: i32,
    /// Where it listens.
    pub address: Address,
    /// The rack it stands in.
    pub rack: Option<String>,
}

impl Admin {
    /// Who is in the cluster now.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        let metadata = self.cluster.refreshed(self.deadline()).await?;
        let brokers = metadata.brokers.values().map(|broker| BrokerDescription {
            id: broker.id,
            address: broker.address.clone(),
            rack: broker.rack.clone(),
        });
        Ok(ClusterDescription {
            cluster_id: metadata.cluster_id.clone(),
            controller: (metadata.controller_id >= 0).then_some(metadata.controller_id),
            brokers: brokers.collect(),
        })
    }

    /// What the broker of this id speaks, beside what this client speaks: every API that either of them knows, by number.
    pub async fn api_versions(&self, broker: i32) -> Result<Vec<ApiVersions>> {
        let cluster = &self.cluster;
        let connection = cluster
            .connection(broker, Channel::Shared, self.deadline())
            .await?;
        Ok(connection.versions().beside_ours())
    }
}
