//! What the producers of one client hold together, and what its consumers do.

use pat_events::broker::{Fault, FaultAction};
use pat_events::kafka::Delivery;

use super::*;

const TOTAL: usize = 2 << 20;

/// Enqueues with each in turn until none has room.
fn fill(producers: &[Producer]) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    let mut refused = 0;
    while refused < producers.len() {
        refused = 0;
        for producer in producers {
            match producer.try_enqueue(Record::new("t").value(&[7; 1_000])) {
                Ok(delivery) => deliveries.push(delivery),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::BufferFull, "{error}");
                    refused += 1;
                }
            }
        }
    }
    deliveries
}

fn held(producers: &[Producer]) -> usize {
    let held = producers
        .iter()
        .map(|producer| producer.metrics().buffer_bytes_used);
    held.sum()
}

#[tokio::test(start_paused = true)]
async fn the_producers_of_a_client_take_together_no_more_than_it_has_for_them() {
    let (broker, network) = cluster(1, 1);
    let mut config = network.config();
    config.producers_buffer_bytes = Some(TOTAL);
    let client = Client::lazy(config).expect("a client");
    let mut config = ProducerConfig::default();
    assert!(config.buffer_bytes > TOTAL);
    config.max_block = SECOND * 2;
    let mut producers: Vec<_> = (0..4)
        .map(|_| client.producer(config.clone()).expect("a producer"))
        .collect();
    for producer in &producers {
        send(producer, 0, b"first").await;
    }
    network.set_down(true);
    broker.disconnect_all();

    let deliveries = fill(&producers);
    let all = held(&producers);
    assert!((TOTAL / 2..=TOTAL).contains(&all), "{all} of {TOTAL}");
    let waits = producers[0].send(Record::new("t").value(&[7; 60_000]));
    let error = waits.await.expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let text = error.to_string();
    assert!(text.contains("producers.buffer.memory"), "{text}");

    // What one gives up, the others have.
    let gone = producers.remove(0);
    drop(gone.close(SECOND).await);
    assert_eq!(gone.metrics().buffer_bytes_used, 0);
    let more = fill(&producers);
    assert!(more.len() > deliveries.len() / 8, "{}", more.len());
    assert!(held(&producers) <= TOTAL);

    network.set_down(false);
    for producer in &producers {
        producer.flush().await.expect("written");
    }
    assert_eq!(held(&producers), 0);
    let written = deliveries.into_iter().chain(more);
    let mut failed = 0;
    for delivery in written {
        failed += usize::from(delivery.await.is_err());
    }
    let lost = gone.metrics().records_failed;
    assert_eq!(failed as u64, lost);
}

/// Another producer's records wait for more to come; not while somebody waits for the memory that they take.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_memory_that_others_hold_has_them_send_what_they_have() {
    const TOTAL: usize = 256 << 10;
    let (broker, network) = cluster(1, 8);
    let mut config = network.config();
    config.producers_buffer_bytes = Some(TOTAL);
    let client = Client::lazy(config).expect("a client");
    let mut config = ProducerConfig::default();
    (config.batch_bytes, config.max_request_bytes) = (64 << 10, TOTAL);
    config.linger = SECOND * 60;
    config.max_block = SECOND * 30;
    let [holder, waiter] = [(); 2].map(|()| client.producer(config.clone()).expect("a producer"));
    for producer in [&holder, &waiter] {
        send(producer, 0, b"first").await;
    }
    let slow = FaultAction::Delay(SECOND * 10);
    broker.inject(Fault::on(ApiKey::PRODUCE, slow));
    let mut deliveries = vec![
        holder
            .enqueue(Record::new("t").partition(0).value(b"x"))
            .await,
    ];
    sleep(SECOND).await;
    let record = |partition| Record::new("t").partition(partition).value(&[7; 1_000]);
    for number in 0.. {
        match holder.try_enqueue(record(number % 8)) {
            Ok(delivery) => deliveries.push(Ok(delivery)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::BufferFull, "{error}");
                break;
            }
        }
    }
    sleep(SECOND).await;
    let sent = holder.metrics().requests_sent;
    let waits = tokio::spawn({
        let waiter = waiter.clone();
        async move { waiter.send(Record::new("t").value(&[7; 60_000])).await }
    });
    sleep(SECOND).await;
    assert_eq!(holder.metrics().requests_sent, sent + 1);
    waits.await.expect("no panic").expect("written");
    for delivery in deliveries {
        delivery.expect("accepted").await.expect("written");
    }
}

/// Some stop reading and keep what they have; the others read all there is, each of them more than fits at once.
#[tokio::test(start_paused = true)]
async fn the_consumers_of_a_client_hold_together_no_more_than_it_has_for_them_and_none_starves() {
    const EACH: usize = 300;
    const CONSUMERS: i32 = 8;
    let (_broker, network) = cluster(2, CONSUMERS);
    let mut config = network.config();
    config.consumers_buffer_bytes = Some(TOTAL);
    let client = Client::lazy(config).expect("a client");
    let mut config = ProducerConfig::default();
    config.batch_bytes = 64 << 10;
    let writer = client.producer(config).expect("a producer");
    for number in 0..EACH as i32 * CONSUMERS {
        let record = Record::new("t").partition(number % CONSUMERS);
        let accepted = writer.enqueue(record.value(&[7; 10_000])).await;
        drop(accepted.expect("accepted"));
    }
    writer.flush().await.expect("written");
    let mut consumers = Vec::new();
    for partition in 0..CONSUMERS {
        let mut config = ConsumerConfig::default();
        assert!(config.buffer_bytes > TOTAL);
        config.max_partition_fetch_bytes = 200_000;
        config.max_poll_records = 10;
        let mut consumer = client.consumer(config).expect("a consumer");
        let start = [(TopicPartition::new("t", partition), StartOffset::Earliest)];
        consumer.assign(&start).await.expect("a partition");
        consumers.push(consumer);
    }
    let held = |consumers: &[Consumer]| {
        let held = consumers.iter().map(|each| each.metrics().bytes_held);
        held.sum::<usize>()
    };
    let mut kept = Vec::new();
    for consumer in &mut consumers[..4] {
        kept.push(consumer.poll(SECOND).await.expect("records"));
    }
    sleep(SECOND * 5).await;
    // One fetch and one batch of each may go beyond it.
    let all = held(&consumers);
    assert!(
        (TOTAL / 2..=TOTAL * 3 / 2).contains(&all),
        "{all} of {TOTAL}"
    );
    for consumer in &mut consumers[4..] {
        read(consumer, EACH).await;
    }
    // What was held up goes on once it is let go of.
    drop(kept);
    for consumer in &mut consumers[..4] {
        let before = consumer.metrics().records as usize;
        assert!(before < EACH, "it was never short of memory");
        read(consumer, EACH - before).await;
    }
}
