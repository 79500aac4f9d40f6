//! A consumer under a tampering, alone or as a member of a group, and whether it saw every record once and in order.

use std::collections::BTreeMap;
use std::time::Duration;

use pat_events::kafka::{
    Consumer, ConsumerConfig, ErrorKind, GroupProtocol, OffsetReset, Records, StartOffset,
    TopicPartition,
};
use tokio::time::{Instant, sleep};

use super::{MORE, PAUSE, POLL, RECORDS, WRITE_AGAIN, attempt};
use crate::harness::{
    GROUP, HEALING, HEARTBEAT, Harness, PARTITIONS, REQUEST_TIMEOUT, SESSION, TOPIC, Violation,
    number_of, partition_of,
};

/// What a consumer has handed out.
#[derive(Debug, Default)]
struct Seen {
    /// By partition, each record with its offset, in the order of the polls.
    by_partition: BTreeMap<i32, Vec<(i64, u32)>>,
    strange: Option<String>,
}

impl Seen {
    fn take(&mut self, records: &Records) {
        for record in records.iter() {
            match number_of(record.value) {
                Some(number) => self
                    .by_partition
                    .entry(record.partition)
                    .or_default()
                    .push((record.offset, number)),
                None => self.strange = Some(format!("{record:?}")),
            }
        }
    }

    fn has(&self, numbers: std::ops::Range<u32>) -> bool {
        let mut numbers = numbers;
        numbers.all(|number| {
            let seen = self.by_partition.get(&partition_of(number));
            seen.is_some_and(|seen| seen.iter().any(|(_, other)| *other == number))
        })
    }

    fn count(&self) -> usize {
        self.by_partition.values().map(Vec::len).sum()
    }
}

fn all_partitions() -> impl Iterator<Item = TopicPartition> {
    (0..PARTITIONS).map(|partition| TopicPartition::new(TOPIC, partition))
}

/// How a consumer comes by what it reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    Assigned,
    /// As a member of a group that subscribes to this.
    Topics {
        subscription: &'static str,
        protocol: GroupProtocol,
    },
    /// As a member of a group that subscribes to what matches, as the brokers see it.
    BrokerPattern(&'static str),
}

impl Reading {
    pub(super) fn topics(subscription: &'static str, protocol: GroupProtocol) -> Self {
        Self::Topics {
            subscription,
            protocol,
        }
    }

    fn in_group(self) -> bool {
        !matches!(self, Self::Assigned)
    }

    fn protocol(self) -> GroupProtocol {
        match self {
            Self::Assigned => GroupProtocol::Classic,
            Self::Topics { protocol, .. } => protocol,
            Self::BrokerPattern(_) => GroupProtocol::Consumer,
        }
    }
}

pub(super) async fn read(harness: &mut Harness, reading: Reading) {
    let in_group = reading.in_group();
    harness.fill(0..RECORDS);
    let mut config = ConsumerConfig::default();
    config.client = harness.client();
    config.group_id = in_group.then(|| GROUP.to_owned());
    config.auto_offset_reset = OffsetReset::Earliest;
    config.group_protocol = reading.protocol();
    if config.group_protocol != GroupProtocol::Consumer {
        config.session_timeout = SESSION;
        config.heartbeat_interval = HEARTBEAT;
    }
    config.max_poll_interval = Duration::from_secs(8);
    // Several fetches and polls, though there is little.
    config.max_poll_records = 7;
    config.max_partition_fetch_bytes = 300;
    let mut seen = Seen::default();
    // Long enough for some heartbeats, whatever else happens.
    let at_least = if in_group { 4 } else { 2 };
    let mut consumer = None;
    let mut is_subscribed = false;
    while harness.goes_on() {
        if !step(
            harness,
            &config,
            reading,
            &mut consumer,
            &mut is_subscribed,
            &mut seen,
        )
        .await
        {
            break;
        }
        let done = seen.has(0..RECORDS);
        harness.notes.is_done_under_tampering |= done;
        if done && harness.now() > Duration::from_secs(at_least) {
            break;
        }
    }
    if harness.notes.is_done_under_tampering && in_group {
        // The tampering may be about leaving the group.
        if let Some(consumer) = consumer.take() {
            close(harness, consumer).await;
            is_subscribed = false;
        }
    }
    harness.heal();
    let healed_at = Instant::now();
    let mut written = RECORDS;
    let mut next_write = healed_at;
    loop {
        // Again and again: a position that the tampering led astray is set right by what comes after.
        if Instant::now() >= next_write {
            harness.fill(written..written + MORE);
            written += MORE;
            next_write = Instant::now() + WRITE_AGAIN;
        }
        step(
            harness,
            &config,
            reading,
            &mut consumer,
            &mut is_subscribed,
            &mut seen,
        )
        .await;
        if seen.has(written - MORE..written) {
            if !seen.has(0..written) {
                let text = format!("{} of {written} read", seen.count());
                harness.violation(Violation::Lost(text));
            }
            break;
        }
        if healed_at.elapsed() > harness.healing() {
            let last = harness.notes.errors.last();
            let last = last.map(|noted| (noted.at, noted.error.to_string()));
            let text = format!("{} of {written} read; {last:?}", seen.count());
            harness.violation(Violation::NotHealed(text));
            break;
        }
    }
    if let Some(mut consumer) = consumer {
        if in_group {
            commit_at_last(harness, &mut consumer, &mut seen).await;
        }
        close(harness, consumer).await;
    }
    check_read(harness, &seen, in_group);
}

/// One thing after the other: connects, subscribes or assigns, polls, commits. False when it hangs.
async fn step(
    harness: &mut Harness,
    config: &ConsumerConfig,
    reading: Reading,
    consumer: &mut Option<Consumer>,
    is_subscribed: &mut bool,
    seen: &mut Seen,
) -> bool {
    let Some(alive) = consumer else {
        let connecting = Consumer::connect(config.clone());
        let connected = attempt(harness, "connect", connecting).await;
        let answered = connected.is_some();
        *consumer = connected.flatten();
        *is_subscribed = false;
        return answered;
    };
    if !*is_subscribed {
        let starts: Vec<_> = all_partitions()
            .map(|partition| (partition, StartOffset::Earliest))
            .collect();
        let call = match reading.in_group() {
            true => "subscribe",
            false => "assign",
        };
        let beginning = async {
            match reading {
                Reading::Assigned => alive.assign(&starts).await,
                Reading::Topics { subscription, .. } => alive.subscribe(&[subscription]).await,
                Reading::BrokerPattern(pattern) => alive.subscribe_pattern(pattern).await,
            }
        };
        let begun = attempt(harness, call, beginning).await;
        *is_subscribed = begun.is_some_and(|begun| begun.is_some());
        return begun.is_some();
    }
    match harness.call("poll", POLL, alive.poll(POLL)).await {
        Some(Ok(records)) => {
            let is_empty = records.is_empty();
            seen.take(&records);
            drop(records);
            if reading.in_group() && !is_empty {
                commit(harness, alive).await;
            }
        }
        Some(Err(error)) => {
            harness.poll_error(&error).await;
            // What stays with the position is left by a seek, as the documentation has it: to the same place while it may be good again.
            if error.kind() == ErrorKind::CorruptBatch
                && !harness.is_tampering()
                && let (Some(partition), Some(offset)) = (error.partition(), error.failed_offset())
            {
                let _ = alive.seek(partition, offset.max(0));
            }
            if error.is_fatal() {
                harness.violation(Violation::Ended(error.to_string()));
                *consumer = None;
                sleep(PAUSE).await;
            }
        }
        None => return false,
    }
    true
}

async fn commit(harness: &mut Harness, consumer: &Consumer) {
    let positions: Vec<_> = all_partitions()
        .map(|partition| consumer.position(&partition))
        .collect();
    let committing = consumer.commit_sync();
    match harness.call("commit", REQUEST_TIMEOUT, committing).await {
        Some(Ok(())) => {
            for (partition, position) in all_partitions().zip(positions) {
                let committed = harness
                    .broker
                    .committed_offset(GROUP, TOPIC, partition.partition);
                if position.is_some_and(|position| committed.unwrap_or(0) < position) {
                    let text =
                        format!("{partition} is committed at {committed:?}, not {position:?}");
                    harness.violation(Violation::Untrue(text));
                }
            }
        }
        Some(Err(error)) => harness.error("commit", &error),
        None => {}
    }
}

/// After the tampering a commit has to go through, at the latest after the rebalance that it may need.
async fn commit_at_last(harness: &mut Harness, consumer: &mut Consumer, seen: &mut Seen) {
    let until = Instant::now() + HEALING;
    loop {
        let committing = consumer.commit_sync();
        match harness.call("commit", REQUEST_TIMEOUT, committing).await {
            Some(Ok(())) if !consumer.assignment().is_empty() => return,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                harness.error("commit", &error);
                if Instant::now() > until {
                    let text = format!("the commit at the end: {error}");
                    return harness.violation(Violation::NotHealed(text));
                }
            }
            None => return,
        }
        match harness.call("poll", POLL, consumer.poll(POLL)).await {
            Some(Ok(records)) => seen.take(&records),
            Some(Err(error)) => harness.poll_error(&error).await,
            None => return,
        }
        if Instant::now() > until + HEALING {
            let text = "no assignment at the end".to_owned();
            return harness.violation(Violation::NotHealed(text));
        }
    }
}

async fn close(harness: &mut Harness, consumer: Consumer) {
    let closing = consumer.close();
    if let Some(Err(error)) = harness.call("close", REQUEST_TIMEOUT, closing).await {
        harness.error("close", &error);
    }
}

fn check_read(harness: &mut Harness, seen: &Seen, in_group: bool) {
    if let Some(strange) = &seen.strange {
        harness.violation(Violation::Untrue(format!("never written: {strange}")));
    }
    for (partition, records) in &seen.by_partition {
        let mut next: Option<u32> = None;
        for (offset, number) in records {
            let expected = number / PARTITIONS as u32;
            if i64::from(expected) != *offset || partition_of(*number) != *partition {
                let text = format!("{number} at {partition}@{offset}");
                harness.violation(Violation::Untrue(text));
            }
            match next {
                Some(next) if *number < next && !in_group => {
                    harness.violation(Violation::Doubled(format!("{number} after {next}")));
                }
                Some(next) if *number > next => {
                    harness.violation(Violation::Lost(format!("{number} came instead of {next}")));
                }
                None if *number != *partition as u32 => {
                    harness.violation(Violation::Lost(format!("{number} came first")));
                }
                _ => {}
            }
            next = Some(number + PARTITIONS as u32);
        }
    }
}
