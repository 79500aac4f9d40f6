//! ListGroups: the groups that this node coordinates, by state and by type (KIP-518, KIP-848).

use protocol::messages::ListGroupsRequest;
use protocol::messages::list_groups_response::{ListGroupsResponse, ListedGroup};

use super::{Api, Context, Reply};
use crate::broker::lock;
use crate::broker::security::AclOperation;

impl Api for ListGroupsRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<ListGroupsResponse> {
        let is_asked_for = |filter: &[String], of: &str| {
            filter.is_empty() || filter.iter().any(|it| it.eq_ignore_ascii_case(of))
        };
        let mut groups: Vec<ListedGroup> = lock(&context.cluster.groups).list().collect();
        groups.retain(|group| {
            is_asked_for(&self.states_filter, &group.group_state)
                && is_asked_for(&self.types_filter, &group.group_type)
                && context.check_coordinator(&group.group_id).is_ok()
                && (context.allows_cluster(AclOperation::Describe)
                    || context
                        .check_group(AclOperation::Describe, &group.group_id)
                        .is_ok())
        });
        Reply::Message(ListGroupsResponse {
            groups,
            ..Default::default()
        })
    }
}
