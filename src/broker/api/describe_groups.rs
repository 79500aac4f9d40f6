//! DescribeGroups: classic groups and their members; those of the other protocol are described by ConsumerGroupDescribe.

use protocol::ErrorCode;
use protocol::messages::DescribeGroupsRequest;
use protocol::messages::describe_groups_response::{DescribeGroupsResponse, DescribedGroup};

use super::{Api, Context, Reply};
use crate::broker::lock;
use crate::broker::security::AclOperation;

impl Api for DescribeGroupsRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<DescribeGroupsResponse> {
        let describe = |group_id: &String| {
            let checked = context
                .check_group(AclOperation::Describe, group_id)
                .and_then(|()| context.check_coordinator(group_id));
            match checked {
                Ok(()) => {
                    let groups = lock(&context.cluster.groups);
                    groups.describe_classic_group(group_id, context.version)
                }
                Err(error) => failed(group_id, error),
            }
        };
        Reply::Message(DescribeGroupsResponse {
            groups: self.groups.iter().map(describe).collect(),
            ..Default::default()
        })
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> DescribeGroupsResponse {
        let groups = self.groups.iter();
        DescribeGroupsResponse {
            groups: groups.map(|group_id| failed(group_id, error)).collect(),
            ..Default::default()
        }
    }

    fn can_be_refused(&self, _: i16) -> bool {
        !self.groups.is_empty()
    }
}

fn failed(group_id: &str, error_code: ErrorCode) -> DescribedGroup {
    DescribedGroup {
        error_code,
        group_id: group_id.to_owned(),
        ..Default::default()
    }
}
