//! What a rebalance leaves alone: partitions that stay are read on as if nothing happened, whatever those that go wait for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pat_events::broker::{Broker, Fault, FaultAction};
use pat_events::kafka::{
    AssignmentStrategy, Consumer, ConsumerConfig, ConsumerHandle, GroupProtocol, RebalanceListener,
    TopicPartition,
};
use protocol::ApiKey;
use protocol::messages::FetchRequest;
use tokio::time::{Instant, sleep};

use crate::harness::*;

const PARTITIONS: i32 = 4;
/// A record of each partition.
const EVERY: Duration = ms(20);

fn cooperative(config: &mut ConsumerConfig) {
    config.partition_assignment_strategy = AssignmentStrategy::CooperativeSticky.into();
    config.session_timeout = ms(45_000);
}

fn consumer_protocol(config: &mut ConsumerConfig) {
    config.group_protocol = GroupProtocol::Consumer;
}

/// Takes so long to finish what it does with partitions that go.
#[derive(Clone, Copy)]
struct Finishes(Duration);

impl RebalanceListener for Finishes {
    async fn on_revoking(&self, _: &ConsumerHandle, _: &[TopicPartition]) {
        sleep(self.0).await;
    }
}

/// What was read of each partition: when last, and the longest time without a record.
#[derive(Default)]
struct Reads {
    written: u32,
    by_partition: BTreeMap<i32, Read>,
}

struct Read {
    next: i64,
    last: Instant,
    longest: Duration,
}

impl Reads {
    /// Writes a record to each partition, and reads until the next ones are due.
    async fn go_on(&mut self, broker: &Broker, consumer: &mut Consumer) {
        let due = Instant::now() + EVERY;
        for partition in 0..PARTITIONS {
            fill(broker, partition, self.written..self.written + 1, 1);
        }
        self.written += 1;
        while Instant::now() < due {
            let left = due - Instant::now();
            for record in &consumer.poll(left).await.expect("a poll") {
                let now = Instant::now();
                let read = self.by_partition.entry(record.partition).or_insert(Read {
                    next: 0,
                    last: now,
                    longest: Duration::ZERO,
                });
                assert_eq!(record.offset, read.next, "of {}", record.partition);
                read.next += 1;
                read.longest = read.longest.max(now - read.last);
                read.last = now;
            }
        }
    }
}

/// A member that reads, and another that joins: what goes takes `takes` at least to be given up, because of `listener` or of a fault.
async fn half_goes(
    change: fn(&mut ConsumerConfig),
    listener: Finishes,
    fault: Option<Fault>,
    takes: Duration,
) {
    let broker = one_broker(PARTITIONS);
    let wire = Wire::new(&broker);
    let mut stays = consumer(&broker, |config| {
        config.client.transport = Arc::new(wire.clone());
        config.group_id = Some("g".to_string());
        // What is committed is committed because partitions go.
        config.enable_auto_commit = true;
        config.auto_commit_interval = ms(3_600_000);
        change(config);
    })
    .await;
    let subscribed = stays.subscribe_with(&["t"], listener).await;
    subscribed.expect("a topic");
    assigned(&mut stays, PARTITIONS as usize).await;
    let mut reads = Reads::default();
    for _ in 0..50 {
        reads.go_on(&broker, &mut stays).await;
    }
    wire.keep_fetches();
    let dialled = wire.dialled();
    fault.into_iter().for_each(|fault| broker.inject(fault));
    let mut comes = member(&broker, |config| {
        config.client.seed = None;
        change(config);
    })
    .await;
    let has = comes.handle();
    let joins = tokio::spawn(async move {
        loop {
            comes.poll(ms(50)).await.expect("a poll");
        }
    });
    let began = Instant::now();
    while has.assignment().len() != 2 {
        assert!(began.elapsed() < ms(120_000), "{:?}", has.assignment());
        reads.go_on(&broker, &mut stays).await;
    }
    for _ in 0..50 {
        reads.go_on(&broker, &mut stays).await;
    }
    joins.abort();

    let staying: Vec<i32> = (stays.assignment().iter()).map(|it| it.partition).collect();
    assert_eq!(staying.len(), 2);
    for (partition, read) in &reads.by_partition {
        if staying.contains(partition) {
            let longest = read.longest.max(read.last.elapsed());
            assert!(longest <= EVERY * 2, "{partition} stood still: {longest:?}");
            assert!(read.next >= i64::from(reads.written) - 1, "{partition}");
        } else {
            let without = read.last.elapsed();
            assert!(without >= takes, "{partition} went at once: {without:?}");
        }
    }
    assert_eq!(wire.dialled(), dialled, "connections stay");
    assert_one_session(&wire.fetches(), &staying);
}

/// One session goes on, from fetch to fetch; of partitions that stay nothing is forgotten, and nothing is fetched twice.
fn assert_one_session(fetches: &[FetchRequest], staying: &[i32]) {
    let mut offsets = BTreeMap::<i32, i64>::new();
    for pair in fetches.windows(2) {
        let of = |fetch: &FetchRequest| (fetch.session_id, fetch.session_epoch);
        let (id, epoch) = of(&pair[0]);
        assert!(epoch > 0, "a session goes on");
        assert_eq!(of(&pair[1]), (id, epoch + 1));
    }
    for fetch in fetches {
        let forgotten = (fetch.forgotten_topics_data.iter()).flat_map(|topic| &topic.partitions);
        let mut forgotten = forgotten.filter(|partition| staying.contains(partition));
        assert_eq!(forgotten.next(), None, "it stays");
        for asked in fetch.topics.iter().flat_map(|topic| &topic.partitions) {
            let last = offsets.insert(asked.partition, asked.fetch_offset);
            let goes_on = last.is_none_or(|last| asked.fetch_offset > last);
            let stays = staying.contains(&asked.partition);
            assert!(goes_on || !stays, "{asked:?} after {last:?}");
        }
    }
    let all = staying.iter().all(|it| offsets.contains_key(it));
    assert!(all, "{offsets:?}");
}

#[tokio::test(start_paused = true)]
async fn partitions_that_stay_are_read_on_while_those_that_go_are_committed() {
    for change in [cooperative, consumer_protocol] {
        // What the member says of itself waits behind it as well.
        let slow = Fault::on(ApiKey::OFFSET_COMMIT, FaultAction::Delay(ms(5_000)));
        half_goes(change, Finishes(Duration::ZERO), Some(slow), ms(5_000)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn partitions_that_stay_are_read_on_while_what_is_at_work_of_others_is_finished() {
    for change in [cooperative, consumer_protocol] {
        half_goes(change, Finishes(ms(40_000)), None, ms(40_000)).await;
    }
}
