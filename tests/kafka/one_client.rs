//! What a process costs that has a hundred producers and twenty group members: on one client, and each on a client of its own. Prints the
//! figures.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::kafka::net::TcpTransport;
use pat_events::kafka::{
    Client, ClientConfig, Consumer, ConsumerConfig, NewTopic, Producer, ProducerConfig, Record,
};
use tokio::time::{Instant, timeout};

use crate::connections::Connections;
use crate::fleet::{Fleet, Target};
use crate::process_status::kilobytes;

const PRODUCERS: usize = 100;
const CONSUMERS: usize = 20;

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    fleet
        .on_both(
            "one_client_costs_few_connections",
            one_client_costs_few_connections,
        )
        .into()
}

async fn one_client_costs_few_connections(target: Target) {
    let topic = format!("one-client-{}", std::process::id());
    let shared = measure(&target, &topic, true).await;
    let alone = measure(&target, &topic, false).await;
    // To the one broker: short requests, a few for all producers; a fetch and a membership for each member.
    assert!(shared <= 5 + 2 * CONSUMERS, "{shared}");
    assert!(alone >= 2 * PRODUCERS, "{alone}");
}

/// Runs all of them and returns how many connections they hold.
async fn measure(target: &Target, topic: &str, on_one: bool) -> usize {
    let connections = Connections::through(TcpTransport);
    let mut config = ClientConfig::new(&target.bootstrap);
    config.transport = Arc::new(connections.clone());
    let threads = kilobytes("Threads:");
    let memory = kilobytes("VmRSS:");
    let began = Instant::now();
    let one = Client::lazy(config.clone()).expect("a client");
    let client = || match on_one {
        true => one.clone(),
        false => Client::lazy(config.clone()).expect("a client"),
    };
    let new = NewTopic::new(topic, CONSUMERS as i32);
    // The second time it is there already.
    drop(one.admin().create_topic(&new).await);
    let producers: Vec<Producer> = (0..PRODUCERS)
        .map(|_| {
            client()
                .producer(ProducerConfig::default())
                .expect("a producer")
        })
        .collect();
    let record = |number: usize| {
        let partition = (number % CONSUMERS) as i32;
        Record::new(topic).partition(partition).value(b"hello")
    };
    producers[0].send(record(0)).await.expect("written");
    let first = began.elapsed();
    for (number, producer) in producers.iter().enumerate().skip(1) {
        producer.send(record(number)).await.expect("written");
    }
    let all = began.elapsed();
    let mut consumers: Vec<Consumer> = (0..CONSUMERS)
        .map(|_| {
            let mut config = ConsumerConfig::default();
            config.group_id = Some(format!("{topic}-{on_one}"));
            client().consumer(config).expect("a consumer")
        })
        .collect();
    let mut reading = tokio::task::JoinSet::new();
    for mut consumer in consumers.drain(..) {
        let topic = topic.to_string();
        reading.spawn(async move {
            consumer.subscribe(&[&topic]).await.expect("a topic");
            while consumer.assignment().len() != 1 {
                consumer
                    .poll(Duration::from_millis(200))
                    .await
                    .expect("a poll");
            }
            for _ in 0..5 {
                consumer
                    .poll(Duration::from_millis(200))
                    .await
                    .expect("a poll");
            }
            consumer
        });
    }
    let consumers = timeout(Duration::from_secs(120), reading.join_all()).await;
    let consumers = consumers.expect("a partition for each member");
    let open = connections.open().len();
    println!(
        "{PRODUCERS} producers and {CONSUMERS} members, one client: {on_one}: {open} connections, {} threads more, {} KiB more, first acknowledgement after {first:?}, one of each producer after {all:?}",
        kilobytes("Threads:") as i64 - threads as i64,
        kilobytes("VmRSS:") as i64 - memory as i64,
    );
    drop((consumers, producers));
    open
}
