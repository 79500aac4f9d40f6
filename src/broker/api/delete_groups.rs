//! DeleteGroups: groups without members, and what they have committed (KIP-229).

use protocol::ErrorCode;
use protocol::messages::DeleteGroupsRequest;
use protocol::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};

use super::{Api, Context, Reply};
use crate::broker::lock;
use crate::broker::security::AclOperation;

impl Api for DeleteGroupsRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<DeleteGroupsResponse> {
        Reply::Message(self.answer(|group| delete(group, context)))
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> DeleteGroupsResponse {
        self.answer(|_| Err(error))
    }

    fn can_be_refused(&self, _: i16) -> bool {
        !self.groups_names.is_empty()
    }
}

fn delete(group: &str, context: &Context<'_>) -> Result<(), ErrorCode> {
    context.check_group(AclOperation::Delete, group)?;
    context.check_coordinator(group)?;
    let mut changes = lock(&context.cluster.shares).deletion(group);
    {
        let mut groups = lock(&context.cluster.groups);
        groups.check_delete(group)?;
        changes.extend(groups.deletion(group));
        // As Kafka's coordinators say it: clients look for another then, and try again.
        let kept = context.cluster.keep(&changes);
        kept.map_err(|_| ErrorCode::NOT_COORDINATOR)?;
        groups.delete(group);
    }
    lock(&context.cluster.shares).group_deleted(group);
    Ok(())
}

trait Answer {
    fn answer(&self, each: impl Fn(&str) -> Result<(), ErrorCode>) -> DeleteGroupsResponse;
}

impl Answer for DeleteGroupsRequest {
    fn answer(&self, each: impl Fn(&str) -> Result<(), ErrorCode>) -> DeleteGroupsResponse {
        let results = self.groups_names.iter().map(|group| DeletableGroupResult {
            group_id: group.clone(),
            error_code: each(group).err().unwrap_or(ErrorCode::NONE),
            ..Default::default()
        });
        DeleteGroupsResponse {
            results: results.collect(),
            ..Default::default()
        }
    }
}
