//! All applications of a run that write in transactions: started, waited for once everything is healed, and stopped. In: the harness. Out: what
//! is in the logs then, or what does not get on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pat_events::events::codec::Protobuf;
use pat_events::events::{EventProducer, OutboxEvent, ProducerConfig as EventProducerConfig};
use pat_events::kafka::{Client, ClientConfig};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};

use super::events::{Topic, TransactionEvent};
use super::log::{self, LogEntry};
use super::loops::Loops;
use super::plan::Transactional;
use super::{plain, reader, writers};
use crate::checker::transactions::Visible;
use crate::harness::Harness;
use crate::history::{Event, Id};
use crate::network::Lifeline;
use crate::record_format::{OwnEvents, RecordFormat, email, noted};
use crate::rng::Rng;

/// Instances of writers count from here, those of loops, and producers without transactions: a hundred for each place.
pub(super) const FIRST_WRITER: u32 = 10_000;
pub const FIRST_LOOP: u32 = 20_000;
pub const FIRST_PLAIN: u32 = 30_000;
/// The reader of what is committed.
pub(super) const READER: u32 = 40_000;
/// Who encodes.
const ENCODER: u32 = 41_000;

/// The group of the loops.
pub const LOOPS: &str = "loops";
/// How long all of them may take once everything is healed.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often the coordinators are asked what is committed.
const LOOK: Duration = Duration::from_secs(1);
/// As many answers in a row as nobody can read, and that ask for a pause each, a request waits for.
const UNREAD_PAUSES: u32 = 5;

/// What the applications share.
#[derive(Clone)]
pub(super) struct Shared {
    pub harness: Harness,
    pub plan: Transactional,
    encoder: Option<EventProducer>,
    /// What each place was stopped by last.
    obstacles: Arc<Mutex<BTreeMap<u32, String>>>,
    /// What was committed when last looked at, by group and partition.
    offsets: Arc<Mutex<BTreeMap<(String, i32), i64>>>,
}

impl Shared {
    pub fn note(&self, event: TransactionEvent) {
        self.harness.recorder.record(Event::InTransactions(event));
    }

    /// A place was stopped by this.
    pub fn note_obstacle(&self, place: u32, error: &impl ToString) {
        let mut obstacles = self.obstacles.lock().expect("no holder panics");
        obstacles.insert(place, error.to_string());
    }

    /// The configuration of a client that can be cut off by itself.
    pub fn client(&self, nth: u32, rng: &Rng) -> (ClientConfig, Lifeline) {
        let mut config = self.harness.client(nth);
        let (network, lifeline) = self.harness.network.of_one(rng.fork());
        config.transport = Arc::new(network);
        let plan = &self.harness.plan;
        if let (Some(pause), true) = (plan.quota, plan.garbled) {
            // Who cannot read an answer does not know of the pause that it asks for: a request that is given up meanwhile, and repeated on
            // another connection, is read after all, perhaps in the next transaction. Kafka notes its sequence then as the lowest that waits
            // to be verified, and refuses all that follow (OUT_OF_ORDER_SEQUENCE_NUMBER): that transaction cannot be committed.
            config.request_timeout = config.request_timeout.max(pause * UNREAD_PAUSES);
        }
        (config, lifeline)
    }

    pub fn transactional_id(&self, place: u32) -> String {
        format!("place-{place}")
    }

    /// The group whose offset a place commits with its transactions.
    pub fn group_of(&self, place: u32) -> String {
        format!("writers-{place}")
    }

    /// A record of this id and key, to be sent to any topic.
    pub async fn encode(&self, id: Id, key: u32) -> OutboxEvent {
        let Some(encoder) = &self.encoder else {
            let value = [id.producer.to_be_bytes(), id.number.to_be_bytes()].concat();
            let key = Some(key.to_be_bytes().to_vec());
            return OutboxEvent::new(String::new(), key, value, Vec::new(), 0);
        };
        let encoded = match self.harness.plan.format {
            RecordFormat::Email => encoder.encode(&email(id, key)).await,
            _ => {
                let event = OwnEvents::Noted(noted(id, key));
                encoder.encode(&event).await
            }
        };
        encoded.expect("an event that can be encoded")
    }

    /// Notes what is committed, where that has changed.
    fn record_offsets(&self) {
        let broker = &self.harness.broker;
        let ledger = Topic::Ledger.name();
        let mut known = self.offsets.lock().expect("no holder panics");
        let mut changed = |group: String, partition| {
            let next = broker.committed_offset(&group, ledger, partition)?;
            let before = known.insert((group, partition), next);
            (before != Some(next)).then_some(next)
        };
        for place in self.places() {
            if let Some(next) = changed(self.group_of(place), 0) {
                self.note(TransactionEvent::OffsetOfWriters { place, next });
            }
        }
        for partition in 0..Topic::Ledger.partitions() {
            if let Some(next) = changed(LOOPS.to_owned(), partition) {
                self.note(TransactionEvent::OffsetOfLoops { partition, next });
            }
        }
    }

    /// The places of writers.
    pub fn places(&self) -> impl Iterator<Item = u32> + use<> {
        (0..self.plan.writers).map(|nth| FIRST_WRITER / 100 + nth)
    }

    pub fn log(&self) -> Vec<LogEntry> {
        log::read(&self.harness.broker, self.harness.plan.format)
    }
}

/// The applications at work.
pub struct Applications {
    shared: Shared,
    writing: JoinSet<Result<(), String>>,
    loops: Loops,
    others: Vec<JoinHandle<()>>,
}

impl Applications {
    /// Creates their topics and starts them, where the plan has any.
    pub fn start(harness: &Harness, rng: &Rng) -> Option<Self> {
        let plan = harness.plan.transactions?;
        for topic in Topic::ALL {
            let created = harness
                .broker
                .create_topic(topic.name(), topic.partitions());
            created.expect("nothing has the name");
        }
        let is_typed = harness.plan.format != RecordFormat::Raw;
        let encoder = is_typed.then(|| {
            let client = Client::lazy(harness.client(ENCODER)).expect("a good configuration");
            let config = EventProducerConfig::new("", Topic::Outputs.name());
            EventProducer::with_codec_on(&client, config, Protobuf).expect("a good configuration")
        });
        let shared = Shared {
            harness: harness.clone(),
            plan,
            encoder,
            obstacles: Arc::default(),
            offsets: Arc::default(),
        };
        let mut writing = JoinSet::new();
        for place in shared.places() {
            writing.spawn(writers::run_place(shared.clone(), place, rng.fork()));
        }
        writing.spawn(plain::produce(shared.clone(), FIRST_PLAIN, rng.fork()));
        let loops = Loops::start(&shared, rng);
        let looking = shared.clone();
        let others = vec![
            tokio::spawn(reader::read(shared.clone(), rng.fork())),
            tokio::spawn(async move {
                loop {
                    sleep(LOOK).await;
                    looking.record_offsets();
                }
            }),
        ];
        Some(Self {
            shared,
            writing,
            loops,
            others,
        })
    }

    /// Waits until every writer gets through, nothing is open any more, and all that is committed is read, transformed and read again.
    pub async fn settle(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while let Some(ended) = timeout_at(deadline, self.writing.join_next())
            .await
            .map_err(|_| format!("a transactional writer does not recover: {:?}", self.why()))?
        {
            ended.map_err(|error| format!("a transactional writer's task failed: {error}"))??;
        }
        let mut left = None;
        while Instant::now() < deadline {
            left = self.what_is_left();
            if left.is_none() {
                return Ok(());
            }
            sleep(Duration::from_millis(500)).await;
        }
        Err(format!("{}: {:?}", left.unwrap_or_default(), self.why()))
    }

    fn why(&self) -> BTreeMap<u32, String> {
        let obstacles = self.shared.obstacles.lock().expect("no holder panics");
        obstacles.clone()
    }

    /// What is not done yet.
    fn what_is_left(&self) -> Option<String> {
        let visible = Visible::of(&self.shared.log());
        if let Some(open) = visible.open.first() {
            return Some(format!("a transaction stays open: {open:?}"));
        }
        let mut ends: BTreeMap<(Topic, i32), i64> = BTreeMap::new();
        for record in &visible.records {
            let end = ends.entry((record.topic, record.partition)).or_default();
            *end = (*end).max(record.offset);
        }
        if self.shared.plan.loops > 0 {
            let broker = &self.shared.harness.broker;
            for partition in 0..Topic::Ledger.partitions() {
                let next = broker.committed_offset(LOOPS, Topic::Ledger.name(), partition);
                let end = ends.get(&(Topic::Ledger, partition)).copied();
                if end.is_some_and(|end| next.is_none_or(|next| next <= end)) {
                    return Some("the exactly-once loops do not reach the end".to_owned());
                }
            }
        }
        let mut seen: BTreeMap<(Topic, i32), i64> = BTreeMap::new();
        self.shared.harness.recorder.read(0, |event| {
            if let Event::InTransactions(TransactionEvent::Sees {
                topic,
                partition,
                offset,
                ..
            }) = *event
            {
                let last = seen.entry((topic, partition)).or_default();
                *last = (*last).max(offset);
            }
        });
        let unread = { ends }.into_iter().find(|(partition, end)| {
            let last = seen.get(partition).copied();
            last.is_none_or(|last| last < *end)
        });
        unread.map(|(partition, end)| {
            format!("the reader of what is committed does not reach {end} of {partition:?}")
        })
    }

    /// Stops all of them. What is in the logs then.
    pub async fn stop(mut self) -> Vec<LogEntry> {
        self.writing.abort_all();
        while self.writing.join_next().await.is_some() {}
        self.loops.stop().await;
        for task in self.others {
            task.abort();
            // It was told to stop: that is all its result can say.
            let _ = task.await;
        }
        self.shared.record_offsets();
        self.shared.log()
    }
}
