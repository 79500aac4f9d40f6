//! Streams, for those who put combinators on them: of what polls return, or a reader of one partition; and of its records, one by one.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use protocol::records::DecodedBatch;

use super::records::Batch;
use super::{OwnedRecord, RecordView, Records};
use crate::kafka::consumer::{Consumer, PartitionReader};
use crate::kafka::net::BoxFuture;
use crate::kafka::{Error, Result};

/// How long one poll of the stream waits at most.
const POLL: Duration = Duration::from_secs(3_600);

/// A stream of what [`Consumer::poll`] returns, or [`PartitionReader::next`]: [`Consumer::into_stream`], [`PartitionReader::into_stream`]. Asking for
/// the next item says that the last one is finished, as it does there.
///
/// It ends after an error that is [fatal](Error::is_fatal), and with its partition. Other errors are items; what comes after them is read on.
/// Dropping it drops what it was made of.
pub struct RecordsStream(Option<BoxFuture<'static, Step>>);

/// A source, and what it returned.
type Step = (Source, Option<Result<Records>>);

enum Source {
    Consumer(Box<Consumer>),
    Partition(PartitionReader),
}

impl Source {
    async fn step(mut self) -> Step {
        let next = match &mut self {
            Self::Partition(reader) => reader.next().await.transpose(),
            Self::Consumer(consumer) => Some(loop {
                match consumer.poll(POLL).await {
                    Ok(records) if records.is_empty() && records.ends().next().is_none() => {}
                    polled => break polled,
                }
            }),
        };
        (self, next)
    }
}

impl Consumer {
    /// A stream of what polls return. What else is to be done with the consumer goes by its [handle](Consumer::handle). A stream that is not
    /// asked does not poll: the member leaves its group after `max_poll_interval`.
    pub fn into_stream(self) -> RecordsStream {
        RecordsStream(Some(Box::pin(Source::Consumer(Box::new(self)).step())))
    }
}

impl PartitionReader {
    /// A stream of what [`next`](Self::next) returns. It ends with the partition; drop it then.
    pub fn into_stream(self) -> RecordsStream {
        RecordsStream(Some(Box::pin(Source::Partition(self).step())))
    }
}

impl RecordsStream {
    /// A stream of single records, which share the memory that they were read from: see [`RecordView::to_shared`](super::RecordView::to_shared).
    pub fn records(self) -> RecordStream {
        RecordStream {
            batches: self,
            reading: VecDeque::new(),
        }
    }
}

impl Stream for RecordsStream {
    type Item = Result<Records>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(step) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let (source, next) = ready!(step.as_mut().poll(context));
        let over = match &next {
            Some(next) => next.as_ref().is_err_and(Error::is_fatal),
            None => true,
        };
        self.0 = (!over).then(|| Box::pin(source.step()) as BoxFuture<'static, Step>);
        Poll::Ready(next)
    }
}

impl fmt::Debug for RecordsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordsStream")
    }
}

/// A stream of records: [`RecordsStream::records`]. A record counts as finished when all that came with it were taken and the next one is asked
/// for.
#[derive(Debug)]
pub struct RecordStream {
    batches: RecordsStream,
    reading: VecDeque<Reading>,
}

/// A batch, and where in it reading stands.
struct Reading {
    cursor: DecodedBatch,
    batch: Batch,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records", self.cursor.remaining())
    }
}

impl Stream for RecordStream {
    type Item = Result<OwnedRecord>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(Reading { cursor, batch }) = self.reading.front_mut() {
                if let Some(Ok(record)) = cursor.next_record() {
                    let record = RecordView::new(batch, record).to_shared();
                    return Poll::Ready(Some(Ok(record)));
                }
                self.reading.pop_front();
                continue;
            }
            match ready!(Pin::new(&mut self.batches).poll_next(context)) {
                Some(Ok(records)) => {
                    let batches = records.into_batches().into_iter();
                    self.reading = batches
                        .map(|batch| Reading {
                            cursor: batch.records.clone(),
                            batch,
                        })
                        .collect();
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}
