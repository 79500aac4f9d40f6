//! The memory of a consumer of events stays within what it is told, however well the records are compressed. Measured as the peak of a
//! process of its own: this test runs itself once more, as the reader.

use std::process::Stdio;

use super::*;
use crate::process_status::kilobytes;

/// Tells the test that it is the reader, and where the broker is.
const READER: &str = "PAT_EVENTS_TEST_READER";
const PARTITIONS: i32 = 6;
/// Of each partition, unless `MEMORY_RECORDS` says otherwise (6000 takes minutes: `cargo test --release`). Far more than one poll's worth of
/// memory, in all.
const EACH: usize = 120;
const VALUE_BYTES: usize = 900_000;
const PEAK_KB: u64 = 150 << 10;

fn each() -> usize {
    std::env::var("MEMORY_RECORDS").map_or(EACH, |count| count.parse().expect("a number"))
}

/// Longer for more records.
fn patience() -> Duration {
    PATIENCE * (3 + each() as u32 / 500)
}

/// One record that is almost nothing on the wire.
fn compressed(number: usize) -> Vec<u8> {
    let event = EmailReceived {
        email_id: format!("e-{number}"),
        subject: "0".into(),
        storage_uri: "x".repeat(VALUE_BYTES),
        ..Default::default()
    };
    let value = event.encode_to_vec();
    let headers = [("ce_type", Some(EmailReceived::TYPE.as_bytes()))];
    let mut batch = BatchBuilder::new(Vec::new());
    batch
        .append(0, Some(event.email_id.as_bytes()), Some(&value), headers)
        .expect("room");
    let zstd = protocol::compression::Codec::Zstd.into();
    let sealed = batch.seal(&SealOptions::default(), &mut Compressor::new(zstd));
    sealed.into_bytes().to_vec()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_default_consumer_stays_small_whatever_the_records_decompress_to() {
    if let Some(brokers) = std::env::var_os(READER) {
        return read(&brokers.to_string_lossy()).await;
    }
    let broker = Broker::builder()
        .start_tcp("127.0.0.1:0")
        .await
        .expect("the embedded broker starts");
    broker.create_topic(TOPIC, PARTITIONS).expect("a new topic");
    let batches: Vec<_> = (0..20).map(compressed).collect();
    assert!(batches[0].len() < VALUE_BYTES / 500, "{}", batches[0].len());
    for partition in 0..PARTITIONS {
        let log: Vec<u8> = batches
            .iter()
            .cycle()
            .take(each())
            .flatten()
            .copied()
            .collect();
        assert_eq!(
            broker.append_unchecked(TOPIC, partition, log.into()),
            each()
        );
    }
    let myself = std::env::current_exe().expect("this test");
    let name = "memory::a_default_consumer_stays_small_whatever_the_records_decompress_to";
    let reader = tokio::task::spawn_blocking({
        let brokers = broker.bootstrap_servers();
        move || {
            std::process::Command::new(myself)
                .args([name, "--exact", "--nocapture", "--test-threads=1"])
                .env(READER, brokers)
                .stdin(Stdio::null())
                .output()
        }
    });
    let reader = timeout(patience() + PATIENCE, reader)
        .await
        .expect("the reader ends")
        .expect("no panic")
        .expect("it runs");
    let told = String::from_utf8_lossy(&reader.stdout);
    assert!(
        reader.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&reader.stderr)
    );
    let peak = told
        .lines()
        .find_map(|line| line.trim().strip_prefix("peak_kb="));
    let peak: u64 = peak.and_then(|peak| peak.parse().ok()).expect("told");
    println!("peak of the reader: {peak} kB");
    assert!(peak < PEAK_KB, "{peak} kB");
}

/// With the defaults but for where to begin. Handlers take a little, so that what is fetched waits.
async fn read(brokers: &str) {
    let mut config = ConsumerConfig::new(brokers, TOPIC, "test");
    config.auto_offset_reset = OffsetReset::Earliest;
    config.session_timeout = Duration::from_secs(45);
    let consumer = EventConsumer::<EmailEvents>::new(config).expect("a good configuration");
    let seen = Arc::new(Seen::default());
    let handler = Handler {
        work: Duration::from_millis(2),
        ..Handler::of(&seen)
    };
    consumer.start(handler).await.expect("started");
    let all = each() * PARTITIONS as usize;
    let read = async {
        while seen.handled.load(Ordering::Relaxed) < all {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(patience(), read).await.expect("all of it");
    consumer.stop().await.expect("stopped well");
    println!("\npeak_kb={}", kilobytes("VmHWM:"));
}
