//! Defects planted on purpose, to prove that the simulation finds such defects. Built with `--cfg planted_defects` only, which nothing but
//! that proof sets.

use std::cell::Cell;

/// A defect, of a kind that clients have shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A batch that is sent again gets a new sequence number instead of its own.
    SequenceNotRestored,
    /// A consumer's position moves when records were fetched, not when they are handed out.
    PositionBeforeDelivery,
    /// A partition whose producer went on to another epoch is never sent to again.
    SilentAfterEpochBump,
    /// A group's member takes no notice of what the group has committed.
    CommittedOffsetIgnored,
    /// A rebalance does not renew the member's session, at whose end it gives up its partitions.
    SessionEndsInRebalance,
    /// A commit is sent for whichever topic has the name, not for the one that its offsets are of.
    OffsetsOutliveTopic,
    /// After a final refusal the partition waits as if something was to be repeated.
    RefusalHoldsUp,
    /// When a broker refuses some records of a batch, all of them fail.
    RefusalOfAll,
    /// A batch's time runs from its first record.
    TimeOfFirstRecord,
    /// The producer waits for a moment after it has accepted a record.
    WaitAfterAcceptance,
    /// `auto.offset.reset` decides where partitions are begun that were added under the subscription.
    NewPartitionByPolicy,
    /// A topic that is created anew is read from its beginning, also where the position is not to move by itself.
    MovesByItself,
    /// The pauses that a broker asks for are taken off the time that it has for an answer.
    PauseUsesUpTime,
    /// A newer commit does not wait until an older one is answered, and overtakes its repetition.
    CommitsSideBySide,
    /// What the answer to a commit leaves out counts as committed.
    LeftOutIsCommitted,
    /// A batch is given up when its answer cannot be read.
    UnreadableIsFinal,
    /// A dead letter counts as written when the producer has accepted it.
    DeadLetterUnacknowledged,
    /// A dead letter that could not be written counts as written.
    DeadLetterGivenUp,
    /// The records behind one that waits for its next attempt do not wait.
    RestingKeyReleased,
    /// A record that waits for its next attempt counts as finished.
    RestingIsFinished,
    /// A retry record counts as written when the producer has accepted it.
    RetryUnacknowledged,
    /// What comes behind an event that is under way in retry topics is handled at once.
    LaterNotSentBehind,
    /// After an assignment nobody looks what is under way in retry topics.
    UnderWayNotRebuilt,
    /// The budget of retries gets nothing back.
    BudgetNotRefilled,
    /// Commits of a member of the consumer protocol do not say in which epoch it is.
    CommitsWithoutEpoch,
    /// A member of the consumer protocol says that it has given partitions up before its application has.
    RevocationAcknowledgedEarly,
    /// A member of the consumer protocol that was put out of its group keeps its partitions.
    FencedKeepsPartitions,
    /// What a broker has refused, or never answered, counts as acknowledged.
    RefusedCountsAsAcknowledged,
    /// What one poll does not return of what was acquired is acknowledged as if there were no records.
    RestOfFetchIsGap,
    /// A queue does not lock anew what its handlers are at work on.
    LocksNotRenewed,
    /// A batch that may have been written counts as not written (KAFKA-14034).
    UnknownIsNotWritten,
    /// What follows a batch that may have been written is numbered as if it had not been (franz-go #1217).
    MaybeWrittenSequenceReused,
    /// A partition's sequence goes on under its next epoch instead of beginning at zero (KAFKA-12152).
    SequenceNotReset,
    /// A new leader makes the partition's sequence begin anew, under the same epoch (librdkafka 1.9.0).
    SequenceLostWithLeader,
    /// Several batches of a partition are in flight without sequences, though they may have to be repeated (Dekaf #1696).
    SeveralWithoutSequences,
    /// After the last epoch the producer goes on with it (Dekaf #3341).
    EpochNotExhausted,
    /// A partition whose sequence is out of order is given up (librdkafka #3584).
    OutOfSequenceEnds,
    /// A batch that is sent again carries the bytes of another one (KAFKA-19012).
    BufferReused,
    /// A flush waits for the first part only of a batch that was split (KAFKA-19479).
    FlushForgetsParts,
    /// A commit is reported as soon as the coordinator is asked for it.
    CommitBeforeAnswer,
    /// The end of a transaction that was asked for and not answered counts as committed.
    UnknownEndIsCommitted,
    /// The offsets of a transaction are left out of it.
    OffsetsLeftOut,
    /// A producer that is fenced takes over its transactional id again, and goes on.
    FencedGoesOn,
    /// What was not sent of a transaction that is aborted is sent in the next one.
    AbortedGoesOn,
    /// In the flow before KIP-890 records are sent before their partition is in the transaction.
    BatchBeforePartition,
    /// A record that was not written does not keep its transaction from being committed (librdkafka #3575).
    FailureForgotten,
    /// A transaction is ended while records of it are still on their way (franz-go 1.19).
    EndsBeforeWritten,
    /// After a transaction of which not everything is known the producer goes on in its epoch (Redpanda 21.10.1).
    EpochKept,
}

thread_local! {
    static PLANTED: Cell<Option<Defect>> = const { Cell::new(None) };
}

/// Gives this thread's clients the defect; `None` takes it back.
pub fn plant(defect: Option<Defect>) {
    PLANTED.set(defect);
}

pub(crate) fn is_planted(defect: Defect) -> bool {
    PLANTED.get() == Some(defect)
}
