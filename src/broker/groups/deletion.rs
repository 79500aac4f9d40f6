//! What becomes of groups that are deleted, and of what they have committed (KIP-229, KIP-496). In: ids, partitions. Out: whether it may go, and
//! what of it is kept.

use protocol::ErrorCode;

use super::classic::{ClassicGroup, State};
use super::{Groups, Kind, OffsetKey};
use crate::broker::storage::{Change, Key};

impl Groups {
    /// Whether a group may be deleted: it has no members.
    pub(crate) fn check_delete(&self, group_id: &str) -> Result<(), ErrorCode> {
        let group = self.groups.get(group_id);
        let is_empty = match &group.ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?.kind {
            Kind::Classic(group) => group.state == State::Empty,
            Kind::Consumer(group) => group.is_empty(),
            Kind::Share(group) => group.state() == "Empty",
        };
        match is_empty {
            true => Ok(()),
            false => Err(ErrorCode::NON_EMPTY_GROUP),
        }
    }

    /// What a data directory forgets with a group.
    pub(crate) fn deletion(&self, group_id: &str) -> Vec<Change> {
        let offsets = self.offsets(group_id).into_iter().flatten();
        let key = |(key, committed): (&OffsetKey, &super::Committed)| {
            Key::Offset(group_id.to_owned(), committed.topic_id, key.partition)
        };
        offsets.map(|it| Change::remove(&key(it))).collect()
    }

    /// Deletes a group, after [`check_delete`](Self::check_delete).
    pub(crate) fn delete(&mut self, group_id: &str) {
        self.groups.remove(group_id);
    }

    /// Whether what a group has committed may be deleted: by topic, where it has members that say what they subscribe to.
    pub(crate) fn check_offset_delete(&self, group_id: &str) -> Result<(), ErrorCode> {
        match self.groups.get(group_id).map(|group| &group.kind) {
            Some(Kind::Classic(group)) => {
                let subscribes = group.protocol_type.as_deref() == Some("consumer");
                match group.state == State::Empty || subscribes {
                    true => Ok(()),
                    false => Err(ErrorCode::NON_EMPTY_GROUP),
                }
            }
            Some(Kind::Consumer(_)) => Ok(()),
            Some(Kind::Share(_)) | None => Err(ErrorCode::GROUP_ID_NOT_FOUND),
        }
    }

    /// Whether a member of a group subscribes to a topic.
    pub(crate) fn subscribes(&self, group_id: &str, topic: &str) -> bool {
        match self.groups.get(group_id).map(|group| &group.kind) {
            Some(Kind::Classic(group)) => classic_subscribes(group, topic),
            Some(Kind::Consumer(group)) => group.subscribes(topic),
            Some(Kind::Share(_)) | None => false,
        }
    }

    /// What a data directory forgets with what a group has committed for a partition; none where it has committed nothing.
    pub(crate) fn offset_deletion(&self, group_id: &str, key: &OffsetKey) -> Option<Change> {
        let committed = self.offsets(group_id)?.get(key)?;
        let key = Key::Offset(group_id.to_owned(), committed.topic_id, key.partition);
        Some(Change::remove(&key))
    }

    /// Deletes what a group has committed for a partition.
    pub(crate) fn delete_offset(&mut self, group_id: &str, key: &OffsetKey) {
        if let Some(group) = self.groups.get_mut(group_id) {
            group.offsets.remove(key);
        }
    }
}

/// One that cannot be read may subscribe to anything.
fn classic_subscribes(group: &ClassicGroup, topic: &str) -> bool {
    let mut told = group.members.values().flat_map(|member| &member.protocols);
    told.any(|(_, bytes)| {
        let subscription = super::consumer::subscription(bytes.clone());
        subscription.is_none_or(|it| it.topics.iter().any(|it| it == topic))
    })
}
