//! How a record's outcome gets back to the application: handles that are (batch, index).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::completion::{Completion, Part, Ticket, Written};
use crate::kafka::{Error, Result};

/// Where an acknowledged record went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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

/// The outcome of a [`Delivery`] of a fake. One that is dropped is a record whose producer ended: its outcome is unknown.
#[derive(Debug)]
pub(crate) struct Undecided(Part);

impl Undecided {
    /// The record was written, at `offset`.
    pub(crate) fn written(self, offset: i64) {
        self.0.resolve(Ok(Written {
            base_offset: Some(offset),
            append_time_ms: None,
        }));
    }

    /// It was not, or may not have been: as `error` says.
    pub(crate) fn failed(self, error: Error) {
        self.0.resolve(Err(error));
    }
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

    /// Another future of the same.
    #[cfg_attr(not(feature = "otel"), allow(dead_code))]
    pub(crate) fn another(&self) -> Self {
        Self::new(self.completion.clone(), self.index, self.timestamp_ms)
    }

    /// That of a record which goes no further than this process, and whose outcome is decided there: for fakes.
    pub(crate) fn in_memory(
        topic: impl Into<Arc<str>>,
        partition: i32,
        timestamp_ms: i64,
    ) -> (Self, Undecided) {
        let part = Part::whole(topic.into(), partition);
        let delivery = Self::new(part.completion().clone(), 0, timestamp_ms);
        (delivery, Undecided(part))
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
        let result = self.completion.result_of(self.index)?;
        Some(self.metadata(result))
    }

    fn metadata(&self, result: Result<Written>) -> Result<RecordMetadata> {
        result.map(|written| RecordMetadata {
            topic: self.completion.topic.clone(),
            partition: self.completion.partition,
            offset: written.base_offset,
            timestamp_ms: written.append_time_ms.unwrap_or(self.timestamp_ms),
        })
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let result = this
            .completion
            .poll(this.index, &mut this.ticket, context.waker());
        result.map(|result| this.metadata(result))
    }
}
