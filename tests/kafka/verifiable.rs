//! The consumers by which Kafka's own system tests judge a broker, VerifiableConsumer and VerifiableShareConsumer, as members beside ours. On any broker.
//! They say in JSON what they were assigned, have read, and have committed: each record is one member's, and every commit succeeds.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libtest_mimic::{Completion, Failed, Trial};
use pat_events::kafka::{
    AcknowledgeType, NewTopic, ShareConsumer, ShareConsumerConfig, TopicPartition,
};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::fleet::{Fleet, Ran, Target, block_on};
use crate::share::queue;
use crate::suite::send_numbers;
use crate::support::guarded::Guarded;
use crate::support::java::{Jdk, KAFKA_VERSION, folder};

const PARTITIONS: i32 = 6;
const RECORDS: u64 = 3_000;
/// After so many the second of Java's consumers leaves.
const SOME: &str = "200";
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(100);

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let consumers = fleet.on_both_with_jdk(
        "verifiable::consumers_of_kafkas_tests_share_with_ours",
        consumers,
    );
    let queues = fleet.on_both_with_jdk(
        "verifiable::share_consumers_of_kafkas_tests_share_with_ours",
        queues,
    );
    consumers.into_iter().chain(queues).collect()
}

pub(crate) fn with_tools(jdk: &Jdk) -> Result<Jdk, Failed> {
    let tools = ("org.apache.kafka", "kafka-tools", KAFKA_VERSION);
    let jdk = jdk.with(&format!("tools-{KAFKA_VERSION}"), &[tools]);
    jdk.map_err(Failed::from)
}

/// One of Java's consumers, in a process of its own.
pub(crate) struct Verifiable {
    pub(crate) process: Guarded,
    says: PathBuf,
    errors: PathBuf,
}

impl Verifiable {
    pub(crate) fn start(jdk: &Jdk, class: &str, name: &str, arguments: &[&str]) -> Self {
        // Trials on both brokers run side by side.
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let file = |what| {
            let name = format!("{name}-{}-{run}.{what}", std::process::id());
            folder().join(name)
        };
        let (says, errors) = (file("out"), file("err"));
        let class = format!("org.apache.kafka.tools.{class}");
        let command = jdk.command(&["-Xmx256m"], &class, arguments);
        let process = Guarded::start("java", &command, &says, &errors).expect("Java starts");
        Self {
            process,
            says,
            errors,
        }
    }

    /// All that it has said.
    pub(crate) fn says(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.says).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().map(|line| {
            let said = serde_json::from_str::<Value>(line);
            said.unwrap_or_else(|error| panic!("{line}: {error}"))
        });
        lines.collect()
    }

    /// All that it has said of this.
    fn said(&self, name: &str) -> Vec<Value> {
        let mut said = self.says();
        said.retain(|said| said["name"] == name);
        said
    }

    pub(crate) fn what_went_wrong(&self) -> String {
        let last = fs::read_to_string(&self.says).unwrap_or_default();
        let last: Vec<_> = last.lines().rev().take(3).collect();
        let errors = fs::read_to_string(&self.errors).unwrap_or_default();
        format!("{last:?} {errors}")
    }

    /// How often it has had each offset, by partition, as its summaries say: of a range, or one by one.
    fn count(&self, name: &str, counts: &mut Counts) {
        let number = |value: &Value| {
            value
                .as_i64()
                .unwrap_or_else(|| panic!("{value} is no number"))
        };
        for said in self.said(name) {
            for summary in said["partitions"].as_array().into_iter().flatten() {
                let partition = number(&summary["partition"]);
                let mut count = |offset| *counts.entry((partition, offset)).or_default() += 1;
                match summary["offsets"].as_array() {
                    Some(offsets) => offsets.iter().map(number).for_each(&mut count),
                    None => {
                        (number(&summary["minOffset"])..=number(&summary["maxOffset"]))
                            .for_each(&mut count);
                    }
                }
            }
        }
    }

    fn all_succeeded(&self, name: &str) {
        let said = self.said(name);
        assert!(
            !said.is_empty(),
            "nothing of {name}: {}",
            self.what_went_wrong()
        );
        // Java tells a member that commits while others join to poll, and to commit again (KIP-429): so it does.
        let waits = |it: &Value| {
            let error = it["error"].as_str().unwrap_or_default();
            error.starts_with(
                "Offset commit cannot be completed since the consumer is undergoing a rebalance",
            )
        };
        let failed = said.iter().filter(|it| it["success"] != true);
        let failed: Vec<_> = failed.filter(|it| !waits(it)).collect();
        assert!(failed.is_empty(), "{failed:?}");
    }
}

impl Drop for Verifiable {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_file(&self.says);
            let _ = fs::remove_file(&self.errors);
        }
    }
}

/// How often each offset of each partition was had.
type Counts = BTreeMap<(i64, i64), usize>;

/// A name, our settings, and the arguments of Java's.
type Way = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

/// One of Java's that stays, and one that leaves after [`SOME`] records, in the group of a topic's name.
fn two_of_javas(
    jdk: &Jdk,
    target: &Target,
    class: &str,
    group: &str,
    more: &[&str],
) -> (Verifiable, Verifiable) {
    let whereto = ["--bootstrap-server", &*target.bootstrap];
    let arguments = [&whereto[..], &["--topic", group, "--group-id", group], more].concat();
    let stays = Verifiable::start(jdk, class, &format!("{group}-1"), &arguments);
    let few = [&arguments[..], &["--max-messages", SOME]].concat();
    let leaves = Verifiable::start(jdk, class, &format!("{group}-2"), &few);
    (stays, leaves)
}

fn consumers(jdk: &Jdk, target: Target) -> Ran {
    let jdk = with_tools(jdk)?;
    block_on(async {
        const COOPERATIVE: &str = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
        let ways: [Way; 3] = [
            ("range", &[("partition.assignment.strategy", "range")], &[]),
            (
                "cooperative",
                &[("partition.assignment.strategy", "cooperative-sticky")],
                &["--assignment-strategy", COOPERATIVE],
            ),
            (
                "consumer",
                &[("group.protocol", "consumer")],
                &["--group-protocol", "consumer"],
            ),
        ];
        for (name, ours, javas) in ways {
            share_partitions(&jdk, &target, name, ours, javas).await;
        }
    });
    Ok(Completion::Completed)
}

async fn share_partitions(
    jdk: &Jdk,
    target: &Target,
    name: &str,
    ours: &[(&str, &str)],
    javas: &[&str],
) {
    let group = format!("verifiable-{name}");
    let topic = NewTopic::new(&group, PARTITIONS);
    let admin = target.admin().await;
    admin.create_topic(&topic).await.expect("created");
    let common = [
        ("group.id", &*group),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "true"),
        ("auto.commit.interval.ms", "200"),
    ];
    let mut our = target.consumer(&[&common, ours].concat()).await;
    our.subscribe(&[&*group]).await.expect("subscribed");
    let (stays, mut leaves) = two_of_javas(jdk, target, "VerifiableConsumer", &group, javas);
    let producer = target.producer(&[]).await;
    let (mut sent, mut counts, began) = (0, Counts::new(), Instant::now());
    let (mut gone, mut had_two) = (false, false);
    loop {
        let Ok(records) = our.poll(POLL).await else {
            // The topic is new.
            continue;
        };
        for record in &records {
            let place = (i64::from(record.partition), record.offset);
            *counts.entry(place).or_default() += 1;
        }
        let mut all = counts.clone();
        for java in [&stays, &leaves] {
            java.count("records_consumed", &mut all);
        }
        had_two |= our.assignment().len() == 2;
        gone |= leaves.process.ended().is_some();
        // The first when all three have their share: each gets some.
        if had_two && sent < RECORDS {
            send_numbers(&producer, &group, sent..sent + 100).await;
            sent += 100;
        }
        if sent == RECORDS && gone && all.len() as u64 == RECORDS && our.assignment().len() == 3 {
            let again: Vec<_> = all.iter().filter(|(_, times)| **times != 1).collect();
            assert!(again.is_empty(), "{name}: read more than once: {again:?}");
            break;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{name}: {sent} sent, {} read, {:?} are ours, gone: {gone}; {}; {}",
            all.len(),
            our.assignment(),
            stays.what_went_wrong(),
            leaves.what_went_wrong()
        );
    }
    for java in [&stays, &leaves] {
        java.all_succeeded("offsets_committed");
    }
    assert_eq!(leaves.said("shutdown_complete").len(), 1);
    our.close().await.expect("closed");
}

fn queues(jdk: &Jdk, target: Target) -> Ran {
    let jdk = with_tools(jdk)?;
    block_on(share_a_queue(&jdk, &target));
    Ok(Completion::Completed)
}

async fn share_a_queue(jdk: &Jdk, target: &Target) {
    let group = queue(&target.bootstrap, "verifiable-share", 2, &[]).await;
    let properties = [
        ("bootstrap.servers", &*target.bootstrap),
        ("group.id", &group),
        ("share.acknowledgement.mode", "explicit"),
        ("max.poll.records", "50"),
    ];
    let config = ShareConsumerConfig::from_properties(properties).expect("good properties");
    let mut our = ShareConsumer::connect(config).await.expect("connected");
    our.subscribe(&[&*group]).await.expect("subscribed");
    let (class, sync) = (
        "VerifiableShareConsumer",
        ["--acknowledgement-mode", "sync"],
    );
    let (stays, mut leaves) = two_of_javas(jdk, target, class, &group, &sync);
    let producer = target.producer(&[]).await;
    let (mut sent, mut counts, began) = (0, Counts::new(), Instant::now());
    let mut gone = false;
    loop {
        let records = our.poll(POLL).await.expect("polled");
        let mut places = Vec::new();
        for record in &records {
            our.acknowledge(&record, AcknowledgeType::Accept)
                .expect("held");
            places.push((record.partition, record.offset));
        }
        drop(records);
        if !places.is_empty() {
            let results = our.commit_sync().await.expect("answered");
            for (partition, offset) in places {
                let result = &results[&TopicPartition::new(group.as_str(), partition)];
                result.as_ref().expect("taken");
                *counts.entry((i64::from(partition), offset)).or_default() += 1;
            }
        }
        let mut all = counts.clone();
        for java in [&stays, &leaves] {
            java.count("offsets_acknowledged", &mut all);
        }
        gone |= leaves.process.ended().is_some();
        let are_there = [&stays, &leaves].map(|java| !java.said("startup_complete").is_empty());
        // More than are wanted, until the one that leaves has had enough.
        if are_there == [true, true] && (sent < RECORDS || !gone) && sent < RECORDS * 10 {
            send_numbers(&producer, &group, sent..sent + 100).await;
            sent += 100;
        }
        if sent >= RECORDS && gone && all.len() as u64 == sent {
            let again: Vec<_> = all.iter().filter(|(_, times)| **times != 1).collect();
            assert!(again.is_empty(), "accepted more than once: {again:?}");
            break;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{sent} sent, {} accepted, gone: {gone}; {}; {}",
            all.len(),
            stays.what_went_wrong(),
            leaves.what_went_wrong()
        );
        sleep(POLL / 4).await;
    }
    for java in [&stays, &leaves] {
        java.all_succeeded("offsets_acknowledged");
    }
    assert_eq!(leaves.said("shutdown_complete").len(), 1);
    our.close(PATIENCE).await.expect("closed");
}
