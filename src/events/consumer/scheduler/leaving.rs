//! Records that leave without being handled here, on their way to a dead-letter topic or a retry topic. Each holds back its key, and takes up its
//! memory, until it is written; no worker waits for it. While the topic fails it is tried again, with pauses, until its partition or the consumer
//! comes to an end: then it is left, to be handled again by whoever reads it next. A dead letter that is too large for the topic is written
//! without a part of the record, or stops the consumer. What is too large for a retry topic becomes a dead letter at once where it has failed, and
//! else waits here for those of its key.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::queues::Work;
use super::work_batch::WorkItem;
use super::workers::Shared;
use crate::events::OnFailure;
use crate::events::cancellation::Cancellation;
use crate::events::consumer::error::ConsumerError;
use crate::events::consumer::metrics::count;
use crate::events::failure::{DeadLetter, DeadLetterWriter, LeftOut, RetryWriter, ToRetry};
use crate::kafka::ErrorKind;
#[cfg(planted_defects)]
use crate::kafka::planted;

/// How often it is looked whether a record may be handled that no retry topic takes.
const HELD: Duration = Duration::from_millis(200);

/// Where a record goes.
#[derive(Debug)]
pub(super) enum Leaving {
    /// To the dead-letter topic, with this.
    Dead(Box<DeadLetter>),
    /// To a retry topic.
    ToRetry(Box<ToRetry>),
}

/// A record whose key is held back for it, and where it goes.
pub(super) type Given = (Work<WorkItem>, Leaving);

/// What writes them, as far as there are such topics.
#[derive(Default)]
pub(crate) struct Writers {
    pub dead_letters: Option<DeadLetterWriter>,
    pub retries: Option<RetryWriter>,
}

impl Writers {
    /// Whether nothing is ever written.
    pub(super) fn is_empty(&self) -> bool {
        self.dead_letters.is_none() && self.retries.is_none()
    }
}

/// Writes what comes through `given`, all of it at once, until no worker is left to send any.
pub(super) async fn run(
    shared: Arc<Shared>,
    writers: Arc<Writers>,
    mut given: mpsc::UnboundedReceiver<Given>,
) {
    let mut writing = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(written) = writing.join_next() => end(written),
            next = given.recv() => match next {
                Some(next) => drop(writing.spawn(leave(shared.clone(), writers.clone(), next))),
                None => break,
            },
        }
    }
    while let Some(written) = writing.join_next().await {
        end(written);
    }
}

fn end(written: Result<(), tokio::task::JoinError>) {
    if let Err(error) = written
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

async fn leave(shared: Arc<Shared>, writers: Arc<Writers>, (work, leaving): Given) {
    let (work, letter) = match leaving {
        Leaving::Dead(letter) => (work, letter),
        Leaving::ToRetry(to) => match send(&shared, &writers, work, *to).await {
            Some(given) => given,
            None => return,
        },
    };
    bury(&shared, &writers, work, letter).await;
}

/// Writes a record to a retry topic. Returns it where it is too large, and becomes a dead letter instead.
async fn send(
    shared: &Shared,
    writers: &Writers,
    mut work: Work<WorkItem>,
    to: ToRetry,
) -> Option<(Work<WorkItem>, Box<DeadLetter>)> {
    let (partition, offset) = (work.item.partition().clone(), work.item.offset());
    let event = work.item.event();
    let (Some((chain, level)), Some(writer)) = (&partition.chain, &writers.retries) else {
        return None;
    };
    let given_up = [shared.stopping(), &partition.gone];
    let (mut failures, mut pause) = (0, Duration::ZERO);
    let written = loop {
        if !pause.is_zero() {
            tokio::select! {
                biased;
                () = Cancellation::either(given_up) => break false,
                () = sleep(pause) => {}
            }
        }
        match writer.write(chain, work.item.record(), &to, given_up).await {
            Some(Ok(())) => break true,
            None => break false,
            Some(Err(error)) if error.kind() == ErrorKind::RecordTooLarge => {
                chain.unsent(event, *level);
                if to.has_failed {
                    if let OnFailure::DeadLetter = shared.failing().policy.on_failure {
                        return Some((work, Box::new(to.envelope.letter)));
                    }
                    shared.fail(ConsumerError::Kafka(error));
                }
                partition.end(offset, false);
                work.item.is_held = true;
                shared.rest(work, Instant::now() + HELD);
                return None;
            }
            Some(Err(error)) => {
                failures += 1;
                shared.counters().failed_to_send(error.clone());
                let what = "writing to a retry topic of";
                let origin = &chain.origin;
                pause = (shared.failing()).write_failed(what, origin, &error, failures);
            }
        }
    };
    let counters = shared.counters();
    match (written, to.has_failed) {
        (true, true) => count(&counters.sent_to_retry, 1),
        (true, false) => count(&counters.sent_behind, 1),
        (false, _) => chain.unsent(event, *level),
    }
    // First here: what is there counts as under way before it can be handled there.
    partition.end(offset, written);
    if written {
        chain.sent(event);
    }
    shared.finish(work.key);
    None
}

async fn bury(
    shared: &Shared,
    writers: &Writers,
    work: Work<WorkItem>,
    mut letter: Box<DeadLetter>,
) {
    let (item, counters) = (&work.item, shared.counters());
    let partition = item.partition().clone();
    let given_up = [shared.stopping(), &partition.gone];
    let last = item.failures.as_ref().map(|it| &it.last);
    let (mut failures, mut pause) = (0, shared.failing().dead_letter_wait());
    let written = loop {
        if !pause.is_zero() {
            tokio::select! {
                biased;
                () = Cancellation::either(given_up) => break false,
                () = sleep(pause) => {}
            }
        }
        let Some(writer) = &writers.dead_letters else {
            break false;
        };
        match writer.write(item.record(), &letter, last, given_up).await {
            Some(Ok(())) => break true,
            None => break false,
            Some(Err(error)) if error.kind() == ErrorKind::RecordTooLarge => {
                let (failing, record) = (shared.failing(), item.record());
                if !failing.dead_letter_too_large(item.origin(), record, &mut letter, &error) {
                    shared.fail(ConsumerError::DeadLetterTooLarge {
                        partition: item.origin().clone(),
                        offset: record.offset,
                        error,
                    });
                    break false;
                }
            }
            #[cfg(planted_defects)]
            Some(Err(_)) if planted::is_planted(planted::Defect::DeadLetterGivenUp) => break true,
            Some(Err(error)) => {
                failures += 1;
                count(&counters.dead_letter_failures, 1);
                let what = "writing a dead letter of";
                pause = (shared.failing()).write_failed(what, item.origin(), &error, failures);
            }
        }
    };
    if written {
        count(&counters.dead_lettered, 1);
        let is_reduced = letter.left_out != LeftOut::Nothing;
        count(&counters.dead_letters_reduced, u64::from(is_reduced));
    }
    partition.end(item.offset(), written);
    if let Some((chain, _)) = &partition.chain
        && written
    {
        chain.finish(item.event());
    }
    shared.finish(work.key);
}
