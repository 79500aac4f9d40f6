//! ConsumerGroupHeartbeat and ConsumerGroupDescribe (KIP-848).

use std::collections::{BTreeMap, BTreeSet};

use protocol::ErrorCode;
use protocol::messages::consumer_group_describe_response::DescribedGroup;
use protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
};
use regex_lite::Regex;
use tokio::time::Instant;

use super::{Api, Context, Reply};
use crate::broker::groups::{Client, Refusal};
use crate::broker::lock;
use crate::broker::security::AclOperation;
use crate::broker::topic_index::TopicIndex;

impl Api for ConsumerGroupHeartbeatRequest {
    const RESTS_ON_FILES: bool = false;

    async fn handle(self, context: &Context<'_>) -> Reply<ConsumerGroupHeartbeatResponse> {
        let answer = heartbeat(&self, context);
        context.cluster.groups_changed.notify_one();
        Reply::Message(
            answer.unwrap_or_else(|(error_code, text)| ConsumerGroupHeartbeatResponse {
                error_code,
                error_message: Some(text).filter(|it| !it.is_empty()),
                ..Default::default()
            }),
        )
    }
}

fn heartbeat(
    request: &ConsumerGroupHeartbeatRequest,
    context: &Context<'_>,
) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
    let plain = |error: ErrorCode| (error, String::new());
    context.check_member(&request.group_id).map_err(plain)?;
    for name in request.subscribed_topic_names.iter().flatten() {
        context
            .check_topic(AclOperation::Describe, name)
            .map_err(plain)?;
    }
    let topics = context.cluster.directory().index();
    let unmatched = lock(&context.cluster.groups).unmatched(request, &topics);
    let matched: Result<BTreeMap<_, _>, Refusal> = unmatched
        .into_iter()
        .map(|pattern| Ok((pattern.clone(), matching(&pattern, &topics, context)?)))
        .collect();
    let client = Client {
        id: context.client_id,
        host: &format!("/{}", context.connection.host),
    };
    let mut groups = lock(&context.cluster.groups);
    let mut random = lock(&context.cluster.random);
    groups.consumer_heartbeat(
        request,
        client,
        &topics,
        matched?,
        Instant::now(),
        &mut random,
    )
}

/// The topics whose whole name matches, those that the client may know of.
fn matching(
    pattern: &str,
    topics: &TopicIndex,
    context: &Context<'_>,
) -> Result<BTreeSet<String>, Refusal> {
    // By itself first: what closes the group around it is no expression.
    let regex = Regex::new(pattern).and_then(|_| Regex::new(&format!("^(?:{pattern})$")));
    let regex = regex.map_err(|error| {
        let text =
            format!("SubscribedTopicRegex `{pattern}` is not a valid regular expression: {error}.");
        (ErrorCode::INVALID_REGULAR_EXPRESSION, text)
    })?;
    let names = topics.names().filter(|name| regex.is_match(name));
    let visible = names.filter(|name| context.check_topic(AclOperation::Describe, name).is_ok());
    Ok(visible.map(str::to_owned).collect())
}

impl Api for ConsumerGroupDescribeRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<ConsumerGroupDescribeResponse> {
        let describe = |group_id: &String| {
            let checked = context
                .check_group(AclOperation::Describe, group_id)
                .and_then(|()| context.check_coordinator(group_id));
            match checked {
                Ok(()) => lock(&context.cluster.groups).describe_consumer_group(group_id),
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
        Reply::Message(ConsumerGroupDescribeResponse {
            groups,
            ..Default::default()
        })
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> ConsumerGroupDescribeResponse {
        let groups = self.group_ids.iter();
        ConsumerGroupDescribeResponse {
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
