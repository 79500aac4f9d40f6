//! One delivery of an event: its handler is called, and what becomes of it is decided as for a consumer of events, by how often the brokers say that
//! it has been delivered.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::time::{Instant, sleep, timeout};

use crate::events::cancellation::Cancellation;
use crate::events::consumer::ConsumerError;
use crate::events::failure::{
    DeadLetter, DeadLetterWriter, FailureClass, FailureHandling, Failures, Fate,
};
use crate::events::handler::{Panicked, TimedOut};
use crate::events::observe::Spans;
use crate::events::{Context, Dispatch, Dispatched, HandlerError, RawHeaders, RawRecord};
use crate::kafka::runtime::tasks::caught;
use crate::kafka::{Clock, ErrorKind, OwnedRecord, TopicPartition};

/// What the deliveries of a queue share.
pub(super) struct Shared {
    pub failing: FailureHandling,
    pub spans: Spans,
    pub dead_letters: Option<DeadLetterWriter>,
    pub clock: Clock,
    /// Raised when handlers are to come to an end.
    pub stopping: Cancellation,
    /// Never raised: what a member holds stays its own.
    pub gone: Cancellation,
    pub counters: Arc<Counters>,
}

/// The counters behind the queue's metrics.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub handled: AtomicU64,
    pub released: AtomicU64,
    pub skipped: AtomicU64,
    pub dead_lettered: AtomicU64,
}

/// How a delivery ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It is done with.
    Accept,
    /// It is given up.
    Reject,
    /// It is delivered again, from this time on.
    Release(Instant),
    /// The queue ends because of it.
    Stop(ConsumerError),
}

/// Handles a record that was delivered so often, this time included.
pub(super) async fn deliver<S, H>(
    handler: Arc<H>,
    codec: Arc<S::Codec>,
    shared: Arc<Shared>,
    record: OwnedRecord,
    deliveries: u32,
) -> Ended
where
    S: Dispatch<H>,
    H: Send + Sync + 'static,
{
    let headers = record.headers.iter();
    let headers: Vec<_> = headers
        .map(|header| (header.key_bytes(), header.value.as_deref()))
        .collect();
    let raw = RawRecord {
        timestamp_ms: record.timestamp_ms,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: RawHeaders::of_raw(&headers),
        ..RawRecord::new(&record.topic, record.partition, record.offset)
    };
    let policy = &shared.failing.policy;
    let cancellations = [&shared.stopping, &shared.gone];
    let context = Context::of_call(raw, deliveries, policy.on_unknown, cancellations);
    let span = shared.spans.process(&context, None);
    let called = async {
        let mut handling = pin!(caught(S::dispatch(&handler, &codec, &context)));
        poll_fn(|task| {
            let _current = span.enter();
            handling.as_mut().poll(task)
        })
        .await
    };
    let called = match policy.handler_timeout {
        Some(limit) => timeout(limit, called).await.map_err(|_| limit),
        None => Ok(called.await),
    };
    let error = match called {
        Ok(Ok(Dispatched { result: Ok(()), .. })) => {
            shared.counters.handled.fetch_add(1, Relaxed);
            return Ended::Accept;
        }
        Ok(Ok(Dispatched {
            result: Err(error), ..
        })) => error,
        Ok(Err(panic)) => HandlerError::of(Panicked(panic), Some(policy.on_panic)),
        Err(limit) => HandlerError::transient(TimedOut(limit)),
    };
    span.failed(&error);
    // It was asked to come to an end, and did: that is no failure of the record.
    if shared.stopping.is_cancelled() && policy.class(&error) == FailureClass::Transient {
        return Ended::Release(Instant::now());
    }
    shared.failed(&context, error, deliveries).await
}

impl Shared {
    async fn failed(&self, context: &Context<'_>, error: HandlerError, deliveries: u32) -> Ended {
        let record = context.record();
        let partition = TopicPartition::new(record.topic, record.partition);
        let mut failures = (deliveries > 1).then(|| {
            Box::new(Failures {
                count: deliveries - 1,
                first: Instant::now(),
                first_ms: self.clock.now_ms(),
                last: Default::default(),
            })
        });
        let handled = self.counters.handled.load(Relaxed);
        // Queues have no retry topics: the brokers deliver again.
        let fate = (self.failing).failed(&partition, context, &error, &mut failures, handled, None);
        match fate {
            Fate::Retry(_) => Ended::Release(Instant::now()),
            Fate::Again(at) => {
                self.counters.released.fetch_add(1, Relaxed);
                Ended::Release(at)
            }
            Fate::Skipped => {
                self.counters.skipped.fetch_add(1, Relaxed);
                Ended::Reject
            }
            Fate::Dead(letter) => self.write(&partition, record, letter).await,
            Fate::Stop => Ended::Stop(ConsumerError::Handler {
                partition,
                offset: record.offset,
                event_type: context.event_type().ok().flatten().map(str::to_string),
                error: Arc::new(error),
            }),
        }
    }

    /// Writes the dead letter, again and again while that fails: the record is held meanwhile.
    async fn write(
        &self,
        partition: &TopicPartition,
        record: RawRecord<'_>,
        mut letter: Box<DeadLetter>,
    ) -> Ended {
        let left = || Ended::Release(Instant::now());
        let Some(writer) = &self.dead_letters else {
            return left();
        };
        let given_up = [&self.stopping, &self.gone];
        let (mut failures, mut pause) = (0, self.failing.dead_letter_wait());
        loop {
            if !pause.is_zero() {
                tokio::select! {
                    biased;
                    () = self.stopping.cancelled() => return left(),
                    () = sleep(pause) => {}
                }
            }
            match writer.write(record, &letter, None, given_up).await {
                Some(Ok(())) => {
                    self.counters.dead_lettered.fetch_add(1, Relaxed);
                    return Ended::Reject;
                }
                None => return left(),
                Some(Err(error)) if error.kind() == ErrorKind::RecordTooLarge => {
                    let (failing, letter) = (&self.failing, &mut letter);
                    if !failing.dead_letter_too_large(partition, record, letter, &error) {
                        return Ended::Stop(ConsumerError::DeadLetterTooLarge {
                            partition: partition.clone(),
                            offset: record.offset,
                            error,
                        });
                    }
                }
                Some(Err(error)) => {
                    failures += 1;
                    let what = "writing a dead letter of";
                    pause = (self.failing).write_failed(what, partition, &error, failures);
                }
            }
        }
    }
}
