//! Modes `produce` (as fast as acknowledgements allow; `check` = acknowledged records) and `pingpong` (one at a time).

use std::time::Instant;

use pat_events::kafka::{Producer, Record};

use super::measure::{Done, Window};
use super::{Bench, Load};
use crate::Outcome;

/// How many records go out between two chances for other tasks: this runtime has one thread.
const RECORDS_PER_TURN: u64 = 1_000;

pub async fn produce(bench: &Bench) -> Outcome<String> {
    let load = bench.load()?;
    let producer = Producer::connect(bench.producer_config()?).await?;
    send_all(&producer, bench, &load, bench.warmup).await?;
    let window = Window::start()?;
    let done = send_all(&producer, bench, &load, bench.records).await?;
    window.report(bench, done)
}

async fn send_all(producer: &Producer, bench: &Bench, load: &Load, records: u64) -> Outcome<Done> {
    let before = producer.metrics().records_delivered;
    let mut done = Done {
        records,
        ..Done::default()
    };
    for number in 0..records {
        let (key, value) = load.record(number);
        done.bytes += (key.len() + value.len()) as u64;
        // The handle is dropped: the metrics count deliveries, and the flush waits for them.
        drop(
            producer
                .enqueue(Record::new(&bench.topic).key(key).value(value))
                .await?,
        );
        if number % RECORDS_PER_TURN == RECORDS_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
    }
    producer.flush().await?;
    done.check = producer.metrics().records_delivered - before;
    Ok(done)
}

pub async fn pingpong(bench: &Bench) -> Outcome<String> {
    let load = bench.load()?;
    let producer = Producer::connect(bench.producer_config()?).await?;
    let ping = async |number| {
        let (key, value) = load.record(number);
        let start = Instant::now();
        producer
            .send(Record::new(&bench.topic).key(key).value(value))
            .await?;
        Outcome::Ok((
            start.elapsed().as_nanos() as u64,
            (key.len() + value.len()) as u64,
        ))
    };
    for number in 0..bench.warmup {
        ping(number).await?;
    }
    let window = Window::start()?;
    let mut done = Done {
        records: bench.records,
        check: bench.records,
        ..Done::default()
    };
    for number in 0..bench.records {
        let (ns, bytes) = ping(number).await?;
        done.latencies_ns.push(ns);
        done.bytes += bytes;
    }
    window.report(bench, done)
}
