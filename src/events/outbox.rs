//! Events that wait beside what they tell of, in a store of the application's, until they are in their topic. In: an event, encoded. Out: its
//! record, at least once, in order per key.
//!
//! What an application changes and what it says of that are one transaction this way: the event is [encoded](EventProducer::encode) and written
//! to a table along with the change, and a [relay](EventProducer::relay) sends what waits there. A crash between sending and removing sends an
//! event twice, under the same `ce_id`.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::Future;

use crate::kafka::runtime::Mutex;

/// An event that waits to be sent, encoded: all of it is data, to be stored as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxEvent {
    /// Where it goes.
    pub topic: String,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's value.
    pub value: Vec<u8>,
    /// The record's headers, those of CloudEvents among them.
    pub headers: Vec<(String, Vec<u8>)>,
    /// When it happened, in milliseconds since 1970.
    pub timestamp_ms: i64,
}

impl OutboxEvent {
    /// An event as it was stored.
    pub fn new(
        topic: String,
        key: Option<Vec<u8>>,
        value: Vec<u8>,
        headers: Vec<(String, Vec<u8>)>,
        timestamp_ms: i64,
    ) -> Self {
        Self {
            topic,
            key,
            value,
            headers,
            timestamp_ms,
        }
    }
}

/// Where events wait: a table in the application's database, as a rule. A `Mutex` around a list is one for tests ([`MemoryOutbox`]).
pub trait Outbox: Send + Sync {
    /// What names an event in the store, such as a number that only grows.
    type Id: Clone + Send + Sync;
    /// Why the store did not do it.
    type Error: Into<Box<dyn Error + Send + Sync>>;

    /// The oldest events that wait, `most` at most, in the order in which they were written.
    fn waiting(
        &self,
        most: usize,
    ) -> impl Future<Output = Result<Vec<(Self::Id, OutboxEvent)>, Self::Error>> + Send;

    /// Forgets these: they are in their topic.
    fn remove(&self, sent: &[Self::Id]) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Where events wait in memory: for tests.
#[derive(Debug, Default)]
pub struct MemoryOutbox(Mutex<(u64, Vec<(u64, OutboxEvent)>)>);

impl MemoryOutbox {
    /// Adds an event behind all others.
    pub fn push(&self, event: OutboxEvent) {
        let mut rows = self.0.lock();
        let id = rows.0;
        rows.0 += 1;
        rows.1.push((id, event));
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.lock().1.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Outbox for MemoryOutbox {
    type Id = u64;
    type Error = std::convert::Infallible;

    async fn waiting(&self, most: usize) -> Result<Vec<(u64, OutboxEvent)>, Self::Error> {
        Ok(self.0.lock().1.iter().take(most).cloned().collect())
    }

    async fn remove(&self, sent: &[u64]) -> Result<(), Self::Error> {
        self.0.lock().1.retain(|(id, _)| !sent.contains(id));
        Ok(())
    }
}

/// What waits, in waves: each has no more than one event of a key, in their order, so that none that fails is overtaken by a later one of its
/// key. What has no key has no order.
pub(super) fn waves<I>(waiting: Vec<(I, OutboxEvent)>) -> Vec<Vec<(I, OutboxEvent)>> {
    let mut waves: Vec<Vec<_>> = Vec::new();
    let mut seen = HashMap::<Vec<u8>, usize>::new();
    for (id, event) in waiting {
        let wave = event.key.clone().map_or(0, |key| {
            let count = seen.entry(key).or_default();
            *count += 1;
            *count - 1
        });
        match waves.get_mut(wave) {
            Some(wave) => wave.push((id, event)),
            None => waves.push(vec![(id, event)]),
        }
    }
    waves
}

/// Why a relay stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum RelayError {
    /// The outbox could not be read, or what was sent could not be removed: that is sent again.
    Outbox(Box<dyn Error + Send + Sync>),
    /// An event could not be written, and waits on.
    Send(crate::kafka::Error),
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outbox(error) => write!(f, "the outbox failed: {error}"),
            Self::Send(error) => write!(f, "an event of the outbox was not written: {error}"),
        }
    }
}

impl Error for RelayError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Outbox(error) => Some(&**error),
            Self::Send(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_has_one_event_of_each_key_in_their_order() {
        let event = |(id, key): (u32, Option<&str>)| {
            let key = key.map(|key| key.as_bytes().to_vec());
            (
                id,
                OutboxEvent::new(String::new(), key, Vec::new(), Vec::new(), 0),
            )
        };
        let (a, b) = (Some("a"), Some("b"));
        let waiting = [(0, a), (1, a), (2, b), (3, None), (4, a), (5, None), (6, b)];
        let ids = |wave: Vec<(u32, _)>| wave.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        let waves: Vec<_> = waves(waiting.map(event).into())
            .into_iter()
            .map(ids)
            .collect();
        assert_eq!(waves, [vec![0, 2, 3, 5], vec![1, 6], vec![4]]);
    }
}
