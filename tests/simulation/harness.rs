//! One run: a seed becomes an embedded cluster, an unreliable network, producers, readers and faults; all of it on one thread, under a
//! paused clock. In: the seed. Out: the history, and the violations that the checker found.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pat_events::broker::{Broker, Fault};
use pat_events::events::{RetryTopics, dead_letter};
use pat_events::kafka::{ClientConfig, Clock};
use protocol::compression::Decompressor;
use protocol::records::BatchIter;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::checker::{self, Guarantees, SharingGuarantees, Violation, check};
use crate::consumers;
use crate::faults;
use crate::history::{Event, Group, History, Id, Incarnation, Recorder};
use crate::mix::Tally;
use crate::network::Network;
use crate::plan::{Failing, Fate, Plan, Scenario};
use crate::producers::{self, Load};
use crate::rng::Rng;
use crate::script::{Happened, Script};
use crate::security;
use crate::sharing;
use crate::shrink::{Part, Reduction};
use crate::transactions;

pub const TOPIC: &str = "events";
/// Where the dead letters of its records go.
const DEAD_TOPIC: &str = "events.dlq";
const DEAD_PARTITIONS: i32 = 2;
/// The group of consumers that are polled, and that of typed ones.
pub const GROUPS: [(Group, &str); 2] = [(Group::Polling, "group"), (Group::Typed, "typed")];
/// The largest batch that the broker takes, and with it the largest record.
pub const MAX_MESSAGE_BYTES: usize = 20_000;
/// The most partitions that the topic gets.
const MAX_PARTITIONS: i32 = 6;

/// How long a healed system may take to finish what it was given.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often the coordinator is asked what is committed.
const LOOK: Duration = Duration::from_secs(1);

/// What came of one run.
#[derive(Debug)]
pub struct Outcome {
    pub seed: u64,
    pub setup: String,
    pub history: History,
    pub violations: Vec<Violation>,
    /// What there was in it.
    pub tally: Tally,
    /// Nothing moved any more, or something took longer than [`PATIENCE`] after everything had healed.
    pub stuck: Option<String>,
    /// The faults that it had.
    pub happened: Vec<Happened>,
}

impl Outcome {
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.stuck.is_none()
    }
}

/// Something that no part of a run should have seen; the first counts.
#[derive(Clone, Debug, Default)]
pub struct FirstFailure(Arc<Mutex<Option<String>>>);

impl FirstFailure {
    pub fn set(&self, what: String) {
        self.0.lock().expect("no lock is held").get_or_insert(what);
    }

    pub fn get(&self) -> Option<String> {
        self.0.lock().expect("no lock is held").clone()
    }
}

/// The topic as it stands, and what was in those that had its name before.
#[derive(Debug, Default)]
struct Topic {
    incarnation: Incarnation,
    partitions: i32,
    past: Vec<(Incarnation, i32, i64, Id)>,
    /// Under which producer id and epoch all of it was written.
    producers: BTreeMap<Id, (i64, i16)>,
    /// What was committed when last looked at.
    stored: BTreeMap<(Group, i32), i64>,
}

/// Everything a run's parts share.
#[derive(Clone, Debug)]
pub struct Harness {
    pub broker: Broker,
    pub network: Network,
    pub recorder: Recorder,
    pub plan: Arc<Plan>,
    pub failure: FirstFailure,
    pub tally: Tally,
    pub script: Script,
    topic: Arc<Mutex<Topic>>,
    /// How many batches of each partition of dead letters and retry topics were looked at.
    dead: Arc<Mutex<BTreeMap<(String, i32), usize>>>,
    healed: Arc<(AtomicBool, Notify)>,
    epoch_ms: Clock,
    pub request_timeout: Duration,
    seed: u64,
}

impl Harness {
    /// The configuration of the `nth` client.
    pub fn client(&self, nth: u32) -> ClientConfig {
        let mut config = ClientConfig::new(&self.broker.bootstrap_servers());
        config.client_id = format!("client-{nth}");
        config.transport = Arc::new(self.network.clone());
        config.clock = self.epoch_ms;
        config.seed = Some(self.seed ^ u64::from(nth) << 32);
        config.request_timeout = self.request_timeout;
        config.connect_timeout = self.request_timeout;
        if self.plan.security.is_on() {
            security::of_client(&self.plan.security, &mut config);
        }
        config.metadata_max_age = Duration::from_secs(30);
        config
    }

    /// Returns once everything is healed. (A `watch` would wake those who wait in an order that no seed decides.)
    pub async fn is_healed(&self) {
        let (_, healing) = &*self.healed;
        let healed = healing.notified();
        if !self.has_healed() {
            healed.await;
        }
    }

    pub fn has_healed(&self) -> bool {
        self.healed.0.load(Ordering::Relaxed)
    }

    /// How many partitions the topic has.
    pub fn partitions(&self) -> i32 {
        self.topic().partitions
    }

    /// Creates the topic; with what was there under its name before, everything in it goes.
    fn create(&self, partitions: i32) {
        let mut settings = vec![];
        if self.plan.compacted {
            settings.push(("cleanup.policy", "compact"));
        }
        self.broker
            .create_topic_with(TOPIC, partitions, &settings)
            .expect("nothing has the name");
        self.topic().partitions = partitions;
    }

    /// Deletes the topic.
    pub fn delete(&self) {
        self.record_committed();
        let log = self.present();
        self.topic().past.extend(log);
        assert!(self.broker.delete_topic(TOPIC), "it was there");
        let mut topic = self.topic();
        topic.partitions = 0;
        topic.stored.clear();
    }

    /// Creates the topic that was deleted anew.
    pub fn recreate(&self, partitions: i32) {
        self.create(partitions);
        let incarnation = {
            let mut topic = self.topic();
            topic.incarnation += 1;
            topic.incarnation
        };
        self.recorder.record(Event::Created {
            incarnation,
            partitions,
        });
    }

    /// Adds a partition or two, if there may be more.
    pub fn grow(&self, rng: &Rng) {
        let partitions = self.partitions() + rng.between(1, 2) as i32;
        if partitions > MAX_PARTITIONS || self.partitions() == 0 {
            return;
        }
        if !self.happens("topic", "brokers: partitions are added") {
            return;
        }
        self.broker
            .add_partitions(TOPIC, partitions)
            .expect("it has fewer");
        self.topic().partitions = partitions;
        self.recorder.record(Event::Grown { partitions });
    }

    /// Creates the topic of dead letters, when it is time for it.
    async fn create_dead_topic(self) {
        if let Some(failing) = self.plan.failing {
            sleep(failing.no_dead_topic).await;
            let created = self.broker.create_topic(DEAD_TOPIC, DEAD_PARTITIONS);
            created.expect("nothing has the name");
        }
    }

    /// The topics in which events wait.
    pub fn retry_topics(&self) -> Vec<String> {
        let (_, group) = GROUPS[1];
        RetryTopics::after(self.plan.retry_delays.clone()).names(TOPIC, group)
    }

    /// The groups that a coordinator has.
    pub fn groups(&self) -> Vec<&'static str> {
        let groups = GROUPS.iter().map(|(_, name)| *name);
        let sharing = self.plan.sharing.map(|_| sharing::GROUP);
        groups.chain(sharing).collect()
    }

    /// Whether a fault happens that comes from there, and is called so; it is counted if it does.
    pub fn happens(&self, source: &str, what: &str) -> bool {
        let happens = self.script.happens(source, what);
        if happens {
            self.tally.count(what);
        }
        happens
    }

    /// Lets requests meet a fault, which is called so.
    pub fn inject(&self, what: &str, fault: Fault) {
        self.inject_from("requests", what, fault);
    }

    /// As [`inject`](Self::inject), where the fault comes from there.
    pub fn inject_from(&self, source: &str, what: &str, fault: Fault) {
        let what = format!("requests: {what}");
        if self.script.happens(source, &what) {
            // How often it is met.
            let counter = self.tally.counter(what);
            self.broker.inject(fault.counted(counter));
        }
    }

    /// Notes which records have become dead letters of the share group's queues since it was called last.
    pub fn record_shared(&self) {
        if !self.plan.sharing.is_some_and(|sharing| sharing.queues) {
            return;
        }
        let mut dead = self.dead.lock().expect("no holder panics");
        for partition in 0..DEAD_PARTITIONS {
            let place = (sharing::DEAD_TOPIC.to_string(), partition);
            let seen = dead.entry(place).or_default();
            for (partition, offset, id) in self.letters(sharing::DEAD_TOPIC, partition, seen) {
                self.recorder.record(Event::QueueDead {
                    partition,
                    offset,
                    id,
                });
            }
        }
    }

    /// Notes which records have become dead letters, or are in a retry topic, since it was called last.
    pub fn record_dead(&self) {
        if self.plan.failing.is_none() {
            return;
        }
        let mut dead = self.dead.lock().expect("no holder panics");
        let retries = (self.retry_topics().into_iter()).map(|topic| (topic, MAX_PARTITIONS));
        let topics = retries.chain([(DEAD_TOPIC.to_string(), DEAD_PARTITIONS)]);
        for (topic, partitions) in topics {
            for partition in 0..partitions {
                let seen = dead.entry((topic.clone(), partition)).or_default();
                for (partition, offset, id) in self.letters(&topic, partition, seen) {
                    self.recorder.record(match topic == DEAD_TOPIC {
                        true => Event::Dead {
                            partition,
                            offset,
                            id,
                        },
                        false => Event::SentToRetry {
                            partition,
                            offset,
                            id,
                        },
                    });
                }
            }
        }
    }

    /// Where the records stood that are in a partition of dead letters or of a retry topic, and have come since so many batches were `seen`.
    fn letters(&self, topic: &str, partition: i32, seen: &mut usize) -> Vec<(i32, i64, Id)> {
        let mut letters = Vec::new();
        let mut decompressor = Decompressor::default();
        let Some(summary) = self.broker.log(topic, partition) else {
            return letters;
        };
        let batches = summary.batches.into_iter().skip(*seen);
        for batch in batches.flat_map(BatchIter::new) {
            *seen += 1;
            let batch = batch.expect("the broker checks batches");
            let mut records = batch
                .decode(&mut decompressor, 1 << 20)
                .expect("the broker checks batches");
            while let Some(record) = records.next_record() {
                let record = record.expect("the broker checks batches");
                let number = |name| {
                    let value = record.headers.get(name).and_then(|header| header.value);
                    let text = value.and_then(|value| std::str::from_utf8(value).ok());
                    text.and_then(|text| text.parse::<i64>().ok())
                        .expect("it says where its record stood")
                };
                let partition = number(dead_letter::ORIGIN_PARTITION) as i32;
                let offset = number(dead_letter::ORIGIN_OFFSET);
                let id = match record.value {
                    Some(value) => self.plan.format.id(value),
                    // With its value it would be too large for the topic.
                    None => self.id_at(partition, offset),
                };
                letters.push((partition, offset, id.expect("all values hold an id")));
            }
        }
        letters
    }

    fn id_at(&self, partition: i32, offset: i64) -> Option<Id> {
        let mut log = self.present().into_iter();
        log.find_map(|(_, of, at, id)| ((of, at) == (partition, offset)).then_some(id))
    }

    /// Notes what is committed, where that has changed.
    pub fn record_committed(&self) {
        self.record_dead();
        self.record_shared();
        let mut topic = self.topic();
        for (group, name) in GROUPS {
            for partition in 0..topic.partitions {
                let Some(next) = self.broker.committed_offset(name, TOPIC, partition) else {
                    continue;
                };
                if topic.stored.insert((group, partition), next) != Some(next) {
                    self.recorder.record(Event::Stored {
                        group,
                        partition,
                        next,
                    });
                }
            }
        }
    }

    /// The log of every partition, as it stands: (incarnation, partition, offset, record).
    pub fn present(&self) -> Vec<(Incarnation, i32, i64, Id)> {
        let (incarnation, partitions) = {
            let topic = self.topic();
            (topic.incarnation, topic.partitions)
        };
        let mut log = Vec::new();
        let mut producers = BTreeMap::new();
        let mut decompressor = Decompressor::default();
        for partition in 0..partitions {
            let summary = self.broker.log(TOPIC, partition).expect("the topic stays");
            for bytes in summary.batches {
                for batch in BatchIter::new(bytes) {
                    let batch = batch.expect("the broker checks batches");
                    let producer = (batch.producer_id(), batch.producer_epoch());
                    let mut records = batch
                        .decode(&mut decompressor, 1 << 20)
                        .expect("the broker checks batches");
                    while let Some(record) = records.next_record() {
                        let record = record.expect("the broker checks batches");
                        let id = record
                            .value
                            .and_then(|value| self.plan.format.id(value))
                            .expect("all values hold an id");
                        log.push((incarnation, partition, record.offset, id));
                        producers.insert(id, producer);
                    }
                }
            }
        }
        self.topic().producers.extend(producers);
        log
    }

    fn topic(&self) -> std::sync::MutexGuard<'_, Topic> {
        self.topic.lock().expect("no holder panics")
    }
}

/// What a seed's run is about.
#[cfg(planted_defects)]
pub fn plan_of(seed: u64) -> Plan {
    Plan::draw(&Rng::new(seed).fork())
}

/// Runs a seed from its beginning to its end, without what the environment says that it should do without.
pub fn run(seed: u64) -> Outcome {
    run_reduced(seed, &Reduction::of(|name| std::env::var(name).ok()))
}

/// Runs a seed without what is left out of it.
pub fn run_reduced(seed: u64, reduction: &Reduction) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing");
    runtime.block_on(live(seed, reduction))
}

/// The time of day at which every simulation starts.
const EPOCH_MS: i64 = 1_800_000_000_000;

async fn live(seed: u64, reduction: &Reduction) -> Outcome {
    let rng = Rng::new(seed);
    // The first that is drawn: `plan_of` draws the same.
    let mut plan = Plan::draw(&rng.fork());
    reduction.apply(&mut plan);
    let nodes = rng.between(1, 3) as usize;
    let partitions = rng.between(1, 4) as i32;
    let builder = Broker::builder()
        .nodes(nodes)
        .seed(rng.next())
        .simulated_time_ms(EPOCH_MS)
        .auto_create_topics(false)
        .max_message_bytes(MAX_MESSAGE_BYTES)
        .consumer_group_session_timeout(plan.session_timeout)
        .consumer_group_heartbeat_interval(plan.session_timeout / 4)
        .share_group_session_timeout(plan.session_timeout)
        .share_group_heartbeat_interval(plan.session_timeout / 4)
        .share_groups_from_earliest(true)
        .offset_metadata_max_bytes(plan.metadata_bytes)
        .first_producer_epoch(plan.first_producer_epoch);
    let builder = match plan.sharing {
        Some(sharing) => builder
            .share_record_lock_duration(sharing.lock)
            .share_delivery_count_limit(sharing.delivery_limit),
        None => builder,
    };
    let builder = match plan.transactions {
        Some(plan) => builder
            .transaction_version(plan.version)
            .coordinator_load_time(plan.load_time),
        None => builder,
    };
    let broker = security::of_broker(&plan.security, builder).start_in_memory();
    let broker = broker.expect("certificates that can be used");
    let mut conditions = plan.conditions(&rng);
    if reduction.is_without(Part::Delays) {
        conditions.delay_ms = 0;
    }
    let tally = Tally::default();
    for feature in plan.features() {
        tally.count(feature);
    }
    let script = Script::new(reduction.only.clone());
    let harness = Harness {
        network: Network::new(
            broker.clone(),
            rng.fork(),
            conditions,
            tally.clone(),
            script.clone(),
        ),
        tally,
        script,
        broker,
        recorder: Recorder::new(),
        plan: Arc::new(plan),
        failure: FirstFailure::default(),
        topic: Arc::default(),
        dead: Arc::default(),
        healed: Arc::default(),
        epoch_ms: Clock::simulated(EPOCH_MS),
        request_timeout: *rng.pick(&[
            Duration::from_millis(700),
            Duration::from_secs(3),
            Duration::from_secs(30),
        ]),
        seed: rng.next(),
    };
    harness.create(partitions);
    for topic in harness.retry_topics() {
        let created = harness.broker.create_topic(&topic, MAX_PARTITIONS);
        created.expect("nothing has the name");
    }
    if harness.plan.sharing.is_some_and(|sharing| sharing.queues) {
        let created = harness
            .broker
            .create_topic(sharing::DEAD_TOPIC, DEAD_PARTITIONS);
        created.expect("nothing has the name");
    }
    let mut load = Load::draw(&rng, &harness.plan);
    if let Some(records) = reduction.records {
        load.limit(records);
    }
    let setup = format!(
        "{nodes} nodes, {partitions} partitions, {conditions:?}, {:?}, {load:?}, {:?}",
        harness.request_timeout, harness.plan
    );

    let dead_topic = tokio::spawn(harness.clone().create_dead_topic());
    let readers = consumers::Readers::start(&harness, &rng);
    // Of its own: what else is drawn is what it was without.
    let members = sharing::Members::start(&harness, &Rng::new(!seed));
    let own = Rng::new(seed.rotate_left(32));
    let mut applications = transactions::Applications::start(&harness, &own);
    let looking = tokio::spawn(poll_committed(harness.clone()));
    let mut stuck = None;
    if harness.plan.latest && harness.plan.others && !readers.have_begun(&harness).await {
        stuck = Some("the group does not begin".to_string());
    }
    let mut sending = JoinSet::new();
    for nth in 0..load.producers {
        let rng = rng.fork();
        if harness.plan.others {
            let (harness, load) = (harness.clone(), load.clone());
            sending.spawn(producers::produce(harness, load, nth, rng));
        }
    }
    let faults = [
        tokio::spawn(faults::inject_faults(harness.clone(), rng.fork())),
        tokio::spawn(transactions::inject_faults(harness.clone(), own.fork())),
    ];
    sleep(harness.plan.lasts).await;

    for faults in faults {
        faults.abort();
        if let Err(ended) = faults.await {
            assert!(ended.is_cancelled(), "seed {seed}: no fault came any more");
        }
    }
    dead_topic.await.expect("there is room for a topic");
    heal(&harness).await;
    harness.healed.0.store(true, Ordering::Relaxed);
    harness.healed.1.notify_waiters();
    let stuck = match stuck {
        None => settle(&harness, sending, &readers, &members).await.err(),
        stuck => stuck,
    };
    let stuck = match (&mut applications, stuck) {
        (Some(applications), None) => applications.settle().await.err(),
        (_, stuck) => stuck,
    };
    let stuck = stuck.or(harness.failure.get());
    let ended = readers.stop().await;
    members.stop().await;
    let in_transactions = match applications {
        Some(applications) => applications.stop().await,
        None => Vec::new(),
    };
    let stuck = stuck.or(ended.err());
    looking.abort();
    harness.record_committed();
    harness.broker.shutdown().await;

    let present = harness.present();
    let log = [std::mem::take(&mut harness.topic().past), present].concat();
    let producers = std::mem::take(&mut harness.topic().producers);
    let history = harness.recorder.history(log, producers);
    let guarantees = Guarantees {
        idempotent: load.idempotence,
        all_is_well: harness.plan.all_is_well(),
        handled_once: harness.plan.is_handled_once(),
        delivery_ms: load.delivery_timeout(&harness).as_millis() as u64,
        reports_failure_within_ms: (harness.request_timeout * 2 + Duration::from_secs(15))
            .as_millis() as u64,
        moves_by_itself: !harness.plan.none,
        owned_once: harness.plan.is_owned_once(),
        epochs_rise: harness.plan.protocols.is_one(),
        producer_ids_end: harness.plan.producer_ids_end(),
        protocols: harness.plan.protocols,
        sharing: harness.plan.sharing.map(|sharing| SharingGuarantees {
            is_held_alone: harness.plan.is_held_alone(),
            lock_ms: sharing.lock.as_millis() as u64,
            delivery_limit: u32::from(sharing.delivery_limit),
        }),
    };
    let mut violations = check(&history, guarantees, &consumers::groups(&history));
    if let Some(plan) = harness.plan.transactions {
        let promises = checker::transactions::Promises {
            all_is_well: harness.plan.all_is_well(),
            timeout_ms: plan.timeout.as_millis() as u64,
            loops: plan.loops > 0,
            copies: !plan.typed,
            settled: stuck.is_none(),
        };
        let found = checker::transactions::check(&history, &in_transactions, promises);
        violations.extend(found.into_iter().map(Violation::InTransactions));
    }
    if let Some(failing) = harness.plan.failing {
        violations.extend(dead_for_nothing(&history, failing, false));
    }
    if let Some(sharing) = harness.plan.sharing {
        violations.extend(dead_for_nothing(&history, sharing.failing, true));
    }
    for event in &history.events {
        harness
            .tally
            .add(format!("applications: {}", event.name()), 1);
    }
    let outcome = stuck.is_none() && violations.is_empty();
    harness.tally.count(match outcome {
        true => "outcome: clean",
        false => "outcome: failed",
    });
    Outcome {
        seed,
        setup,
        happened: harness.script.happened(),
        tally: harness.tally.clone(),
        history,
        violations,
        stuck,
    }
}

/// Records that became dead letters and would have been handled.
fn dead_for_nothing(
    history: &History,
    failing: Failing,
    of_queue: bool,
) -> impl Iterator<Item = Violation> {
    let dead = history.events.iter().filter_map(move |event| match *event {
        Event::Dead { id, .. } if !of_queue => Some(id),
        Event::QueueDead { id, .. } if of_queue => Some(id),
        _ => None,
    });
    let good = dead.filter(move |id| failing.fate(*id) != Fate::Poison);
    good.map(Violation::DeadForNothing)
}

async fn poll_committed(harness: Harness) {
    // One that is refused for its metadata can fall behind a newer one for a moment only.
    let pause = match harness.plan.metadata_bytes {
        4_096.. => LOOK,
        _ => Duration::from_millis(10),
    };
    loop {
        sleep(pause).await;
        harness.record_committed();
    }
}

async fn heal(harness: &Harness) {
    harness.broker.clear_faults();
    harness.network.heal();
    for node in harness.broker.node_ids() {
        harness
            .broker
            .start_node(node)
            .await
            .expect("memory has no ports to lose");
    }
    if harness.partitions() == 0 {
        harness.recreate(1);
    }
    if harness.plan.scenario == Scenario::Outage {
        harness.recorder.record(Event::Up);
    }
}

/// Waits until every producer gets through, everything sent is reported and everything written is read.
async fn settle(
    harness: &Harness,
    mut sending: JoinSet<Result<(), String>>,
    readers: &consumers::Readers,
    members: &sharing::Members,
) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while let Some(ended) = timeout(PATIENCE, sending.join_next())
        .await
        .map_err(|_| "a producer does not finish".to_string())?
    {
        ended.map_err(|error| format!("a producer's task failed: {error}"))??;
    }
    let (mut progress, mut have_read) = (readers.progress(), false);
    while Instant::now() < deadline {
        if let Some(failure) = harness.failure.get() {
            return Err(failure);
        }
        // The log of now: what a producer has given up may still have been on its way.
        have_read = progress.have_read(&harness.recorder, &harness.present());
        if have_read && members.are_done(harness) {
            return Ok(());
        }
        sleep(Duration::from_millis(500)).await;
    }
    Err(match have_read {
        true => "the share group does not reach the end".to_string(),
        false => "the readers do not reach the end".to_string(),
    })
}
