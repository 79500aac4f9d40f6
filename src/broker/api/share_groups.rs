//! ShareGroupHeartbeat and ShareGroupDescribe (KIP-932).

use protocol::ErrorCode;
use protocol::messages::share_group_describe_response::DescribedGroup;
use protocol::messages::{
    ShareGroupDescribeRequest, ShareGroupDescribeResponse, ShareGroupHeartbeatRequest,
    ShareGroupHeartbeatResponse,
};
use tokio::time::Instant;

use super::{Api, Context, Reply};
use crate::broker::groups::{Client, Refusal};
use crate::broker::lock;
use crate::broker::security::AclOperation;

impl Api for ShareGroupHeartbeatRequest {
    const RESTS_ON_FILES: bool = false;

    async fn handle(self, context: &Context<'_>) -> Reply<ShareGroupHeartbeatResponse> {
        let answer = heartbeat(&self, context);
        context.cluster.groups_changed.notify_one();
        Reply::Message(
            answer.unwrap_or_else(|(error_code, text)| ShareGroupHeartbeatResponse {
                error_code,
                error_message: Some(text).filter(|it| !it.is_empty()),
                ..Default::default()
            }),
        )
    }
}

fn heartbeat(
    request: &ShareGroupHeartbeatRequest,
    context: &Context<'_>,
) -> Result<ShareGroupHeartbeatResponse, Refusal> {
    let plain = |error: ErrorCode| (error, String::new());
    context.check_member(&request.group_id).map_err(plain)?;
    for name in request.subscribed_topic_names.iter().flatten() {
        context
            .check_topic(AclOperation::Describe, name)
            .map_err(plain)?;
    }
    let topics = context.cluster.directory().index();
    let client = Client {
        id: context.client_id,
        host: &format!("/{}", context.connection.host),
    };
    lock(&context.cluster.groups).share_heartbeat(request, client, &topics, Instant::now())
}

impl Api for ShareGroupDescribeRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<ShareGroupDescribeResponse> {
        let describe = |group_id: &String| {
            let checked = context
                .check_group(AclOperation::Describe, group_id)
                .and_then(|()| context.check_coordinator(group_id));
            match checked {
                Ok(()) => lock(&context.cluster.groups).describe_share_group(group_id),
                Err(error) => failed(group_id, error),
            }
        };
        let mut groups: Vec<DescribedGroup> = self.group_ids.iter().map(describe).collect();
        for group in &mut groups {
            let hides = |name: &str| context.check_topic(AclOperation::Describe, name).is_err();
            let members = group.members.iter();
            let names = members.flat_map(|it| it.assignment.topic_partitions.iter());
            if names.map(|it| &it.topic_name).any(|name| hides(name)) {
                *group = failed(&group.group_id, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
            }
        }
        Reply::Message(ShareGroupDescribeResponse {
            groups,
            ..Default::default()
        })
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> ShareGroupDescribeResponse {
        let groups = self.group_ids.iter();
        ShareGroupDescribeResponse {
            groups: groups.map(|group_id| failed(group_id, error)).collect(),
            ..Default::default()
        }
    }

    fn can_be_refused(&self, _: i16) -> bool {
        !self.group_ids.is_empty()
    }
}

fn failed(group_id: &str, error_code: ErrorCode) -> DescribedGroup {
    DescribedGroup {
        error_code,
        group_id: group_id.to_owned(),
        ..Default::default()
    }
}
