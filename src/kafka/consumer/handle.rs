//! What can be asked of a consumer while it polls: positions, pauses, commits, offsets. Shared with the application's other tasks and with
//! its rebalance listener.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::commit::{Acks, Commits, Notes, PendingCommit, Progress, not_held};
use super::positions::offset_fetch::{self, Committed};
use super::positions::offset_reset::{EARLIEST_TIMESTAMP, LATEST_TIMESTAMP};
use super::positions::resolver::take_committed;
use super::positions::{Position, Positions};
use super::state::{ConsumerContext, ConsumerState, Source};
use super::{ConsumerMetrics, PositionReset, ResetCounts};
use crate::kafka::group::group_metadata::GroupMetadata;
use crate::kafka::{Error, ErrorKind, Result, TopicId, TopicPartition};

/// An offset to commit: that of the next record to read, not of the last one that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffsetAndMetadata {
    /// The offset of the next record to read.
    pub offset: i64,
    /// The leader epoch of the record before it, by which a truncated log is noticed (KIP-320).
    pub leader_epoch: Option<i32>,
    /// A note to keep with it, for whoever reads the committed offset.
    pub metadata: String,
    /// The topic that the offset is in: a commit never goes to another topic that got the same name. `None` where no id is known; a commit
    /// without one is of the topic whose records were handed out last.
    pub topic_id: Option<TopicId>,
}

impl OffsetAndMetadata {
    /// This offset, without epoch, note and topic id.
    pub fn new(offset: i64) -> Self {
        Self {
            offset,
            ..Self::default()
        }
    }
}

/// The offset of a record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffsetAndTimestamp {
    /// The record's offset.
    pub offset: i64,
    /// The record's timestamp, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The epoch of the leader that appended it.
    pub leader_epoch: Option<i32>,
}

/// What there is of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogBounds {
    /// The first offset that it still has.
    pub begin: i64,
    /// The offset that the next record gets; for `read_committed`, that of the first record of an open transaction if there is one.
    pub end: i64,
}

/// A member of a group, as a coordinator is told who commits: see [`ConsumerHandle::group_metadata`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerGroupMetadata {
    /// The group's id.
    pub group_id: String,
    /// The generation, or the member's epoch in the consumer protocol; -1 of one that is in none.
    pub generation: i32,
    /// The member's id; empty of one that is none.
    pub member_id: String,
    /// The id of a static member.
    pub instance_id: Option<String>,
}

impl ConsumerGroupMetadata {
    /// Of no member: for offsets of partitions that were assigned by hand. The coordinator takes them while the group has no members.
    pub fn standalone(group_id: impl Into<String>) -> Self {
        let GroupMetadata {
            generation,
            member_id,
            instance_id,
            ..
        } = GroupMetadata::standalone();
        Self {
            group_id: group_id.into(),
            generation,
            member_id,
            instance_id,
        }
    }
}

/// A handle to a consumer, for everything but polling. Cheap to clone.
///
/// A [`Consumer`](crate::kafka::Consumer) dereferences to its handle. Handles do not keep a consumer alive: once it is dropped or closed,
/// what needs a broker fails with [`ErrorKind::Closed`]. Its connections are closed when the last handle is gone.
#[derive(Clone)]
pub struct ConsumerHandle {
    pub(super) context: Arc<ConsumerContext>,
    pub(super) commits: Commits,
}

impl fmt::Debug for ConsumerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerHandle")
            .field("assignment", &self.assignment())
            .finish_non_exhaustive()
    }
}

impl ConsumerHandle {
    /// The partitions that are read now, in order. One of a topic that was deleted is among them still, where it was
    /// [assigned by hand](crate::kafka::Consumer::assign).
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.context.state().positions.iter().cloned().collect()
    }

    /// The offset of the next record that a poll returns; `None` when the partition is not assigned, or its start is not known yet.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.context
            .state()
            .positions
            .position(partition)
            .map(|position| position.offset)
    }

    /// The [`position`](Self::position) as it is committed: with the leader epoch and the topic id that it is of.
    pub fn position_to_commit(&self, partition: &TopicPartition) -> Option<OffsetAndMetadata> {
        let state = self.context.state();
        let position = state.positions.position(partition)?;
        Some(to_commit(position, state.positions.topic_id(partition)))
    }

    /// Goes on reading at `offset`. What was fetched before never comes out after it, and [acknowledging](Acks) it counts no more.
    ///
    /// Fails when the partition is not assigned. An offset that is not in the log is found out by the next fetch, and falls under
    /// `auto_offset_reset`.
    pub fn seek(&self, partition: &TopicPartition, offset: i64) -> Result<()> {
        check_offset(partition, offset)?;
        let position = Position {
            offset,
            leader_epoch: None,
        };
        self.sought(partition, |positions| positions.seek(partition, position))
    }

    /// Goes on reading at the start of the log. As [`seek`](Self::seek), once the leader has said where that is.
    pub fn seek_to_beginning(&self, partition: &TopicPartition) -> Result<()> {
        self.sought(partition, |positions| {
            positions.seek_to_timestamp(partition, EARLIEST_TIMESTAMP)
        })
    }

    /// Goes on reading at the end of the log. As [`seek`](Self::seek), once the leader has said where that is.
    pub fn seek_to_end(&self, partition: &TopicPartition) -> Result<()> {
        self.sought(partition, |positions| {
            positions.seek_to_timestamp(partition, LATEST_TIMESTAMP)
        })
    }

    /// Returns nothing more of these partitions until they are resumed. They stay assigned. Pausing twice is as pausing once.
    pub fn pause(&self, partitions: &[TopicPartition]) -> Result<()> {
        self.set_paused(partitions, true)
    }

    /// Goes on where these partitions were paused. Resuming one that is not paused changes nothing.
    pub fn resume(&self, partitions: &[TopicPartition]) -> Result<()> {
        self.set_paused(partitions, false)
    }

    /// The partitions that are paused.
    pub fn paused(&self) -> Vec<TopicPartition> {
        self.context.state().positions.paused().cloned().collect()
    }

    /// How many offsets are between the position and the end of the log (for `read_committed`: of what is committed), as of the last fetch; of a
    /// paused partition, as its leader said in the last five seconds. `None` while nothing is known yet: see [`current_lag`](Self::current_lag).
    pub fn lag(&self, partition: &TopicPartition) -> Option<i64> {
        self.context.lag(partition)
    }

    /// The end of the log (for `read_committed`: of what is committed), as of the last fetch.
    pub(crate) fn fetched_end(&self, partition: &TopicPartition) -> Option<i64> {
        self.context.fetched_end(partition)
    }

    /// How old the last record is that a poll has returned, by its timestamp; zero where there are no others. `None` while nothing is known.
    pub fn lag_time(&self, partition: &TopicPartition) -> Option<Duration> {
        self.context.lag_time(partition)
    }

    /// What the consumer has done so far, and what it holds now.
    pub fn metrics(&self) -> ConsumerMetrics {
        ConsumerMetrics {
            brokers: self.context.cluster.broker_metrics(),
            ..self.context.own_metrics()
        }
    }

    /// How long ago the time `timestamp_ms` was, by the client's clock.
    pub(crate) fn age_of(&self, timestamp_ms: i64) -> Duration {
        self.context.age_of(timestamp_ms)
    }

    /// Wakes a poll that waits, to look again whether it may return records.
    pub(crate) fn wake(&self) {
        self.context.ready.notify_waiters();
    }

    /// The positions that the client moved by itself since the last call, the newest 1,000 of them: from where, to where, why, and how much
    /// was passed over. With a listener they go to [`on_reset`](crate::kafka::RebalanceListener::on_reset) instead.
    pub fn take_resets(&self) -> Vec<PositionReset> {
        self.context.state().positions.take_resets()
    }

    /// How often the client has moved positions by itself, and how much was passed over.
    pub fn reset_counts(&self) -> ResetCounts {
        self.context.state().positions.reset_counts()
    }

    /// Commits these offsets, after every commit asked for before, and waits for the coordinator.
    ///
    /// Fails with [`ErrorKind::Rebalance`] when this member does not hold the partitions any more: poll, and commit what is assigned then.
    /// Fails with [`ErrorKind::TopicRecreated`] where an offset is of a topic that was deleted, while another has its name now: such an
    /// offset is never committed. What the coordinator does not confirm counts as not committed. One partition that fails keeps no other
    /// from being committed; the error is that of the first. What may pass is retried until the request timeout. Dropping the future does
    /// not take the commit back.
    pub async fn commit(&self, offsets: &[(TopicPartition, OffsetAndMetadata)]) -> Result<()> {
        self.commit_async(offsets.iter().cloned())?.await
    }

    /// As [`commit`](Self::commit), but an offset whose note is too long for the broker is committed without it, still before every commit
    /// that is asked for later. What is in `beside` is read by other means, and may be committed while the partition is held that it stands beside.
    pub(crate) async fn commit_without_long_notes(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
        beside: &BTreeMap<TopicPartition, TopicPartition>,
    ) -> Result<()> {
        self.commits
            .submit_beside(&self.context, offsets, Notes::Optional, beside)?
            .await
    }

    /// As [`commit`](Self::commit), without waiting: commits go out in the order of these calls. Fails with [`ErrorKind::BufferFull`] when 64
    /// of them wait already.
    pub fn commit_async(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Result<PendingCommit> {
        self.commits.submit(&self.context, offsets, Notes::Required)
    }

    /// Commits everything that polls have returned so far, or what else [`commit_source`](crate::kafka::ConsumerConfig::commit_source) says. As
    /// [`commit`](Self::commit).
    pub async fn commit_sync(&self) -> Result<()> {
        self.commit_positions()?.await
    }

    /// As [`commit_sync`](Self::commit_sync), without waiting, like [`commit_async`](Self::commit_async).
    pub fn commit_positions(&self) -> Result<PendingCommit> {
        self.commits.submit_progress(&self.context)
    }

    /// Stores these offsets, to be committed by the next automatic commit, [`commit_sync`](Self::commit_sync) or
    /// [`commit_positions`](Self::commit_positions), instead of what polls have returned. Nothing is sent. What was stored of a partition counts
    /// until something else is stored of it, or it is revoked; seeking does not change it.
    ///
    /// Fails where [`commit_source`](crate::kafka::ConsumerConfig::commit_source) is not
    /// [`CommitSource::Stored`](crate::kafka::consumer::CommitSource::Stored), and with [`ErrorKind::Rebalance`] when one of the partitions is
    /// not held: then nothing is stored.
    pub fn store(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Result<()> {
        let mut state = self.context.state();
        let ConsumerState {
            positions,
            progress,
            ..
        } = &mut *state;
        let Progress::Stored(stored) = progress else {
            let message = "offsets are stored where commit.source = stored";
            return Err(Error::new(ErrorKind::Config, message));
        };
        let offsets: Vec<_> = offsets.into_iter().collect();
        for (partition, offset) in &offsets {
            check_offset(partition, offset.offset)?;
            if !positions.holds(partition) {
                return Err(not_held(partition));
            }
        }
        for (partition, mut offset) in offsets {
            offset.topic_id = (offset.topic_id).or_else(|| positions.topic_of_records(&partition));
            stored.insert(partition, offset);
        }
        Ok(())
    }

    /// What acknowledges records of `partition`, once any were returned: [`PartitionRecords::acks`](crate::kafka::consumer::PartitionRecords::acks) of
    /// the newest. `None` where commits go by something else.
    pub fn acks(&self, partition: &TopicPartition) -> Option<Acks> {
        self.context
            .state()
            .progress
            .acknowledged()?
            .acks(partition)
    }

    /// The number of the group's assignment that this member has: its generation. It rises with each rebalance. `None` while it has none, and for
    /// partitions assigned by hand.
    pub fn generation(&self) -> Option<i32> {
        let metadata = self
            .context
            .group()?
            .with(|membership| membership.group_metadata());
        metadata.ok().map(|metadata| metadata.generation)
    }

    /// Who this member is to its group: what [`Transaction::send_offsets`](crate::kafka::Transaction::send_offsets) commits offsets as, so
    /// that they are refused once the partitions went to another (KIP-447). Of a member of any protocol, and of a consumer with a group id
    /// whose partitions were assigned by hand.
    ///
    /// Fails with [`ErrorKind::Rebalance`] while this member cannot commit, and with [`ErrorKind::Config`] without a group id.
    pub fn group_metadata(&self) -> Result<ConsumerGroupMetadata> {
        let context = &self.context;
        context.check_open()?;
        let group_id = context.group_id()?.to_owned();
        let source = context.state().source.clone();
        let member = match source {
            Source::Subscribed(group) => group.with(|membership| membership.group_metadata())?,
            Source::Nothing | Source::Assigned => GroupMetadata::standalone(),
            Source::Left | Source::Closed => return Err(super::consumer::closed()),
        };
        Ok(ConsumerGroupMetadata {
            group_id,
            generation: member.generation,
            member_id: member.member_id,
            instance_id: member.instance_id,
        })
    }

    /// The group's committed offsets of these partitions; those without one are not in it.
    ///
    /// Fails by the request timeout, with an error that names the partition where it is about one: with a topic that does not exist (any
    /// more) nothing is learnt of the others either.
    pub async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
        let committed = self
            .committed_or_refused(partitions, self.request_timeout())
            .await?;
        match committed.refused.into_values().next() {
            Some(error) => Err(error),
            None => Ok(committed.found),
        }
    }

    /// As the client's configuration has it.
    pub(crate) fn request_timeout(&self) -> Duration {
        self.context.config.client.request_timeout
    }

    /// As [`committed`](Self::committed), but what is wrong with one partition takes nothing from the others, and is waited out no longer
    /// than `patience`.
    pub(crate) async fn committed_or_refused(
        &self,
        partitions: &[TopicPartition],
        patience: Duration,
    ) -> Result<Committed> {
        let context = &self.context;
        context.check_open()?;
        context
            .cluster
            .track(partitions.iter().map(|partition| &*partition.topic));
        let awaited = context.state().positions.asked_by_listener(partitions);
        let until = Instant::now() + patience;
        let committed = offset_fetch::ask(context, partitions, context.deadline(), until).await?;
        // Who is told of an assignment and asks this has asked for the client as well.
        for (partition, version) in awaited {
            if !committed.refused.contains_key(&partition) {
                take_committed(context, &partition, version, &committed);
            }
        }
        Ok(committed)
    }

    /// What went wrong where the partition was is of no interest any more.
    fn sought(
        &self,
        partition: &TopicPartition,
        seek: impl FnOnce(&mut Positions) -> bool,
    ) -> Result<()> {
        let mut state = self.context.state();
        let known = seek(&mut state.positions);
        state.buffers.forget(partition);
        state.progress.forget(partition, true);
        drop(state);
        self.changed(partition, known)
    }

    fn set_paused(&self, partitions: &[TopicPartition], paused: bool) -> Result<()> {
        for partition in partitions {
            let mut state = self.context.state();
            let known = state.positions.set_paused(partition, paused);
            if !paused {
                state.buffers.resume(partition);
            }
            drop(state);
            self.changed(partition, known)?;
        }
        Ok(())
    }

    /// Wakes whoever must know, or says that the partition is not assigned.
    fn changed(&self, partition: &TopicPartition, known: bool) -> Result<()> {
        if !known {
            let error = Error::new(
                ErrorKind::UnknownTopicOrPartition,
                "the partition is not assigned to this consumer",
            );
            return Err(error.topic_partition(partition.topic.clone(), partition.partition));
        }
        self.context.state().wake_reader(partition);
        self.context.wake_all();
        self.context.ready.notify_waiters();
        Ok(())
    }
}

/// Fails for an offset that no record can have.
pub(super) fn check_offset(partition: &TopicPartition, offset: i64) -> Result<()> {
    if offset >= 0 {
        return Ok(());
    }
    let error = Error::new(
        ErrorKind::Config,
        format!("cannot read at offset {offset}: offsets start at 0"),
    );
    Err(error.topic_partition(partition.topic.clone(), partition.partition))
}

/// A position as it is committed.
pub(super) fn to_commit(position: Position, topic_id: Option<TopicId>) -> OffsetAndMetadata {
    OffsetAndMetadata {
        offset: position.offset,
        leader_epoch: position.leader_epoch,
        metadata: String::new(),
        topic_id,
    }
}
