//! What the producers of one client hold together.

use pat_events::kafka::{Delivery, ErrorKind, Producer, ProducerConfig, Record};

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
