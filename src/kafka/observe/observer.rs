//! The seam to whoever watches a client. In: what happens, from wherever it happens. Out: one call of the observer; without one, a branch.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::kafka::{
    Address, Error, ErrorKind, PositionReset, ResetCause, TopicPartition, WriteOutcome,
};

/// Is told what happens to clients: for logs, metrics, alarms.
///
/// Set as [`ClientConfig::observer`](crate::kafka::ClientConfig::observer); several clients may share one. With the feature `tracing` the
/// default is `observe::Tracing`.
///
/// Called by the client's own tasks, and by those that call the client, between two of their steps: an observer has to be quick and must not
/// wait for anything. A panic in it is a panic of that task, and ends the client.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// Something happened. There will be more kinds of events: ignore those that are of no interest. The default ignores all.
    fn on_event(&self, event: &ClientEvent<'_>) {
        let _ = event;
    }
}

/// The observer of a client, if it has one.
pub(crate) type Watch = Option<Arc<dyn Observer>>;

/// Tells the observer, if there is one. What there is to tell is put together only then.
pub(crate) fn tell<'a>(watch: &Watch, event: impl FnOnce() -> ClientEvent<'a>) {
    if let Some(observer) = watch {
        observer.on_event(&event());
    }
}

/// Something that happened to a client. [`Display`](fmt::Display) says it in a line.
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
    /// A batch was written.
    #[non_exhaustive]
    BatchWritten {
        /// The partition.
        partition: &'a TopicPartition,
        /// How many records.
        records: usize,
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
    },
    /// A member of a group gave partitions back, for others to get.
    #[non_exhaustive]
    PartitionsRevoked {
        /// The group.
        group: &'a str,
        /// Those that went.
        partitions: &'a [TopicPartition],
    },
    /// A member of a group lost its partitions: the coordinator did not hear from it, or it was not polled.
    #[non_exhaustive]
    PartitionsLost {
        /// The group.
        group: &'a str,
        /// Those that went.
        partitions: &'a [TopicPartition],
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
    /// A consumer takes in no more records because nearly all handlers fail, or takes them in again.
    #[non_exhaustive]
    IntakeChanged {
        /// The group that it is a member of.
        group: &'a str,
        /// What it does now.
        intake: Intake,
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
            Self::BatchWritten { .. } => "batch_written",
            Self::PartitionsAssigned { .. } => "partitions_assigned",
            Self::PartitionsRevoked { .. } => "partitions_revoked",
            Self::PartitionsLost { .. } => "partitions_lost",
            Self::CommitFailed { .. } => "commit_failed",
            Self::PositionReset { .. } => "position_reset",
            Self::FallingBehind { .. } => "falling_behind",
            Self::HandlerFailed { .. } => "handler_failed",
            Self::IntakeChanged { .. } => "intake_changed",
        }
    }

    /// How much it should be noticed.
    pub fn severity(&self) -> Severity {
        match self {
            Self::BatchWritten { .. } => Severity::Trace,
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
            | Self::FallingBehind { .. } => Severity::Warn,
            Self::PositionReset { reset } => match reset.cause {
                ResetCause::NoCommittedOffset | ResetCause::NewPartition => Severity::Info,
                _ => Severity::Warn,
            },
            Self::CommitFailed { error, .. } if error.kind() == ErrorKind::Rebalance => {
                Severity::Warn
            }
            Self::HandlerFailed { then, .. } => match then {
                AfterFailure::Retried(_) => Severity::Info,
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
            | Self::FallingBehind { partition, .. }
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
            | Self::CommitFailed { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for ClientEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unprotected { what } => f.write_str(what),
            Self::Connected {
                broker,
                address,
                took,
            } => {
                write!(
                    f,
                    "connected to {} in {} ms",
                    Name(*broker, address),
                    took.as_millis()
                )
            }
            Self::ConnectFailed {
                error,
                failures,
                pause,
                ..
            } => {
                write!(
                    f,
                    "{error}; failed {}, again in {} ms",
                    Times(*failures),
                    pause.as_millis()
                )
            }
            Self::Disconnected {
                broker,
                address,
                reason,
                ..
            } => {
                write!(f, "disconnected from {}: {reason}", Name(*broker, address))
            }
            Self::Throttled {
                broker,
                address,
                api,
                pause,
            } => {
                let name = Name(*broker, address);
                write!(
                    f,
                    "{name} asks for a pause of {} ms in its answer to {api}",
                    pause.as_millis()
                )
            }
            Self::BrokersChanged { gained, lost } => {
                write!(
                    f,
                    "the cluster's brokers changed: came {gained:?}, went {lost:?}"
                )
            }
            Self::LeaderMoved {
                partition,
                from,
                to,
            } => {
                let name =
                    |id: &Option<i32>| id.map_or("none".to_string(), |id| format!("broker {id}"));
                write!(
                    f,
                    "the leader of {partition} moved from {} to {}",
                    name(from),
                    name(to)
                )
            }
            Self::MetadataFailed { error } => {
                write!(
                    f,
                    "no broker says who leads what, and they are asked again: {error}"
                )
            }
            Self::Retry {
                what,
                partition,
                others,
                error,
                failures,
            } => {
                f.write_str(what)?;
                if let Some(partition) = partition {
                    write!(f, " {partition}")?;
                }
                if *others > 0 {
                    write!(f, " and {others} others")?;
                }
                write!(f, " failed {} and is repeated: {error}", Times(*failures))
            }
            Self::BatchFailed {
                partition,
                records,
                error,
                outcome,
            } => {
                let fate = match outcome {
                    WriteOutcome::Unknown => "may or may not be written",
                    WriteOutcome::Written => "were written without an acknowledgement",
                    _ => "were not written",
                };
                write!(f, "{records} records for {partition} {fate}: {error}")
            }
            Self::BatchWritten {
                partition,
                records,
                bytes,
                took,
            } => {
                write!(
                    f,
                    "{records} records, {bytes} bytes, were written to {partition} in {} ms",
                    took.as_millis()
                )
            }
            Self::PartitionsAssigned { group, partitions } => {
                write!(f, "group {group} assigned {}", List(partitions))
            }
            Self::PartitionsRevoked { group, partitions } => {
                write!(f, "group {group} revoked {}", List(partitions))
            }
            Self::PartitionsLost { group, partitions } => {
                write!(
                    f,
                    "group {group} took {} away: the coordinator did not hear from this member in time",
                    List(partitions)
                )
            }
            Self::CommitFailed {
                group,
                error,
                retried,
            } => {
                let then = if *retried {
                    "will be committed again"
                } else {
                    "are not committed"
                };
                write!(f, "offsets of group {group} {then}: {error}")
            }
            Self::PositionReset { reset } => {
                let from = reset
                    .from
                    .map_or("nowhere".to_string(), |offset| offset.to_string());
                write!(
                    f,
                    "the position in {} moved from {from} to {}: {:?}",
                    reset.partition, reset.to, reset.cause
                )?;
                match reset.passed_over {
                    Some(0) => Ok(()),
                    Some(offsets) => write!(f, ", {offsets} offsets are passed over"),
                    None => f.write_str(", it is not known how much is passed over"),
                }
            }
            Self::FallingBehind {
                partition,
                lag,
                growth,
            } => {
                write!(
                    f,
                    "{partition} is read slower than it is written to: {lag} records behind, {growth} more than a minute ago"
                )
            }
            Self::IntakeChanged { group, intake } => {
                write!(f, "the member of group {group} ")?;
                match intake {
                    Intake::Paused(pause) => write!(
                        f,
                        "takes in nothing for {} ms: nearly all of its handlers fail",
                        pause.as_millis()
                    ),
                    Intake::Probing => f.write_str("tries whether its handlers go well again"),
                    Intake::Resumed => f.write_str("takes in records again"),
                }
            }
            Self::HandlerFailed {
                partition,
                offset,
                attempts,
                error,
                then,
                ..
            } => {
                let times = Times(*attempts);
                write!(
                    f,
                    "the handler failed {times} with {partition} offset {offset}: {error}; "
                )?;
                match then {
                    AfterFailure::Retried(pause) => {
                        write!(f, "it is called again in {} ms", pause.as_millis())
                    }
                    AfterFailure::Skipped => f.write_str("the record is skipped"),
                    AfterFailure::DeadLettered => f.write_str("it becomes a dead letter"),
                    AfterFailure::Stopped => f.write_str("the consumer stops"),
                }
            }
        }
    }
}

/// A broker, as events name it.
struct Name<'a>(i32, &'a Address);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ..0 => write!(f, "broker {}", self.1),
            id => write!(f, "broker {id} ({})", self.1),
        }
    }
}

/// How often something failed.
struct Times(u32);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ..=1 => f.write_str("once"),
            times => write!(f, "{times} times in a row"),
        }
    }
}

/// Partitions, as many as one reads.
struct List<'a>(&'a [TopicPartition]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (place, partition) in self.0.iter().take(SHOWN).enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{partition}")?;
        }
        match self.0.len() {
            ..=SHOWN => Ok(()),
            all => write!(f, " and {} more", all - SHOWN),
        }
    }
}
