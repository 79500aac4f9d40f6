//! DescribeCluster: the nodes that run, those that do not where they are asked for, and what the client may do (KIP-700, KIP-1073).

use protocol::ErrorCode;
use protocol::messages::DescribeClusterRequest;
use protocol::messages::describe_cluster_response::{
    DescribeClusterBroker, DescribeClusterResponse,
};

use super::{Api, Context, Reply};

/// Brokers, not controllers.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

impl Api for DescribeClusterRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<DescribeClusterResponse> {
        let error = match self.endpoint_type {
            BROKERS => None,
            CONTROLLERS => Some(ErrorCode::MISMATCHED_ENDPOINT_TYPE),
            _ => Some(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE),
        };
        if let Some(error) = error {
            return Reply::Message(self.refusal(context.version, error));
        }
        let cluster = context.cluster;
        let cluster_authorized_operations =
            context.cluster_operations(self.include_cluster_authorized_operations);
        let directory = cluster.directory();
        let brokers = directory.endpoints().map(|endpoint| DescribeClusterBroker {
            broker_id: endpoint.node,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            is_fenced: !directory.is_running(endpoint.node),
            ..Default::default()
        });
        let brokers = brokers.filter(|it| self.include_fenced_brokers || !it.is_fenced);
        let mut brokers: Vec<_> = brokers.collect();
        if context.version < 2 {
            // There is no place for it.
            brokers.iter_mut().for_each(|it| it.is_fenced = false);
        }
        Reply::Message(DescribeClusterResponse {
            endpoint_type: BROKERS,
            cluster_id: cluster.id.clone(),
            controller_id: directory.controller(),
            brokers,
            cluster_authorized_operations,
            ..Default::default()
        })
    }
}
