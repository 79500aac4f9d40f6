//! No spans.

use super::Sent;
use crate::events::{ConsumerConfig, Context, HandlerError, ProducerConfig, RawRecord};
use crate::kafka::{Delivery, Result};

#[derive(Clone, Debug)]
pub(crate) struct Spans;

#[derive(Clone, Debug, Default)]
pub(crate) struct Last(());

impl Last {
    pub fn of(_: Option<&str>) -> Self {
        Self(())
    }

    pub fn traceparent(&self) -> Option<String> {
        None
    }
}

/// There is none.
pub(crate) enum SendSpan {}

pub(crate) struct ProcessSpan;

pub(crate) struct TransactionSpan;

/// As long as this is held, nothing is the current span.
pub(crate) struct Entered;

impl Spans {
    pub fn of_producer(_: &ProducerConfig) -> Self {
        Self
    }

    pub fn of_consumer(_: &ConsumerConfig) -> Self {
        Self
    }

    pub fn send<'a>(&self, _: &str, _: impl FnOnce() -> Sent<'a>) -> Option<SendSpan> {
        None
    }

    pub fn create<'a>(
        &self,
        _: &str,
        _: Option<&TransactionSpan>,
        _: impl FnOnce() -> Sent<'a>,
    ) -> Option<SendSpan> {
        None
    }

    pub fn transaction(&self, _: &str) -> TransactionSpan {
        TransactionSpan
    }

    pub fn process(&self, _: &Context<'_>, _: Option<&Last>) -> ProcessSpan {
        ProcessSpan
    }

    pub fn process_batch(&self, _: &[(&Context<'_>, Option<&Last>)]) -> ProcessSpan {
        ProcessSpan
    }

    pub fn dead_letter(&self, _: &str, _: RawRecord<'_>, _: Option<&Last>) -> Option<SendSpan> {
        None
    }
}

impl SendSpan {
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        std::iter::empty()
    }

    pub fn enqueued(self, _: &Result<Delivery>) {}

    pub fn sent<T>(self, _: &Result<T>) {}
}

impl TransactionSpan {
    pub fn committing(&mut self) {}

    pub fn decided(self, _: &Result<()>) {}

    pub fn ended(self, _: Option<bool>) {}
}

impl ProcessSpan {
    pub fn enter(&self) -> Entered {
        Entered
    }

    pub fn failed(&self, _: &HandlerError) {}

    pub fn last(&self) -> Last {
        Last(())
    }
}
