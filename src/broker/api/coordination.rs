//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup: handed to the groups, whose answer may take a while.

use protocol::ErrorCode;
use protocol::messages::join_group_response::JoinGroupResponse;
use protocol::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};
use protocol::messages::sync_group_response::SyncGroupResponse;
use protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Api, Context, Reply};
use crate::broker::groups::Client;
use crate::broker::lock;
use crate::broker::security::AclOperation;

impl Context<'_> {
    /// Fails unless the client may be in the group, and this node coordinates it.
    pub(super) fn check_member(&self, group_id: &str) -> Result<(), ErrorCode> {
        self.check_group(AclOperation::Read, group_id)?;
        self.check_coordinator(group_id)
    }

    /// Fails unless this node coordinates the group.
    pub(super) fn check_coordinator(&self, group_id: &str) -> Result<(), ErrorCode> {
        match self.cluster.directory().coordinator(group_id) {
            Some(endpoint) if endpoint.node == self.node => Ok(()),
            _ => Err(ErrorCode::NOT_COORDINATOR),
        }
    }
}

impl Api for JoinGroupRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<JoinGroupResponse> {
        if let Err(error) = context.check_member(&self.group_id) {
            return Reply::Message(self.refusal(context.version, error));
        }
        let member_id = self.member_id.clone();
        let (reply, answer) = oneshot::channel();
        {
            let topics = context.cluster.directory().index();
            let mut groups = lock(&context.cluster.groups);
            let mut random = lock(&context.cluster.random);
            let client = Client {
                id: context.client_id,
                host: &format!("/{}", context.connection.host),
            };
            groups.join(
                self,
                context.version,
                client,
                reply,
                &topics,
                Instant::now(),
                &mut random,
            );
        }
        context.cluster.groups_changed.notify_one();
        // The reply is dropped when the member joins once more, on another connection.
        let superseded = |_| JoinGroupResponse {
            error_code: ErrorCode::REBALANCE_IN_PROGRESS,
            member_id,
            ..Default::default()
        };
        Reply::Message(for_version(
            answer.await.unwrap_or_else(superseded),
            context.version,
        ))
    }

    fn refusal(&self, version: i16, error: ErrorCode) -> JoinGroupResponse {
        let member_id = self.member_id.clone();
        for_version(
            JoinGroupResponse {
                error_code: error,
                member_id,
                ..Default::default()
            },
            version,
        )
    }
}

/// Before version 7 there is always a protocol name, if an empty one; after, an error has none.
fn for_version(mut response: JoinGroupResponse, version: i16) -> JoinGroupResponse {
    if version < 7 {
        response.protocol_name.get_or_insert_default();
    } else if response.error_code != ErrorCode::NONE {
        response.protocol_name = None;
    }
    response
}

impl Api for SyncGroupRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<SyncGroupResponse> {
        if let Err(error) = context.check_member(&self.group_id) {
            return Reply::Message(self.refusal(context.version, error));
        }
        if context.version >= 5 && (self.protocol_type.is_none() || self.protocol_name.is_none()) {
            return Reply::Message(
                self.refusal(context.version, ErrorCode::INCONSISTENT_GROUP_PROTOCOL),
            );
        }
        let (reply, answer) = oneshot::channel();
        lock(&context.cluster.groups).sync(self, reply, Instant::now());
        context.cluster.groups_changed.notify_one();
        let superseded = |_| SyncGroupResponse {
            error_code: ErrorCode::REBALANCE_IN_PROGRESS,
            ..Default::default()
        };
        Reply::Message(answer.await.unwrap_or_else(superseded))
    }
}

impl Api for HeartbeatRequest {
    const RESTS_ON_FILES: bool = false;

    async fn handle(self, context: &Context<'_>) -> Reply<HeartbeatResponse> {
        let error = match context.check_member(&self.group_id) {
            Ok(()) => lock(&context.cluster.groups).heartbeat(&self, Instant::now()),
            Err(error) => error,
        };
        Reply::Message(self.refusal(context.version, error))
    }
}

impl Api for LeaveGroupRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<LeaveGroupResponse> {
        if let Err(error) = context.check_member(&self.group_id) {
            return Reply::Message(self.refusal(context.version, error));
        }
        if self.group_id.is_empty() {
            return Reply::Message(self.refusal(context.version, ErrorCode::INVALID_GROUP_ID));
        }
        let leave = |member_id: &str, instance_id: Option<&str>| {
            lock(&context.cluster.groups).leave(
                &self.group_id,
                member_id,
                instance_id,
                Instant::now(),
            )
        };
        // Up to version 2 one member leaves, and its error is the answer's.
        if context.version < 3 {
            let error = leave(&self.member_id, None);
            context.cluster.groups_changed.notify_one();
            return Reply::Message(self.refusal(context.version, error));
        }
        let mut members = Vec::new();
        for member in &self.members {
            let error_code = leave(&member.member_id, member.group_instance_id.as_deref());
            members.push(MemberResponse {
                member_id: member.member_id.clone(),
                group_instance_id: member.group_instance_id.clone(),
                error_code,
                ..Default::default()
            });
        }
        context.cluster.groups_changed.notify_one();
        Reply::Message(LeaveGroupResponse {
            members,
            ..Default::default()
        })
    }
}
