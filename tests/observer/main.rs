//! What an operator sees: an observer is told what happens, once, with its reason. On the embedded broker, under a paused clock.

#[path = "../support/in_memory.rs"]
mod in_memory;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use in_memory::InMemory;
use pat_events::broker::{Broker, BrokerBuilder, Fault, FaultAction};
use pat_events::kafka::{
    Client, ClientConfig, ClientEvent, Clock, Consumer, ConsumerConfig, Observer, OffsetReset,
    Producer, ProducerConfig, Record, Severity, StartOffset, TopicPartition,
};
use protocol::{ApiKey, ErrorCode};
use tokio::time::{sleep, timeout};

/// Writes down what it is told.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<(&'static str, Severity, String)>>);

impl Observer for Recorder {
    fn on_event(&self, event: &ClientEvent<'_>) {
        let line = (event.kind(), event.severity(), event.to_string());
        self.0.lock().expect("no panic").push(line);
    }
}

impl Recorder {
    /// What was told of this kind.
    fn of(&self, kind: &str) -> Vec<String> {
        let told = self.0.lock().expect("no panic");
        let of_kind = told.iter().filter(|(it, ..)| *it == kind);
        of_kind.map(|(.., text)| text.clone()).collect()
    }

    /// Waits until something of this kind was told that has all of these words.
    async fn told(&self, kind: &str, words: &[&str]) -> String {
        let told = async {
            loop {
                let mut all = self.of(kind).into_iter();
                if let Some(text) = all.find(|text| words.iter().all(|word| text.contains(word))) {
                    return text;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let told = timeout(Duration::from_secs(60), told).await;
        told.unwrap_or_else(|_| panic!("no {kind} with {words:?} among {:#?}", self.0))
    }
}

fn cluster(build: impl FnOnce(BrokerBuilder) -> BrokerBuilder) -> Broker {
    let broker = build(
        Broker::builder()
            .seed(1)
            .simulated_time_ms(1_700_000_000_000),
    );
    let broker = broker.start_in_memory().expect("a broker");
    broker.create_topic("t", 3).expect("a topic");
    broker
}

fn client(broker: &Broker, observer: &Arc<Recorder>) -> ClientConfig {
    let mut config = ClientConfig::new(&broker.bootstrap_servers());
    config.transport = Arc::new(InMemory(broker.clone()));
    config.clock = Clock::simulated(1_700_000_000_000);
    config.observer = Some(observer.clone());
    config.seed = Some(1);
    config.metadata_max_age = Duration::from_secs(5);
    config
}

async fn producer(broker: &Broker, observer: &Arc<Recorder>) -> Producer {
    let mut config = ProducerConfig::new("");
    config.client = client(broker, observer);
    Producer::connect(config).await.expect("a cluster")
}

async fn member(broker: &Broker, observer: &Arc<Recorder>) -> Consumer {
    let mut config = ConsumerConfig::new("", "g");
    config.client = client(broker, observer);
    config.auto_offset_reset = OffsetReset::Earliest;
    let mut consumer = Consumer::connect(config).await.expect("a cluster");
    consumer.subscribe(&["t"]).await.expect("a topic");
    consumer
}

async fn poll(consumer: &mut Consumer, rounds: usize) {
    for _ in 0..rounds {
        // What goes wrong meanwhile is what the test is about.
        let _ = consumer.poll(Duration::from_millis(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_stops_and_comes_back_is_seen_as_what_it_is() {
    let broker = cluster(|builder| builder.nodes(3).default_replication_factor(3));
    let seen = Arc::new(Recorder::default());
    let producer = producer(&broker, &seen).await;
    seen.told("connected", &["connected to broker"]).await;
    for partition in 0..3 {
        let record = Record::new("t").partition(partition).value(b"one");
        producer.send(record).await.expect("written");
    }
    // Nobody but the client has ended a connection: that of the bootstrap address.
    let told = seen.0.lock().expect("no panic").clone();
    let ended = told.iter().filter(|(kind, ..)| *kind == "disconnected");
    assert!(
        ended
            .clone()
            .all(|(_, severity, _)| *severity == Severity::Debug)
    );
    let leader = broker.log("t", 0).and_then(|log| log.leader).expect("led");
    broker.stop_node(leader).await;
    let gone = format!("broker {leader} (");
    let text = seen.told("disconnected", &[&gone]).await;
    assert!(
        text.contains("reading failed") || text.contains("closed"),
        "{text}"
    );
    let record = Record::new("t").partition(0).value(b"two");
    producer
        .send(record)
        .await
        .expect("written at the next leader");
    let from = format!("t-0 moved from broker {leader} to broker ");
    seen.told("leader_moved", &[&from]).await;
    let went = format!("went [{leader}]");
    seen.told("brokers_changed", &[&went]).await;
    broker.start_node(leader).await.expect("a free place");
    let came = format!("came [{leader}]");
    seen.told("brokers_changed", &[&came]).await;
    producer
        .close(Duration::from_secs(5))
        .await
        .expect("written");
    for (kind, severity, text) in &*seen.0.lock().expect("no panic") {
        assert!(*severity < Severity::Error, "{kind}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_away_is_dialled_with_growing_pauses_which_are_told() {
    let broker = cluster(|builder| builder.nodes(1));
    let seen = Arc::new(Recorder::default());
    let producer = producer(&broker, &seen).await;
    let record = Record::new("t").partition(0).value(b"one");
    producer.send(record).await.expect("written");
    broker.stop_node(broker.node_ids()[0]).await;
    let delivery = producer.enqueue(record).await.expect("room");
    let text = seen
        .told("connect_failed", &["failed 3 times in a row"])
        .await;
    assert!(
        text.contains("cannot connect") && text.contains("again in "),
        "{text}"
    );
    seen.told("metadata_failed", &["no broker"]).await;
    broker
        .start_node(broker.node_ids()[0])
        .await
        .expect("a free place");
    delivery.await.expect("written after all");
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_a_broker_asks_for_is_told_with_its_length() {
    let broker = cluster(|builder| builder.nodes(1));
    let seen = Arc::new(Recorder::default());
    let producer = producer(&broker, &seen).await;
    let pause = FaultAction::Throttle(Duration::from_millis(700));
    broker.inject(Fault::on(ApiKey::PRODUCE, pause));
    let record = Record::new("t").partition(0).value(b"one");
    producer.send(record).await.expect("written");
    let text = seen.told("throttled", &[]).await;
    assert!(
        text.contains("a pause of 700 ms in its answer to Produce"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_is_told_each_time_and_at_its_end() {
    let broker = cluster(|builder| builder.nodes(1));
    let seen = Arc::new(Recorder::default());
    let producer = producer(&broker, &seen).await;
    let refusal = FaultAction::Answer(ErrorCode::NOT_ENOUGH_REPLICAS);
    broker.inject(Fault::on(ApiKey::PRODUCE, refusal).times(2));
    let record = Record::new("t").partition(0).value(b"one");
    producer.send(record).await.expect("written in the end");
    let text = seen.told("retry", &["writing", "failed 2 times"]).await;
    assert!(text.contains("NOT_ENOUGH_REPLICAS"), "{text}");
    assert_eq!(seen.of("retry").len(), 2);
    seen.told("batch_written", &["1 records", "t-0"]).await;
    let refusal = FaultAction::Answer(ErrorCode::INVALID_RECORD);
    broker.inject(Fault::on(ApiKey::PRODUCE, refusal));
    producer.send(record).await.expect_err("refused");
    seen.told("batch_failed", &["1 records for t-0 were not written"])
        .await;
}

#[tokio::test(start_paused = true)]
async fn members_that_come_and_go_are_seen_by_what_they_get_and_give() {
    let broker = cluster(|builder| builder.nodes(1));
    let (one_seen, other_seen) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    let mut one = member(&broker, &one_seen).await;
    poll(&mut one, 50).await;
    assert_eq!(
        one_seen.of("partitions_assigned"),
        ["group g assigned t-0, t-1, t-2, in generation 1"]
    );
    let mut other = member(&broker, &other_seen).await;
    for _ in 0..200 {
        poll(&mut one, 1).await;
        poll(&mut other, 1).await;
    }
    one_seen
        .told("partitions_revoked", &["group g revoked t-"])
        .await;
    assert_eq!(one_seen.of("partitions_assigned").len(), 2);
    assert_eq!(other_seen.of("partitions_assigned").len(), 1);
    assert_eq!(other_seen.of("partitions_lost"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_is_told_while_it_is_repeated_and_when_it_is_given_up() {
    let broker = cluster(|builder| builder.nodes(1));
    let seen = Arc::new(Recorder::default());
    let mut consumer = member(&broker, &seen).await;
    poll(&mut consumer, 50).await;
    let mut commit = async |code, times| {
        let producer = producer(&broker, &seen).await;
        let record = Record::new("t").partition(0).value(b"one");
        producer.send(record).await.expect("written");
        poll(&mut consumer, 20).await;
        broker.inject(Fault::on(ApiKey::OFFSET_COMMIT, FaultAction::Answer(code)).times(times));
        consumer.commit_sync().await
    };
    let done = commit(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, 2).await;
    done.expect("committed in the end");
    let again = "offsets of group g will be committed again";
    let text = seen.told("commit_failed", &[again]).await;
    assert!(text.contains("COORDINATOR_LOAD_IN_PROGRESS"), "{text}");
    assert_eq!(seen.of("commit_failed").len(), 2);
    let done = commit(ErrorCode::GROUP_AUTHORIZATION_FAILED, 1).await;
    done.expect_err("not allowed");
    seen.told(
        "commit_failed",
        &["offsets of group g are not committed", "AUTHORIZATION"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_position_that_the_client_moves_is_told_with_what_is_passed_over() {
    let broker = cluster(|builder| builder.nodes(1));
    let seen = Arc::new(Recorder::default());
    let mut consumer = member(&broker, &seen).await;
    let producer = producer(&broker, &seen).await;
    for _ in 0..5 {
        let record = Record::new("t").partition(0).value(b"one");
        producer.send(record).await.expect("written");
    }
    poll(&mut consumer, 50).await;
    consumer.commit_sync().await.expect("committed");
    let partition = pat_events::kafka::TopicPartition::new("t", 0);
    consumer.seek(&partition, 99).expect("its own");
    poll(&mut consumer, 50).await;
    seen.told(
        "position_reset",
        &["the position in t-0 moved from 99 to 0: OutOfRange"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_with_each_broker_is_counted() {
    const MS: Duration = Duration::from_millis(1);
    let broker = cluster(|builder| builder.nodes(2));
    let seen = Arc::new(Recorder::default());
    let client = Client::lazy(client(&broker, &seen)).expect("a client");
    assert!(client.broker_metrics().is_empty(), "nobody was asked yet");
    let producer = client.producer(ProducerConfig::default());
    let producer = producer.expect("a producer");
    let all = broker.node_ids();
    for partition in 0..3 {
        let record = Record::new("t").partition(partition).value(b"one");
        producer.send(record).await.expect("written");
    }
    let brokers = producer.metrics().brokers;
    for node in &all {
        let metrics = &brokers[node];
        assert!(
            metrics.connects >= 1 && metrics.requests_in_flight == 0,
            "{metrics:?}"
        );
        let latency = metrics.request_latency;
        assert!(latency.count >= 1 && latency.max < 50 * MS, "{latency:?}");
        assert_eq!((metrics.fetch_latency.count, metrics.throttles), (0, 0));
    }
    // Slow, paused, cut off: each is counted for its broker alone.
    let [slow, other] = all[..] else {
        panic!("two")
    };
    broker.inject(Fault::on(ApiKey::PRODUCE, FaultAction::Delay(70 * MS)).at_node(slow));
    let records: Vec<_> = (0..3)
        .map(|partition| {
            let record = Record::new("t").partition(partition).value(b"two");
            producer.try_enqueue(record).expect("room")
        })
        .collect();
    sleep(40 * MS).await;
    let brokers = client.broker_metrics();
    let in_flight = |node| brokers[&node].requests_in_flight;
    assert_eq!((in_flight(slow), in_flight(other)), (1, 0));
    for delivery in records {
        delivery.await.expect("written");
    }
    let brokers = client.broker_metrics();
    assert!(brokers[&slow].request_latency.max >= 70 * MS, "{brokers:?}");
    assert!(brokers[&other].request_latency.max < 70 * MS, "{brokers:?}");
    broker.inject(Fault::on(ApiKey::PRODUCE, FaultAction::Throttle(700 * MS)).at_node(slow));
    for partition in 0..3 {
        let record = Record::new("t").partition(partition).value(b"three");
        producer.send(record).await.expect("written");
    }
    let brokers = client.broker_metrics();
    let throttled = |node| (brokers[&node].throttles, brokers[&node].throttle_time);
    assert_eq!(
        (throttled(slow), throttled(other)),
        ((1, 700 * MS), (0, Duration::ZERO))
    );
    let open = brokers[&slow].connects - brokers[&slow].disconnects;
    broker.stop_node(slow).await;
    sleep(2_000 * MS).await;
    let metrics = &client.broker_metrics()[&slow];
    assert!(open >= 1 && metrics.disconnects >= open, "{metrics:?}");
    assert_eq!(metrics.requests_in_flight, 0);
    let config = ConsumerConfig::default();
    let mut consumer = client.consumer(config).expect("a consumer");
    let partitions: Vec<_> = (0..3)
        .map(|partition| (TopicPartition::new("t", partition), StartOffset::Earliest))
        .collect();
    consumer.assign(&partitions).await.expect("partitions");
    poll(&mut consumer, 10).await;
    let fetches = consumer.metrics().brokers[&other].fetch_latency;
    assert!(fetches.count >= 1, "{fetches:?}");
}
