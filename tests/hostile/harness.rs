//! What one case happens in: an embedded cluster, the tampering broker before it, the configuration of clients, and the notes that a workload
//! takes: how long each call took, what failed, what was wrong.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::kafka::{ClientConfig, Clock, Error};
use protocol::compression::{Compression, Compressor, Decompressor};
use protocol::records::{BatchBuilder, BatchIter, SealOptions};
use tokio::time::{Instant, sleep, timeout};

use crate::proxy::Proxy;
use crate::tamperer::Tamperer;

pub const TOPIC: &str = "t";
pub const GROUP: &str = "g";
pub const PARTITIONS: i32 = 3;

pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a workload goes on under a tampering.
pub const TAMPERING: Duration = Duration::from_secs(10);
/// How long after the end of the tampering everything has to work again.
pub const HEALING: Duration = Duration::from_secs(30);
/// After how long without a heartbeat a member is none any more, and how often it sends one.
pub const SESSION: Duration = Duration::from_secs(6);
pub const HEARTBEAT: Duration = Duration::from_millis(500);
/// For how long a record of a share group is locked for who has acquired it.
const LOCK: Duration = Duration::from_secs(3);
/// The longest pause that the client grants a broker.
const LONGEST_THROTTLE: Duration = Duration::from_secs(60);
/// What a call may take beyond its deadline.
const SLACK: Duration = Duration::from_millis(100);
/// What a call takes beyond its deadline when it will never end.
const HUNG: Duration = Duration::from_secs(90);
/// More errors of polls than this in a second are a loop without a pause.
const ERRORS_PER_SECOND: u32 = 50;

/// What must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    Panicked(String),
    Hung(&'static str),
    Overrun(&'static str, Duration),
    /// So many requests of an API per second.
    HotLoop(&'static str, usize),
    /// Polls fail one after the other, without a pause.
    Spinning(String),
    /// Acknowledged and not in the log, or in the log and not read.
    Lost(String),
    Doubled(String),
    Reordered(String),
    /// What a call said is not so.
    Untrue(String),
    /// The tampering is over, and it does not work again.
    NotHealed(String),
    /// No progress, and no error says so.
    Silent(String),
    /// The error does not say what was wrong.
    Unnamed(String),
    /// An error that a repetition would have settled.
    GivenUp(String),
    /// One bad answer ended the client.
    Ended(String),
    TooMuchMemory(u64),
    /// The tampering was never applied: the case shows nothing.
    NeverApplied,
}

impl Violation {
    /// What kind it is, for lists of them.
    pub fn kind(&self) -> String {
        let text = format!("{self:?}");
        text.split('(').next().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// An error that a client told of.
#[derive(Clone, Debug)]
pub struct Noted {
    pub call: &'static str,
    pub at: Duration,
    /// While the tampering was applied.
    pub under_tampering: bool,
    pub error: Error,
}

/// What a workload notes.
#[derive(Debug, Default)]
pub struct Notes {
    pub violations: Vec<Violation>,
    pub errors: Vec<Noted>,
    /// The work was done while the tampering was applied.
    pub is_done_under_tampering: bool,
    pub worst_overrun: (Duration, &'static str),
    /// The times of the last errors of polls.
    poll_errors: (Duration, u32),
}

/// A case's world.
pub struct Harness {
    pub broker: Broker,
    pub proxy: Proxy,
    pub notes: Notes,
    started: Instant,
    is_tampering: bool,
    clock: Clock,
}

impl Harness {
    pub fn new(tamperer: Option<Tamperer>) -> Self {
        let builder = Broker::builder().nodes(2).seed(7);
        let broker = builder
            .min_session_timeout(Duration::from_secs(1))
            .consumer_group_session_timeout(SESSION)
            .consumer_group_heartbeat_interval(HEARTBEAT)
            .share_group_session_timeout(SESSION)
            .share_group_heartbeat_interval(HEARTBEAT)
            .share_groups_from_earliest(true)
            .share_record_lock_duration(LOCK)
            // What is lost on its way counts as delivered.
            .share_delivery_count_limit(200)
            .auto_create_topics(false)
            // The broker reserves as much, which the count of allocated bytes has as taken.
            .fetch_max_bytes(1 << 20)
            .max_message_bytes(1 << 20)
            .start_in_memory()
            .expect("an in-memory cluster starts");
        broker.create_topic(TOPIC, PARTITIONS).expect("a new topic");
        Self {
            proxy: Proxy::new(broker.clone(), tamperer),
            broker,
            notes: Notes::default(),
            started: Instant::now(),
            is_tampering: true,
            clock: Clock::simulated(1_700_000_000_000),
        }
    }

    /// How a client reaches the tampering broker.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new(&self.broker.bootstrap_servers());
        config.client_id = "hostile".to_owned();
        config.transport = Arc::new(self.proxy.clone());
        config.clock = self.clock;
        config.seed = Some(42);
        config.request_timeout = REQUEST_TIMEOUT;
        config.connect_timeout = REQUEST_TIMEOUT;
        config.metadata_max_age = Duration::from_secs(5);
        config
    }

    /// Since the start.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn is_tampering(&self) -> bool {
        self.is_tampering
    }

    /// Whether the workload should go on under the tampering.
    pub fn goes_on(&self) -> bool {
        self.is_tampering && self.now() < TAMPERING
    }

    /// How long after the end of the tampering everything has to work again: a pause that a broker asked for is kept, within reason.
    pub fn healing(&self) -> Duration {
        if self.proxy.has_throttled() {
            HEALING + LONGEST_THROTTLE
        } else {
            HEALING
        }
    }

    /// No tampering from now on.
    pub fn heal(&mut self) {
        self.is_tampering = false;
        self.proxy.heal();
    }

    pub fn violation(&mut self, violation: Violation) {
        let kind = violation.kind();
        // One of each kind tells enough.
        if self
            .notes
            .violations
            .iter()
            .all(|other| other.kind() != kind)
        {
            self.notes.violations.push(violation);
        }
    }

    pub fn error(&mut self, call: &'static str, error: &Error) {
        let noted = Noted {
            call,
            at: self.now(),
            under_tampering: self.is_tampering,
            error: error.clone(),
        };
        self.notes.errors.push(noted);
    }

    /// As [`error`](Self::error), of what is looked at again and again.
    pub fn error_once(&mut self, call: &'static str, error: &Error) {
        let text = error.to_string();
        let mut noted = self.notes.errors.iter();
        if !noted.any(|noted| noted.call == call && noted.error.to_string() == text) {
            self.error(call, error);
        }
    }

    /// Makes a call that must end within `bound`; `None` when it did not end at all.
    pub async fn call<T>(
        &mut self,
        name: &'static str,
        bound: Duration,
        call: impl Future<Output = T>,
    ) -> Option<T> {
        self.call_by(name, Instant::now() + bound, call).await
    }

    /// As [`call`](Self::call), for a call whose time began before.
    pub async fn call_by<T>(
        &mut self,
        name: &'static str,
        deadline: Instant,
        call: impl Future<Output = T>,
    ) -> Option<T> {
        let left = deadline.saturating_duration_since(Instant::now());
        let result = timeout(left + HUNG, call).await;
        let overrun = Instant::now().saturating_duration_since(deadline);
        match result {
            Ok(value) => {
                if overrun > self.notes.worst_overrun.0 {
                    self.notes.worst_overrun = (overrun, name);
                }
                if overrun > SLACK {
                    self.violation(Violation::Overrun(name, overrun));
                }
                Some(value)
            }
            Err(_) => {
                self.violation(Violation::Hung(name));
                None
            }
        }
    }

    /// Notes the error of a poll. Pauses when there are too many of them, which no client may rely on.
    pub async fn poll_error(&mut self, error: &Error) {
        self.error("poll", error);
        let second = Duration::from_secs(self.now().as_secs());
        let (of, count) = &mut self.notes.poll_errors;
        if *of == second {
            *count += 1;
        } else {
            (*of, *count) = (second, 1);
        }
        if *count > ERRORS_PER_SECOND {
            self.violation(Violation::Spinning(error.to_string()));
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Appends the numbers, each to the partition of its remainder, two to a batch.
    pub fn fill(&self, numbers: std::ops::Range<u32>) {
        for partition in 0..PARTITIONS {
            let of_partition: Vec<u32> = numbers
                .clone()
                .filter(|number| partition_of(*number) == partition)
                .collect();
            for pair in of_partition.chunks(2) {
                let mut builder = BatchBuilder::new(Vec::new());
                for number in pair {
                    builder
                        .append(1_000, Some(b"key"), Some(&number.to_be_bytes()), [])
                        .expect("room in the batch");
                }
                let mut compressor = Compressor::new(Compression::NONE);
                let batch = builder.seal(&SealOptions::default(), &mut compressor);
                self.broker
                    .append_unchecked(TOPIC, partition, batch.into_bytes());
            }
        }
    }

    /// Every number in the log of a partition.
    pub fn logged(&self, partition: i32) -> Vec<u32> {
        let log = self.broker.log(TOPIC, partition).expect("the topic stays");
        let mut decompressor = Decompressor::default();
        let mut numbers = Vec::new();
        for bytes in log.batches {
            for batch in BatchIter::strict(bytes) {
                let decoded = batch
                    .expect("the broker checks batches")
                    .decode(&mut decompressor, 1 << 20)
                    .expect("the broker checks batches");
                let records = decoded.records();
                numbers.extend(records.map(|record| {
                    number_of(record.expect("checked").value).expect("values are numbers")
                }));
            }
        }
        numbers
    }
}

pub fn partition_of(number: u32) -> i32 {
    (number % PARTITIONS as u32) as i32
}

pub fn number_of(value: Option<&[u8]>) -> Option<u32> {
    Some(u32::from_be_bytes(value?.try_into().ok()?))
}
