//! How a record's fate gets back to the application: one shared completion per batch, handles that are (batch, index).
//!
//! [`Part`] is the duty to say what became of some records of a batch; it can be split with its batch, and one that is dropped
//! unresolved resolves as "closed, fate unknown", so that no handle waits for ever.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::kafka::{Error, ErrorKind, Result, WriteOutcome};

/// Where an acknowledged record went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The record's offset; `None` when the broker does not tell: with acks 0, and where it recognised a repeated batch and no longer
    /// knew its offset.
    pub offset: Option<i64>,
    /// The record's timestamp in milliseconds since 1970: its own, or the broker's where the topic takes log append time.
    pub timestamp_ms: i64,
}

/// What becomes of one accepted record: a future of its [`RecordMetadata`].
///
/// Dropping it changes nothing: the record is delivered all the same. It may be awaited anywhere, in any order, and is cancel safe.
#[derive(Debug)]
#[must_use = "a delivery tells whether the record was written; drop it explicitly if that does not matter"]
pub struct Delivery {
    completion: Arc<Completion>,
    index: u32,
    timestamp_ms: i64,
    ticket: Ticket,
}

impl Delivery {
    pub(super) fn new(completion: Arc<Completion>, index: u32, timestamp_ms: i64) -> Self {
        Self {
            completion,
            index,
            timestamp_ms,
            ticket: Ticket::default(),
        }
    }

    /// The topic that the record was accepted for.
    pub fn topic(&self) -> &str {
        &self.completion.topic
    }

    /// The partition that the record was accepted for.
    pub fn partition(&self) -> i32 {
        self.completion.partition
    }

    /// What became of the record, if that is known already.
    pub fn outcome(&self) -> Option<Result<RecordMetadata>> {
        let state = self.completion.lock();
        self.known(&state)
    }

    fn known(&self, state: &State) -> Option<Result<RecordMetadata>> {
        let segment = state
            .segments
            .iter()
            .find(|segment| self.index.wrapping_sub(segment.first) < segment.count)?;
        Some(match &segment.result {
            Ok(written) => Ok(RecordMetadata {
                topic: self.completion.topic.clone(),
                partition: self.completion.partition,
                offset: written
                    .base_offset
                    .map(|base| base.saturating_add(i64::from(self.index - segment.first))),
                timestamp_ms: written.append_time_ms.unwrap_or(self.timestamp_ms),
            }),
            Err(error) => Err(error.clone()),
        })
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = this.completion.lock();
        if let Some(result) = this.known(&state) {
            return Poll::Ready(result);
        }
        state.wait(&mut this.ticket, context.waker());
        Poll::Pending
    }
}

/// Where a batch, or a part of one, was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// The first record's offset, where the broker told.
    pub base_offset: Option<i64>,
    /// The broker's timestamp, where the topic takes it.
    pub append_time_ms: Option<i64>,
}

/// What is known of a batch's records. Shared by their handles, by the batch itself and by whoever flushes.
#[derive(Debug)]
pub(super) struct Completion {
    pub topic: Arc<str>,
    pub partition: i32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    segments: Vec<Segment>,
    /// Parts that have not resolved yet.
    parts: u32,
    waiting: Vec<Waker>,
    /// Counts the wake-ups: a ticket of an earlier round is void.
    round: u32,
}

#[derive(Debug)]
struct Segment {
    first: u32,
    count: u32,
    result: Result<Written>,
}

/// A place in the list of those waiting; void once they were woken.
#[derive(Debug, Default)]
struct Ticket {
    round: u32,
    place: Option<u32>,
}

impl State {
    fn wait(&mut self, ticket: &mut Ticket, waker: &Waker) {
        match ticket.place {
            Some(place) if ticket.round == self.round => {
                self.waiting[place as usize].clone_from(waker);
            }
            _ => {
                *ticket = Ticket {
                    round: self.round,
                    place: Some(self.waiting.len() as u32),
                };
                self.waiting.push(waker.clone());
            }
        }
    }
}

impl Completion {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the fate of every record is known; fails with the first failure among them.
    pub async fn resolved(self: Arc<Self>) -> Result<()> {
        let mut ticket = Ticket::default();
        std::future::poll_fn(move |context| {
            let mut state = self.lock();
            if state.parts > 0 {
                state.wait(&mut ticket, context.waker());
                return Poll::Pending;
            }
            let failed = state
                .segments
                .iter()
                .find_map(|segment| segment.result.as_ref().err());
            Poll::Ready(failed.map_or(Ok(()), |error| Err(error.clone())))
        })
        .await
    }

    pub fn is_resolved(&self) -> bool {
        self.lock().parts == 0
    }
}

/// The duty to say what became of the records `first..first + count` of a batch.
#[derive(Debug)]
pub(super) struct Part {
    completion: Option<Arc<Completion>>,
    first: u32,
    count: u32,
}

impl Part {
    /// The duty for a whole new batch of `topic`-`partition`, whose length is not known yet.
    pub fn whole(topic: Arc<str>, partition: i32) -> Self {
        let completion = Arc::new(Completion {
            topic,
            partition,
            state: Mutex::new(State {
                parts: 1,
                ..State::default()
            }),
        });
        Self {
            completion: Some(completion),
            first: 0,
            count: u32::MAX,
        }
    }

    /// What the records' handles share.
    pub fn completion(&self) -> &Arc<Completion> {
        match &self.completion {
            Some(completion) => completion,
            // Only `finish` takes it, and that consumes or drops the part.
            None => unreachable!("a part outlived its resolution"),
        }
    }

    /// Cuts off the first `count` records as a part of their own.
    pub fn split_off_front(&mut self, count: u32) -> Part {
        let completion = self.completion().clone();
        completion.lock().parts += 1;
        let front = Part {
            completion: Some(completion),
            first: self.first,
            count,
        };
        self.first += count;
        self.count = self.count.saturating_sub(count);
        front
    }

    /// Says what became of the part's records.
    pub fn resolve(mut self, result: Result<Written>) {
        self.finish(result);
    }

    fn finish(&mut self, result: Result<Written>) {
        let Some(completion) = self.completion.take() else {
            return;
        };
        let waiting = {
            let mut state = completion.lock();
            state.parts -= 1;
            state.round = state.round.wrapping_add(1);
            state.segments.push(Segment {
                first: self.first,
                count: self.count,
                result,
            });
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.completion.is_some() {
            let error = Error::new(
                ErrorKind::Closed,
                "the producer ended before the broker answered",
            );
            self.finish(Err(error.with_outcome(WriteOutcome::Unknown)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(offset: i64) -> Result<Written> {
        Ok(Written {
            base_offset: Some(offset),
            append_time_ms: None,
        })
    }

    fn offset(delivery: &Delivery) -> Option<i64> {
        delivery
            .outcome()
            .and_then(Result::ok)
            .and_then(|known| known.offset)
    }

    #[tokio::test]
    async fn one_resolution_completes_every_record_of_a_batch() {
        let part = Part::whole("t".into(), 3);
        let handles: Vec<_> = (0..3)
            .map(|n| Delivery::new(part.completion().clone(), n, 77))
            .collect();
        let waiting: Vec<_> = handles.into_iter().map(tokio::spawn).collect();
        tokio::task::yield_now().await;
        part.resolve(written(100));
        for (n, handle) in waiting.into_iter().enumerate() {
            let metadata = handle.await.unwrap().unwrap();
            assert_eq!(metadata.offset, Some(100 + n as i64));
            assert_eq!((metadata.partition, metadata.timestamp_ms), (3, 77));
        }
    }

    /// KAFKA-19479: a flush returned before the parts of a split batch were sent.
    #[tokio::test]
    async fn a_split_batch_is_resolved_only_when_all_of_its_parts_are() {
        let mut rest = Part::whole("t".into(), 0);
        let completion = rest.completion().clone();
        let handles: Vec<_> = (0..4)
            .map(|n| Delivery::new(completion.clone(), n, 0))
            .collect();
        let front = rest.split_off_front(3);
        let flush = tokio::spawn(completion.clone().resolved());
        front.resolve(written(10));
        tokio::task::yield_now().await;
        assert!(!flush.is_finished());
        assert_eq!((offset(&handles[2]), offset(&handles[3])), (Some(12), None));
        rest.resolve(written(50));
        assert!(flush.await.unwrap().is_ok());
        assert_eq!(offset(&handles[3]), Some(50));
    }

    #[test]
    fn a_batch_that_is_dropped_leaves_no_record_waiting() {
        let part = Part::whole("t".into(), 0);
        let handle = Delivery::new(part.completion().clone(), 0, 0);
        drop(part);
        let error = handle.outcome().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(error.outcome(), WriteOutcome::Unknown);
    }

    #[test]
    fn an_offset_that_no_log_has_is_no_reason_to_panic() {
        let part = Part::whole("t".into(), 0);
        let handle = Delivery::new(part.completion().clone(), 5, 0);
        part.resolve(written(i64::MAX - 1));
        assert_eq!(offset(&handle), Some(i64::MAX));
    }

    #[tokio::test]
    async fn polling_a_delivery_again_and_again_keeps_one_place_in_the_queue() {
        let part = Part::whole("t".into(), 0);
        let mut handle = Delivery::new(part.completion().clone(), 0, 0);
        for _ in 0..100 {
            tokio::select! {
                biased;
                _ = &mut handle => unreachable!("nothing resolved it"),
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(part.completion().lock().waiting.len(), 1);
    }
}
