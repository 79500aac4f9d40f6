//! One client and all that is created with it: connections are shared, nothing needs the network before it is used, nobody ends anybody
//! else. `known_failures` sees to it that the tests exist that `tests/README.md` names.

mod blocking;
#[path = "../support/connections.rs"]
mod connections;
mod impostor;
mod known_failures;
mod memory;
mod network;
mod secured;

use std::time::Duration;

use network::Network;
use pat_events::broker::Broker;
use pat_events::kafka::wire::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsTopic,
};
use pat_events::kafka::wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use pat_events::kafka::wire::messages::{ListOffsetsRequest, MetadataRequest, OffsetFetchRequest};
use pat_events::kafka::{
    ApiKey, Client, Consumer, ConsumerConfig, ErrorCode, ErrorKind, Producer, ProducerConfig,
    Record, StartOffset, Target, TopicPartition,
};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// A cluster of `nodes` with the topic `t` of `partitions`.
fn cluster(nodes: usize, partitions: i32) -> (Broker, Network) {
    let builder = Broker::builder().nodes(nodes).seed(7);
    let broker = builder.start_in_memory().expect("a cluster");
    broker.create_topic("t", partitions).expect("a new topic");
    let network = Network::new(&broker);
    (broker, network)
}

fn producer(client: &Client) -> Producer {
    let producer = client.producer(ProducerConfig::default());
    producer.expect("a producer")
}

fn consumer(client: &Client, group: Option<&str>) -> Consumer {
    let mut config = ConsumerConfig::default();
    config.group_id = group.map(str::to_string);
    client.consumer(config).expect("a consumer")
}

async fn send(producer: &Producer, partition: i32, value: &[u8]) {
    let record = Record::new("t").partition(partition).value(value);
    let sent = timeout(SECOND * 60, producer.send(record)).await;
    sent.expect("an end").expect("a written record");
}

/// Reads until it has so many records.
async fn read(consumer: &mut Consumer, count: usize) {
    let mut seen = 0;
    while seen < count {
        let records = timeout(SECOND * 60, consumer.poll(SECOND)).await;
        seen += records.expect("an end").expect("records").count();
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_producers_and_twenty_consumers_hold_a_handful_of_connections_to_each_broker() {
    const PARTITIONS: i32 = 30;
    let (broker, network) = cluster(3, PARTITIONS);
    let client = Client::connect(network.config()).await.expect("a client");
    let producers: Vec<_> = (0..100).map(|_| producer(&client)).collect();
    for producer in &producers {
        for partition in 0..PARTITIONS {
            send(producer, partition, b"x").await;
        }
    }
    let nodes = broker.node_ids();
    for node in &nodes {
        // One for short requests, and a few for the records of all of them.
        assert!(network.open(*node) <= 5, "{}", network.open(*node));
    }
    let mut consumers = Vec::new();
    for partition in 0..20 {
        let mut consumer = consumer(&client, None);
        let partition = TopicPartition::new("t", partition);
        let start = [(partition, StartOffset::Earliest)];
        consumer.assign(&start).await.expect("a partition");
        read(&mut consumer, 100).await;
        consumers.push(consumer);
    }
    // One more for each long poll.
    let open = network.open_in_all();
    assert!(open <= 3 * 5 + 20, "{open}");
    drop(consumers);
    sleep(SECOND).await;
    let open = network.open_in_all();
    assert!(open <= 3 * 5, "{open}: those of a consumer end with it");
    drop((client, producers));
    sleep(SECOND).await;
    assert_eq!(network.open_in_all(), 0);
}

#[tokio::test(start_paused = true)]
async fn members_of_a_group_on_one_client_do_not_wait_behind_each_other() {
    let (_broker, network) = cluster(1, 6);
    let client = Client::lazy(network.config()).expect("a client");
    let (mut first, mut second) = (consumer(&client, Some("g")), consumer(&client, Some("g")));
    for consumer in [&mut first, &mut second] {
        consumer.subscribe(&["t"]).await.expect("a topic");
    }
    let shared = timeout(SECOND * 60, async {
        while first.assignment().len() != 3 || second.assignment().len() != 3 {
            let polled = tokio::join!(first.poll(SECOND / 10), second.poll(SECOND / 10));
            polled.0.expect("a poll");
            polled.1.expect("a poll");
        }
    });
    shared.await.expect("a share for each");
}

#[tokio::test(start_paused = true)]
async fn everything_is_created_while_kafka_is_down_and_its_first_calls_wait() {
    let (_broker, network) = cluster(3, 1);
    network.set_down(true);
    let client = Client::lazy(network.config()).expect("a client");
    let producer = producer(&client);
    let mut consumer = consumer(&client, None);
    let admin = client.admin();
    sleep(SECOND * 10).await;
    assert_eq!(network.dials(), 0, "nobody wanted anything");
    let up = async {
        sleep(SECOND * 5).await;
        network.set_down(false);
    };
    let read = async {
        let start = [(TopicPartition::new("t", 0), StartOffset::Earliest)];
        consumer.assign(&start).await.expect("a partition");
        read(&mut consumer, 1).await;
    };
    let started = Instant::now();
    let topics = admin.list_topics();
    let ((), (), (), topics) = tokio::join!(up, send(&producer, 0, b"one"), read, topics);
    assert_eq!(topics.expect("topics").len(), 1);
    assert!(started.elapsed() < SECOND * 10, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_first_call_fails_by_its_own_deadline_with_each_address_and_why() {
    let (_broker, network) = cluster(2, 1);
    network.set_down(true);
    let client = Client::lazy(network.config()).expect("a client");
    let mut config = ProducerConfig::default();
    config.max_block = SECOND * 3;
    let producer = client.producer(config).expect("a producer");
    let started = Instant::now();
    let error = producer.send(Record::new("t").value(b"one")).await;
    let error = error.expect_err("it is down");
    let took = started.elapsed();
    assert!(took <= SECOND * 4, "{took:?}");
    assert!(error.is_retriable(), "{error}");
    let first = client.config().bootstrap_servers[0].clone();
    let text = format!("{error:?}");
    assert!(text.contains(&first) && text.contains("refused"), "{text}");
    let error = Client::connect(network.config()).await.expect_err("down");
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
}

#[tokio::test(start_paused = true)]
async fn one_user_of_a_client_ends_nobody_else() {
    let (_broker, network) = cluster(2, 2);
    let client = Client::connect(network.config()).await.expect("a client");
    let (first, second) = (producer(&client), producer(&client));
    send(&first, 0, b"one").await;
    send(&second, 1, b"two").await;
    first.close(SECOND).await.expect("nothing was open");
    drop(first);
    let mut closed = consumer(&client, None);
    let start = [(TopicPartition::new("t", 0), StartOffset::Earliest)];
    closed.assign(&start).await.expect("a partition");
    read(&mut closed, 1).await;
    closed.close().await.expect("closed");
    // The topics that they used are still known and kept fresh for the others.
    sleep(SECOND * 1_000).await;
    send(&second, 0, b"three").await;
    let mut other = consumer(&client, None);
    other.assign(&start).await.expect("a partition");
    read(&mut other, 2).await;
}

#[tokio::test(start_paused = true)]
async fn any_message_is_sent_to_the_broker_that_it_is_for() {
    let (broker, network) = cluster(3, 3);
    let client = Client::lazy(network.config()).expect("a client");
    let everything = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    for target in [Target::Any, Target::Controller, Target::Broker(2)] {
        let response = client.request(target, &everything).await.expect("metadata");
        assert_eq!(response.topics.len(), 1, "{target:?}");
    }
    for partition in 0..3 {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: "t".to_string(),
                partitions: vec![ListOffsetsPartition {
                    partition_index: partition,
                    current_leader_epoch: -1,
                    timestamp: -1,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let leader = Target::Leader("t", partition);
        let response = client.request(leader, &request).await.expect("offsets");
        let answer = &response.topics[0].partitions[0];
        assert_eq!((answer.error_code, answer.offset), (ErrorCode::NONE, 0));
    }
    broker.move_coordinator("g", 3);
    let group = Target::GroupCoordinator("g");
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: "g".to_string(),
            topics: None,
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = client.request(group, &request).await.expect("offsets");
    assert_eq!(response.groups[0].error_code, ErrorCode::NONE);
    // What brokers do not have is one clear error.
    let builder = Broker::builder().without_api(ApiKey::OFFSET_FETCH);
    let network = Network::new(&builder.start_in_memory().expect("a broker"));
    let client = Client::lazy(network.config()).expect("a client");
    let error = client
        .request(group, &request)
        .await
        .expect_err("not there");
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion, "{error}");
}
