//! The readers of a run: one that reads every partition from its start, by itself, and now and then anew from somewhere before; and a group
//! whose members come, commit, and go, some in good order and some as if the machine had died. All of them pause and resume partitions.
//! Members do not seek: what they would go back over, their commits would, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pat_events::kafka::consumer::{Consumer, ConsumerHandle, RebalanceListener};
use pat_events::kafka::net::BoxFuture;
use pat_events::kafka::{ConsumerConfig, OffsetReset, Records, StartOffset, TopicPartition};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::dice::Dice;
use crate::history::{Event, History, Id, Scribe};
use crate::world::{GROUP, TOPIC, World};

/// The reader that is in no group.
const ALONE: u32 = 1_000;
/// Members of the group count from here.
const FIRST_MEMBER: u32 = 2_000;

/// Who must have read everything: the lone reader by itself, the members together.
pub fn groups(history: &History) -> Vec<Vec<u32>> {
    let members: BTreeSet<u32> = history
        .events
        .iter()
        .filter_map(|event| match *event {
            Event::Polled { reader, .. } if reader >= FIRST_MEMBER => Some(reader),
            _ => None,
        })
        .collect();
    vec![vec![ALONE], members.into_iter().collect()]
}

/// The readers at work.
pub struct Readers {
    tasks: Vec<JoinHandle<()>>,
    problem: Arc<Mutex<Option<String>>>,
}

impl Readers {
    pub fn start(world: &World, dice: &Dice) -> Self {
        let problem = Arc::default();
        let mut tasks = vec![tokio::spawn(read_alone(
            world.clone(),
            dice.fork(),
            Arc::clone(&problem),
        ))];
        for seat in 0..dice.between(1, 3) as u32 {
            tasks.push(tokio::spawn(fill_seat(
                world.clone(),
                seat,
                dice.fork(),
                Arc::clone(&problem),
            )));
        }
        Self { tasks, problem }
    }

    /// An error that no reader should have seen.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().expect("no reader panics").clone()
    }

    /// Whether the lone reader and the group have each read the whole log.
    pub fn have_read(&self, events: &[Event], log: &[(i32, i64, Id)]) -> bool {
        let (mut alone, mut group) = (BTreeSet::new(), BTreeSet::new());
        for event in events {
            if let Event::Polled {
                reader,
                partition,
                offset,
                ..
            } = *event
            {
                let read = if reader == ALONE {
                    &mut alone
                } else {
                    &mut group
                };
                read.insert((partition, offset));
            }
        }
        log.iter().all(|(partition, offset, _)| {
            alone.contains(&(*partition, *offset)) && group.contains(&(*partition, *offset))
        })
    }

    pub async fn stop(self) {
        for task in self.tasks {
            task.abort();
            // It was told to stop: that is all its result can say.
            let _ = task.await;
        }
    }
}

fn config(world: &World, reader: u32, dice: &Dice) -> ConsumerConfig {
    let mut config = ConsumerConfig::new("", GROUP);
    config.client = world.client(reader);
    config.auto_offset_reset = OffsetReset::Earliest;
    config.fetch_max_wait = Duration::from_millis(200);
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

async fn read_alone(world: World, dice: Dice, problem: Arc<Mutex<Option<String>>>) {
    let mut config = config(&world, ALONE, &dice);
    config.group_id = None;
    let mut consumer = connect(config).await;
    let partitions: Vec<_> = (0..world.partitions)
        .map(|partition| (TopicPartition::new(TOPIC, partition), StartOffset::Earliest))
        .collect();
    while consumer.assign(&partitions).await.is_err() {
        sleep(Duration::from_millis(500)).await;
    }
    let mut ends = BTreeMap::new();
    loop {
        match consumer.poll(Duration::from_secs(1)).await {
            Ok(records) => {
                note(&world.scribe, ALONE, &records);
                for record in records.iter() {
                    let end: &mut i64 = ends.entry(record.partition).or_default();
                    *end = (*end).max(record.offset + 1);
                }
            }
            Err(error) if error.is_retriable() => {}
            Err(error) => {
                problem
                    .lock()
                    .expect("no reader panics")
                    .get_or_insert(error.to_string());
                return;
            }
        }
        pause_or_resume(&world.scribe, &consumer, ALONE, &dice);
        if dice.chance(2) {
            seek(&world.scribe, &consumer, &ends, &dice);
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

fn note(scribe: &Scribe, reader: u32, records: &Records) {
    for record in records.iter() {
        let id = record
            .value
            .and_then(Id::from_value)
            .expect("all values hold an id");
        scribe.note(Event::Polled {
            reader,
            partition: record.partition,
            offset: record.offset,
            id,
        });
    }
}

/// A place in the group that one member after the other takes.
async fn fill_seat(world: World, seat: u32, dice: Dice, problem: Arc<Mutex<Option<String>>>) {
    for life in 0.. {
        let reader = FIRST_MEMBER + 100 * seat + life;
        let until = match life {
            // Somebody must stay to read the rest.
            4.. => Instant::now() + Duration::from_secs(100_000),
            _ => Instant::now() + dice.millis(500, 20_000),
        };
        let mut consumer = connect(config(&world, reader, &dice)).await;
        let lived = timeout_at(until, be_member(&world, &mut consumer, reader, &dice)).await;
        if let Ok(Err(error)) = lived {
            problem
                .lock()
                .expect("no reader panics")
                .get_or_insert(error.to_string());
            return;
        }
        if dice.chance(50) {
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
        scribe: world.scribe.clone(),
        reader,
    };
    while let Err(error) = consumer.subscribe_with(&[TOPIC], ownership.clone()).await {
        if !error.is_retriable() {
            return Err(error);
        }
    }
    loop {
        match consumer.poll(dice.millis(10, 2_000)).await {
            Ok(records) => note(&world.scribe, reader, &records),
            Err(error) if error.is_retriable() => {}
            Err(error) => return Err(error),
        }
        pause_or_resume(&world.scribe, consumer, reader, dice);
        if dice.chance(30) {
            sleep(dice.millis(0, 300)).await;
        }
        if dice.chance(50) {
            commit(world, consumer, reader).await;
        }
    }
}

/// Commits what polls have returned, and notes what was asked for and, if so, that it was acknowledged.
async fn commit(world: &World, consumer: &Consumer, reader: u32) {
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
    // A commit may fail in a rebalance: what it would have covered is read again.
    if consumer.commit_sync().await.is_ok() {
        for (partition, next) in positions {
            world.scribe.note(Event::Committed {
                reader,
                partition,
                next,
            });
        }
    }
}

#[derive(Clone)]
struct Ownership {
    scribe: Scribe,
    reader: u32,
}

impl Ownership {
    fn yields(&self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.scribe.note(Event::Yields {
                reader: self.reader,
                partition: partition.partition,
            });
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
            self.scribe.note(Event::Owns {
                reader: self.reader,
                partition: partition.partition,
            });
        }
        Box::pin(async {})
    }

    fn on_revoked<'a>(
        &'a self,
        _: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        self.yields(partitions);
        Box::pin(async {})
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
