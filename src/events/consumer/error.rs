//! Why a consumer of events ended, and what it does about a handler that fails.

use std::fmt;
use std::sync::Arc;

use crate::events::{Context, HandlerError};
use crate::kafka::TopicPartition;

/// Is told of a record that is given up, and why.
pub type OnSkipped = dyn Fn(&Context<'_>, &HandlerError) + Send + Sync;

/// What becomes of a record whose handler failed or panicked.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum OnFailure {
    /// The consumer stops, and says why. The record is not committed: it is handled again after the next start. The default, as nothing
    /// else loses nothing without being told what to do.
    #[default]
    Stop,
    /// The record is given up: counted, told to this function, and committed as if it had been handled.
    Skip(Arc<OnSkipped>),
}

impl OnFailure {
    /// [`OnFailure::Skip`], with `tell` to log what is given up.
    pub fn skip(tell: impl Fn(&Context<'_>, &HandlerError) + Send + Sync + 'static) -> Self {
        Self::Skip(Arc::new(tell))
    }
}

impl fmt::Debug for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "Stop",
            Self::Skip(_) => "Skip",
        })
    }
}

/// Why a consumer of events ended before it was told to, or could not end well.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConsumerError {
    /// The client failed.
    Kafka(crate::kafka::Error),
    /// A handler failed, and [`OnFailure::Stop`] says to stop. The record is not committed.
    Handler {
        /// Where the record stands.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// Its `ce_type`, if it has one.
        event_type: Option<String>,
        /// What the handler answered, or what it panicked with.
        error: Arc<HandlerError>,
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
            Self::Kafka(error) => error.source(),
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
