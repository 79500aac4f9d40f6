//! ConsumerGroupDescribe and ShareGroupDescribe: groups and their members, if the client may see them and all their topics (KIP-848, KIP-932).

use protocol::ErrorCode;
use protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ShareGroupDescribeRequest,
    ShareGroupDescribeResponse, consumer_group_describe_response, share_group_describe_response,
};

use super::{Api, Context, Reply};
use crate::broker::lock;
use crate::broker::security::AclOperation;

macro_rules! describe_groups {
    ($Request:ident => $Response:ident in $answers:ident, $describe:ident) => {
        impl Api for $Request {
            async fn handle(self, context: &Context<'_>) -> Reply<$Response> {
                let failed = |group_id: &str, error_code| $answers::DescribedGroup {
                    error_code,
                    group_id: group_id.to_owned(),
                    ..Default::default()
                };
                let describe = |group_id: &String| {
                    let checked = context
                        .check_group(AclOperation::Describe, group_id)
                        .and_then(|()| context.check_coordinator(group_id));
                    match checked {
                        Ok(()) => lock(&context.cluster.groups).$describe(group_id),
                        Err(error) => failed(group_id, error),
                    }
                };
                let mut groups: Vec<_> = self.group_ids.iter().map(describe).collect();
                for group in &mut groups {
                    let hides =
                        |name: &str| context.check_topic(AclOperation::Describe, name).is_err();
                    let members = group.members.iter();
                    let names = members.flat_map(|it| it.assignment.topic_partitions.iter());
                    if names.map(|it| &it.topic_name).any(|name| hides(name)) {
                        *group = failed(&group.group_id, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
                    }
                }
                Reply::Message($Response {
                    groups,
                    ..Default::default()
                })
            }

            fn refusal(&self, _: i16, error_code: ErrorCode) -> $Response {
                let groups = self.group_ids.iter();
                let groups = groups.map(|group_id| $answers::DescribedGroup {
                    error_code,
                    group_id: group_id.clone(),
                    ..Default::default()
                });
                $Response {
                    groups: groups.collect(),
                    ..Default::default()
                }
            }

            fn can_be_refused(&self, _: i16) -> bool {
                !self.group_ids.is_empty()
            }
        }
    };
}

describe_groups!(ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse in consumer_group_describe_response, describe_consumer_group);
describe_groups!(ShareGroupDescribeRequest => ShareGroupDescribeResponse in share_group_describe_response, describe_share_group);
