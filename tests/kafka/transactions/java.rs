//! Kafka's own Java clients beside ours: with the same transactional id, in the same group, on the same topics. On any broker.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libtest_mimic::Completion;
use pat_events::kafka::{
    ErrorKind, ExactlyOnceConfig, ExactlyOnceError, InputRecords, Record, Transaction, Transform,
    WriteOutcome, exactly_once,
};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

use super::{PARTITIONS, POLL, numbered};
use crate::copying::copy;
use crate::fleet::{Ran, Target, block_on};
use crate::support::java::Jdk;
use crate::verifiable::{Verifiable, with_tools};

/// How long anything of Java's may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn java_fences_us_and_we_fence_java(jdk: &Jdk, target: Target) -> Ran {
    block_on(fence_each_other(jdk, target));
    Ok(Completion::Completed)
}

/// Both write with one transactional id, in turn: whoever comes last can write, and of the other nothing is to be seen.
async fn fence_each_other(jdk: &Jdk, target: Target) {
    let topic = target.topic("with-java").await;
    let mut ours = target.transactional("with-java", &[]).await;
    let open = ours.begin().await.expect("begun");
    open.send(numbered(&topic, &1u64.to_be_bytes()))
        .await
        .expect("written");
    // Trials on both brokers run side by side.
    let broker = target.bootstrap.replace(':', "-");
    let folder = format!("with-java-{broker}-{}", std::process::id());
    let folder = std::env::temp_dir().join(folder);
    fs::create_dir_all(&folder).expect("a folder");
    let (ready, go) = (folder.join("ready"), folder.join("go"));
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let arguments = [
        target.bootstrap.clone(),
        topic.clone(),
        path(&ready),
        path(&go),
    ];
    std::thread::scope(|scope| {
        let java = scope.spawn(|| {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            jdk.run("FencedTransactions", &arguments, Duration::from_secs(120))
        });
        block_in_place(|| {
            while !ready.exists() && !java.is_finished() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        // It has committed a transaction, and left one open.
        let handle = tokio::runtime::Handle::current();
        block_in_place(|| {
            handle.block_on(async {
                let error = open.commit().await.expect_err("Java took over");
                assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
                let mut again = target.transactional("with-java", &[]).await;
                let transaction = again.begin().await.expect("begun");
                transaction
                    .send(numbered(&topic, &4u64.to_be_bytes()))
                    .await
                    .expect("written");
                transaction.commit().await.expect("committed");
            })
        });
        fs::write(&go, "").expect("written");
        let said = block_in_place(|| java.join()).expect("no panic");
        let said = said.expect("Java ends");
        assert!(said.contains("fenced"), "{said}");
    });
    fs::remove_dir_all(&folder).expect("removed");
    // Java's own: 2 was committed, 3 was open when it was fenced.
    assert_eq!(target.visible(&topic, 2).await, [2, 4]);
}

/// Sends numbers as text, with keys by which they are spread, or all to one partition.
async fn send_texts(target: &Target, topic: &str, partition: Option<i32>, count: u64) {
    let producer = target.producer(&[]).await;
    for number in 0..count {
        let (key, value) = (format!("k-{}", number % 40), number.to_string());
        let mut record = Record::new(topic)
            .key(key.as_bytes())
            .value(value.as_bytes());
        record.partition = partition;
        drop(producer.enqueue(record).await.expect("admitted"));
    }
    producer.flush().await.expect("all delivered");
}

/// The values of a topic, of each partition in their order: what a reader of ours sees that reads what is committed, until there are so many.
async fn texts(target: &Target, topic: &str, count: usize) -> BTreeMap<i32, Vec<String>> {
    let mut reader = target.committed_reader(topic, PARTITIONS).await;
    let (mut texts, mut seen) = (BTreeMap::<i32, Vec<String>>::new(), 0);
    loop {
        let records = reader.poll(POLL).await.expect("polled");
        if seen >= count && records.is_empty() {
            return texts;
        }
        for record in &records {
            let value = record.value.expect("a value");
            let text = String::from_utf8(value.to_vec()).expect("text");
            texts.entry(record.partition).or_default().push(text);
            seen += 1;
        }
    }
}

/// The same of Java's consumer.
fn texts_for_java(jdk: &Jdk, target: &Target, topic: &str) -> BTreeMap<i32, Vec<String>> {
    let printed = jdk.run("ReadRecords", &[&target.bootstrap, topic], PATIENCE);
    let mut texts = BTreeMap::<i32, Vec<String>>::new();
    for line in printed.expect("Java reads").lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let digits = |at: usize| u8::from_str_radix(&parts[5][at..at + 2], 16).expect("hex");
        let value = (0..parts[5].len()).step_by(2).map(digits).collect();
        let text = String::from_utf8(value).expect("text");
        let partition = parts[1].parse().expect("a partition");
        texts.entry(partition).or_default().push(text);
    }
    texts
}

/// How many records it has copied in transactions that were committed.
fn copied(copier: &Verifiable) -> u64 {
    let said = copier.says();
    let said = said.last().map(|it| it["totalProcessed"].as_u64());
    said.flatten().unwrap_or_default()
}

/// Waits until it has ended; whether that was as it should be.
async fn ended(copier: &mut Verifiable) -> bool {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = copier.process.ended() {
            return status.success();
        }
        assert!(Instant::now() < until, "{}", copier.what_went_wrong());
        sleep(POLL / 10).await;
    }
}

/// Copies what it gets; slowly, while it shares.
struct Copy {
    output: String,
    shares: Arc<AtomicBool>,
}

impl Transform for Copy {
    async fn transform(
        &mut self,
        records: &InputRecords,
        transaction: &Transaction<'_>,
    ) -> Result<(), ExactlyOnceError> {
        for record in records.iter() {
            copy(&record, Record::new(&self.output), transaction).await?;
        }
        if self.shares.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

/// The copier of Kafka's system tests in one group with ours, while it aborts a third of its transactions.
pub fn copiers_of_kafkas_tests_share_with_ours(jdk: &Jdk, target: Target) -> Ran {
    let jdk = with_tools(jdk)?;
    block_on(copy_together(&jdk, &target));
    Ok(Completion::Completed)
}

async fn copy_together(jdk: &Jdk, target: &Target) {
    const RECORDS: u64 = 6_000;
    let input = target.topic("copiers-in").await;
    let output = target.topic("copiers-out").await;
    send_texts(target, &input, None, RECORDS).await;
    let mut config =
        ExactlyOnceConfig::new(&target.bootstrap, "copiers", &[&input], "copiers-ours");
    for (name, value) in [
        ("auto.offset.reset", "earliest"),
        ("group.protocol", "classic"),
        ("partition.assignment.strategy", "range"),
    ] {
        config.consumer.set(name, value).expect("a property");
    }
    config.max_records = 20;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shares = Arc::new(AtomicBool::new(true));
    let mut copy = Copy {
        output: output.clone(),
        shares: shares.clone(),
    };
    let run = tokio::spawn(async move {
        exactly_once(config, &mut copy, async { drop(stopped.await) }).await
    });
    let more = [
        "--group-mode",
        "--use-group-metadata",
        "--enable-random-aborts",
    ];
    let (names, topics) = (("copiers", "copiers-java"), (&*input, &*output));
    let mut copier = copier(jdk, target, names, topics, "50", &more);
    assert!(ended(&mut copier).await, "{}", copier.what_went_wrong());
    shares.store(false, Ordering::Relaxed);
    let seen = texts(target, &output, RECORDS as usize).await;
    drop(stop);
    let ours = run.await.expect("no panic").expect("it left");
    println!("{} copied by Java's, {ours:?}", copied(&copier));
    assert!(copied(&copier) > 0 && ours.records > 0, "both had a share");
    assert_eq!(copied(&copier) + ours.records, RECORDS);
    let mut all = Vec::new();
    for texts in seen.values() {
        let numbers: Vec<u64> = texts
            .iter()
            .map(|it| it.parse().expect("a number"))
            .collect();
        assert!(numbers.is_sorted(), "in the order of their partition");
        all.extend(numbers);
    }
    all.sort_unstable();
    assert_eq!(all, (0..RECORDS).collect::<Vec<_>>(), "each once");
    assert_eq!(texts_for_java(jdk, target, &output), seen);
}

/// The copier of Kafka's system tests, from one topic to another, by its group and transactional id.
fn copier(
    jdk: &Jdk,
    target: &Target,
    (group, id): (&str, &str),
    (input, output): (&str, &str),
    transaction_size: &str,
    more: &[&str],
) -> Verifiable {
    let arguments = [
        "--broker-list",
        &*target.bootstrap,
        "--input-topic",
        input,
        "--input-partition",
        "0",
        "--output-topic",
        output,
        "--consumer-group",
        group,
        "--transactional-id",
        id,
        "--transaction-size",
        transaction_size,
    ];
    let arguments = [&arguments[..], more].concat();
    Verifiable::start(jdk, "TransactionalMessageCopier", group, &arguments)
}

/// The copier of Kafka's system tests with the transactional id of a producer of ours.
pub fn copiers_with_our_id_fence_us_and_we_fence_them(jdk: &Jdk, target: Target) -> Ran {
    let jdk = with_tools(jdk)?;
    block_on(fence_copiers(&jdk, &target));
    Ok(Completion::Completed)
}

async fn fence_copiers(jdk: &Jdk, target: &Target) {
    const RECORDS: u64 = 4_000;
    const ID: &str = "fenced-copier";
    let input = target.topic("fenced-copier-in").await;
    let output = target.topic("fenced-copier-out").await;
    send_texts(target, &input, Some(0), RECORDS).await;
    let copier = |size| copier(jdk, target, (ID, ID), (&input, &output), size, &[]);
    // It is in the middle of its work.
    let mut first = copier("1");
    let until = Instant::now() + PATIENCE;
    while copied(&first) < 5 {
        assert!(Instant::now() < until, "{}", first.what_went_wrong());
        sleep(POLL / 10).await;
    }
    let mut ours = target.transactional(ID, &[]).await;
    let of_ours = |value: &'static str| {
        let record = Record::new(&output).partition(0);
        record.value(value.as_bytes())
    };
    let transaction = ours.begin().await.expect("begun");
    let sent = transaction.send(of_ours("ours-1")).await;
    sent.expect("written");
    transaction.commit().await.expect("committed");
    assert!(!ended(&mut first).await, "it was fenced");
    let says = first.what_went_wrong().to_lowercase();
    assert!(says.contains("fenced") || says.contains("epoch"), "{says}");
    assert!(copied(&first) < RECORDS, "it was at work");
    let open = ours.begin().await.expect("begun");
    let sent = open.send(of_ours("ours-2")).await;
    sent.expect("written");
    let mut second = copier("500");
    assert!(ended(&mut second).await, "{}", second.what_went_wrong());
    let error = open.commit().await.expect_err("fenced");
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Fenced, WriteOutcome::NotWritten),
        "{error}"
    );
    let seen = texts(target, &output, RECORDS as usize + 1).await;
    assert_eq!(texts_for_java(jdk, target, &output), seen);
    let (of_ours, copies): (Vec<_>, Vec<_>) =
        (seen[&0].iter().cloned()).partition(|it| it.starts_with("ours"));
    assert_eq!(of_ours, ["ours-1"]);
    let expected: Vec<_> = (0..RECORDS).map(|it| it.to_string()).collect();
    assert!(copies == expected, "each once, in order: {copies:?}");
}
