//! A share consumer under a tampering, and whether every record came to it.

use std::collections::BTreeSet;
use std::time::Duration;

use pat_events::kafka::{
    AcknowledgeType, AcknowledgementMode, ShareConsumer, ShareConsumerConfig, ShareRecords,
};
use tokio::time::{Instant, sleep};

use super::{MORE, PAUSE, POLL, RECORDS, WRITE_AGAIN, attempt};
use crate::harness::{GROUP, Harness, REQUEST_TIMEOUT, TOPIC, Violation, number_of, partition_of};

/// What a share consumer was given.
#[derive(Debug, Default)]
struct Seen {
    numbers: BTreeSet<u32>,
    strange: Option<String>,
}

impl Seen {
    fn has(&self, numbers: std::ops::Range<u32>) -> bool {
        let mut numbers = numbers;
        numbers.all(|number| self.numbers.contains(&number))
    }
}

pub(super) async fn share(harness: &mut Harness) {
    harness.fill(0..RECORDS);
    let mut config = ShareConsumerConfig::default();
    config.client = harness.client();
    config.group_id = Some(GROUP.to_owned());
    config.acknowledgement_mode = AcknowledgementMode::Explicit;
    config.max_poll_interval = Duration::from_secs(8);
    // Several fetches and polls, though there is little.
    config.max_poll_records = 7;
    let mut seen = Seen::default();
    let mut consumer = None;
    while harness.goes_on() {
        if !step(harness, &config, &mut consumer, &mut seen).await {
            break;
        }
        let done = seen.has(0..RECORDS);
        harness.notes.is_done_under_tampering |= done;
        // Long enough for some heartbeats.
        if done && harness.now() > Duration::from_secs(4) {
            break;
        }
    }
    if harness.notes.is_done_under_tampering
        && let Some(consumer) = consumer.take()
    {
        // The tampering may be about leaving the group.
        close(harness, consumer).await;
    }
    harness.heal();
    let healed_at = Instant::now();
    let mut written = RECORDS;
    let mut next_write = healed_at;
    while !seen.has(0..written) || written == RECORDS {
        if Instant::now() >= next_write {
            harness.fill(written..written + MORE);
            written += MORE;
            next_write = Instant::now() + WRITE_AGAIN;
        }
        step(harness, &config, &mut consumer, &mut seen).await;
        if healed_at.elapsed() > harness.healing() {
            let last = harness.notes.errors.last();
            let last = last.map(|noted| (noted.at, noted.error.to_string()));
            let text = format!("{} of {written} delivered; {last:?}", seen.numbers.len());
            harness.violation(Violation::NotHealed(text));
            break;
        }
    }
    if let Some(mut consumer) = consumer {
        commit(harness, &mut consumer).await;
        close(harness, consumer).await;
    }
    if let Some(strange) = seen.strange {
        harness.violation(Violation::Untrue(format!("never written: {strange}")));
    }
}

/// One thing after the other: connects and subscribes, polls, accepts, commits. False when it hangs.
async fn step(
    harness: &mut Harness,
    config: &ShareConsumerConfig,
    consumer: &mut Option<ShareConsumer>,
    seen: &mut Seen,
) -> bool {
    let Some(alive) = consumer else {
        let connecting = async {
            let mut consumer = ShareConsumer::connect(config.clone()).await?;
            consumer.subscribe(&[TOPIC]).await?;
            Ok(consumer)
        };
        let connected = attempt(harness, "connect", connecting).await;
        let answered = connected.is_some();
        *consumer = connected.flatten();
        return answered;
    };
    match harness.call("poll", POLL, alive.poll(POLL)).await {
        Some(Ok(records)) => {
            accept(alive, &records, seen);
            let is_empty = records.is_empty();
            drop(records);
            is_empty || commit(harness, alive).await
        }
        Some(Err(error)) => {
            harness.poll_error(&error).await;
            if error.is_fatal() {
                harness.violation(Violation::Ended(error.to_string()));
                *consumer = None;
                sleep(PAUSE).await;
            }
            true
        }
        None => false,
    }
}

/// Accepts what a poll has returned; what is said to have come too late comes again.
fn accept(consumer: &ShareConsumer, records: &ShareRecords, seen: &mut Seen) {
    for record in records {
        match number_of(record.value) {
            Some(number) if partition_of(number) == record.partition => {
                seen.numbers.insert(number);
            }
            _ => seen.strange = Some(format!("{record:?}")),
        }
        let _ = consumer.acknowledge(&record, AcknowledgeType::Accept);
    }
}

/// False when it hangs.
async fn commit(harness: &mut Harness, consumer: &mut ShareConsumer) -> bool {
    // Behind a fetch that is under way.
    let bound = REQUEST_TIMEOUT * 2 + Duration::from_millis(500);
    match harness.call("commit", bound, consumer.commit_sync()).await {
        Some(Ok(results)) => {
            // What was not acknowledged comes again.
            for error in results.into_values().filter_map(Result::err) {
                harness.error("commit", &error);
            }
            true
        }
        Some(Err(error)) => {
            harness.error("commit", &error);
            true
        }
        None => false,
    }
}

async fn close(harness: &mut Harness, consumer: ShareConsumer) {
    let closing = consumer.close(REQUEST_TIMEOUT);
    if let Some(Err(error)) = harness.call("close", REQUEST_TIMEOUT, closing).await {
        harness.error("close", &error);
    }
}
