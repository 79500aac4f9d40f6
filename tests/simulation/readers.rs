//! The readers of a run: one that reads every partition from its start, by itself, and now and then anew from somewhere before; and a group
//! whose members come, commit, and go, some in good order and some as if the machine had died. All of them pause and resume partitions.
//! Members do not seek: what they would go back over, their commits would, too. The group may be one of typed consumers instead
//! (`handlers`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pat_events::kafka::consumer::{Consumer, ConsumerHandle, RebalanceListener};
use pat_events::kafka::net::BoxFuture;
use pat_events::kafka::{
    ConsumerConfig, Error, ErrorKind, OffsetReset, Records, StartOffset, TopicPartition,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::dice::Dice;
use crate::handlers;
use crate::history::{Event, Group, History, Id, Life, Scribe};
use crate::plan::Story;
use crate::world::{GROUPS, TOPIC, World};

/// The reader that is in no group.
pub const ALONE: u32 = 1_000;
/// Members of the group count from here; a hundred for each seat.
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
        .filter(|reader| *reader >= FIRST_MEMBER)
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
    seats: u32,
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
    pub fn have_read(&mut self, scribe: &Scribe, log: &[(Life, i32, i64, Id)]) -> bool {
        let Self {
            typed,
            looked_at,
            alone,
            group,
        } = self;
        *looked_at = scribe.read(*looked_at, |event| match *event {
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
    pub fn start(world: &World, dice: &Dice) -> Self {
        let mut tasks = vec![tokio::spawn(read_alone(world.clone(), dice.fork()))];
        let mut typed = Vec::new();
        let seats = dice.between(1, 3) as u32;
        for seat in 0..seats {
            let dice = dice.fork();
            if world.plan.typed {
                typed.push(handlers::fill_seat(
                    world.clone(),
                    FIRST_TYPED + 100 * seat,
                    dice,
                ));
            } else {
                tasks.push(tokio::spawn(fill_seat(
                    world.clone(),
                    FIRST_MEMBER + 100 * seat,
                    dice,
                )));
            }
        }
        Self {
            tasks,
            typed,
            seats,
        }
    }

    /// Waits until the group has a position in every partition, and stands still; false when it never has.
    pub async fn have_begun(&self, world: &World) -> bool {
        let (_, name) = GROUPS[usize::from(world.plan.typed)];
        let deadline = Instant::now() + Duration::from_secs(400);
        while Instant::now() < deadline {
            sleep(LOOK).await;
            let begun = (0..world.partitions()).all(|partition| {
                world
                    .broker
                    .committed_offset(name, TOPIC, partition)
                    .is_some()
            });
            if begun {
                // Those who are in a rebalance that does not change that are done with it.
                sleep(Duration::from_secs(5 * u64::from(self.seats))).await;
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

fn config(world: &World, reader: u32, dice: &Dice) -> ConsumerConfig {
    let (_, group) = GROUPS[0];
    let plan = &world.plan;
    let mut config = ConsumerConfig::new("", group);
    config.client = world.client(reader);
    config.auto_offset_reset = match plan.latest {
        true => OffsetReset::Latest,
        false => OffsetReset::Earliest,
    };
    config.session_timeout = plan.session_timeout;
    config.heartbeat_interval = plan.session_timeout / 4;
    config.max_poll_interval = plan.max_poll_interval;
    config.fetch_max_wait = Duration::from_millis(if plan.is_long() { 2_000 } else { 200 });
    // Fewer than are fetched at once, so that what happens between polls happens in the middle of a batch.
    config.max_poll_records = *dice.pick(&[3, 50]);
    config
}

async fn connect(config: ConsumerConfig) -> Consumer {
    loop {
        // No broker may be there yet.
        match Consumer::connect(config.clone()).await {
            Ok(consumer) => return consumer,
            Err(_) => sleep(Duration::from_millis(500)).await,
        }
    }
}

/// Takes note of a failed poll. Fails when the consumer is of no use any more, or fails by what nothing has brought about.
async fn bear(world: &World, reader: u32, error: Error) -> Result<(), Error> {
    if world.plan.story == Story::Outage {
        world.scribe.note(Event::Complains { reader });
    }
    if error.is_retriable() {
        return Ok(());
    }
    // One that is told of an error that it may go on after goes on.
    if world.plan.any_error && !error.is_fatal() {
        sleep(Duration::from_millis(100)).await;
        return Ok(());
    }
    Err(error)
}

async fn read_alone(world: World, dice: Dice) {
    let mut config = config(&world, ALONE, &dice);
    config.group_id = None;
    config.auto_offset_reset = match world.plan.none {
        true => OffsetReset::None,
        false => OffsetReset::Earliest,
    };
    let mut consumer = connect(config).await;
    world.scribe.note(Event::Starts { reader: ALONE });
    let mut ends = BTreeMap::new();
    let mut count = 0;
    loop {
        if count != world.partitions() {
            count = assign_all(&world, &mut consumer).await;
            ends.clear();
        }
        match consumer.poll(Duration::from_secs(1)).await {
            Ok(records) => {
                note(&world, ALONE, &records);
                for record in records.iter() {
                    let end: &mut i64 = ends.entry(record.partition).or_default();
                    *end = (*end).max(record.offset + 1);
                }
            }
            Err(error) => {
                if world.plan.none && asks_where_to_go(&error) {
                    begin_again(&world, &consumer, error.partition());
                    ends.clear();
                } else if let Err(error) = bear(&world, ALONE, error).await {
                    return world.problem.tell(format!("the lone reader: {error}"));
                }
            }
        }
        pause_or_resume(&world.scribe, &consumer, ALONE, &dice);
        // What was there before may not be there any more.
        if dice.chance(2) && world.plan.story != Story::Recreated {
            seek(&world.scribe, &consumer, &ends, &dice);
        }
    }
}

/// Reads all partitions from their start. Returns how many they are.
async fn assign_all(world: &World, consumer: &mut Consumer) -> i32 {
    loop {
        let count = world.partitions();
        let partitions: Vec<_> = (0..count)
            .map(|partition| (TopicPartition::new(TOPIC, partition), StartOffset::Earliest))
            .collect();
        // It waits until it knows a topic that has the last of them.
        if count > 0 && consumer.assign(&partitions).await.is_ok() {
            for partition in 0..count {
                // A pause ends with the assignment.
                world.scribe.note(Event::Resumed {
                    reader: ALONE,
                    partition,
                });
                world.scribe.note(Event::Sought {
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
fn begin_again(world: &World, consumer: &Consumer, partition: Option<&TopicPartition>) {
    let partitions = match partition {
        Some(partition) => vec![partition.clone()],
        None => consumer.assignment(),
    };
    for name in partitions {
        // It may be gone with the topic of fewer partitions.
        if consumer.seek_to_beginning(&name).is_ok() {
            world.scribe.note(Event::Sought {
                reader: ALONE,
                partition: name.partition,
                offset: 0,
            });
        }
    }
}

/// Goes on somewhere within what was read already, so that in the end nothing is left out. `ends` has where that ends.
fn seek(scribe: &Scribe, consumer: &Consumer, ends: &BTreeMap<i32, i64>, dice: &Dice) {
    let partitions = consumer.assignment();
    let partition = dice.pick(&partitions);
    let end = ends.get(&partition.partition).copied().unwrap_or(0);
    let offset = dice.between(0, end as u64) as i64;
    consumer.seek(partition, offset).expect("it is assigned");
    scribe.note(Event::Sought {
        reader: ALONE,
        partition: partition.partition,
        offset,
    });
}

/// Pauses a partition now and then, and goes on with it soon.
fn pause_or_resume(scribe: &Scribe, consumer: &Consumer, reader: u32, dice: &Dice) {
    let paused = consumer.paused();
    if !dice.chance(if paused.is_empty() { 5 } else { 50 }) {
        return;
    }
    if !paused.is_empty() {
        consumer.resume(&paused).expect("they are assigned");
        for TopicPartition { partition, .. } in paused {
            scribe.note(Event::Resumed { reader, partition });
        }
        return;
    }
    let assigned = consumer.assignment();
    if assigned.is_empty() {
        return;
    }
    let partition = dice.pick(&assigned).clone();
    consumer
        .pause(std::slice::from_ref(&partition))
        .expect("it is assigned");
    let partition = partition.partition;
    scribe.note(Event::Paused { reader, partition });
}

fn note(world: &World, reader: u32, records: &Records) {
    for record in records.iter() {
        let id = record
            .value
            .and_then(|value| world.plan.wire.id(value))
            .expect("all values hold an id");
        world.scribe.note(Event::Polled {
            reader,
            partition: record.partition,
            offset: record.offset,
            id,
        });
    }
}

/// When the member that takes a seat as its `nth` has to leave it; `None`: it stays.
pub fn leaves_at(world: &World, nth: u32, dice: &Dice) -> Option<Instant> {
    // Somebody must stay to read the rest; and where a group begins at the end, its members stay from the beginning.
    let longest = if world.plan.is_long() { 60_000 } else { 20_000 };
    let lives = dice.millis(500, longest);
    (nth < 4 && !world.plan.latest && !world.has_healed()).then(|| Instant::now() + lives)
}

/// A place in the group that one member after the other takes.
async fn fill_seat(world: World, first: u32, dice: Dice) {
    for nth in 0.. {
        let reader = first + nth;
        let until = leaves_at(&world, nth, &dice)
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(100_000));
        let mut consumer = connect(config(&world, reader, &dice)).await;
        let lived = timeout_at(until, be_member(&world, &mut consumer, reader, &dice)).await;
        world.scribe.note(Event::Stops { reader });
        if let Ok(Err(error)) = lived {
            return world.problem.tell(format!("member {reader}: {error}"));
        }
        if world.plan.all_is_well() || dice.chance(50) {
            // Whether or not the coordinator hears of it.
            let _ = consumer.close().await;
        }
    }
}

async fn be_member(
    world: &World,
    consumer: &mut Consumer,
    reader: u32,
    dice: &Dice,
) -> pat_events::kafka::Result<()> {
    let ownership = Ownership {
        world: world.clone(),
        reader,
        dice: dice.fork(),
    };
    while let Err(error) = consumer.subscribe_with(&[TOPIC], ownership.clone()).await {
        bear(world, reader, error).await?;
    }
    world.scribe.note(Event::Starts { reader });
    loop {
        match consumer.poll(dice.millis(10, 2_000)).await {
            Ok(records) => note(world, reader, &records),
            Err(error) => bear(world, reader, error).await?,
        }
        pause_or_resume(&world.scribe, consumer, reader, dice);
        if dice.chance(30) {
            sleep(dice.millis(0, 300)).await;
        }
        if dice.chance(2) && !world.has_healed() {
            sleep(dice.millis(0, world.plan.hook.as_millis() as u64)).await;
        }
        if dice.chance(50) {
            // It may fail in a rebalance: what it would have covered is read again.
            let _ = commit(world, consumer, reader).await;
        }
    }
}

/// Commits what polls have returned, and notes what was asked for and, if so, that it was acknowledged.
async fn commit(
    world: &World,
    consumer: &ConsumerHandle,
    reader: u32,
) -> pat_events::kafka::Result<()> {
    let positions: Vec<(i32, i64)> = consumer
        .assignment()
        .into_iter()
        .filter_map(|partition| Some((partition.partition, consumer.position(&partition)?)))
        .collect();
    for (partition, next) in positions.iter().copied() {
        world.scribe.note(Event::Committing {
            reader,
            partition,
            next,
        });
    }
    consumer.commit_sync().await?;
    world.look();
    for (partition, next) in positions {
        world.scribe.note(Event::Committed {
            reader,
            partition,
            next,
        });
    }
    Ok(())
}

#[derive(Clone)]
struct Ownership {
    world: World,
    reader: u32,
    dice: Dice,
}

impl Ownership {
    fn yields(&self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.world.scribe.note(Event::Yields {
                reader: self.reader,
                partition: partition.partition,
            });
        }
    }

    /// Takes its time, unless everything is to come to an end.
    async fn work(&self) {
        if !self.world.plan.hook.is_zero() && !self.world.has_healed() {
            let longest = self.world.plan.hook.as_millis() as u64;
            sleep(self.dice.millis(longest / 2, longest)).await;
        }
    }
}

impl RebalanceListener for Ownership {
    fn on_assigned<'a>(
        &'a self,
        _: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        for partition in partitions {
            self.world.scribe.note(Event::Owns {
                reader: self.reader,
                partition: partition.partition,
            });
        }
        Box::pin(async {})
    }

    fn on_revoked<'a>(
        &'a self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        self.yields(partitions);
        Box::pin(async move {
            if self.world.plan.hook.is_zero() {
                return;
            }
            self.work().await;
            let (group, _) = GROUPS[0];
            debug_assert_eq!(group, Group::Polling);
            if commit(&self.world, consumer, self.reader).await.is_err()
                && self.world.plan.hook_is_in_time()
            {
                self.world.scribe.note(Event::CommitRefused {
                    reader: self.reader,
                });
            }
        })
    }

    fn on_lost<'a>(
        &'a self,
        _: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        self.yields(partitions);
        Box::pin(async {})
    }
}
