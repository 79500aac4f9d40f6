//! Transactions: what `read_committed` readers see of them, who may write, which offsets count. In: a Kafka broker, or three that die; Java
//! producers with the same transactional id. Out: all of a transaction or nothing of it, from every reader.

//!
//! | file | what lives there |
//! | --- | --- |
//! | `producer` | what readers see, who may write, which offsets count |
//! | `dropped` | calls that are dropped |
//! | `coordinator` | coordinators that die |
//! | `loops` | `exactly_once`, of records and of events |
//! | `two_phase` | transactions that somebody else decides |
//! | `java` | Java's producers, copiers and readers beside ours |

mod coordinator;
mod dropped;
mod java;
mod loops;
mod producer;
mod two_phase;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pat_events::broker::Broker;
use pat_events::kafka::wire::messages::update_features_request::FeatureUpdateKey;
use pat_events::kafka::wire::messages::{FindCoordinatorRequest, UpdateFeaturesRequest};
use pat_events::kafka::{
    Client, ClientConfig, Consumer, ProducerConfig, Record, StartOffset, Target as To,
    TopicPartition, TransactionalProducer,
};
use tokio::time::sleep;

use crate::fleet::{Fleet, Target, block_on};
use crate::suite::number;

use coordinator::a_coordinator_that_dies_tears_no_transaction;
use dropped::what_was_asked_for_goes_on_when_the_call_is_dropped;
use java::{
    copiers_of_kafkas_tests_share_with_ours, copiers_with_our_id_fence_us_and_we_fence_them,
    java_fences_us_and_we_fence_java,
};
use loops::{
    events_are_handled_exactly_once_dead_letters_among_them,
    loops_count_each_record_once_while_members_come_and_go,
};
use producer::{
    a_newer_producer_of_the_id_fences_the_older_one,
    a_record_that_is_refused_aborts_its_transaction,
    a_transaction_that_outlasts_its_timeout_is_aborted,
    offsets_count_when_their_transaction_is_committed,
    readers_see_a_transaction_whole_or_not_at_all,
};
pub use two_phase::allowed;
use two_phase::{
    a_prepared_transaction_is_seen_when_it_is_decided,
    who_may_not_prepare_is_told_what_the_broker_lacks,
};

const PARTITIONS: i32 = 3;
const POLL: Duration = Duration::from_millis(500);

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let on_both = [
        fleet.on_both("readers_see_a_transaction_whole_or_not_at_all", |target| {
            readers_see_a_transaction_whole_or_not_at_all(target, "")
        }),
        fleet.on_both(
            "a_newer_producer_of_the_id_fences_the_older_one",
            |target| a_newer_producer_of_the_id_fences_the_older_one(target, ""),
        ),
        fleet.on_both(
            "a_record_that_is_refused_aborts_its_transaction",
            |target| a_record_that_is_refused_aborts_its_transaction(target, ""),
        ),
        fleet.on_both(
            "offsets_count_when_their_transaction_is_committed",
            |target| offsets_count_when_their_transaction_is_committed(target, ""),
        ),
        fleet.on_both(
            "a_transaction_that_outlasts_its_timeout_is_aborted",
            |target| a_transaction_that_outlasts_its_timeout_is_aborted(target, ""),
        ),
        fleet.on_both(
            "what_was_asked_for_goes_on_when_the_call_is_dropped",
            what_was_asked_for_goes_on_when_the_call_is_dropped,
        ),
        fleet.on_both(
            "loops_count_each_record_once_while_members_come_and_go",
            loops_count_each_record_once_while_members_come_and_go,
        ),
        fleet.on_both(
            "events_are_handled_exactly_once_dead_letters_among_them",
            events_are_handled_exactly_once_dead_letters_among_them,
        ),
        fleet.on_both(
            "who_may_not_prepare_is_told_what_the_broker_lacks",
            who_may_not_prepare_is_told_what_the_broker_lacks,
        ),
        fleet.on_both_with_jdk(
            "java_fences_us_and_we_fence_java",
            java_fences_us_and_we_fence_java,
        ),
        fleet.on_both_with_jdk(
            "copiers_of_kafkas_tests_share_with_ours",
            copiers_of_kafkas_tests_share_with_ours,
        ),
        fleet.on_both_with_jdk(
            "copiers_with_our_id_fence_us_and_we_fence_them",
            copiers_with_our_id_fence_us_and_we_fence_them,
        ),
    ];
    let two_phase = [
        fleet.apart(
            "embedded::a_prepared_transaction_is_seen_when_it_is_decided".to_owned(),
            || {
                block_on(async {
                    let broker = Broker::builder().two_phase_commit();
                    let broker = broker.start_tcp("127.0.0.1:0").await.expect("a free port");
                    let bootstrap = broker.bootstrap_servers();
                    a_prepared_transaction_is_seen_when_it_is_decided(Target { bootstrap }).await;
                });
            },
        ),
        fleet.on_two_phase(
            "a_prepared_transaction_is_seen_when_it_is_decided",
            |kafka| {
                let bootstrap = kafka.bootstrap();
                block_on(a_prepared_transaction_is_seen_when_it_is_decided(Target {
                    bootstrap,
                }));
            },
        ),
    ];
    let on_kafka = [
        fleet.on_one_alone(
            "transactions_of_older_clusters_go_the_older_way",
            |_, kafka| {
                let bootstrap = kafka.bootstrap();
                block_on(transactions_of_older_clusters_go_the_older_way(Target {
                    bootstrap,
                }));
            },
        ),
        fleet.on_three(
            "a_coordinator_that_dies_tears_no_transaction",
            |_, kafka| {
                block_on(a_coordinator_that_dies_tears_no_transaction(kafka));
            },
        ),
    ];
    let on_both = on_both.into_iter().flatten();
    on_both.chain(two_phase).chain(on_kafka).collect()
}

/// Everything once more with the older flow: partitions and offsets are added by requests of their own, and the epoch stays.
async fn transactions_of_older_clusters_go_the_older_way(target: Target) {
    target.set_transaction_version(1).await;
    // Side by side: most of each is waiting.
    let older = |case: Pin<Box<dyn Future<Output = ()>>>, name: &'static str| async move {
        let began = Instant::now();
        case.await;
        println!("the older way, {name}: {:?}", began.elapsed());
    };
    tokio::join!(
        older(
            Box::pin(readers_see_a_transaction_whole_or_not_at_all(
                target.clone(),
                "-older"
            )),
            "whole",
        ),
        older(
            Box::pin(a_newer_producer_of_the_id_fences_the_older_one(
                target.clone(),
                "-older"
            )),
            "fenced",
        ),
        older(
            Box::pin(a_record_that_is_refused_aborts_its_transaction(
                target.clone(),
                "-older"
            )),
            "refused",
        ),
        older(
            Box::pin(offsets_count_when_their_transaction_is_committed(
                target.clone(),
                "-older"
            )),
            "offsets",
        ),
        older(
            Box::pin(a_transaction_that_outlasts_its_timeout_is_aborted(
                target.clone(),
                "-older"
            )),
            "late",
        ),
    );
    target.set_transaction_version(2).await;
}

fn numbered<'a>(topic: &'a str, number: &'a [u8; 8]) -> Record<'a> {
    Record::new(topic).key(number).value(number)
}

impl Target {
    pub(crate) async fn transactional(
        &self,
        id: &str,
        properties: &[(&str, &str)],
    ) -> TransactionalProducer {
        let given = [
            ("bootstrap.servers", self.bootstrap.as_str()),
            ("transactional.id", id),
        ];
        let config = ProducerConfig::from_properties(given.iter().chain(properties).copied());
        TransactionalProducer::connect(config.expect("good properties"), id)
            .await
            .expect("connected")
    }

    /// A member of a group that reads what is committed, and commits nothing by itself.
    pub(crate) async fn transactional_member(
        &self,
        group: &str,
        protocol: &str,
        topic: &str,
    ) -> Consumer {
        let mut consumer = self
            .consumer(&[
                ("group.id", group),
                ("group.protocol", protocol),
                ("isolation.level", "read_committed"),
                ("enable.auto.commit", "false"),
            ])
            .await;
        consumer.subscribe(&[topic]).await.expect("subscribed");
        consumer
    }

    /// What a `read_committed` reader sees of a topic, in the order of the numbers: `count` of them, and nothing behind them.
    async fn visible(&self, topic: &str, count: usize) -> Vec<u64> {
        self.visible_of(topic, PARTITIONS, count).await
    }

    async fn visible_of(&self, topic: &str, partitions: i32, count: usize) -> Vec<u64> {
        let mut reader = self.committed_reader(topic, partitions).await;
        let mut seen = Vec::new();
        while seen.len() < count {
            let records = reader.poll(POLL).await.expect("polled");
            seen.extend(records.iter().map(|record| number(record.value)));
        }
        let records = reader.poll(POLL).await.expect("polled");
        seen.extend(records.iter().map(|record| number(record.value)));
        seen.sort_unstable();
        seen
    }

    /// What a `read_committed` reader sees of a topic before it sees `last`; each partition up to where it ended then.
    async fn visible_until(&self, topic: &str, last: u64) -> Vec<u64> {
        let mut reader = self.committed_reader(topic, PARTITIONS).await;
        let (mut seen, mut is_there, mut silent) = (Vec::new(), false, 0);
        while !is_there || silent < 3 {
            let records = reader.poll(POLL).await.expect("polled");
            silent = if records.is_empty() { silent + 1 } else { 0 };
            for record in &records {
                match number(record.value) {
                    n if n == last => is_there = true,
                    n => seen.push(n),
                }
            }
        }
        seen
    }

    async fn committed_reader(&self, topic: &str, partitions: i32) -> Consumer {
        let mut reader = self
            .consumer(&[("isolation.level", "read_committed")])
            .await;
        let starts: Vec<_> = (0..partitions)
            .map(|p| (TopicPartition::new(topic, p), StartOffset::Earliest))
            .collect();
        reader.assign(&starts).await.expect("assigned");
        reader
    }

    pub(crate) async fn client(&self) -> Client {
        let config = [("bootstrap.servers", self.bootstrap.as_str())];
        let config = ClientConfig::from_properties(config).expect("good");
        Client::connect(config).await.expect("connected")
    }

    /// Which broker coordinates the transactions of `id`.
    async fn coordinator_of(&self, id: &str) -> i32 {
        let client = self.client().await;
        loop {
            let request = FindCoordinatorRequest {
                key: id.to_owned(),
                key_type: 1,
                coordinator_keys: vec![id.to_owned()],
                ..Default::default()
            };
            let mut request = request;
            request.key.clear();
            let found = client.request(To::Any, &request).await.expect("answered");
            if let Some(node) = found.coordinators.iter().find(|it| it.error_code.is_ok()) {
                return node.node_id;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Sets the level of the feature by which clusters say how transactions go, and waits until brokers say so.
    async fn set_transaction_version(&self, level: i16) {
        let client = self.client().await;
        let request = UpdateFeaturesRequest {
            feature_updates: vec![FeatureUpdateKey {
                feature: "transaction.version".to_owned(),
                max_version_level: level,
                upgrade_type: if level < 2 { 2 } else { 1 },
                ..Default::default()
            }],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let answer = client
            .request(To::Controller, &request)
            .await
            .expect("answered");
        assert!(answer.error_code.is_ok(), "{:?}", answer);
        sleep(Duration::from_secs(1)).await;
    }
}
