//! Why a consumer of events ended, and what it does about a handler that fails.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::events::{Context, HandlerError};
use crate::kafka::TopicPartition;

/// Called with a record that is skipped, and why.
pub type OnSkipped = dyn Fn(&Context<'_>, &HandlerError) + Send + Sync;

/// What becomes of a record whose handler failed or panicked.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum OnFailure {
    /// The consumer stops, and says why. The record is not committed: it is handled again after the next start. The default, as nothing
    /// else loses nothing by itself.
    #[default]
    Stop,
    /// The record is skipped: counted, passed to this function, and committed as if it had been handled.
    Skip(Arc<OnSkipped>),
    /// The handler is called again for the record, after a pause. Meanwhile the records behind it that have its key wait, and no others. It
    /// is not committed meanwhile, so that a restart handles it again, from the first attempt.
    #[non_exhaustive]
    Retry {
        /// How often, at the most.
        retries: u32,
        /// The first pause. Each is twice as long as the one before it.
        backoff: Duration,
        /// The longest pause.
        backoff_max: Duration,
        /// What becomes of the record when all of them have failed.
        then: Box<OnFailure>,
    },
}

impl OnFailure {
    /// [`OnFailure::Skip`], with `tell` to log what is skipped.
    pub fn skip(tell: impl Fn(&Context<'_>, &HandlerError) + Send + Sync + 'static) -> Self {
        Self::Skip(Arc::new(tell))
    }

    /// [`OnFailure::Retry`]: up to `retries` times, after pauses from `backoff` to `backoff_max`; then `then`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pat_events::events::OnFailure;
    ///
    /// let skip = OnFailure::skip(|context, error| eprintln!("{} skipped: {error}", context.offset()));
    /// let retry = OnFailure::retry(5, Duration::from_millis(100), Duration::from_secs(10), skip);
    /// # drop(retry);
    /// ```
    pub fn retry(retries: u32, backoff: Duration, backoff_max: Duration, then: Self) -> Self {
        Self::Retry {
            retries,
            backoff,
            backoff_max,
            then: Box::new(then),
        }
    }

    /// After `failures` failures and one more: the pause before the next attempt, or what is to be done without one.
    pub(super) fn after(&self, failures: u32) -> (Option<Duration>, &Self) {
        match self {
            Self::Retry {
                retries,
                backoff,
                backoff_max,
                then,
            } => match failures.checked_sub(*retries) {
                Some(beyond) => then.after(beyond),
                None => {
                    let pause = backoff.saturating_mul(1 << failures.min(30));
                    (Some(pause.min(*backoff_max)), self)
                }
            },
            _ => (None, self),
        }
    }
}

impl fmt::Debug for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop => f.write_str("Stop"),
            Self::Skip(_) => f.write_str("Skip"),
            Self::Retry { retries, then, .. } => write!(f, "Retry({retries}, then {then:?})"),
        }
    }
}

/// Why a consumer of events ended before it was told to, or could not end well.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConsumerError {
    /// The client failed.
    Kafka(crate::kafka::Error),
    /// A handler failed, and [`OnFailure::Stop`] says to stop. The record is not committed.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_between_attempts_double_up_to_the_longest_and_then_comes_what_is_next() {
        let ms = Duration::from_millis;
        let second = OnFailure::retry(1, ms(7), ms(7), OnFailure::Stop);
        let policy = OnFailure::retry(4, ms(100), ms(350), second);
        let pauses: Vec<_> = (0..6).map(|failures| policy.after(failures).0).collect();
        let expected = [Some(100), Some(200), Some(350), Some(350), Some(7), None];
        assert_eq!(pauses, expected.map(|pause| pause.map(ms)));
        assert!(matches!(policy.after(5).1, OnFailure::Stop));
        let endless = OnFailure::retry(u32::MAX, ms(1), ms(9), OnFailure::Stop);
        assert_eq!(endless.after(u32::MAX - 1).0, Some(ms(9)));
    }
}
