//! ConsumerGroupHeartbeat (KIP-848).

use std::collections::{BTreeMap, BTreeSet};

use protocol::ErrorCode;
use protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
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
