//! One run: a seed becomes an embedded cluster, a network with weather, producers, readers and mishaps; all of it on one thread, under a
//! paused clock. In: the seed. Out: the history, and what the producers had promised.

use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::kafka::{ClientConfig, Clock};
use protocol::compression::Decompressor;
use protocol::records::BatchIter;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::checker::{Promise, Violation, check};
use crate::dice::Dice;
use crate::history::{History, Id, Scribe};
use crate::network::{Network, Weather};
use crate::producers::{self, Load};
use crate::readers;
use crate::trouble::make_trouble;

pub const TOPIC: &str = "events";
pub const GROUP: &str = "group";

/// How long a healed system may take to finish what it was given.
const PATIENCE: Duration = Duration::from_secs(600);

/// What came of one run.
#[derive(Debug)]
pub struct Outcome {
    pub seed: u64,
    pub setup: String,
    pub history: History,
    pub violations: Vec<Violation>,
    /// Nothing moved any more, or something took longer than [`PATIENCE`] after everything had healed.
    pub stuck: Option<String>,
}

impl Outcome {
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.stuck.is_none()
    }
}

/// Everything a run's parts share.
#[derive(Clone, Debug)]
pub struct World {
    pub broker: Broker,
    pub network: Network,
    pub scribe: Scribe,
    pub partitions: i32,
    healed: watch::Receiver<bool>,
    epoch_ms: Clock,
    request_timeout: Duration,
    seed: u64,
}

impl World {
    /// The configuration of the `nth` client.
    pub fn client(&self, nth: u32) -> ClientConfig {
        let mut config = ClientConfig::new(&self.broker.bootstrap_servers());
        config.client_id = format!("client-{nth}");
        config.transport = std::sync::Arc::new(self.network.clone());
        config.clock = self.epoch_ms;
        config.seed = Some(self.seed ^ u64::from(nth) << 32);
        config.request_timeout = self.request_timeout;
        config.connect_timeout = self.request_timeout;
        config.metadata_max_age = Duration::from_secs(30);
        config
    }

    /// Returns once everything is healed.
    pub async fn is_healed(&self) {
        // The run's end drops the sender, and ends whoever waits here.
        let _ = self.healed.clone().wait_for(|healed| *healed).await;
    }

    /// The log of every partition, as it stands: (partition, offset, record).
    pub fn log(&self) -> Vec<(i32, i64, Id)> {
        let mut log = Vec::new();
        let mut decompressor = Decompressor::default();
        for partition in 0..self.partitions {
            let summary = self.broker.log(TOPIC, partition).expect("the topic stays");
            for bytes in summary.batches {
                for batch in BatchIter::new(bytes) {
                    let batch = batch.expect("the broker checks batches");
                    let mut records = batch
                        .decode(&mut decompressor, 1 << 20)
                        .expect("the broker checks batches");
                    while let Some(record) = records.next_record() {
                        let record = record.expect("the broker checks batches");
                        let id = record
                            .value
                            .and_then(Id::from_value)
                            .expect("all values hold an id");
                        log.push((partition, record.offset, id));
                    }
                }
            }
        }
        log
    }
}

/// Runs a seed from its beginning to its end.
pub fn run(seed: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing");
    runtime.block_on(live(seed))
}

async fn live(seed: u64) -> Outcome {
    let dice = Dice::new(seed);
    let nodes = dice.between(1, 3) as usize;
    let partitions = dice.between(1, 4) as i32;
    let broker = Broker::builder()
        .nodes(nodes)
        .seed(dice.next())
        .start_in_memory()
        .expect("memory needs nothing");
    broker
        .create_topic(TOPIC, partitions)
        .expect("a first topic");
    let weather = Weather::draw(&dice);
    let (healing, healed) = watch::channel(false);
    let world = World {
        network: Network::new(broker.clone(), dice.fork(), weather),
        broker,
        scribe: Scribe::default(),
        partitions,
        healed,
        epoch_ms: Clock::simulated(1_800_000_000_000),
        request_timeout: *dice.pick(&[
            Duration::from_millis(700),
            Duration::from_secs(3),
            Duration::from_secs(30),
        ]),
        seed: dice.next(),
    };
    let load = Load::draw(&dice);
    let setup = format!(
        "{nodes} nodes, {partitions} partitions, {weather:?}, {:?}, {load:?}",
        world.request_timeout
    );

    let mut sending = JoinSet::new();
    for nth in 0..load.producers {
        sending.spawn(producers::produce(world.clone(), load, nth, dice.fork()));
    }
    let readers = readers::Readers::start(&world, &dice);
    let trouble = tokio::spawn(make_trouble(world.clone(), dice.fork()));
    sleep(dice.millis(1_000, 40_000)).await;

    trouble.abort();
    // It was told to stop: that is all its result can say.
    let _ = trouble.await;
    heal(&world).await;
    healing.send_replace(true);
    let stuck = settle(&world, sending, &readers).await.err();
    readers.stop().await;
    world.broker.shutdown().await;

    let history = History {
        events: world.scribe.events(),
        log: world.log(),
    };
    let promise = Promise {
        idempotent: load.idempotence,
    };
    let violations = check(&history, promise, &readers::groups(&history));
    Outcome {
        seed,
        setup,
        history,
        violations,
        stuck,
    }
}

async fn heal(world: &World) {
    world.broker.clear_faults();
    world.network.heal();
    for node in world.broker.node_ids() {
        world
            .broker
            .start_node(node)
            .await
            .expect("memory has no ports to lose");
    }
}

/// Waits until every producer gets through, everything sent is reported and everything written is read.
async fn settle(
    world: &World,
    mut sending: JoinSet<Result<(), String>>,
    readers: &readers::Readers,
) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while let Some(ended) = timeout(PATIENCE, sending.join_next())
        .await
        .map_err(|_| "a producer does not finish".to_string())?
    {
        ended.map_err(|error| format!("a producer's task failed: {error}"))??;
    }
    while Instant::now() < deadline {
        if let Some(problem) = readers.problem() {
            return Err(problem);
        }
        // The log of now: what a producer has given up may still have been on its way.
        if readers.have_read(&world.scribe.events(), &world.log()) {
            return Ok(());
        }
        sleep(Duration::from_millis(500)).await;
    }
    Err("the readers do not reach the end".to_string())
}
