//! What clients do under a tampering: little, but of everything. Each workload works for a while under the tampering, then the tampering ends, and then
//! everything has to work. In: a harness. Out: its notes.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use pat_events::kafka::{
    Acks, Admin, Consumer, ConsumerConfig, Delivery, Error, ErrorKind, NewTopic, OffsetReset,
    Producer, ProducerConfig, Record, Records, Result, StartOffset, TopicPartition, WriteOutcome,
};
use protocol::ErrorCode;
use tokio::time::{Instant, sleep};

use crate::harness::{
    GROUP, HEALING, Harness, PARTITIONS, REQUEST_TIMEOUT, TAMPERING, TOPIC, Violation, number_of,
    partition_of,
};
use crate::typed;

/// How many records there are while the tampering lasts.
pub const RECORDS: u32 = 30;
/// And after it.
pub const MORE: u32 = 3;
const BLOCK: Duration = Duration::from_secs(4);
const DELIVERY: Duration = Duration::from_secs(6);
const SESSION: Duration = Duration::from_secs(6);
const POLL: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(100);
/// How long after the tampering something new is written again, for readers.
pub const WRITE_AGAIN: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// An idempotent producer.
    Producer,
    /// A producer without idempotence.
    Plain,
    /// A consumer by assignment.
    Reader,
    /// A consumer in a group, with commits.
    Member,
    /// The same, subscribed to a pattern: it asks for the list of all topics.
    Pattern,
    /// A consumer of typed events.
    Typed,
    Admin,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Workload::Producer => "producer",
            Workload::Plain => "plain-producer",
            Workload::Reader => "reader",
            Workload::Member => "member",
            Workload::Pattern => "pattern",
            Workload::Typed => "typed",
            Workload::Admin => "admin",
        })
    }
}

impl Workload {
    pub const ALL: [Workload; 7] = [
        Workload::Producer,
        Workload::Plain,
        Workload::Reader,
        Workload::Member,
        Workload::Pattern,
        Workload::Typed,
        Workload::Admin,
    ];

    pub async fn run(self, harness: &mut Harness) {
        match self {
            Workload::Producer => produce(harness, true).await,
            Workload::Plain => produce(harness, false).await,
            Workload::Reader => read(harness, None).await,
            Workload::Member => read(harness, Some(TOPIC)).await,
            Workload::Pattern => read(harness, Some("^t$")).await,
            Workload::Typed => typed::handle(harness).await,
            Workload::Admin => administer(harness).await,
        }
    }
}

/// What became of a number that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Written,
    NotWritten,
    Unknown,
}

/// What a producer has been told.
#[derive(Debug, Default)]
struct Sent {
    fates: BTreeMap<u32, Fate>,
    last_error: Option<Error>,
}

async fn produce(harness: &mut Harness, idempotence: bool) {
    let mut config = ProducerConfig::default();
    config.client = harness.client();
    config.acks = if idempotence { Acks::All } else { Acks::Leader };
    config.idempotence = Some(idempotence);
    config.delivery_timeout = DELIVERY;
    config.max_block = BLOCK;
    let mut sent = Sent::default();
    let mut producer = connect(harness, BLOCK, || Producer::connect(config.clone())).await;
    if let Some(producer) = &producer {
        for first in [0, RECORDS / 2] {
            send(harness, producer, first..first + RECORDS / 2, &mut sent).await;
        }
        let all = (0..RECORDS).all(|number| sent.fates.get(&number) == Some(&Fate::Written));
        harness.notes.is_done_under_tampering = all;
    }
    harness.heal();
    let healed_at = Instant::now();
    loop {
        if producer.is_none() {
            producer = connect(harness, BLOCK, || Producer::connect(config.clone())).await;
        }
        if let Some(alive) = &producer {
            sent.last_error = None;
            send(harness, alive, RECORDS..RECORDS + MORE, &mut sent).await;
            match &sent.last_error {
                None => break,
                Some(error) if error.is_fatal() => {
                    harness.violation(Violation::Ended(error.to_string()));
                    producer = None;
                }
                // What failed for good is sent again by the application, which this is.
                Some(_) => {}
            }
        }
        if healed_at.elapsed() > harness.healing() {
            let last = harness.notes.errors.last();
            let why = format!("{:?}", last.map(|noted| noted.error.to_string()));
            harness.violation(Violation::NotHealed(why));
            break;
        }
        sleep(PAUSE).await;
    }
    if let Some(producer) = producer {
        // The failures among the records are known.
        let _ = harness
            .call("flush", DELIVERY + REQUEST_TIMEOUT, producer.flush())
            .await;
        let _ = harness
            .call("close", REQUEST_TIMEOUT, producer.close(REQUEST_TIMEOUT))
            .await;
    }
    check_log(harness, &sent, idempotence);
}

/// Enqueues these numbers and waits for what becomes of them. Those that were written before are not sent again.
async fn send(
    harness: &mut Harness,
    producer: &Producer,
    numbers: std::ops::Range<u32>,
    sent: &mut Sent,
) {
    let mut deliveries: Vec<(u32, Instant, Delivery)> = Vec::new();
    for number in numbers {
        if sent.fates.get(&number) == Some(&Fate::Written) {
            continue;
        }
        let value = number.to_be_bytes();
        let record = Record::new(TOPIC)
            .partition(partition_of(number))
            .value(&value);
        match harness
            .call("enqueue", BLOCK, producer.enqueue(record))
            .await
        {
            Some(Ok(delivery)) => deliveries.push((number, Instant::now(), delivery)),
            Some(Err(error)) => {
                harness.error("enqueue", &error);
                sent.last_error = Some(error);
                break;
            }
            None => break,
        }
    }
    for (number, enqueued_at, delivery) in deliveries {
        // What is in flight at the end is awaited.
        let deadline = enqueued_at + DELIVERY + REQUEST_TIMEOUT;
        let before = sent.fates.get(&number).copied();
        let fate = match harness.call_by("delivery", deadline, delivery).await {
            Some(Ok(_)) => Fate::Written,
            Some(Err(error)) => {
                harness.error("delivery", &error);
                let fate = match error.outcome() {
                    WriteOutcome::NotWritten => Fate::NotWritten,
                    WriteOutcome::Unknown => Fate::Unknown,
                    WriteOutcome::Written => Fate::Written,
                };
                sent.last_error = Some(error);
                fate
            }
            None => Fate::Unknown,
        };
        // A number that may have been written before may now be there twice.
        let fate = match (before, fate) {
            (Some(Fate::Unknown), _) => Fate::Unknown,
            (_, fate) => fate,
        };
        sent.fates.insert(number, fate);
    }
}

fn check_log(harness: &mut Harness, sent: &Sent, idempotence: bool) {
    for partition in 0..PARTITIONS {
        let logged = harness.logged(partition);
        let mut seen: Vec<u32> = Vec::new();
        for number in &logged {
            match seen.contains(number) {
                false => {
                    if seen.last().is_some_and(|last| last > number) {
                        harness.violation(Violation::Reordered(format!("{number} in {logged:?}")));
                    }
                    seen.push(*number);
                }
                // Sent a second time by the application, or by a producer that may.
                true if !idempotence || sent.fates.get(number) == Some(&Fate::Unknown) => {}
                true => {
                    harness.violation(Violation::Doubled(format!("{number} in {logged:?}")));
                }
            }
        }
        for (number, fate) in &sent.fates {
            if partition_of(*number) != partition {
                continue;
            }
            match fate {
                Fate::Written if !seen.contains(number) => {
                    harness.violation(Violation::Lost(format!("{number} is not in {logged:?}")));
                }
                Fate::NotWritten if seen.contains(number) => {
                    let text = format!("{number} was said not to be written, and is in {logged:?}");
                    harness.violation(Violation::Untrue(text));
                }
                _ => {}
            }
        }
    }
}

/// Connects, again and again while the tampering lasts; after it, for as long as healing may take.
async fn connect<T, F>(harness: &mut Harness, bound: Duration, connect: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T>>,
{
    let until = Instant::now()
        + if harness.is_tampering() {
            TAMPERING
        } else {
            harness.healing()
        };
    loop {
        match harness.call("connect", bound, connect()).await? {
            Ok(client) => return Some(client),
            Err(error) => harness.error("connect", &error),
        }
        if Instant::now() >= until {
            return None;
        }
        sleep(PAUSE).await;
    }
}

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

/// As a member of a group with this subscription, or by assignment.
async fn read(harness: &mut Harness, subscription: Option<&str>) {
    let in_group = subscription.is_some();
    harness.fill(0..RECORDS);
    let mut config = ConsumerConfig::default();
    config.client = harness.client();
    config.group_id = in_group.then(|| GROUP.to_owned());
    config.auto_offset_reset = OffsetReset::Earliest;
    config.session_timeout = SESSION;
    config.heartbeat_interval = Duration::from_millis(500);
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
            subscription,
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
            subscription,
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
    subscription: Option<&str>,
    consumer: &mut Option<Consumer>,
    is_subscribed: &mut bool,
    seen: &mut Seen,
) -> bool {
    let Some(alive) = consumer else {
        let connecting = Consumer::connect(config.clone());
        match harness.call("connect", REQUEST_TIMEOUT, connecting).await {
            Some(Ok(connected)) => *consumer = Some(connected),
            Some(Err(error)) => {
                harness.error("connect", &error);
                sleep(PAUSE).await;
            }
            None => return false,
        }
        *is_subscribed = false;
        return true;
    };
    if !*is_subscribed {
        let starts: Vec<_> = all_partitions()
            .map(|partition| (partition, StartOffset::Earliest))
            .collect();
        let result = if let Some(subscription) = subscription {
            let topics = [subscription];
            let subscribing = alive.subscribe(&topics);
            harness
                .call("subscribe", REQUEST_TIMEOUT, subscribing)
                .await
        } else {
            let assigning = alive.assign(&starts);
            harness.call("assign", REQUEST_TIMEOUT, assigning).await
        };
        match result {
            Some(Ok(())) => *is_subscribed = true,
            Some(Err(error)) => {
                harness.error(subscription.map_or("assign", |_| "subscribe"), &error);
                sleep(PAUSE).await;
            }
            None => return false,
        }
        return true;
    }
    match harness.call("poll", POLL, alive.poll(POLL)).await {
        Some(Ok(records)) => {
            let is_empty = records.is_empty();
            seen.take(&records);
            drop(records);
            if subscription.is_some() && !is_empty {
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

async fn administer(harness: &mut Harness) {
    let config = harness.client();
    let mut admin = connect(harness, REQUEST_TIMEOUT, || Admin::connect(config.clone())).await;
    let mut rounds = 0;
    while let Some(admin) = &admin {
        let is_done = administer_once(harness, admin).await;
        harness.notes.is_done_under_tampering |= is_done;
        rounds += 1;
        // Once more, since something may be repeated.
        if !harness.goes_on() || (is_done && rounds > 1) || rounds > 6 {
            break;
        }
        sleep(PAUSE).await;
    }
    harness.heal();
    let healed_at = Instant::now();
    loop {
        if admin.is_none() {
            admin = connect(harness, REQUEST_TIMEOUT, || Admin::connect(config.clone())).await;
        }
        if let Some(admin) = &admin
            && administer_once(harness, admin).await
        {
            break;
        }
        if healed_at.elapsed() > harness.healing() {
            let last = harness.notes.errors.last();
            let why = format!("{:?}", last.map(|noted| noted.error.to_string()));
            harness.violation(Violation::NotHealed(why));
            break;
        }
        sleep(PAUSE).await;
    }
}

/// Whether everything that an administrator does once worked.
async fn administer_once(harness: &mut Harness, admin: &Admin) -> bool {
    let mut failures = 0;
    let bound = REQUEST_TIMEOUT;
    let new = [NewTopic::new("new", 1), NewTopic::new("newer", 2)];
    let created = harness
        .call("create", bound, admin.create_topics(&new))
        .await;
    failures += note(
        harness,
        "create",
        created.map(flat),
        &[ErrorCode::TOPIC_ALREADY_EXISTS],
    );
    let names = [TOPIC, "new"];
    let described = harness
        .call("describe", bound, admin.describe_topics(&names))
        .await;
    if let Some(Ok(described)) = &described
        && !harness.is_tampering()
    {
        let wrong = described.iter().find(|(name, topic)| {
            topic.as_ref().is_ok_and(|topic| {
                topic.name != **name || (*name == TOPIC && topic.partitions.len() != 3)
            })
        });
        if let Some((name, topic)) = wrong {
            let text = format!("{name} is described as {topic:?}");
            harness.violation(Violation::Untrue(text));
        }
    }
    failures += note(harness, "describe", described.map(flat), &[]);
    let listed = harness.call("list", bound, admin.list_topics()).await;
    failures += note(
        harness,
        "list",
        listed.map(|listed| vec![listed.map(drop)]),
        &[],
    );
    let deleted = harness
        .call("delete", bound, admin.delete_topics(&["new", "newer"]))
        .await;
    let gone = [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION];
    failures += note(harness, "delete", deleted.map(flat), &gone);
    let cluster = harness
        .call("cluster", bound, admin.describe_cluster())
        .await;
    failures += note(
        harness,
        "cluster",
        cluster.map(|cluster| vec![cluster.map(drop)]),
        &[],
    );
    let versions = harness.call("versions", bound, admin.api_versions(1)).await;
    failures += note(
        harness,
        "versions",
        versions.map(|versions| vec![versions.map(drop)]),
        &[],
    );
    failures == 0
}

fn flat<T>(results: Result<BTreeMap<String, Result<T>>>) -> Vec<Result<()>> {
    match results {
        Ok(results) => results
            .into_values()
            .map(|result| result.map(drop))
            .collect(),
        Err(error) => vec![Err(error)],
    }
}

/// Notes the errors; says how many there are but for those that a repetition may bring.
fn note(
    harness: &mut Harness,
    call: &'static str,
    results: Option<Vec<Result<()>>>,
    but: &[ErrorCode],
) -> usize {
    let Some(results) = results else { return 1 };
    let mut failures = 0;
    for error in results.into_iter().filter_map(Result::err) {
        let is_expected = |code: &ErrorCode| error.server_error() == Some(*code);
        if !but.iter().any(is_expected) {
            failures += 1;
            harness.error(call, &error);
        }
    }
    failures
}
