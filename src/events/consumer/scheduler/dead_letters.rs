//! Records that are given up, on their way to the dead-letter topic. Each holds back its key, and takes up its memory, until it is written;
//! no worker waits for it. While the topic fails it is tried again, with pauses, until its partition or the consumer comes to an end: then it
//! is left, to be handled again by whoever reads it next. One that is too large for the topic is written without a part of the record, or
//! stops the consumer.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::queues::Work;
use super::work_batch::WorkItem;
use super::workers::Shared;
use crate::events::cancellation::Cancellation;
use crate::events::consumer::error::ConsumerError;
use crate::events::consumer::metrics::count;
use crate::events::failure::{DeadLetter, DeadLetterWriter, LeftOut};
use crate::kafka::ErrorKind;
#[cfg(planted_defects)]
use crate::kafka::planted;

/// A record whose key is held back for it, and what is to be said of it.
pub(super) type Given = (Work<WorkItem>, Box<DeadLetter>);

/// Writes what comes through `given`, all of it at once, until no worker is left to send any.
pub(super) async fn run(
    shared: Arc<Shared>,
    writer: Arc<DeadLetterWriter>,
    mut given: mpsc::UnboundedReceiver<Given>,
) {
    let mut writing = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(written) = writing.join_next() => end(written),
            next = given.recv() => match next {
                Some(next) => drop(writing.spawn(write(shared.clone(), writer.clone(), next))),
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

async fn write(shared: Arc<Shared>, writer: Arc<DeadLetterWriter>, (work, mut letter): Given) {
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
        match writer.write(item.record(), &letter, last, given_up).await {
            Some(Ok(())) => break true,
            None => break false,
            Some(Err(error)) if error.kind() == ErrorKind::RecordTooLarge => {
                let (failing, record) = (shared.failing(), item.record());
                if !failing.dead_letter_too_large(&partition.name, record, &mut letter, &error) {
                    shared.fail(ConsumerError::DeadLetterTooLarge {
                        partition: partition.name.clone(),
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
                pause = (shared.failing()).dead_letter_failed(&partition.name, &error, failures);
            }
        }
    };
    if written {
        count(&counters.dead_lettered, 1);
        let is_reduced = letter.left_out != LeftOut::Nothing;
        count(&counters.dead_letters_reduced, u64::from(is_reduced));
    }
    partition.end(item.record().offset, written);
    shared.finish(work.key);
}
