//! Idempotent producers, transactions and exactly-once loops while brokers are killed, frozen, stopped and started again, leaders and coordinators move, and
//! connections are cut at any byte; members of the loops come and go. In: a Kafka of three brokers. Out: nothing is lost, doubled, torn or out of order for
//! who reads what is committed.
//!
//! `CHAOS_MINUTES=15` goes on for so long, with more than a million records; without it, for some seconds, with fewer at a time.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `history` | what was written, what became of it, what was seen: the judge |
//! | `blows` | what happens to the brokers |
//! | `network` | what happens to connections |
//! | `writers` | producers, with transactions and without |
//! | `loops` | members that copy what is written, exactly once |
//! | `reader` | who reads what is committed |

mod blows;
mod history;
mod loops;
mod network;
mod reader;
mod writers;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::kafka::NewTopic;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::fleet::{Fleet, Target, block_on_for};
use crate::rng::Rng;
use crate::support::kafka::Kafka;
use history::History;
use network::CuttingProxy;

const PARTITIONS: i32 = 6;
const INPUT: &str = "chaos-in";
/// The groups of the loops, by their protocol: each writes to a topic of its own.
const GROUPS: [(&str, &str); 2] = [
    ("classic", "chaos-out-classic"),
    ("consumer", "chaos-out-consumer"),
];
/// Of each group.
const MEMBERS: u32 = 2;
/// Without transactions, and with them.
const WRITERS: u32 = 2;
/// Handed in at once without transactions by each writer: in a short run, and in a long one.
const BURSTS: [u64; 2] = [30, 60];
/// How long anything may take once everything is healed.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long nothing more comes before all counts as read.
const QUIET: Duration = Duration::from_secs(2);
/// What happens is drawn from it; when it happens is the machine's.
const SEED: u64 = 12;

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let minutes = std::env::var("CHAOS_MINUTES").ok();
    let minutes = minutes.map(|it| {
        it.parse::<u64>()
            .expect("CHAOS_MINUTES is a number of minutes")
    });
    let (lasts, burst) = match minutes {
        Some(minutes) => (Duration::from_secs(minutes * 60), BURSTS[1]),
        None => (Duration::from_secs(8), BURSTS[0]),
    };
    let judged = Trial::test("chaos::histories_with_a_fault_are_found", || {
        history::histories_with_a_fault_are_found();
        Ok(())
    });
    let name = "chaos_loses_doubles_tears_and_reorders_nothing";
    let chaos = fleet.on_three(name, move |_, kafka| {
        block_on_for(lasts + PATIENCE, case(kafka, lasts, burst));
    });
    vec![judged, chaos]
}

/// What all of it shares.
struct Shared {
    bootstrap: String,
    /// Handed in at once.
    burst: u64,
    network: CuttingProxy,
    history: Mutex<History>,
    /// No transaction of anybody's has the number of another.
    transactions: AtomicU64,
    /// Writers are to end.
    ends: AtomicBool,
    /// All of it is read: loops and the reader are to end.
    is_read: AtomicBool,
    /// What happened how often.
    tally: Mutex<BTreeMap<String, u64>>,
}

impl Shared {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_transaction(&self) -> u64 {
        self.transactions.fetch_add(1, Ordering::Relaxed)
    }

    fn count(&self, what: impl Into<String>) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        *tally.entry(what.into()).or_default() += 1;
    }

    fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    fn is_read(&self) -> bool {
        self.is_read.load(Ordering::Relaxed)
    }
}

async fn case(kafka: &Kafka, lasts: Duration, burst: u64) {
    let rng = Rng::new(SEED);
    let target = Target {
        bootstrap: kafka.bootstrap(),
    };
    let topics = [INPUT, GROUPS[0].1, GROUPS[1].1];
    let admin = target.admin().await;
    for topic in topics {
        let new = NewTopic::new(topic, PARTITIONS);
        admin.create_topic(&new).await.expect("created");
    }
    let shared = Arc::new(Shared {
        bootstrap: target.bootstrap.clone(),
        burst,
        network: CuttingProxy::new(rng.fork()),
        history: Mutex::default(),
        transactions: AtomicU64::new(1),
        ends: AtomicBool::new(false),
        is_read: AtomicBool::new(false),
        tally: Mutex::default(),
    });
    let (mut writers, mut readers) = (JoinSet::new(), JoinSet::new());
    for writer in 0..WRITERS {
        writers.spawn(writers::idempotent(shared.clone(), writer));
        let transactional = WRITERS + writer;
        writers.spawn(writers::transactional(
            shared.clone(),
            transactional,
            rng.fork(),
        ));
    }
    for group in GROUPS {
        for member in 0..MEMBERS {
            readers.spawn(loops::member(shared.clone(), group, member, rng.fork()));
        }
    }
    readers.spawn(reader::read(shared.clone(), topics));

    let began = Instant::now();
    blows::rain(kafka, &target, &shared, &topics, &rng, began + lasts).await;
    shared.network.heal();
    shared.ends.store(true, Ordering::Relaxed);
    let all_written = timeout(PATIENCE, finish(writers)).await;
    all_written.expect("writers get on once everything is healed");
    wait_until_read(&shared).await;
    shared.is_read.store(true, Ordering::Relaxed);
    let all_ended = timeout(PATIENCE, finish(readers)).await;
    all_ended.expect("loops and the reader end");

    let tally = std::mem::take(&mut *shared.tally.lock().expect("no panic"));
    println!(
        "{} s, {:?}, {:?}",
        began.elapsed().as_secs(),
        shared.network.counts(),
        tally
    );
    let outputs = GROUPS.map(|(_, topic)| topic);
    match shared.history().verdict(INPUT, &outputs) {
        Ok(figures) => println!("{figures:?}"),
        Err(faults) => panic!("{}", faults.join("\n")),
    }
}

async fn finish(mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no panic");
    }
}

/// Waits until all of it is read, and nothing more comes; or until nobody would wait any longer, and the judge says what is missing.
async fn wait_until_read(shared: &Shared) {
    let outputs = GROUPS.map(|(_, topic)| topic);
    let until = Instant::now() + PATIENCE;
    let mut last = (u64::MAX, Instant::now());
    loop {
        let (is_complete, seen) = {
            let history = shared.history();
            (history.is_complete(INPUT, &outputs), history.seen_records())
        };
        if seen != last.0 || !is_complete {
            last = (seen, Instant::now());
        }
        if last.1.elapsed() >= QUIET || Instant::now() >= until {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}
