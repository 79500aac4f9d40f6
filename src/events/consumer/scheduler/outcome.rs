//! What becomes of a record that a worker has taken: before its handler is called, where it is not its turn, and after the handler has failed. In:
//! the record, whose turn it is by its partition's book of retry topics, and the handler's error. Out: whether it is finished, handled again and
//! when, or on its way to another topic; and what is counted and ended for that.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::leaving::{Given, Leaving};
use super::queues::Work;
use super::work_batch::WorkItem;
use super::workers::Shared;
use crate::events::consumer::error::ConsumerError;
use crate::events::consumer::metrics::{WorkerCounters, count};
use crate::events::failure::{DeadLetter, FailureClass, Fate, Room, ToRetry, Turn};
use crate::events::handler::KilledProcesses;
use crate::events::observe::ProcessSpan;
use crate::events::{Context, HandlerError, RecordKind};

/// How long a record waits whose turn it cannot be said to be.
const UNDECIDED: Duration = Duration::from_millis(100);

/// What becomes of a record that is not handled now.
pub(super) enum Away {
    /// It is finished: its key goes on.
    Over,
    /// It rests.
    Rests(Work<WorkItem>, Instant),
    /// It goes to a retry topic, and its key waits until it is there.
    Leaves(Work<WorkItem>, Box<ToRetry>),
}

/// Whose turn it is, where the record is not to be handled now.
pub(super) fn turn_of(item: &WorkItem) -> Option<Turn> {
    let (chain, level) = item.partition().chain.as_ref()?;
    if !chain.is_ready() {
        return Some(Turn::Wait);
    }
    if *level == 0 && chain.len() == 0 {
        return None;
    }
    let turn = chain.turn(item.event(), *level, item.is_held);
    (turn != Turn::Handle).then_some(turn)
}

/// A record that was begun need not be handled again.
pub(super) fn finish(item: &WorkItem) {
    let partition = item.partition();
    partition.end(item.offset(), true);
    // Behind it: what comes behind it may be committed from now on.
    if let Some((chain, _)) = &partition.chain
        && chain.len() > 0
    {
        chain.finish(item.event());
    }
}

/// What became of a call of the handler.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The record need not be handled again.
    Finished,
    /// It is handled again after the next start, or by whoever has the partition next.
    Left,
    /// The record is handled again, then.
    Again(Instant),
    /// It is written to a retry topic.
    Retry(Box<ToRetry>),
    /// It is written to the dead-letter topic, with this.
    Dead(Box<DeadLetter>),
}

impl Shared {
    /// Sees to a record that was begun, and is not to be handled now.
    pub(super) fn turn_away(&self, turn: Turn, work: Work<WorkItem>) -> Away {
        let item = &work.item;
        let partition = item.partition();
        match turn {
            // What its chain says of it is for another copy of it, if anything.
            Turn::Over => {
                partition.end(item.offset(), true);
                Away::Over
            }
            Turn::Behind(level) => {
                let failures = item.failures.as_deref();
                let topic_id = item.topic_id();
                let to =
                    self.failing()
                        .behind(item.record(), failures, topic_id, level, item.stage());
                Away::Leaves(work, to)
            }
            Turn::Wait | Turn::Handle => {
                partition.end(item.offset(), false);
                Away::Rests(work, Instant::now() + UNDECIDED)
            }
        }
    }

    /// Lets a record go that was turned away; its key is kept.
    pub(super) fn send_away(&self, away: Away, leaving: &mpsc::UnboundedSender<Given>) {
        match away {
            Away::Over => {}
            Away::Rests(work, until) => self.rest(work, until),
            // Nobody receives it when the consumer is at its end: then it is left.
            Away::Leaves(work, to) => drop(leaving.send((work, Leaving::ToRetry(to)))),
        }
    }

    /// Sees to a record over which so many processes have died.
    #[cold]
    pub(super) fn see_to_deaths(
        &self,
        counters: &WorkerCounters,
        item: &mut WorkItem,
        deaths: u32,
        span: &ProcessSpan,
    ) -> End {
        self.failing().died(&mut item.failures, deaths);
        let error = HandlerError::poison(KilledProcesses(deaths));
        self.see_to(counters, item, None, error, span)
    }

    /// Sees to a record whose handler has failed; of what kind the record is, is known where the handler returned.
    #[cold]
    pub(super) fn see_to(
        &self,
        counters: &WorkerCounters,
        item: &mut WorkItem,
        kind: Option<RecordKind>,
        error: impl Into<Arc<HandlerError>>,
        span: &ProcessSpan,
    ) -> End {
        let error = error.into();
        span.failed(&error);
        let policy = &self.failing().policy;
        // It was asked to come to an end, and did: that is no failure of the record.
        let asked = self.is_stopping() || item.partition().is_released();
        if asked && policy.class(&error) == FailureClass::Transient {
            return End::Left;
        }
        let mut failures = item.failures.take();
        let partition = item.origin();
        let context = Context::new(item.record());
        let handled = self.counters().handled();
        let event = item.event();
        let room = item.partition().chain.as_ref().map(|(chain, _)| Room {
            stage: item.stage(),
            topic_id: event.topic_id,
            is_there: chain.has_room(event),
        });
        let fate = self
            .failing()
            .failed(partition, &context, &error, &mut failures, handled, room);
        if let Some(failures) = &mut failures {
            failures.last = span.last();
        }
        if let Fate::Again(at) = fate {
            count(&counters.retried, 1);
            item.failures = failures;
            return End::Again(at);
        }
        if let Fate::Retry(mut to) = fate {
            to.envelope.traceparent = failures.as_ref().and_then(|it| it.last.traceparent());
            if let Some((chain, _)) = &item.partition().chain {
                chain.send(event, to.level);
            }
            item.failures = failures;
            return End::Retry(to);
        }
        if let Some(kind) = kind {
            counted(counters, kind, false);
        }
        count(&counters.failed, 1);
        match fate {
            Fate::Skipped => return End::Finished,
            Fate::Dead(letter) => {
                item.failures = failures;
                return End::Dead(letter);
            }
            Fate::Again(_) | Fate::Retry(_) | Fate::Stop => {}
        }
        self.fail(ConsumerError::Handler {
            partition: partition.clone(),
            offset: context.offset(),
            event_type: context.event_type().ok().flatten().map(str::to_string),
            error,
        });
        End::Left
    }
}

/// Counts a record that is over as what it was.
pub(super) fn counted(counters: &WorkerCounters, kind: RecordKind, handled: bool) {
    match kind {
        RecordKind::Event(index) => count(&counters.handled_by_type[index], u64::from(handled)),
        RecordKind::Unknown => count(&counters.unknown, 1),
        RecordKind::Undecodable => count(&counters.undecodable, 1),
    }
}
