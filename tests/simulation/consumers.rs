//! The readers of a run: one that reads every partition from its start, by itself, and now and then anew from somewhere before; and a group
//! whose members come, commit, and go, some in good order and some as if the machine had died. All of them pause and resume partitions.
//! Members do not seek: what they would go back over, their commits would, too. The group may be one of typed consumers instead
//! (`handlers`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pat_events::kafka::consumer::{Consumer, ConsumerHandle, RebalanceListener};
use pat_events::kafka::{
    ConsumerConfig, Error, ErrorKind, GroupProtocol, OffsetReset, Records, StartOffset,
    TopicPartition,
};
use protocol::ErrorCode;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::handlers;
use crate::harness::{GROUPS, Harness, TOPIC};
use crate::history::{Event, Group, History, Id, Incarnation, Recorder};
use crate::plan::Scenario;
use crate::rng::Rng;
use crate::sharing::FIRST_SHARING;

/// The reader that is in no group.
pub const ALONE: u32 = 1_000;
/// Members of the group count from here; a hundred for each slot.
const FIRST_MEMBER: u32 = 2_000;
/// As do typed ones.
pub const FIRST_TYPED: u32 = 4_000;

/// How often a reader that waits for its end looks around.
const LOOK: Duration = Duration::from_millis(500);

/// Who must have read everything: the lone reader by itself, the members together.
pub fn groups(history: &History) -> Vec<Vec<u32>> {
    let readers: BTreeSet<u32> = history
        .events
        .iter()
        .filter_map(|event| match *event {
            Event::Starts { reader } => Some(reader),
            _ => None,
        })
        .collect();
    let (members, typed): (Vec<u32>, Vec<u32>) = readers
        .into_iter()
        .filter(|reader| (FIRST_MEMBER..FIRST_SHARING).contains(reader))
        .partition(|reader| *reader < FIRST_TYPED);
    [vec![ALONE], members, typed]
        .into_iter()
        .filter(|group| !group.is_empty())
        .collect()
}

/// The readers at work.
pub struct Readers {
    tasks: Vec<JoinHandle<()>>,
    typed: Vec<JoinHandle<()>>,
    slots: u32,
}

/// What has been read so far, of the notes that were looked at.
#[derive(Default)]
pub struct Progress {
    typed: bool,
    looked_at: usize,
    alone: BTreeSet<(i32, i64, Id)>,
    group: BTreeSet<(i32, i64, Id)>,
}

impl Progress {
    /// Whether the lone reader and the group have each read the whole log.
    pub fn have_read(&mut self, recorder: &Recorder, log: &[(Incarnation, i32, i64, Id)]) -> bool {
        let Self {
            typed,
            looked_at,
            alone,
            group,
        } = self;
        *looked_at = recorder.read(*looked_at, |event| match *event {
            Event::Polled {
                reader,
                partition,
                offset,
                id,
            } => {
                let read = if reader == ALONE {
                    &mut *alone
                } else {
                    &mut *group
                };
                read.insert((partition, offset, id));
            }
            Event::Ends {
                partition,
                offset,
                id,
                ..
            }
            | Event::Dead {
                partition,
                offset,
                id,
            } if *typed => {
                group.insert((partition, offset, id));
            }
            _ => {}
        });
        log.iter().all(|(_, partition, offset, id)| {
            let record = (*partition, *offset, *id);
            alone.contains(&record) && group.contains(&record)
        })
    }
}

impl Readers {
    pub fn start(harness: &Harness, rng: &Rng) -> Self {
        let mut tasks = Vec::new();
        let alone = rng.fork();
        if harness.plan.others {
            tasks.push(tokio::spawn(read_alone(harness.clone(), alone)));
        }
        let mut typed = Vec::new();
        let slots = rng.between(1, 3) as u32;
        for slot in 0..slots {
            let rng = rng.fork();
            if !harness.plan.others {
                continue;
            }
            if harness.plan.typed {
                typed.push(handlers::run_slot(
                    harness.clone(),
                    FIRST_TYPED + 100 * slot,
                    rng,
                ));
            } else {
                tasks.push(tokio::spawn(run_slot(
                    harness.clone(),
                    FIRST_MEMBER + 100 * slot,
                    rng,
                )));
            }
        }
        Self {
            tasks,
            typed,
            slots,
        }
    }

    /// Waits until the group has a position in every partition, and stands still; false when it never has.
    pub async fn have_begun(&self, harness: &Harness) -> bool {
        let (_, name) = GROUPS[usize::from(harness.plan.typed)];
        let deadline = Instant::now() + Duration::from_secs(400);
        while Instant::now() < deadline {
            sleep(LOOK).await;
            let begun = (0..harness.partitions()).all(|partition| {
                harness
                    .broker
                    .committed_offset(name, TOPIC, partition)
                    .is_some()
            });
            if begun {
                // Those who are in a rebalance that does not change that are done with it.
                sleep(Duration::from_secs(5 * u64::from(self.slots))).await;
                return true;
            }
        }
        false
    }

    pub fn progress(&self) -> Progress {
        Progress {
            typed: !self.typed.is_empty(),
            ..Progress::default()
        }
    }

    /// Stops those who are polled, at once, and lets those who are typed stop in good order.
    pub async fn stop(self) -> Result<(), String> {
        for task in self.tasks {
            task.abort();
            // It was told to stop: that is all its result can say.
            let _ = task.await;
        }
        for task in self.typed {
            task.abort();
            // As above.
            let _ = task.await;
        }
        Ok(())
    }
}

fn config(harness: &Harness, reader: u32, rng: &Rng) -> ConsumerConfig {
    let (_, group) = GROUPS[0];
    let plan = &harness.plan;
    let mut config = ConsumerConfig::new("", group);
    config.client = harness.client(reader);
    config.auto_offset_reset = match plan.latest {
        true => OffsetReset::Latest,
        false => OffsetReset::Earliest,
    };
    config.max_poll_interval = plan.max_poll_interval;
    if reader != ALONE {
        config.group_protocol = plan.protocols.of(reader);
        config.group_instance_id = plan.instance_of(reader);
    }
    // By the consumer protocol the brokers decide these.
    if config.group_protocol != GroupProtocol::Consumer {
        config.session_timeout = plan.session_timeout;
        config.heartbeat_interval = plan.session_timeout / 4;
        config.partition_assignment_strategy = plan.strategies.clone();
    }
    config.fetch_max_wait = Duration::from_millis(if plan.is_long() { 2_000 } else { 200 });
    // Fewer than are fetched at once, so that what happens between polls happens in the middle of a batch.
    config.max_poll_records = *rng.pick(&[3, 50]);
    config
}

pub async fn connect(config: ConsumerConfig) -> Consumer {
    loop {
        // No broker may be there yet.
        match Consumer::connect(config.clone()).await {
            Ok(consumer) => return consumer,
            Err(_) => sleep(Duration::from_millis(500)).await,
        }
    }
}

/// Takes note of a failed poll. Fails when the consumer is of no use any more, or fails by what nothing has brought about.
pub async fn tolerate(harness: &Harness, reader: u32, error: Error) -> Result<(), Error> {
    if harness.plan.scenario == Scenario::Outage {
        harness.recorder.record(Event::ReportsFailure { reader });
    }
    if error.is_retriable() {
        return Ok(());
    }
    // The static member that was here before did not leave: its session has to end first.
    if harness.plan.is_static && error.server_error() == Some(ErrorCode::UNRELEASED_INSTANCE_ID) {
        return Ok(());
    }
    // One that is told of an error that it may go on after goes on.
    if harness.plan.any_error && !error.is_fatal() {
        sleep(Duration::from_millis(100)).await;
        return Ok(());
    }
    Err(error)
}

async fn read_alone(harness: Harness, rng: Rng) {
    let mut config = config(&harness, ALONE, &rng);
    config.group_id = None;
    config.auto_offset_reset = match harness.plan.none {
        true => OffsetReset::None,
        false => OffsetReset::Earliest,
    };
    let mut consumer = connect(config).await;
    harness.recorder.record(Event::Starts { reader: ALONE });
    let mut ends = BTreeMap::new();
    let mut count = 0;
    loop {
        if count != harness.partitions() {
            count = assign_all(&harness, &mut consumer).await;
            ends.clear();
        }
        match consumer.poll(Duration::from_secs(1)).await {
            Ok(records) => {
                note(&harness, ALONE, &records);
                for record in records.iter() {
                    let end: &mut i64 = ends.entry(record.partition).or_default();
                    *end = (*end).max(record.offset + 1);
                }
            }
            Err(error) => {
                if harness.plan.none && asks_where_to_go(&error) {
                    begin_again(&harness, &consumer, error.partition());
                    ends.clear();
                } else if let Err(error) = tolerate(&harness, ALONE, error).await {
                    return harness.failure.set(format!("the lone reader: {error}"));
                }
            }
        }
        pause_or_resume(&harness.recorder, &consumer, ALONE, &rng);
        // What was there before may not be there any more.
        if rng.chance(2) && harness.plan.scenario != Scenario::TopicRecreated {
            seek(&harness.recorder, &consumer, &ends, &rng);
        }
    }
}

/// Reads all partitions from their start. Returns how many they are.
async fn assign_all(harness: &Harness, consumer: &mut Consumer) -> i32 {
    loop {
        let count = harness.partitions();
        let partitions: Vec<_> = (0..count)
            .map(|partition| (TopicPartition::new(TOPIC, partition), StartOffset::Earliest))
            .collect();
        // It waits until it knows a topic that has the last of them.
        if count > 0 && consumer.assign(&partitions).await.is_ok() {
            for partition in 0..count {
                // A pause ends with the assignment.
                harness.recorder.record(Event::Resumed {
                    reader: ALONE,
                    partition,
                });
                harness.recorder.record(Event::Seeked {
                    reader: ALONE,
                    partition,
                    offset: 0,
                });
            }
            return count;
        }
        sleep(Duration::from_millis(500)).await;
    }
}

fn asks_where_to_go(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NoOffset | ErrorKind::OffsetOutOfRange | ErrorKind::TopicRecreated
    )
}

/// A reader that does not move by itself is sent to the beginning.
fn begin_again(harness: &Harness, consumer: &Consumer, partition: Option<&TopicPartition>) {
    let partitions = match partition {
        Some(partition) => vec![partition.clone()],
        None => consumer.assignment(),
    };
    for name in partitions {
        // It may be gone with the topic of fewer partitions.
        if consumer.seek_to_beginning(&name).is_ok() {
            harness.recorder.record(Event::Seeked {
                reader: ALONE,
                partition: name.partition,
                offset: 0,
            });
        }
    }
}

/// Goes on somewhere within what was read already, so that in the end nothing is left out. `ends` has where that ends.
fn seek(recorder: &Recorder, consumer: &Consumer, ends: &BTreeMap<i32, i64>, rng: &Rng) {
    let partitions = consumer.assignment();
    let partition = rng.pick(&partitions);
    let end = ends.get(&partition.partition).copied().unwrap_or(0);
    let offset = rng.between(0, end as u64) as i64;
    consumer.seek(partition, offset).expect("it is assigned");
    recorder.record(Event::Seeked {
        reader: ALONE,
        partition: partition.partition,
        offset,
    });
}

/// Pauses a partition now and then, and goes on with it soon.
fn pause_or_resume(recorder: &Recorder, consumer: &Consumer, reader: u32, rng: &Rng) {
    let paused = consumer.paused();
    if !rng.chance(if paused.is_empty() { 5 } else { 50 }) {
        return;
    }
    if !paused.is_empty() {
        consumer.resume(&paused).expect("they are assigned");
        for TopicPartition { partition, .. } in paused {
            recorder.record(Event::Resumed { reader, partition });
        }
        return;
    }
    let assigned = consumer.assignment();
    if assigned.is_empty() {
        return;
    }
    let partition = rng.pick(&assigned).clone();
    consumer
        .pause(std::slice::from_ref(&partition))
        .expect("it is assigned");
    let partition = partition.partition;
    recorder.record(Event::Paused { reader, partition });
}

fn note(harness: &Harness, reader: u32, records: &Records) {
    for record in records.iter() {
        let id = record
            .value
            .and_then(|value| harness.plan.format.id(value))
            .expect("all values hold an id");
        harness.recorder.record(Event::Polled {
            reader,
            partition: record.partition,
            offset: record.offset,
            id,
        });
    }
}

/// When the member that takes a slot as its `nth` has to leave it; `None`: it stays.
pub fn leaves_at(harness: &Harness, nth: u32, rng: &Rng) -> Option<Instant> {
    // Somebody must stay to read the rest; and where a group begins at the end, its members stay from the beginning.
    let longest = if harness.plan.is_long() {
        60_000
    } else {
        20_000
    };
    let incarnations = rng.millis(500, longest);
    (nth < 4 && !harness.plan.latest && !harness.has_healed())
        .then(|| Instant::now() + incarnations)
}

/// Whether a static member is fenced by what one before it had sent, and a bad network has held back until now.
pub fn is_fenced_by_the_past(harness: &Harness, error: &Error) -> bool {
    let is_fenced = error.server_error() == Some(ErrorCode::FENCED_INSTANCE_ID);
    is_fenced && harness.plan.is_static && harness.plan.scenario == Scenario::Chaos
}

/// A place in the group that one member after the other takes.
async fn run_slot(harness: Harness, first: u32, rng: Rng) {
    for nth in 0.. {
        let reader = first + nth;
        let until = leaves_at(&harness, nth, &rng)
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(100_000));
        let mut consumer = connect(config(&harness, reader, &rng)).await;
        let lived = timeout_at(until, be_member(&harness, &mut consumer, reader, &rng)).await;
        harness.recorder.record(Event::Stops { reader });
        if let Ok(Err(error)) = lived {
            if is_fenced_by_the_past(&harness, &error) {
                continue;
            }
            return harness.failure.set(format!("member {reader}: {error}"));
        }
        if harness.plan.all_is_well() || rng.chance(50) {
            // Whether or not the coordinator hears of it.
            let _ = consumer.close().await;
        }
    }
}

async fn be_member(
    harness: &Harness,
    consumer: &mut Consumer,
    reader: u32,
    rng: &Rng,
) -> pat_events::kafka::Result<()> {
    let ownership = Listener {
        harness: harness.clone(),
        reader,
        rng: rng.fork(),
    };
    // Members of one group may have chosen differently, as long as it comes to the same topics.
    let topics = match reader % 2 {
        0 => TOPIC.to_string(),
        _ => format!("^{TOPIC}$"),
    };
    let topics = [topics.as_str()];
    let by_brokers = harness.plan.broker_patterns
        && harness.plan.protocols.of(reader) == GroupProtocol::Consumer
        && reader.is_multiple_of(2);
    loop {
        let listener = ownership.clone();
        let subscribed = match by_brokers {
            true => consumer.subscribe_pattern_with(TOPIC, listener).await,
            false => consumer.subscribe_with(&topics, listener).await,
        };
        match subscribed {
            Ok(()) => break,
            Err(error) => tolerate(harness, reader, error).await?,
        }
    }
    harness.recorder.record(Event::Starts { reader });
    let mut epoch = None;
    loop {
        match consumer.poll(rng.millis(10, 2_000)).await {
            Ok(records) => note(harness, reader, &records),
            Err(error) => tolerate(harness, reader, error).await?,
        }
        let before = std::mem::replace(&mut epoch, consumer.generation());
        if epoch != before {
            harness.recorder.record(Event::InEpoch { reader, epoch });
        }
        pause_or_resume(&harness.recorder, consumer, reader, rng);
        if rng.chance(30) {
            sleep(rng.millis(0, 300)).await;
        }
        if rng.chance(2) && !harness.has_healed() {
            sleep(rng.millis(0, harness.plan.listener_delay.as_millis() as u64)).await;
        }
        if rng.chance(50) {
            // It may fail in a rebalance: what it would have covered is read again.
            let committed = commit(harness, consumer, reader);
            match harness.plan.all_is_well() && rng.chance(50) {
                // The next one is asked for meanwhile.
                true => drop(tokio::spawn(committed)),
                false => drop(committed.await),
            }
        }
    }
}

/// Commits what polls have returned, and notes what was asked for and, if so, that it was acknowledged. It is asked for when this returns.
fn commit(
    harness: &Harness,
    consumer: &ConsumerHandle,
    reader: u32,
) -> impl Future<Output = pat_events::kafka::Result<()>> + Send + use<> {
    let positions: Vec<(i32, i64)> = consumer
        .assignment()
        .into_iter()
        .filter_map(|partition| Some((partition.partition, consumer.position(&partition)?)))
        .collect();
    for (partition, next) in positions.iter().copied() {
        harness.recorder.record(Event::Committing {
            reader,
            partition,
            next,
        });
    }
    let (harness, asked) = (harness.clone(), consumer.commit_positions());
    async move {
        asked?.await?;
        harness.record_committed();
        for (partition, next) in positions {
            harness.recorder.record(Event::Committed {
                reader,
                partition,
                next,
            });
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Listener {
    harness: Harness,
    reader: u32,
    rng: Rng,
}

impl Listener {
    fn record_revoked(&self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.harness.recorder.record(Event::Revoked {
                reader: self.reader,
                partition: partition.partition,
            });
        }
    }

    fn record_epoch(&self, consumer: &ConsumerHandle) {
        let (reader, epoch) = (self.reader, consumer.generation());
        self.harness
            .recorder
            .record(Event::InEpoch { reader, epoch });
    }

    fn record_released(&self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.harness.recorder.record(Event::Released {
                reader: self.reader,
                partition: partition.partition,
            });
        }
    }

    /// Takes its time, unless everything is to come to an end.
    async fn work(&self) {
        if !self.harness.plan.listener_delay.is_zero() && !self.harness.has_healed() {
            let longest = self.harness.plan.listener_delay.as_millis() as u64;
            sleep(self.rng.millis(longest / 2, longest)).await;
        }
    }
}

impl RebalanceListener for Listener {
    async fn on_assigned(&self, consumer: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.record_epoch(consumer);
        for partition in partitions {
            self.harness.recorder.record(Event::Assigned {
                reader: self.reader,
                partition: partition.partition,
            });
        }
    }

    async fn on_revoked(&self, consumer: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.record_epoch(consumer);
        self.record_revoked(partitions);
        if self.harness.plan.listener_delay.is_zero() {
            return self.record_released(partitions);
        }
        // Who leaves in the middle of a rebalance waits for its end, but not for as long as others may take with their hooks.
        let could_commit = consumer.generation().is_some();
        self.work().await;
        let (group, _) = GROUPS[0];
        debug_assert_eq!(group, Group::Polling);
        if commit(&self.harness, consumer, self.reader).await.is_err()
            && could_commit
            && self.harness.plan.listener_is_in_time()
        {
            self.harness.recorder.record(Event::CommitRefused {
                reader: self.reader,
            });
        }
        self.record_released(partitions);
    }

    async fn on_lost(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.record_revoked(partitions);
        self.record_released(partitions);
    }
}
