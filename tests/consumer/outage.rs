//! All brokers away, refusing connections or silent, in each state of the client: the next polls say so by the request timeout, and when the
//! brokers are back the client goes on.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use pat_events::broker::{Broker, Fault, FaultAction};
use pat_events::kafka::{
    Consumer, ConsumerConfig, ConsumerHandle, RebalanceListener, StartOffset, TopicPartition,
};
use protocol::ApiKey;
use tokio::time::{Instant, timeout};

use crate::harness::*;

/// What the client is doing when the brokers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Connecting,
    Subscribing,
    FindingTheCoordinator,
    Joining,
    Syncing,
    FetchingOffsets,
    Stable,
    StableWithoutPartitions,
    Rebalancing,
    ListingOffsets,
    FetchingByAssignment,
}

const STATES: [Doing; 11] = [
    Doing::Connecting,
    Doing::Subscribing,
    Doing::FindingTheCoordinator,
    Doing::Joining,
    Doing::Syncing,
    Doing::FetchingOffsets,
    Doing::Stable,
    Doing::StableWithoutPartitions,
    Doing::Rebalancing,
    Doing::ListingOffsets,
    Doing::FetchingByAssignment,
];

/// Commits when its partitions go.
struct Commits;

impl RebalanceListener for Commits {
    async fn on_revoked(&self, consumer: &ConsumerHandle, _: &[TopicPartition]) {
        // Whatever comes of it.
        let _ = consumer.commit_sync().await;
    }
}

/// A client brought into a state. The other member, if there has to be one, lives as long.
struct Scene {
    broker: Broker,
    wire: Wire,
    config: ConsumerConfig,
    other: Option<Consumer>,
}

impl Scene {
    fn new(doing: Doing, request_timeout: Duration) -> Self {
        let broker = cluster(1, |builder| match doing {
            Doing::Joining => builder.initial_rebalance_delay(ms(100_000)),
            _ => builder,
        });
        broker.create_topic("t", 1).expect("a new topic");
        fill(&broker, 0, 0..10, 10);
        let wire = Wire::new(&broker);
        let mut config = config(&broker);
        config.client.transport = Arc::new(wire.clone());
        config.client.request_timeout = request_timeout;
        config.group_id = Some("g".to_string());
        Self {
            broker,
            wire,
            config,
            other: None,
        }
    }

    fn hold_back(&self, api: ApiKey) {
        let for_long = FaultAction::Delay(ms(1_000_000));
        self.broker.inject(Fault::on(api, for_long).always());
    }

    /// The first error after `network` has become so while the client was `doing` that; how long it took, and the client, if there is one.
    async fn first_error(&mut self, doing: Doing, network: Network) -> (Duration, String) {
        if doing == Doing::Connecting {
            self.wire.set(network);
            let cut = Instant::now();
            let error = Consumer::connect(self.config.clone())
                .await
                .expect_err("nobody there");
            return (cut.elapsed(), error.to_string());
        }
        let mut consumer = Consumer::connect(self.config.clone())
            .await
            .expect("connects");
        if doing == Doing::Subscribing {
            self.wire.set(network);
            let cut = Instant::now();
            let error = consumer.subscribe(&["t"]).await.expect_err("nobody there");
            return (cut.elapsed(), error.to_string());
        }
        self.bring_to(doing, &mut consumer).await;
        self.wire.set(network);
        let cut = Instant::now();
        let error = loop {
            match timeout(ms(200_000), consumer.poll(ms(250))).await {
                Ok(Ok(_)) => assert!(cut.elapsed() < ms(200_000), "{doing:?}: silence"),
                Ok(Err(error)) => break error,
                Err(_) => panic!("{doing:?}: a poll that does not end"),
            }
        };
        let took = cut.elapsed();
        assert!(error.is_retriable(), "{doing:?}: {error:?}");
        self.heal(doing, &mut consumer).await;
        (took, error.to_string())
    }

    async fn bring_to(&mut self, doing: Doing, consumer: &mut Consumer) {
        match doing {
            Doing::Connecting | Doing::Subscribing => unreachable!("there is no client yet"),
            Doing::FindingTheCoordinator => consumer.subscribe(&["t"]).await.expect("a topic"),
            Doing::Joining => {
                consumer.subscribe(&["t"]).await.expect("a topic");
                idle(consumer, ms(40_000)).await;
            }
            Doing::Syncing => {
                self.hold_back(ApiKey::SYNC_GROUP);
                consumer.subscribe(&["t"]).await.expect("a topic");
                idle(consumer, ms(1_000)).await;
                assert_eq!(self.wire.requests(ApiKey::SYNC_GROUP), 1);
            }
            Doing::FetchingOffsets => {
                self.hold_back(ApiKey::OFFSET_FETCH);
                consumer.subscribe(&["t"]).await.expect("a topic");
                assigned(consumer, 1).await;
                idle(consumer, ms(1_000)).await;
                assert_eq!(self.wire.requests(ApiKey::OFFSET_FETCH), 1);
            }
            Doing::Stable => {
                consumer.subscribe(&["t"]).await.expect("a topic");
                assert_eq!(read(consumer, 10).await.len(), 10);
                idle(consumer, ms(20_000)).await;
            }
            Doing::StableWithoutPartitions => {
                // Static members come first.
                let mut other = member(&self.broker, |config| {
                    config.group_instance_id = Some("a".to_string());
                })
                .await;
                assigned(&mut other, 1).await;
                consumer.subscribe(&["t"]).await.expect("a topic");
                for _ in 0..100 {
                    consumer.poll(ms(50)).await.expect("a poll");
                    other.poll(ms(50)).await.expect("a poll");
                }
                assert_eq!(consumer.assignment(), []);
                assert_eq!(other.assignment(), [tp(0)]);
                self.other = Some(other);
            }
            Doing::Rebalancing => {
                consumer
                    .subscribe_with(&["t"], Commits)
                    .await
                    .expect("a topic");
                assert_eq!(read(consumer, 10).await.len(), 10);
                let mut other = member(&self.broker, |_| {}).await;
                other.poll(ms(4_000)).await.expect("a poll");
                self.other = Some(other);
            }
            Doing::ListingOffsets | Doing::FetchingByAssignment => {
                if doing == Doing::ListingOffsets {
                    self.hold_back(ApiKey::LIST_OFFSETS);
                }
                consumer
                    .assign(&[(tp(0), StartOffset::Earliest)])
                    .await
                    .expect("exists");
                idle(
                    consumer,
                    ms(20_000).min(self.config.client.request_timeout / 2),
                )
                .await;
            }
        }
    }

    /// The brokers are back: what is written now is read.
    async fn heal(&mut self, doing: Doing, consumer: &mut Consumer) {
        self.broker.clear_faults();
        self.wire.set(Network::Open);
        if let Some(other) = self.other.take() {
            other.close().await.expect("leaves");
        }
        fill(&self.broker, 0, 10..20, 10);
        let healed = Instant::now();
        let mut read = Vec::new();
        while !read.contains(&19) {
            if let Ok(records) = consumer.poll(ms(250)).await {
                read.extend(numbers(&records));
            }
            assert!(healed.elapsed() < ms(150_000), "{doing:?}: no progress");
        }
    }
}

/// Polls for a while in which nothing must go wrong.
async fn idle(consumer: &mut Consumer, time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time {
        consumer.poll(ms(250)).await.expect("all is well");
    }
}

#[tokio::test(start_paused = true)]
async fn with_all_brokers_away_the_first_error_comes_by_the_request_timeout_in_every_state() {
    let mut table = format!(
        "{:<24} {:<8} {:>16} {:>12}  {}\n",
        "state", "brokers", "request timeout", "first error", "which"
    );
    let mut late = Vec::new();
    for doing in STATES {
        for network in [Network::Refused, Network::Hung] {
            for request_timeout in [ms(30_000), ms(5_000)] {
                let mut scene = Scene::new(doing, request_timeout);
                let (took, error) = scene.first_error(doing, network).await;
                writeln!(
                    table,
                    "{:<24} {:<8} {:>14} s {:>10.1} s  {error:.110}",
                    format!("{doing:?}"),
                    format!("{network:?}"),
                    request_timeout.as_secs(),
                    took.as_secs_f64()
                )
                .expect("text");
                if took > request_timeout.mul_f64(1.1) {
                    late.push((doing, network, request_timeout, took));
                }
            }
        }
    }
    println!("{table}");
    assert!(late.is_empty(), "{late:#?}\n{table}");
}
