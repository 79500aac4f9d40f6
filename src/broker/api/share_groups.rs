//! ShareGroupHeartbeat (KIP-932).

use protocol::ErrorCode;
use protocol::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
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
