//! Handlers of several events at once: what they see ([`Batch`]), how much of it ([`BatchPolicy`]), and what they return when some of it fails
//! ([`BatchError`]).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Context, HandlerError};

/// How many events a [`BatchHandler`] is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchPolicy {
    /// `handler.batch.events`: how many at the most. Default 500.
    pub max_events: usize,
    /// `handler.batch.bytes`: how many bytes of keys, values and headers at the most, one event aside. Default 1 MiB. A batch is never larger
    /// than what waits, so [`queue_bytes`](super::ConsumerConfig::queue_bytes) bounds it too.
    pub max_bytes: usize,
    /// `handler.batch.linger.ms`: how long a batch that is not full waits for more. Default: not at all, so that there is more in a batch only
    /// when events come faster than they are handled.
    pub linger: Duration,
}

impl Default for BatchPolicy {
    fn default() -> Self {
        Self {
            max_events: 500,
            max_bytes: 1 << 20,
            linger: Duration::ZERO,
        }
    }
}

/// A handler of several events at once, such as one that writes them to a database in one transaction. See
/// [`EventConsumer::start_batches`](super::EventConsumer::start_batches); [`each_batch`] makes one out of a closure.
///
/// ```
/// use pat_events::events::email::EmailEvents;
/// use pat_events::events::{Batch, BatchError, BatchHandler};
///
/// struct Index;
///
/// impl BatchHandler<EmailEvents> for Index {
///     async fn handle_batch(
///         &self,
///         batch: Batch<'_, EmailEvents>,
///     ) -> Result<(), BatchError> {
///         let mut failed = Vec::new();
///         for (place, (context, event)) in batch.iter().enumerate() {
///             if let Err(error) = index(context.key(), event) {
///                 // Of its key, nothing behind it counts as handled.
///                 failed.push((place, error.into()));
///             }
///         }
///         BatchError::of(failed)
///     }
/// }
/// # fn index(_: Option<&[u8]>, _: &EmailEvents) -> std::io::Result<()> { Ok(()) }
/// ```
pub trait BatchHandler<S>: Send + Sync + 'static {
    /// Handles the events of `batch`.
    ///
    /// `Ok`: all of them are finished. An error of any type: all of them failed with it. [`BatchError::of`]: those failed that it names, each
    /// with an error of its own. What failed is retried, dead-lettered, skipped, or stops the consumer, as for a handler of single events; it
    /// is tried again in a batch of its own, so that one event that fails whatever it is called with takes no others along.
    fn handle_batch(
        &self,
        batch: Batch<'_, S>,
    ) -> impl Future<Output = Result<(), BatchError>> + Send;
}

/// Events that are handled at once: of several keys and partitions, those of one key behind each other in their order.
///
/// No other call has an event of these keys at the same time. Where one fails, what is behind it of its key counts as not handled, whatever
/// became of it: it comes again after that one.
#[derive(Debug)]
pub struct Batch<'a, S>(Vec<(Context<'a>, S)>);

impl<'a, S> Batch<'a, S> {
    /// A batch of these events: for tests of handlers.
    pub fn new(events: Vec<(Context<'a>, S)>) -> Self {
        Self(events)
    }

    /// How many there are: at least one.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none: never where a consumer calls.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The events in their places, each with where it stood and what came along with it.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Context<'a>, &S)> {
        self.0.iter().map(|(context, event)| (context, event))
    }

    /// The events alone.
    pub fn into_events(self) -> Vec<S> {
        self.0.into_iter().map(|(_, event)| event).collect()
    }
}

impl<'a, S> IntoIterator for Batch<'a, S> {
    type Item = (Context<'a>, S);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Why a handler could not do its work with a batch, or with some of it. Made from any error by `?`: then all of the batch failed.
pub struct BatchError(Failed);

enum Failed {
    All(Arc<HandlerError>),
    Some(HashMap<usize, Arc<HandlerError>>),
}

impl BatchError {
    /// The events at these places of the batch failed, counted from 0; the others are handled. `Ok` when there are none.
    pub fn of(failed: Vec<(usize, HandlerError)>) -> Result<(), Self> {
        if failed.is_empty() {
            return Ok(());
        }
        let failed = failed.into_iter();
        let failed = failed.map(|(place, error)| (place, Arc::new(error)));
        Err(Self(Failed::Some(failed.collect())))
    }

    /// What became of the event at `place`, of a batch of `len`.
    pub(crate) fn at(&self, place: usize, len: usize) -> Result<(), Arc<HandlerError>> {
        let failed = match &self.0 {
            Failed::All(error) => return Err(error.clone()),
            Failed::Some(failed) => failed,
        };
        // A handler that counts wrongly has said nothing of any event.
        if let Some(beyond) = failed.keys().find(|place| **place >= len) {
            let message =
                format!("the handler says that event {beyond} failed, of a batch of {len}");
            return Err(Arc::new(HandlerError::new(message)));
        }
        failed
            .get(&place)
            .map_or(Ok(()), |error| Err(error.clone()))
    }
}

impl<E: Into<HandlerError>> From<E> for BatchError {
    fn from(error: E) -> Self {
        Self(Failed::All(Arc::new(error.into())))
    }
}

impl fmt::Debug for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Failed::All(error) => write!(f, "all: {error}"),
            Failed::Some(failed) => f.debug_map().entries(failed).finish(),
        }
    }
}

/// A handler of batches of any event set, out of a closure that takes the set's enums. Places count from 0.
///
/// What it needs beside the events it brings along: state, producers. For the records' places, headers or cancellation implement
/// [`BatchHandler`].
pub fn each_batch<S, C, F>(closure: C) -> EachBatch<C>
where
    C: Fn(Vec<S>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), BatchError>> + Send,
{
    EachBatch(closure)
}

/// See [`each_batch`].
#[derive(Clone, Copy)]
pub struct EachBatch<C>(C);

impl<C> fmt::Debug for EachBatch<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EachBatch").finish_non_exhaustive()
    }
}

impl<S, C, F> BatchHandler<S> for EachBatch<C>
where
    C: Fn(Vec<S>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), BatchError>> + Send,
{
    fn handle_batch(
        &self,
        batch: Batch<'_, S>,
    ) -> impl Future<Output = Result<(), BatchError>> + Send {
        (self.0)(batch.into_events())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_of_all_events_or_of_those_that_it_names() {
        let at = |error: &BatchError, place| {
            let result = error.at(place, 3);
            result.map_err(|error| error.to_string())
        };
        let all: BatchError = std::io::Error::other("down").into();
        assert_eq!(at(&all, 2), Err("down".to_string()));
        let some = BatchError::of(vec![(1, HandlerError::new("bad"))]).expect_err("one");
        assert_eq!(
            [0, 1, 2].map(|it| at(&some, it).is_ok()),
            [true, false, true]
        );
        assert!(BatchError::of(Vec::new()).is_ok());
        let wrong = BatchError::of(vec![(3, HandlerError::new("bad"))]).expect_err("one");
        let said = at(&wrong, 0).expect_err("nothing is known");
        assert!(said.contains("event 3 failed, of a batch of 3"), "{said}");
    }
}
