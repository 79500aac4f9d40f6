//! Committed offsets: who may commit, and what is kept.

use protocol::{ErrorCode, Uuid};
use tokio::time::Instant;

use super::classic::{ClassicGroup, State};
use crate::broker::storage::{Change, Key, OffsetNote, PendingOffsetNote};
use crate::broker::transactions::ProducerIdAndEpoch;

/// The partition that an offset was committed for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OffsetKey {
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Committed {
    /// Which topic of that name is meant: a commit may come in while the topic is deleted, and must not stand for the next one.
    pub(crate) topic_id: Uuid,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

impl Committed {
    /// As it is kept.
    pub(crate) fn change(&self, group_id: &str, key: &OffsetKey) -> Change {
        let key = Key::Offset(group_id.to_owned(), self.topic_id, key.partition);
        Change::put(&key, &self.note().to_bytes())
    }

    /// As it is kept while it waits for the end of a transaction.
    pub(crate) fn pending_change(
        &self,
        group_id: &str,
        producer: ProducerIdAndEpoch,
        key: &OffsetKey,
    ) -> Change {
        let note = PendingOffsetNote {
            epoch: producer.epoch,
            offset: self.note(),
        };
        let key = self.pending_key(group_id, producer.id, key);
        Change::put(&key, &note.to_bytes())
    }

    pub(super) fn pending_key(&self, group_id: &str, producer_id: i64, key: &OffsetKey) -> Key {
        Key::PendingOffset(
            group_id.to_owned(),
            producer_id,
            self.topic_id,
            key.partition,
        )
    }

    fn note(&self) -> OffsetNote {
        OffsetNote {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: self.metadata.clone(),
        }
    }

    /// As it was kept.
    pub(crate) fn of(topic_id: Uuid, note: OffsetNote) -> Self {
        Self {
            topic_id,
            offset: note.offset,
            leader_epoch: note.leader_epoch,
            metadata: note.metadata,
        }
    }
}

/// Who commits: a member of a generation, or with -1 and an empty id someone who assigns partitions to themselves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitterIdentity<'a> {
    pub(crate) generation: i32,
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
}

impl ClassicGroup {
    pub(crate) fn check_commit(
        &mut self,
        committer: &CommitterIdentity<'_>,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        if committer.generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if committer.generation < 0
            && committer.member_id.is_empty()
            && committer.instance_id.is_none()
        {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        self.check_member(committer.member_id, committer.instance_id)?;
        self.check_generation(committer.generation)?;
        if self.state == State::CompletingRebalance {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        self.touch(committer.member_id, now);
        Ok(())
    }
}
