//! What can happen to a client: the events that an observer is told, how much each should be noticed, and what it is about.

use std::borrow::Cow;
use std::time::Duration;

use crate::kafka::{
    Address, Error, ErrorKind, GroupProtocol, PositionReset, Record, ResetCause, TopicPartition,
    WriteOutcome,
};

/// Something that happened to a client. [`Display`](std::fmt::Display) says it in a line.
///
/// Where a broker is named, its id is -1 as long as it is not known: a client meets the first brokers by their address alone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent<'a> {
    /// The client's configuration leaves it open to others on the network. Told once for each such thing, when the client is created.
    #[non_exhaustive]
    Unprotected {
        /// What others can do, and what to set instead.
        what: &'static str,
    },
    /// A connection to a broker can be used.
    #[non_exhaustive]
    Connected {
        /// The broker's id.
        broker: i32,
        /// Its address.
        address: &'a Address,
        /// How long connecting took, handshake included.
        took: Duration,
    },
    /// A broker could not be reached.
    #[non_exhaustive]
    ConnectFailed {
        /// The broker's id.
        broker: i32,
        /// Its address.
        address: &'a Address,
        /// Why.
        error: &'a Error,
        /// How often in a row it failed.
        failures: u32,
        /// How long the broker is left alone now.
        pause: Duration,
    },
    /// A connection ended.
    #[non_exhaustive]
    Disconnected {
        /// The broker's id.
        broker: i32,
        /// Its address.
        address: &'a Address,
        /// Why.
        reason: &'a Error,
        /// The client wanted no more of it: it was idle, or the client is over.
        expected: bool,
    },
    /// A broker asked for a pause (KIP-219): a quota is used up.
    #[non_exhaustive]
    Throttled {
        /// The broker's id.
        broker: i32,
        /// Its address.
        address: &'a Address,
        /// What was asked, by the API's name.
        api: &'static str,
        /// How long nothing more is sent.
        pause: Duration,
    },
    /// The cluster's brokers are others than before.
    #[non_exhaustive]
    BrokersChanged {
        /// Those that came, or have another address.
        gained: &'a [i32],
        /// Those that went.
        lost: &'a [i32],
    },
    /// A partition has another leader than before, or none.
    #[non_exhaustive]
    LeaderMoved {
        /// The partition.
        partition: &'a TopicPartition,
        /// The broker that led it; `None` where none did.
        from: Option<i32>,
        /// The broker that leads it; `None` while none does.
        to: Option<i32>,
    },
    /// The cluster could not be asked who leads what.
    #[non_exhaustive]
    MetadataFailed {
        /// Why.
        error: &'a Error,
    },
    /// Something failed and is done again.
    #[non_exhaustive]
    Retry {
        /// What is done again, in a few words.
        what: &'static str,
        /// The partition that it is about, or one of several.
        partition: Option<&'a TopicPartition>,
        /// How many others it is about.
        others: usize,
        /// Why it failed.
        error: &'a Error,
        /// How often in a row it failed.
        failures: u32,
    },
    /// Records could not be written, or nobody knows whether they were.
    #[non_exhaustive]
    BatchFailed {
        /// The partition.
        partition: &'a TopicPartition,
        /// How many records.
        records: usize,
        /// Why.
        error: &'a Error,
        /// Whether they may be written nevertheless.
        outcome: WriteOutcome,
    },
    /// A producer has accepted a record, which is on its way into a batch: what comes of it is told with the batch. Told by producers whose
    /// observer [wants records](super::Observer::wants_records), and by no others; perhaps a little after the batch was written.
    #[non_exhaustive]
    RecordAccepted {
        /// The partition that was chosen for it.
        partition: &'a TopicPartition,
        /// The record as it was handed in, without its value where that was encoded straight into the batch, as values of events are.
        record: &'a Record<'a>,
        /// The most bytes that it takes in a batch.
        bytes: usize,
        /// Its timestamp, in milliseconds since 1970.
        timestamp_ms: i64,
    },
    /// A batch was written.
    #[non_exhaustive]
    BatchWritten {
        /// The partition.
        partition: &'a TopicPartition,
        /// How many records.
        records: usize,
        /// The offset of the first one, where the broker told.
        base_offset: Option<i64>,
        /// Their bytes, before compression.
        bytes: usize,
        /// From its first record to its acknowledgement.
        took: Duration,
    },
    /// A member of a group got partitions.
    #[non_exhaustive]
    PartitionsAssigned {
        /// The group.
        group: &'a str,
        /// Those that came.
        partitions: &'a [TopicPartition],
        /// By which protocol it is a member.
        protocol: GroupProtocol,
        /// In which generation, or by the consumer protocol in which member epoch, it is as it says so; `None` while it has none.
        epoch: Option<i32>,
    },
    /// A member of a group gave partitions back, for others to get.
    #[non_exhaustive]
    PartitionsRevoked {
        /// The group.
        group: &'a str,
        /// Those that went.
        partitions: &'a [TopicPartition],
        /// By which protocol it is a member.
        protocol: GroupProtocol,
        /// In which generation, or by the consumer protocol in which member epoch, it is as it says so; `None` while it has none.
        epoch: Option<i32>,
    },
    /// A member of a group lost its partitions: the coordinator did not hear from it, or it was not polled.
    #[non_exhaustive]
    PartitionsLost {
        /// The group.
        group: &'a str,
        /// Those that went.
        partitions: &'a [TopicPartition],
        /// By which protocol it is a member.
        protocol: GroupProtocol,
        /// In which generation, or by the consumer protocol in which member epoch, it is as it says so; `None` while it has none.
        epoch: Option<i32>,
    },
    /// Offsets could not be committed.
    #[non_exhaustive]
    CommitFailed {
        /// The group.
        group: &'a str,
        /// Why.
        error: &'a Error,
        /// Whether they are committed again by the client itself.
        retried: bool,
    },
    /// A consumer's position was moved by the client: where it was is nothing to read.
    #[non_exhaustive]
    PositionReset {
        /// From where, to where, and why.
        reset: &'a PositionReset,
    },
    /// A consumer falls behind: for a minute at least, more came into a partition than was read from it.
    #[non_exhaustive]
    FallingBehind {
        /// The partition.
        partition: &'a TopicPartition,
        /// How many records are ahead.
        lag: u64,
        /// How many more than when it began.
        growth: u64,
    },
    /// An application's handler failed with a record.
    #[non_exhaustive]
    HandlerFailed {
        /// The group that it works for.
        group: &'a str,
        /// Where the record stands.
        partition: &'a TopicPartition,
        /// Its offset.
        offset: i64,
        /// How often it has failed with this record.
        attempts: u32,
        /// What it said.
        error: Cow<'a, str>,
        /// What becomes of the record.
        then: AfterFailure,
    },
    /// A message was sent with a field that is deprecated: its readers look elsewhere. Told once for each field.
    #[non_exhaustive]
    DeprecatedField {
        /// The message, by its name on the wire.
        message: &'a str,
        /// The field.
        field: &'static str,
    },
    /// A dead letter is too large for its topic, and is written without a part of the record.
    #[non_exhaustive]
    DeadLetterTooLarge {
        /// The group whose member gives the record up.
        group: &'a str,
        /// Where the record stands: what is not in the dead letter is nowhere else.
        partition: &'a TopicPartition,
        /// Its offset.
        offset: i64,
        /// What is left out, in a few words.
        without: &'static str,
        /// What the broker said.
        error: &'a Error,
    },
    /// A consumer takes in no more records because nearly all handlers fail, or takes them in again.
    #[non_exhaustive]
    IntakeChanged {
        /// The group that it is a member of.
        group: &'a str,
        /// What it does now.
        intake: Intake,
    },
    /// A consumer of events handles a partition's records one at a time, as those who had it before ended again and again without an end.
    #[non_exhaustive]
    HandledOneByOne {
        /// The group that it is a member of.
        group: &'a str,
        /// The partition.
        partition: &'a TopicPartition,
        /// How often it was taken over in a row from somebody who came to no end, and to no commit beyond the first record.
        starts: u32,
    },
    /// A consumer of events cannot read on in the retry topics of a partition as they are: one was deleted and re-created, and is read from its
    /// beginning; or one is not there, or has no partition of this number, and nothing of the partition is handled until it has.
    #[non_exhaustive]
    RetryTopicFailed {
        /// The group that it is a member of.
        group: &'a str,
        /// The partition of the topic that is subscribed to.
        partition: &'a TopicPartition,
        /// What is wrong; it names the partition of the retry topic.
        error: &'a Error,
    },
}

/// Whether a consumer takes in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Intake {
    /// Not for this time.
    Paused(Duration),
    /// A few, to see how it goes.
    Probing,
    /// As before.
    Resumed,
}

/// What becomes of a record whose handler failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AfterFailure {
    /// The handler is called again after this time.
    Retried(Duration),
    /// It is passed over.
    Skipped,
    /// It is written to a retry topic, where it is due after this time.
    SentToRetryTopic(Duration),
    /// It is written to a dead-letter topic.
    DeadLettered,
    /// The consumer stops because of it.
    Stopped,
}

/// How much an event should be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Happens with every batch.
    Trace,
    /// Part of the daily run.
    Debug,
    /// Worth knowing.
    Info,
    /// Something does not work as it should, and the client makes up for it.
    Warn,
    /// Something is lost, or was given up.
    Error,
}

impl<'a> ClientEvent<'a> {
    /// A word for its kind, such as `connect_failed`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unprotected { .. } => "unprotected",
            Self::Connected { .. } => "connected",
            Self::ConnectFailed { .. } => "connect_failed",
            Self::Disconnected { .. } => "disconnected",
            Self::Throttled { .. } => "throttled",
            Self::BrokersChanged { .. } => "brokers_changed",
            Self::LeaderMoved { .. } => "leader_moved",
            Self::MetadataFailed { .. } => "metadata_failed",
            Self::Retry { .. } => "retry",
            Self::BatchFailed { .. } => "batch_failed",
            Self::RecordAccepted { .. } => "record_accepted",
            Self::BatchWritten { .. } => "batch_written",
            Self::PartitionsAssigned { .. } => "partitions_assigned",
            Self::PartitionsRevoked { .. } => "partitions_revoked",
            Self::PartitionsLost { .. } => "partitions_lost",
            Self::CommitFailed { .. } => "commit_failed",
            Self::PositionReset { .. } => "position_reset",
            Self::FallingBehind { .. } => "falling_behind",
            Self::HandlerFailed { .. } => "handler_failed",
            Self::DeadLetterTooLarge { .. } => "dead_letter_too_large",
            Self::IntakeChanged { .. } => "intake_changed",
            Self::HandledOneByOne { .. } => "handled_one_by_one",
            Self::RetryTopicFailed { .. } => "retry_topic_failed",
            Self::DeprecatedField { .. } => "deprecated_field",
        }
    }

    /// How much it should be noticed.
    pub fn severity(&self) -> Severity {
        match self {
            Self::RecordAccepted { .. } | Self::BatchWritten { .. } => Severity::Trace,
            Self::Disconnected { expected: true, .. } => Severity::Debug,
            Self::Connected { .. }
            | Self::Throttled { .. }
            | Self::BrokersChanged { .. }
            | Self::LeaderMoved { .. }
            | Self::Retry { .. }
            | Self::PartitionsAssigned { .. }
            | Self::PartitionsRevoked { .. } => Severity::Info,
            Self::Unprotected { .. }
            | Self::ConnectFailed { .. }
            | Self::Disconnected { .. }
            | Self::MetadataFailed { .. }
            | Self::PartitionsLost { .. }
            | Self::CommitFailed { retried: true, .. }
            | Self::FallingBehind { .. }
            | Self::DeadLetterTooLarge { .. }
            | Self::HandledOneByOne { .. }
            | Self::RetryTopicFailed { .. }
            | Self::DeprecatedField { .. } => Severity::Warn,
            Self::PositionReset { reset } => match reset.cause {
                ResetCause::NoCommittedOffset | ResetCause::NewPartition => Severity::Info,
                _ => Severity::Warn,
            },
            Self::CommitFailed { error, .. } if error.kind() == ErrorKind::Rebalance => {
                Severity::Warn
            }
            Self::HandlerFailed { then, .. } => match then {
                AfterFailure::Retried(_) | AfterFailure::SentToRetryTopic(_) => Severity::Info,
                AfterFailure::DeadLettered => Severity::Warn,
                AfterFailure::Skipped | AfterFailure::Stopped => Severity::Error,
            },
            Self::IntakeChanged { intake, .. } => match intake {
                Intake::Paused(_) => Severity::Error,
                Intake::Probing | Intake::Resumed => Severity::Info,
            },
            Self::BatchFailed { .. } | Self::CommitFailed { .. } => Severity::Error,
        }
    }

    /// The broker that it is about, by id and address.
    pub fn broker(&self) -> Option<(i32, &'a Address)> {
        match self {
            Self::Connected {
                broker, address, ..
            }
            | Self::ConnectFailed {
                broker, address, ..
            }
            | Self::Disconnected {
                broker, address, ..
            }
            | Self::Throttled {
                broker, address, ..
            } => Some((*broker, address)),
            _ => None,
        }
    }

    /// The partition that it is about.
    pub fn partition(&self) -> Option<&'a TopicPartition> {
        match self {
            Self::LeaderMoved { partition, .. }
            | Self::BatchFailed { partition, .. }
            | Self::BatchWritten { partition, .. }
            | Self::RecordAccepted { partition, .. }
            | Self::FallingBehind { partition, .. }
            | Self::DeadLetterTooLarge { partition, .. }
            | Self::HandledOneByOne { partition, .. }
            | Self::RetryTopicFailed { partition, .. }
            | Self::HandlerFailed { partition, .. } => Some(partition),
            Self::Retry { partition, .. } => *partition,
            Self::PositionReset { reset } => Some(&reset.partition),
            _ => None,
        }
    }

    /// The group that it is about.
    pub fn group(&self) -> Option<&'a str> {
        match self {
            Self::PartitionsAssigned { group, .. }
            | Self::PartitionsRevoked { group, .. }
            | Self::PartitionsLost { group, .. }
            | Self::CommitFailed { group, .. }
            | Self::HandlerFailed { group, .. }
            | Self::DeadLetterTooLarge { group, .. }
            | Self::HandledOneByOne { group, .. }
            | Self::RetryTopicFailed { group, .. }
            | Self::IntakeChanged { group, .. } => Some(group),
            _ => None,
        }
    }

    /// What went wrong.
    pub fn error(&self) -> Option<&'a Error> {
        match self {
            Self::ConnectFailed { error, .. }
            | Self::Disconnected { reason: error, .. }
            | Self::MetadataFailed { error, .. }
            | Self::Retry { error, .. }
            | Self::BatchFailed { error, .. }
            | Self::DeadLetterTooLarge { error, .. }
            | Self::RetryTopicFailed { error, .. }
            | Self::CommitFailed { error, .. } => Some(error),
            _ => None,
        }
    }
}
