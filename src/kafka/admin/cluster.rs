//! Who is in the cluster, and who is to be forgotten. In: ids of nodes. Out: descriptions.

use std::collections::BTreeSet;

use protocol::messages::describe_cluster_response::DescribeClusterBroker;
use protocol::messages::{
    DescribeClusterRequest, UnregisterBrokerRequest, UnregisterControllerRequest,
};

use super::Admin;
use super::acl_rules::{AclOperation, authorized};
use super::each::{Round, Route, checked};
use crate::kafka::cluster::{Answer, Channel};
use crate::kafka::{Address, ApiVersions, Error, ErrorKind, Result};

/// Who is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterDescription {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The broker that takes requests for the controller.
    pub controller: Option<i32>,
    /// The live brokers, by id; and those that are not, where they were asked for.
    pub brokers: Vec<BrokerDescription>,
    /// What the client may do to the cluster, where it was asked for (KIP-430); `None` from brokers before Kafka 2.8.
    pub authorized_operations: Option<BTreeSet<AclOperation>>,
}

/// A broker of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerDescription {
    /// Its id.
    pub id: i32,
    /// Where it listens.
    pub address: Address,
    /// The rack it stands in.
    pub rack: Option<String>,
    /// Whether the controller has fenced it: it is down, or about to start or stop (KIP-1073).
    pub is_fenced: bool,
}

/// What brokers are asked to say of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DescribeClusterOptions {
    /// Whether they say what the client may do to the cluster (KIP-430).
    pub include_authorized_operations: bool,
    /// Whether they list those that the controller has fenced as well (KIP-1073; brokers from Kafka 4.0 on).
    pub include_fenced_brokers: bool,
}

impl DescribeClusterOptions {
    /// With what the client may do to the cluster.
    pub fn include_authorized_operations(mut self) -> Self {
        self.include_authorized_operations = true;
        self
    }

    /// With those that the controller has fenced.
    pub fn include_fenced_brokers(mut self) -> Self {
        self.include_fenced_brokers = true;
        self
    }
}

impl Admin {
    /// Who is in the cluster now; of a client with [`bootstrap_controllers`](crate::kafka::ClientConfig::bootstrap_controllers), the controllers. Cancel
    /// safe: nothing is changed.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        let metadata = self.cluster.refreshed(self.deadline()).await?;
        let brokers = metadata.brokers.values().map(|broker| BrokerDescription {
            id: broker.id,
            address: broker.address.clone(),
            rack: broker.rack.clone(),
            is_fenced: false,
        });
        Ok(ClusterDescription {
            cluster_id: metadata.cluster_id.clone(),
            controller: (metadata.controller_id >= 0).then_some(metadata.controller_id),
            brokers: brokers.collect(),
            authorized_operations: None,
        })
    }

    /// As [`describe_cluster`](Self::describe_cluster), with options (KIP-700). Brokers before Kafka 2.8 say no more than that one returns, and
    /// fail where [fenced brokers](DescribeClusterOptions::include_fenced_brokers) are asked for, as all do before Kafka 4.0.
    ///
    /// Brokers alone are described: the controllers are in [`describe_metadata_quorum`](Self::describe_metadata_quorum).
    pub async fn describe_cluster_with(
        &self,
        options: &DescribeClusterOptions,
    ) -> Result<ClusterDescription> {
        let build = |round: &mut Round<()>| {
            if options.include_fenced_brokers && round.version < 2 {
                let message = "this broker is older than Kafka 4.0 and lists no fenced brokers";
                return Err(Error::new(ErrorKind::UnsupportedVersion, message));
            }
            let of_controllers = self.cluster.config().is_of_controllers();
            Ok(DescribeClusterRequest {
                endpoint_type: if of_controllers { 2 } else { 1 },
                include_cluster_authorized_operations: options.include_authorized_operations,
                include_fenced_brokers: options.include_fenced_brokers,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<DescribeClusterRequest>, round: &Round<()>| {
            let response = &answer.response;
            let message = response.error_message.as_deref();
            let described = || {
                let brokers: Result<Vec<_>> = response.brokers.iter().map(broker).collect();
                let mut brokers = brokers.map_err(|error| answer.explain(error))?;
                brokers.sort_by_key(|broker| broker.id);
                Ok(ClusterDescription {
                    cluster_id: Some(response.cluster_id.clone()).filter(|id| !id.is_empty()),
                    controller: (response.controller_id >= 0).then_some(response.controller_id),
                    brokers,
                    authorized_operations: authorized(response.cluster_authorized_operations),
                })
            };
            let described = checked(answer, response.error_code, message, described);
            round.all(described.and_then(|it| it))
        };
        match self.one(Route::Any, build, read).await {
            Err(error)
                if error.kind() == ErrorKind::UnsupportedVersion
                    && !options.include_fenced_brokers =>
            {
                self.describe_cluster().await
            }
            described => described,
        }
    }

    /// What the broker of this id speaks, beside what this client speaks: every API that either of them knows, by number.
    pub async fn api_versions(&self, broker: i32) -> Result<Vec<ApiVersions>> {
        let cluster = &self.cluster;
        let connection = cluster
            .connection(broker, Channel::Shared, self.deadline())
            .await?;
        Ok(connection.versions().beside_ours())
    }

    /// Lets the cluster forget a broker that is gone for good (KIP-631): it is no longer expected back. One that still runs registers itself
    /// again.
    ///
    /// Errors: `BROKER_ID_NOT_REGISTERED`, `UNSUPPORTED_VERSION` from clusters with ZooKeeper, an authorization error where the client may not
    /// (`ALTER` on the cluster). A call that is dropped may still be carried out.
    pub async fn unregister_broker(&self, broker: i32) -> Result<()> {
        let build = |_: &mut Round<()>| {
            Ok(UnregisterBrokerRequest {
                broker_id: broker,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<UnregisterBrokerRequest>, round: &Round<()>| {
            let response = &answer.response;
            let message = response.error_message.as_deref();
            round.all(checked(answer, response.error_code, message, || ()))
        };
        let done = self.one(Route::Controller, build, read).await;
        done.map_err(|error| error.prefixed(&format!("broker {broker}")))
    }

    /// Lets the cluster forget a controller that is gone for good, and is no voter any more (brokers from Kafka 4.4 on).
    ///
    /// Errors: `UNSUPPORTED_VERSION` from older brokers, an authorization error where the client may not (`ALTER` on the cluster), and what the
    /// broker says of an id that is not registered. A call that is dropped may still be carried out.
    pub async fn unregister_controller(&self, controller: i32) -> Result<()> {
        let build = |_: &mut Round<()>| {
            Ok(UnregisterControllerRequest {
                controller_id: controller,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<UnregisterControllerRequest>, round: &Round<()>| {
            let response = &answer.response;
            let message = response.error_message.as_deref();
            round.all(checked(answer, response.error_code, message, || ()))
        };
        let done = self.one(Route::Controller, build, read).await;
        done.map_err(|error| error.prefixed(&format!("controller {controller}")))
    }
}

fn broker(it: &DescribeClusterBroker) -> Result<BrokerDescription> {
    let port = u16::try_from(it.port).map_err(|_| {
        let message = format!("broker {} cannot listen on port {}", it.broker_id, it.port);
        Error::new(ErrorKind::Protocol, message)
    })?;
    Ok(BrokerDescription {
        id: it.broker_id,
        address: Address::new(&*it.host, port),
        rack: it.rack.clone(),
        is_fenced: it.is_fenced,
    })
}
