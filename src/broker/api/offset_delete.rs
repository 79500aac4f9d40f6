//! OffsetDelete: what a group has committed of partitions goes (KIP-496).

use protocol::ErrorCode;
use protocol::messages::OffsetDeleteRequest;
use protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use super::{Api, Context, Reply};
use crate::broker::groups::OffsetKey;
use crate::broker::lock;
use crate::broker::security::AclOperation;

impl Api for OffsetDeleteRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<OffsetDeleteResponse> {
        let checked = context
            .check_group(AclOperation::Delete, &self.group_id)
            .and_then(|()| context.check_coordinator(&self.group_id))
            .and_then(|()| lock(&context.cluster.groups).check_offset_delete(&self.group_id));
        if let Err(error) = checked {
            return Reply::Message(self.refusal(context.version, error));
        }
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter();
            let partitions = partitions.map(|it| {
                let deleted = delete(&self.group_id, &topic.name, it.partition_index, context);
                OffsetDeleteResponsePartition {
                    partition_index: it.partition_index,
                    error_code: deleted.err().unwrap_or(ErrorCode::NONE),
                    ..Default::default()
                }
            });
            OffsetDeleteResponseTopic {
                name: topic.name.clone(),
                partitions: partitions.collect(),
                ..Default::default()
            }
        });
        Reply::Message(OffsetDeleteResponse {
            topics: topics.collect(),
            ..Default::default()
        })
    }
}

fn delete(
    group: &str,
    topic: &str,
    partition: i32,
    context: &Context<'_>,
) -> Result<(), ErrorCode> {
    let known = context.topic(topic, None, AclOperation::Read)?;
    let index = usize::try_from(partition);
    if !index.is_ok_and(|index| index < known.partition_count()) {
        return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
    let mut groups = lock(&context.cluster.groups);
    if groups.subscribes(group, topic) {
        return Err(ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC);
    }
    let key = OffsetKey {
        topic: topic.to_owned(),
        partition,
    };
    let changes: Vec<_> = groups.offset_deletion(group, &key).into_iter().collect();
    let kept = context.cluster.keep(&changes);
    kept.map_err(|_| ErrorCode::NOT_COORDINATOR)?;
    groups.delete_offset(group, &key);
    Ok(())
}
