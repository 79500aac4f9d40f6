//! The screen against the embedded broker, and what is drawn of what was seen.

use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::kafka::{
    Client, ClientConfig, ConsumerConfig, OffsetAndMetadata, ProducerConfig, Record, TopicPartition,
};
use tokio::time::sleep;

use super::sample::Sampler;
use super::text_of;
use super::view::{GroupRow, View};

async fn cluster() -> (Broker, Client) {
    let broker = Broker::builder().nodes(2).start_tcp("127.0.0.1:0");
    let broker = broker.await.expect("a broker");
    broker.create_topic("emails", 2).expect("a new topic");
    broker.create_topic("orders", 1).expect("a new topic");
    let mut config = ClientConfig::new(&broker.bootstrap_servers());
    config.request_timeout = Duration::from_secs(5);
    let client = Client::connect(config).await.expect("connected");
    (broker, client)
}

async fn send(client: &Client, partition: i32, count: usize) {
    let producer = client
        .producer(ProducerConfig::default())
        .expect("a producer");
    for _ in 0..count {
        let record = Record::new("emails").partition(partition).value(b"x");
        drop(producer.enqueue(record).await.expect("accepted"));
    }
    producer.flush().await.expect("delivered");
}

async fn commit(client: &Client, partition: i32, offset: i64) {
    let member = client
        .consumer(ConsumerConfig::new("", "indexer"))
        .expect("a consumer");
    let name = TopicPartition::new("emails", partition);
    let offset = [(name, OffsetAndMetadata::new(offset))];
    member.commit(&offset).await.expect("committed");
}

#[tokio::test]
async fn rates_lags_latencies_and_errors_of_a_cluster_are_on_the_screen() {
    let (broker, client) = cluster().await;
    send(&client, 0, 5_000).await;
    commit(&client, 0, 1_000).await;
    commit(&client, 1, 0).await;
    let groups = vec!["indexer".to_string()];
    let mut sampler = Sampler::new(client.clone(), Vec::new(), groups);
    let mut view = View::default();
    view.update(sampler.sample().await);
    assert!(view.topics.iter().all(|topic| topic.rate.is_none()));
    send(&client, 0, 1_000).await;
    commit(&client, 0, 4_000).await;
    sleep(Duration::from_millis(200)).await;
    view.update(sampler.sample().await);

    assert_eq!(view.errors.len(), 0, "{:?}", view.errors);
    assert_eq!(
        view.topics[0].name, "emails",
        "where the most comes in is first"
    );
    let rate = view.topics[0].rate.expect("known");
    assert!(rate > 0.0 && view.topics[0].records == 6_000);
    let lags: Vec<_> = view
        .groups
        .iter()
        .map(|row| (row.partition.partition, row.lag))
        .collect();
    assert_eq!(lags, [(0, 2_000), (1, 0)]);
    assert!(
        view.groups[0]
            .seconds()
            .is_some_and(|seconds| seconds > 0.0)
    );
    assert!(view.latencies.iter().sum::<u64>() > 0 && view.mean_ms > 0.0);

    let text = text_of(&view).expect("a screen");
    for shown in [
        "2 brokers   2 topics   3 partitions",
        "emails",
        "orders",
        "6,000",
        "lag by group and partition",
        "indexer",
        "emails-0",
        "2,000",
        "our requests by milliseconds",
        "no errors",
    ] {
        assert!(text.contains(shown), "{shown} in\n{text}");
    }
    let figure = crate::table::grouped(rate.round() as u64);
    assert!(text.contains(&figure), "{figure} in\n{text}");

    // Who leads nothing any more is told, and what was known stays.
    broker.stop_node(1).await;
    broker.stop_node(2).await;
    let sampling = tokio::time::timeout(Duration::from_secs(90), sampler.sample());
    view.update(sampling.await.expect("it comes to an end"));
    assert!(!view.errors.is_empty());
    let text = text_of(&view).expect("a screen");
    assert!(
        text.contains(" errors ") && text.contains("emails"),
        "{text}"
    );
}

#[test]
fn who_gets_on_is_done_some_time_and_who_does_not_is_never() {
    let row = |lag, rate| GroupRow {
        group: "g".to_string(),
        partition: TopicPartition::new("t", 0),
        lag,
        rate,
    };
    assert_eq!(row(100, Some(10.0)).seconds(), Some(10.0));
    assert_eq!(row(100, Some(0.0)).seconds(), None);
    assert_eq!(row(100, None).seconds(), None);
}
