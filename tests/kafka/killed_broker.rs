//! The program's broker with a data directory, killed (SIGKILL) again and again under load. In: producers, a group that commits, topics that come. Out: what was
//! acknowledged is there, once, at the place that was told; committed offsets never go back, producer ids never come again; and every byte of the files
//! belongs to a whole batch.
//!
//! `KILLED_BROKER=100` kills it as often; without it, 4 times.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pat_events::kafka::{
    Admin, ClientConfig, Consumer, ConsumerConfig, NewTopic, Producer, ProducerConfig, Record,
    Records, StartOffset, TopicPartition,
};
use protocol::ErrorCode;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use protocol::messages::{InitProducerIdRequest, OffsetCommitRequest, OffsetFetchRequest};
use protocol::records::BatchIter;
use tokio::time::{sleep, timeout};

use crate::fleet::{Fleet, block_on_for};
use crate::raw::Raw;
use crate::support::guarded::Guarded;
use crate::support::java::folder;

const TOPIC: &str = "killed";
const PARTITIONS: i32 = 3;
const PRODUCERS: u64 = 3;
/// Records that a producer sends before it waits for what became of them.
const AT_ONCE: u64 = 50;
/// Nobody waits longer than this for something to happen.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let kills = std::env::var("KILLED_BROKER").ok();
    let kills = kills.map(|it| it.parse().expect("KILLED_BROKER is a number of kills"));
    let kills: u32 = kills.unwrap_or(4);
    let name = "a_broker_that_is_killed_again_and_again_has_all_that_it_acknowledged_once";
    let policies = ["always", "never"];
    let trial = |fsync: &'static str| {
        fleet.apart(format!("embedded::{name}_fsync_{fsync}"), move || {
            let takes = Duration::from_secs(u64::from(kills) * 5);
            block_on_for(takes, case(kills, fsync));
        })
    };
    policies.into_iter().map(trial).collect()
}

/// The program, on the same port and directory each time.
pub struct Killed {
    folder: PathBuf,
    pub address: String,
    fsync: &'static str,
    starts: u32,
    running: Option<Guarded>,
}

impl Killed {
    pub fn new(name: &str, fsync: &'static str) -> Self {
        let folder = folder().join(format!("{name}-{fsync}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self {
            folder,
            address: free.local_addr().expect("an address").to_string(),
            fsync,
            starts: 0,
            running: None,
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts it for the first time, and creates `topic`.
    pub async fn start_with(&mut self, topic: &NewTopic) -> Admin {
        self.start().await;
        let admin = Admin::connect(ClientConfig::new(&self.address));
        let admin = admin.await.expect("connected");
        admin.create_topic(topic).await.expect("created");
        admin
    }

    /// Starts it, and waits until it says that it serves. Returns how long that took.
    pub async fn start(&mut self) -> Duration {
        self.starts += 1;
        let began = Instant::now();
        let output = self.folder.join(format!("{}.out", self.starts));
        let errors = self.folder.join("errors");
        let data = self.data();
        let data = data.to_string_lossy();
        // Small enough that files are rolled and go.
        let arguments = [
            "broker",
            "--listen",
            &self.address,
            "--data",
            &data,
            "--fsync",
            self.fsync,
            "--retention-bytes",
            "1073741824",
        ];
        let program = env!("CARGO_BIN_EXE_pat-events");
        let started = Guarded::start(program, &arguments, &output, &errors);
        let mut started = started.expect("it starts");
        while !fs::read_to_string(&output)
            .unwrap_or_default()
            .contains(':')
        {
            let says = || fs::read_to_string(&errors).unwrap_or_default();
            assert!(started.ended().is_none(), "it has ended: {}", says());
            assert!(began.elapsed() < PATIENCE, "it does not start: {}", says());
            sleep(Duration::from_millis(5)).await;
        }
        self.running = Some(started);
        began.elapsed()
    }

    pub fn kill(&mut self) {
        self.running = None;
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.kill();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// What was acknowledged, and by whom.
#[derive(Default)]
struct Told {
    /// Number → where it stands.
    records: Mutex<BTreeMap<u64, (i32, i64)>>,
    commits: AtomicU64,
    next: AtomicU64,
    ends: AtomicBool,
}

async fn case(kills: u32, fsync: &'static str) {
    let mut killed = Killed::new("killed-broker", fsync);
    let began = Instant::now();
    let admin = killed.start_with(&NewTopic::new(TOPIC, PARTITIONS)).await;
    let told = Arc::new(Told::default());
    let mut tasks = Vec::new();
    for _ in 0..PRODUCERS {
        tasks.push(tokio::spawn(produce(killed.address.clone(), told.clone())));
    }
    tasks.push(tokio::spawn(commit(killed.address.clone(), told.clone())));
    let (mut topics, mut slowest) = (vec![TOPIC.to_owned()], Duration::ZERO);
    for kill in 0..kills {
        let topic = format!("round-{kill}");
        let new = NewTopic::new(&topic, 1);
        let created = timeout(PATIENCE, admin.create_topic(&new)).await;
        created.expect("in time").expect("created");
        topics.push(topic);
        let pause = u64::from(kill).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
        sleep(Duration::from_millis(50 + pause)).await;
        killed.kill();
        slowest = slowest.max(killed.start().await);
    }
    // All that is under way comes to its end.
    told.ends.store(true, Ordering::Relaxed);
    for task in tasks {
        timeout(PATIENCE, task)
            .await
            .expect("in time")
            .expect("no panic");
    }
    let records = std::mem::take(&mut *told.records.lock().expect("no panic"));
    killed.kill();
    killed.start().await;
    let there = read_all(&killed.address).await;
    let names = admin.list_topics().await.expect("listed");
    let names: Vec<_> = names.into_keys().collect();
    topics.sort();
    assert_eq!(names, topics);
    let mut places = BTreeMap::new();
    for (place, number) in &there {
        if let Some(first) = places.insert(*number, *place) {
            panic!("record {number} is there twice: at {first:?} and {place:?}");
        }
    }
    for (number, place) in &records {
        assert_eq!(
            places.get(number),
            Some(place),
            "record {number} was acknowledged there"
        );
    }
    killed.kill();
    let (files, bytes) = check_files(&killed.data());
    println!(
        "fsync {fsync}: {kills} kills: {} records acknowledged, {} there, {} commits; {files} files of {bytes} bytes, all of them batches; slowest start {} ms; {} s",
        records.len(),
        there.len(),
        told.commits.load(Ordering::Relaxed),
        slowest.as_millis(),
        began.elapsed().as_secs(),
    );
    assert!(
        records.len() as u64 > u64::from(kills) * AT_ONCE,
        "hardly anything was sent"
    );
}

/// Sends numbers that nobody else sends, until it is told to end.
async fn produce(address: String, told: Arc<Told>) {
    let mut config = ProducerConfig::new(&address);
    config.delivery_timeout = PATIENCE;
    config.max_block = PATIENCE;
    let producer = Producer::connect(config).await.expect("connected");
    while !told.ends.load(Ordering::Relaxed) {
        let mut deliveries = Vec::new();
        for _ in 0..AT_ONCE {
            let number = told.next.fetch_add(1, Ordering::Relaxed);
            let (key, value) = (number.to_string(), format!("{number:>200}"));
            let record = Record::new(TOPIC)
                .key(key.as_bytes())
                .value(value.as_bytes());
            let delivery = producer.enqueue(record).await.expect("there is room");
            deliveries.push((number, delivery));
        }
        for (number, delivery) in deliveries {
            let written = delivery.await.expect("written in the end");
            let place = (written.partition, written.offset.expect("an offset"));
            told.records.lock().expect("no panic").insert(number, place);
        }
    }
    producer.close(PATIENCE).await.expect("closed");
}

/// Commits ever larger offsets, as somebody who is no member, and looks for them each time that the broker is back.
async fn commit(address: String, told: Arc<Told>) {
    let (mut acknowledged, mut asked, mut last_id) = (-1, -1, -1);
    while !told.ends.load(Ordering::Relaxed) {
        let Ok(mut raw) = Raw::connect(&address).await else {
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        let request = InitProducerIdRequest {
            transactional_id: None,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let Ok(given) = raw.call(4, &request).await else {
            continue;
        };
        if given.error_code == ErrorCode::NONE {
            assert!(
                given.producer_id > last_id,
                "{} after {last_id}",
                given.producer_id
            );
            last_id = given.producer_id;
        }
        match committed(&mut raw).await {
            Some(found) => assert!(
                (acknowledged..=asked).contains(&found),
                "{found}, but {acknowledged} was acknowledged"
            ),
            None => continue,
        }
        while !told.ends.load(Ordering::Relaxed) {
            asked += 1;
            match commit_one(&mut raw, asked).await {
                Some(ErrorCode::NONE) => {
                    acknowledged = asked;
                    told.commits.fetch_add(1, Ordering::Relaxed);
                }
                Some(error) => panic!("{error}"),
                None => break,
            }
        }
    }
}

async fn committed(raw: &mut Raw) -> Option<i64> {
    let request = OffsetFetchRequest {
        group_id: "g".into(),
        topics: Some(vec![OffsetFetchRequestTopic {
            name: TOPIC.into(),
            partition_indexes: vec![0],
            ..Default::default()
        }]),
        ..Default::default()
    };
    let response = raw.call(5, &request).await.ok()?;
    Some(response.topics[0].partitions[0].committed_offset)
}

async fn commit_one(raw: &mut Raw, offset: i64) -> Option<ErrorCode> {
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: TOPIC.into(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: offset,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = raw.call(8, &request).await.ok()?;
    Some(response.topics[0].partitions[0].error_code)
}

/// Each place, and the number that stands there.
async fn read_all(address: &str) -> BTreeMap<(i32, i64), u64> {
    let properties = [("bootstrap.servers", address)];
    let config = ConsumerConfig::from_properties(properties).expect("good");
    let mut consumer = Consumer::connect(config).await.expect("connected");
    let partitions: Vec<_> = (0..PARTITIONS)
        .map(|it| TopicPartition::new(TOPIC, it))
        .collect();
    let ends = consumer.end_offsets(&partitions).await.expect("listed");
    let starts = partitions
        .iter()
        .map(|it| (it.clone(), StartOffset::Earliest));
    consumer
        .assign(&starts.collect::<Vec<_>>())
        .await
        .expect("assigned");
    let all: i64 = ends.values().sum();
    let mut there = BTreeMap::new();
    while (there.len() as i64) < all {
        let records: Records = consumer.poll(PATIENCE).await.expect("read");
        assert!(!records.is_empty(), "{} of {all} records", there.len());
        for record in records.iter() {
            let value = std::str::from_utf8(record.value.expect("a value")).expect("text");
            let number = value.trim().parse().expect("a number");
            there.insert((record.partition, record.offset), number);
        }
    }
    there
}

/// Every file of a log is made of whole batches, whose offsets go on from file to file. Returns how many there are, and their size.
fn check_files(data: &Path) -> (usize, u64) {
    let (mut files, mut bytes) = (0, 0);
    for partition in 0..PARTITIONS {
        let folder = data.join(format!("{TOPIC}-{partition}"));
        let mut paths: Vec<_> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|it| it == "log"))
            .collect();
        paths.sort();
        let mut offset = 0;
        for path in paths {
            let content = bytes::Bytes::from(fs::read(&path).expect("read"));
            files += 1;
            bytes += content.len() as u64;
            for batch in BatchIter::strict(content) {
                let batch = batch.expect("a whole batch");
                batch.verify_crc().expect("as it was written");
                assert_eq!(batch.base_offset(), offset, "{}", path.display());
                offset = batch.last_offset() + 1;
            }
        }
    }
    (files, bytes)
}
