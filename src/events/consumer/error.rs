//! Why a consumer of events ended.

use std::fmt;
use std::sync::Arc;

use crate::events::HandlerError;
use crate::kafka::TopicPartition;

/// Why a consumer of events ended before it was told to, or could not end well.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConsumerError {
    /// The client failed.
    Kafka(crate::kafka::Error),
    /// A handler failed, and [`OnFailure::Stop`](crate::events::OnFailure::Stop) says to stop, or the failure is
    /// [fatal](crate::events::FailureClass::Fatal). The record is not committed.
    #[non_exhaustive]
    Handler {
        /// Where the record stands.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// Its `ce_type`, if it has one.
        event_type: Option<String>,
        /// What the handler returned, or what it panicked with.
        error: Arc<HandlerError>,
    },
    /// A record was given up, and its dead letter is larger than its topic takes: whatever was left out of it, or as
    /// [`OnTooLarge::Stop`](crate::events::OnTooLarge::Stop) says. The record is not committed.
    #[non_exhaustive]
    DeadLetterTooLarge {
        /// Where the record stands.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// What the broker said.
        error: crate::kafka::Error,
    },
    /// Handlers were still at work when the shutdown timeout passed. They were dropped; their records are not committed.
    Unfinished,
    /// The consumer was already started.
    Started,
    /// A task of the consumer has gone: it panicked, or its runtime was shut down.
    Gone,
}

impl fmt::Display for ConsumerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kafka(error) => error.fmt(f),
            Self::Handler {
                partition,
                offset,
                event_type,
                error,
            } => {
                let event_type = event_type.as_deref().unwrap_or("record without a type");
                write!(
                    f,
                    "the handler failed for {event_type} at {partition} offset {offset}: {error}; the offset is not committed"
                )
            }
            Self::DeadLetterTooLarge {
                partition,
                offset,
                error,
            } => write!(
                f,
                "the dead letter of {partition} offset {offset} is too large for its topic: {error}; the offset is not committed"
            ),
            Self::Unfinished => f.write_str(
                "handlers were still at work when the shutdown timeout passed; their offsets are not committed",
            ),
            Self::Started => f.write_str("the consumer was already started: stop it first"),
            Self::Gone => f.write_str(
                "a task of the consumer has gone: it panicked, or its runtime was shut down",
            ),
        }
    }
}

impl std::error::Error for ConsumerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Their own text is in ours.
            Self::Kafka(error) | Self::DeadLetterTooLarge { error, .. } => error.source(),
            Self::Handler { error, .. } => error.as_error().source(),
            Self::Unfinished | Self::Started | Self::Gone => None,
        }
    }
}

impl From<crate::kafka::Error> for ConsumerError {
    fn from(error: crate::kafka::Error) -> Self {
        Self::Kafka(error)
    }
}
