//! What clients do under a lie: little, but of everything. Each workload works for a while under the lie, then the lie ends, and then
//! everything has to work. In: a scene. Out: its notes.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use pat_events::kafka::{
    Acks, Admin, Consumer, ConsumerConfig, Delivery, Error, ErrorKind, NewTopic, OffsetReset,
    Producer, ProducerConfig, Record, Records, Result, StartOffset, TopicPartition, WriteOutcome,
};
use protocol::ErrorCode;
use tokio::time::{Instant, sleep};

use crate::scene::{
    GROUP, HEALING, LYING, PARTITIONS, REQUEST_TIMEOUT, Scene, TOPIC, Violation, number_of,
    partition_of,
};
use crate::typed;

/// How many records there are while the lie is told.
pub const RECORDS: u32 = 30;
/// And after it.
pub const MORE: u32 = 3;
const BLOCK: Duration = Duration::from_secs(4);
const DELIVERY: Duration = Duration::from_secs(6);
const SESSION: Duration = Duration::from_secs(6);
const POLL: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(100);
/// How long after the lie something new is written again, for readers.
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
            Workload::Typed => "typed",
            Workload::Admin => "admin",
        })
    }
}

impl Workload {
    pub const ALL: [Workload; 6] = [
        Workload::Producer,
        Workload::Plain,
        Workload::Reader,
        Workload::Member,
        Workload::Typed,
        Workload::Admin,
    ];

    pub async fn run(self, scene: &mut Scene) {
        match self {
            Workload::Producer => produce(scene, true).await,
            Workload::Plain => produce(scene, false).await,
            Workload::Reader => read(scene, false).await,
            Workload::Member => read(scene, true).await,
            Workload::Typed => typed::handle(scene).await,
            Workload::Admin => administer(scene).await,
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

async fn produce(scene: &mut Scene, idempotence: bool) {
    let config = ProducerConfig {
        client: scene.client(),
        acks: if idempotence { Acks::All } else { Acks::Leader },
        idempotence: Some(idempotence),
        delivery_timeout: DELIVERY,
        max_block: BLOCK,
        ..ProducerConfig::default()
    };
    let mut sent = Sent::default();
    let mut producer = connect(scene, BLOCK, || Producer::connect(config.clone())).await;
    if let Some(producer) = &producer {
        for first in [0, RECORDS / 2] {
            send(scene, producer, first..first + RECORDS / 2, &mut sent).await;
        }
        let all = (0..RECORDS).all(|number| sent.fates.get(&number) == Some(&Fate::Written));
        scene.notes.is_done_under_lie = all;
    }
    scene.heal();
    let healed_at = Instant::now();
    loop {
        if producer.is_none() {
            producer = connect(scene, BLOCK, || Producer::connect(config.clone())).await;
        }
        if let Some(alive) = &producer {
            sent.last_error = None;
            send(scene, alive, RECORDS..RECORDS + MORE, &mut sent).await;
            match &sent.last_error {
                None => break,
                Some(error) if error.is_fatal() => {
                    scene.violation(Violation::Ended(error.to_string()));
                    producer = None;
                }
                // What failed for good is sent again by the application, which this is.
                Some(_) => {}
            }
        }
        if healed_at.elapsed() > scene.healing() {
            let last = scene.notes.errors.last();
            let why = format!("{:?}", last.map(|noted| noted.error.to_string()));
            scene.violation(Violation::NotHealed(why));
            break;
        }
        sleep(PAUSE).await;
    }
    if let Some(producer) = producer {
        // The failures among the records are known.
        let _ = scene
            .call("flush", DELIVERY + REQUEST_TIMEOUT, producer.flush())
            .await;
        let _ = scene
            .call("close", REQUEST_TIMEOUT, producer.close(REQUEST_TIMEOUT))
            .await;
    }
    check_log(scene, &sent, idempotence);
}

/// Enqueues these numbers and waits for what becomes of them. Those that were written before are not sent again.
async fn send(
    scene: &mut Scene,
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
        match scene.call("enqueue", BLOCK, producer.enqueue(record)).await {
            Some(Ok(delivery)) => deliveries.push((number, Instant::now(), delivery)),
            Some(Err(error)) => {
                scene.error("enqueue", &error);
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
        let fate = match scene.call_by("delivery", deadline, delivery).await {
            Some(Ok(_)) => Fate::Written,
            Some(Err(error)) => {
                scene.error("delivery", &error);
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

fn check_log(scene: &mut Scene, sent: &Sent, idempotence: bool) {
    for partition in 0..PARTITIONS {
        let logged = scene.logged(partition);
        let mut seen: Vec<u32> = Vec::new();
        for number in &logged {
            match seen.contains(number) {
                false => {
                    if seen.last().is_some_and(|last| last > number) {
                        scene.violation(Violation::Reordered(format!("{number} in {logged:?}")));
                    }
                    seen.push(*number);
                }
                // Sent a second time by the application, or by a producer that may.
                true if !idempotence || sent.fates.get(number) == Some(&Fate::Unknown) => {}
                true => {
                    scene.violation(Violation::Doubled(format!("{number} in {logged:?}")));
                }
            }
        }
        for (number, fate) in &sent.fates {
            if partition_of(*number) != partition {
                continue;
            }
            match fate {
                Fate::Written if !seen.contains(number) => {
                    scene.violation(Violation::Lost(format!("{number} is not in {logged:?}")));
                }
                Fate::NotWritten if seen.contains(number) => {
                    let text = format!("{number} was said not to be written, and is in {logged:?}");
                    scene.violation(Violation::Untrue(text));
                }
                _ => {}
            }
        }
    }
}

/// Connects, again and again while the lie is told; after it, for as long as healing may take.
async fn connect<T, F>(scene: &mut Scene, bound: Duration, connect: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T>>,
{
    let until = Instant::now()
        + if scene.is_lying() {
            LYING
        } else {
            scene.healing()
        };
    loop {
        match scene.call("connect", bound, connect()).await? {
            Ok(client) => return Some(client),
            Err(error) => scene.error("connect", &error),
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

async fn read(scene: &mut Scene, in_group: bool) {
    scene.fill(0..RECORDS);
    let config = ConsumerConfig {
        client: scene.client(),
        group_id: in_group.then(|| GROUP.to_owned()),
        auto_offset_reset: OffsetReset::Earliest,
        session_timeout: SESSION,
        heartbeat_interval: Duration::from_millis(500),
        max_poll_interval: Duration::from_secs(8),
        // Several fetches and polls, though there is little.
        max_poll_records: 7,
        max_partition_fetch_bytes: 300,
        ..ConsumerConfig::default()
    };
    let mut seen = Seen::default();
    // Long enough for some heartbeats, whatever else happens.
    let at_least = if in_group { 4 } else { 2 };
    let mut consumer = None;
    let mut is_subscribed = false;
    while scene.goes_on() {
        if !step(scene, &config, &mut consumer, &mut is_subscribed, &mut seen).await {
            break;
        }
        let done = seen.has(0..RECORDS);
        scene.notes.is_done_under_lie |= done;
        if done && scene.now() > Duration::from_secs(at_least) {
            break;
        }
    }
    if scene.notes.is_done_under_lie && in_group {
        // The lie may be about leaving the group.
        if let Some(consumer) = consumer.take() {
            close(scene, consumer).await;
            is_subscribed = false;
        }
    }
    scene.heal();
    let healed_at = Instant::now();
    let mut written = RECORDS;
    let mut next_write = healed_at;
    loop {
        // Again and again: a position that the lie led astray is set right by what comes after.
        if Instant::now() >= next_write {
            scene.fill(written..written + MORE);
            written += MORE;
            next_write = Instant::now() + WRITE_AGAIN;
        }
        step(scene, &config, &mut consumer, &mut is_subscribed, &mut seen).await;
        if seen.has(written - MORE..written) {
            if !seen.has(0..written) {
                let text = format!("{} of {written} read", seen.count());
                scene.violation(Violation::Lost(text));
            }
            break;
        }
        if healed_at.elapsed() > scene.healing() {
            let last = scene.notes.errors.last();
            let last = last.map(|noted| (noted.at, noted.error.to_string()));
            let text = format!("{} of {written} read; {last:?}", seen.count());
            scene.violation(Violation::NotHealed(text));
            break;
        }
    }
    if let Some(mut consumer) = consumer {
        if in_group {
            commit_at_last(scene, &mut consumer, &mut seen).await;
        }
        close(scene, consumer).await;
    }
    check_read(scene, &seen, in_group);
}

/// One thing after the other: connects, subscribes or assigns, polls, commits. False when it hangs.
async fn step(
    scene: &mut Scene,
    config: &ConsumerConfig,
    consumer: &mut Option<Consumer>,
    is_subscribed: &mut bool,
    seen: &mut Seen,
) -> bool {
    let in_group = config.group_id.is_some();
    let Some(alive) = consumer else {
        let connecting = Consumer::connect(config.clone());
        match scene.call("connect", REQUEST_TIMEOUT, connecting).await {
            Some(Ok(connected)) => *consumer = Some(connected),
            Some(Err(error)) => {
                scene.error("connect", &error);
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
        let result = if in_group {
            let subscribing = alive.subscribe(&[TOPIC]);
            scene.call("subscribe", REQUEST_TIMEOUT, subscribing).await
        } else {
            let assigning = alive.assign(&starts);
            scene.call("assign", REQUEST_TIMEOUT, assigning).await
        };
        match result {
            Some(Ok(())) => *is_subscribed = true,
            Some(Err(error)) => {
                scene.error(if in_group { "subscribe" } else { "assign" }, &error);
                sleep(PAUSE).await;
            }
            None => return false,
        }
        return true;
    }
    match scene.call("poll", POLL, alive.poll(POLL)).await {
        Some(Ok(records)) => {
            let is_empty = records.is_empty();
            seen.take(&records);
            drop(records);
            if in_group && !is_empty {
                commit(scene, alive).await;
            }
        }
        Some(Err(error)) => {
            scene.poll_error(&error).await;
            // What stays with the position is left by a seek, as the documentation has it: to the same place while it may be good again.
            if error.kind() == ErrorKind::CorruptBatch
                && !scene.is_lying()
                && let (Some(partition), Some(offset)) = (error.partition(), error.failed_offset())
            {
                let _ = alive.seek(partition, offset.max(0));
            }
            if error.is_fatal() {
                scene.violation(Violation::Ended(error.to_string()));
                *consumer = None;
                sleep(PAUSE).await;
            }
        }
        None => return false,
    }
    true
}

async fn commit(scene: &mut Scene, consumer: &Consumer) {
    let positions: Vec<_> = all_partitions()
        .map(|partition| consumer.position(&partition))
        .collect();
    let committing = consumer.commit_sync();
    match scene.call("commit", REQUEST_TIMEOUT, committing).await {
        Some(Ok(())) => {
            for (partition, position) in all_partitions().zip(positions) {
                let committed = scene
                    .broker
                    .committed_offset(GROUP, TOPIC, partition.partition);
                if position.is_some_and(|position| committed.unwrap_or(0) < position) {
                    let text =
                        format!("{partition} is committed at {committed:?}, not {position:?}");
                    scene.violation(Violation::Untrue(text));
                }
            }
        }
        Some(Err(error)) => scene.error("commit", &error),
        None => {}
    }
}

/// After the lie a commit has to go through, at the latest after the rebalance that it may need.
async fn commit_at_last(scene: &mut Scene, consumer: &mut Consumer, seen: &mut Seen) {
    let until = Instant::now() + HEALING;
    loop {
        let committing = consumer.commit_sync();
        match scene.call("commit", REQUEST_TIMEOUT, committing).await {
            Some(Ok(())) if !consumer.assignment().is_empty() => return,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                scene.error("commit", &error);
                if Instant::now() > until {
                    let text = format!("the commit at the end: {error}");
                    return scene.violation(Violation::NotHealed(text));
                }
            }
            None => return,
        }
        match scene.call("poll", POLL, consumer.poll(POLL)).await {
            Some(Ok(records)) => seen.take(&records),
            Some(Err(error)) => scene.poll_error(&error).await,
            None => return,
        }
        if Instant::now() > until + HEALING {
            let text = "no assignment at the end".to_owned();
            return scene.violation(Violation::NotHealed(text));
        }
    }
}

async fn close(scene: &mut Scene, consumer: Consumer) {
    let closing = consumer.close();
    if let Some(Err(error)) = scene.call("close", REQUEST_TIMEOUT, closing).await {
        scene.error("close", &error);
    }
}

fn check_read(scene: &mut Scene, seen: &Seen, in_group: bool) {
    if let Some(strange) = &seen.strange {
        scene.violation(Violation::Untrue(format!("never written: {strange}")));
    }
    for (partition, records) in &seen.by_partition {
        let mut next: Option<u32> = None;
        for (offset, number) in records {
            let expected = number / PARTITIONS as u32;
            if i64::from(expected) != *offset || partition_of(*number) != *partition {
                let text = format!("{number} at {partition}@{offset}");
                scene.violation(Violation::Untrue(text));
            }
            match next {
                Some(next) if *number < next && !in_group => {
                    scene.violation(Violation::Doubled(format!("{number} after {next}")));
                }
                Some(next) if *number > next => {
                    scene.violation(Violation::Lost(format!("{number} came instead of {next}")));
                }
                None if *number != *partition as u32 => {
                    scene.violation(Violation::Lost(format!("{number} came first")));
                }
                _ => {}
            }
            next = Some(number + PARTITIONS as u32);
        }
    }
}

async fn administer(scene: &mut Scene) {
    let config = scene.client();
    let mut admin = connect(scene, REQUEST_TIMEOUT, || Admin::connect(config.clone())).await;
    let mut rounds = 0;
    while let Some(admin) = &admin {
        let is_done = administer_once(scene, admin).await;
        scene.notes.is_done_under_lie |= is_done;
        rounds += 1;
        // Once more, since something may be repeated.
        if !scene.goes_on() || (is_done && rounds > 1) || rounds > 6 {
            break;
        }
        sleep(PAUSE).await;
    }
    scene.heal();
    let healed_at = Instant::now();
    loop {
        if admin.is_none() {
            admin = connect(scene, REQUEST_TIMEOUT, || Admin::connect(config.clone())).await;
        }
        if let Some(admin) = &admin
            && administer_once(scene, admin).await
        {
            break;
        }
        if healed_at.elapsed() > scene.healing() {
            let last = scene.notes.errors.last();
            let why = format!("{:?}", last.map(|noted| noted.error.to_string()));
            scene.violation(Violation::NotHealed(why));
            break;
        }
        sleep(PAUSE).await;
    }
}

/// Whether everything that an administrator does once worked.
async fn administer_once(scene: &mut Scene, admin: &Admin) -> bool {
    let mut failures = 0;
    let bound = REQUEST_TIMEOUT;
    let new = [NewTopic::new("new", 1), NewTopic::new("newer", 2)];
    let created = scene.call("create", bound, admin.create_topics(&new)).await;
    failures += note(
        scene,
        "create",
        created.map(flat),
        &[ErrorCode::TOPIC_ALREADY_EXISTS],
    );
    let names = [TOPIC, "new"];
    let described = scene
        .call("describe", bound, admin.describe_topics(&names))
        .await;
    if let Some(Ok(described)) = &described
        && !scene.is_lying()
    {
        let wrong = described.iter().zip(names).find(|(topic, name)| {
            topic.as_ref().is_ok_and(|topic| {
                topic.name != *name || (*name == TOPIC && topic.partitions.len() != 3)
            })
        });
        if let Some((topic, name)) = wrong {
            let text = format!("{name} is described as {topic:?}");
            scene.violation(Violation::Untrue(text));
        }
    }
    failures += note(scene, "describe", described.map(flat), &[]);
    let listed = scene.call("list", bound, admin.list_topics()).await;
    failures += note(
        scene,
        "list",
        listed.map(|listed| vec![listed.map(drop)]),
        &[],
    );
    let deleted = scene
        .call("delete", bound, admin.delete_topics(&["new", "newer"]))
        .await;
    let gone = [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION];
    failures += note(scene, "delete", deleted.map(flat), &gone);
    let cluster = scene.call("cluster", bound, admin.describe_cluster()).await;
    failures += note(
        scene,
        "cluster",
        cluster.map(|cluster| vec![cluster.map(drop)]),
        &[],
    );
    let versions = scene.call("versions", bound, admin.api_versions(1)).await;
    failures += note(
        scene,
        "versions",
        versions.map(|versions| vec![versions.map(drop)]),
        &[],
    );
    failures == 0
}

fn flat<T>(results: Result<Vec<Result<T>>>) -> Vec<Result<()>> {
    match results {
        Ok(results) => results.into_iter().map(|result| result.map(drop)).collect(),
        Err(error) => vec![Err(error)],
    }
}

/// Notes the errors; says how many there are but for those that a repetition may bring.
fn note(
    scene: &mut Scene,
    call: &'static str,
    results: Option<Vec<Result<()>>>,
    but: &[ErrorCode],
) -> usize {
    let Some(results) = results else { return 1 };
    let mut failures = 0;
    for error in results.into_iter().filter_map(Result::err) {
        let is_expected = |code: &ErrorCode| error.server_error() == Some((*code).into());
        if !but.iter().any(is_expected) {
            failures += 1;
            scene.error(call, &error);
        }
    }
    failures
}
