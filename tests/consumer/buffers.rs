//! What is fetched ahead: partition by partition, within the memory budget, and no partition that is not read holds up another.

use std::sync::Arc;
use std::time::Duration;

use pat_events::kafka::{Consumer, ConsumerConfig, StartOffset};
use protocol::ApiKey;
use protocol::compression::Compression;
use protocol::records::SealOptions;
use tokio::time::{Instant, sleep};

use crate::harness::*;

#[tokio::test(start_paused = true)]
async fn a_paused_partition_with_a_full_buffer_holds_up_no_other_of_its_broker() {
    const BUDGET: usize = 400_000;
    let broker = one_broker(10);
    for partition in 0..10 {
        fill(&broker, partition, 0..10_000, 100);
    }
    let mut consumer = reader(&broker, 10, |config| {
        config.buffer_bytes = BUDGET;
        config.max_partition_fetch_bytes = 40_000;
        config.max_poll_records = 1_000;
    })
    .await;
    // As much is fetched as there is memory for.
    sleep(ms(1_000)).await;
    consumer.pause(&[tp(0)]).expect("assigned");
    let started = Instant::now();
    let mut read = 0;
    while read < 9 * 10_000 {
        let records = consumer.poll(ms(1_000)).await.expect("a poll");
        assert!(!records.is_empty(), "nothing for a second after {read}");
        assert!(records.iter().all(|record| record.partition != 0));
        let held = consumer.metrics().bytes_held;
        assert!(held <= BUDGET, "{held} bytes");
        read += records.count();
    }
    let took = started.elapsed();
    assert!(took < ms(200), "waited for {took:?}");
    consumer.resume(&[tp(0)]).expect("assigned");
    let all = crate::harness::read(&mut consumer, 10_000).await;
    assert_eq!(all, (0..10_000).collect::<Vec<u32>>());
}

#[tokio::test(start_paused = true)]
async fn what_comes_to_other_partitions_is_fetched_while_one_is_not_read() {
    let broker = one_broker(2);
    fill(&broker, 0, 0..10_000, 100);
    let mut consumer = reader(&broker, 2, |config| {
        config.max_partition_fetch_bytes = 10_000;
        config.max_poll_records = 1;
    })
    .await;
    assert_eq!(read(&mut consumer, 1).await, [0]);
    for (round, pause) in [(1, ms(100)), (2, ms(5_000))] {
        sleep(pause).await;
        fill(&broker, 1, 10 * round - 10..10 * round, 10);
        // No poll meanwhile.
        sleep(ms(600)).await;
        assert_eq!(consumer.lag(&tp(1)), Some(i64::from(10 * round)));
    }
    // What was left is at hand at once.
    let started = Instant::now();
    assert_eq!(read(&mut consumer, 5_000).await.len(), 5_000);
    assert!(started.elapsed() < ms(2_000), "{:?}", started.elapsed());
}

/// A consumer of the first partition of `t` over `wire`.
async fn reader_over(wire: &Wire, mut config: ConsumerConfig) -> Consumer {
    config.client.transport = Arc::new(wire.clone());
    let mut consumer = Consumer::connect(config).await.expect("a consumer");
    let start = [(tp(0), StartOffset::Earliest)];
    consumer.assign(&start).await.expect("a topic");
    consumer
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_longer_than_was_asked_for_counts_before_it_is_read() {
    const LONG: usize = 1_000_000;
    let broker = one_broker(1);
    fill(&broker, 0, 0..10, 10);
    let wire = Wire::new(&broker);
    let mut config = config(&broker);
    config.max_partition_fetch_bytes = 10_000;
    config.buffer_bytes = 100_000;
    let mut consumer = reader_over(&wire, config).await;
    assert_eq!(read(&mut consumer, 10).await.len(), 10);
    wire.allow(Some(50_000));
    let batch = batch(10..50_010, Compression::NONE, &SealOptions::default());
    assert!(batch.len() > LONG);
    broker.append_unchecked("t", 0, batch);
    sleep(ms(2_000)).await;
    let held = consumer.metrics().bytes_held;
    assert!(held >= LONG, "{held} bytes");
    wire.allow(None);
    assert_eq!(read(&mut consumer, 50_000).await.len(), 50_000);
}

#[tokio::test(start_paused = true)]
async fn reading_follows_a_preferred_replica_and_goes_back_when_it_goes_away() {
    let broker = cluster(2, |builder| {
        let builder = builder.default_replication_factor(2);
        builder.api_versions(ApiKey::FETCH, 4, 11)
    });
    broker.create_topic("t", 1).expect("a new topic");
    let leader = broker.log("t", 0).expect("a log").leader.expect("led");
    let follower = *broker
        .node_ids()
        .iter()
        .find(|node| **node != leader)
        .expect("two nodes");
    let wire = Wire::new(&broker);
    let mut consumer = reader_over(&wire, config(&broker)).await;
    // The follower refuses; then it is away.
    for (round, stop) in [(0, false), (1, true)] {
        if stop {
            broker.stop_node(follower).await;
        }
        wire.prefer(follower);
        fill(&broker, 0, 20 * round..20 * round + 10, 10);
        assert_eq!(read(&mut consumer, 10).await.len(), 10);
        let started = Instant::now();
        fill(&broker, 0, 20 * round + 10..20 * round + 20, 10);
        assert_eq!(read(&mut consumer, 10).await.len(), 10);
        let took = started.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn metrics_say_what_was_read_and_what_is_held() {
    let broker = one_broker(2);
    fill(&broker, 0, 0..100, 10);
    fill(&broker, 1, 0..100, 10);
    let mut consumer = member(&broker, |_| {}).await;
    let mut held = Vec::new();
    while held
        .iter()
        .map(pat_events::kafka::Records::count)
        .sum::<usize>()
        < 200
    {
        held.push(consumer.poll(ms(5_000)).await.expect("records"));
    }
    let metrics = consumer.metrics();
    assert_eq!((metrics.records, metrics.rebalances), (200, 1));
    assert!(
        metrics.bytes >= 200 * 7 && metrics.bytes_held > 0,
        "{metrics:?}"
    );
    assert!(metrics.fetch_latency.count > 0);
    assert_eq!(
        metrics.lag.into_iter().collect::<Vec<_>>(),
        [(tp(0), 0), (tp(1), 0)]
    );
    assert_eq!(metrics.resets.resets, 2);
}
