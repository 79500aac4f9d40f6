//! Events as lines that a person reads.

use std::fmt;

use super::{AfterFailure, ClientEvent, Intake};
use crate::kafka::{Address, GroupProtocol, TopicPartition, WriteOutcome};

impl fmt::Display for ClientEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unprotected { what } => f.write_str(what),
            Self::DeprecatedField { message, field } => write!(
                f,
                "{message} is sent with {field}, which is deprecated: its readers look elsewhere"
            ),
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
            Self::RecordAccepted {
                partition, bytes, ..
            } => {
                write!(
                    f,
                    "a record of up to {bytes} bytes was accepted for {partition}"
                )
            }
            Self::BatchWritten {
                partition,
                records,
                bytes,
                took,
                ..
            } => {
                write!(
                    f,
                    "{records} records, {bytes} bytes, were written to {partition} in {} ms",
                    took.as_millis()
                )
            }
            Self::PartitionsAssigned {
                group,
                partitions,
                protocol,
                epoch,
            } => {
                let epoch = Epoch(*protocol, *epoch);
                write!(f, "group {group} assigned {}{epoch}", List(partitions))
            }
            Self::PartitionsRevoked {
                group,
                partitions,
                protocol,
                epoch,
            } => {
                let epoch = Epoch(*protocol, *epoch);
                write!(f, "group {group} revoked {}{epoch}", List(partitions))
            }
            Self::PartitionsLost {
                group, partitions, ..
            } => {
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
            Self::DeadLetterTooLarge {
                partition,
                offset,
                without,
                error,
                ..
            } => write!(
                f,
                "the dead letter of {partition} offset {offset} is too large for its topic, and is written without {without}, \
                 for as long as {partition} keeps the record the only copy of it: {error}"
            ),
            Self::HandledOneByOne {
                group,
                partition,
                starts,
            } => write!(
                f,
                "the member of group {group} handles the records of {partition} one at a time: {starts} members in a row that had it died, or lost \
                 their place, before they had finished the first of them"
            ),
            Self::RetryTopicFailed {
                group,
                partition,
                error,
            } => write!(
                f,
                "the member of group {group} cannot read the retry topics of {partition} on as they are: {error}"
            ),
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
                    AfterFailure::SentToRetryTopic(delay) => {
                        let ms = delay.as_millis();
                        write!(f, "it goes to a retry topic, for {ms} ms")
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

/// In which generation, or member epoch, something was.
struct Epoch(GroupProtocol, Option<i32>);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(_, None) => Ok(()),
            Self(GroupProtocol::Consumer, Some(epoch)) => write!(f, ", in member epoch {epoch}"),
            Self(_, Some(generation)) => write!(f, ", in generation {generation}"),
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
