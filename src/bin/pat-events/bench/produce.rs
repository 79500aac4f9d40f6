//! Modes `produce` (as fast as acknowledgements allow; `check` = acknowledged records) and `pingpong` (one at a time).

use std::time::Instant;

use pat_events::kafka::{Producer, Record};

use super::Run;
use super::measure::{Done, Measured, Window};
use crate::Outcome;

/// How many records go out between two chances for other tasks: this runtime has one thread.
const RECORDS_PER_TURN: u64 = 1_000;

pub async fn produce(run: &Run<'_>) -> Outcome<Measured> {
    let producer = connect(run).await?;
    send_all(&producer, run, run.bench.warmup).await?;
    let window = Window::start()?;
    let done = send_all(&producer, run, run.records()).await?;
    window.end("produce", &run.bench.compression, done)
}

/// Writes what mode `consume` reads.
pub async fn fill(run: &Run<'_>) -> Outcome {
    let producer = connect(run).await?;
    send_all(&producer, run, run.records().max(run.bench.warmup)).await?;
    Ok(())
}

async fn connect(run: &Run<'_>) -> Outcome<Producer> {
    let connecting = Producer::connect(run.producer_config()?);
    Ok(run.explained(connecting).await?)
}

async fn send_all(producer: &Producer, run: &Run<'_>, records: u64) -> Outcome<Done> {
    let before = producer.metrics().records_delivered;
    let mut done = Done {
        records,
        ..Done::default()
    };
    let start = Instant::now();
    for number in 0..records {
        let (key, value) = run.load.record(number);
        done.bytes += (key.len() + value.len()) as u64;
        // The handle is dropped: the metrics count deliveries, and the flush waits for them.
        drop(
            producer
                .enqueue(Record::new(&run.topic).key(key).value(value))
                .await?,
        );
        if number % RECORDS_PER_TURN == RECORDS_PER_TURN - 1 {
            done.mark(start.elapsed(), number + 1);
            tokio::task::yield_now().await;
        }
    }
    producer.flush().await?;
    done.check = producer.metrics().records_delivered - before;
    Ok(done)
}

pub async fn pingpong(run: &Run<'_>) -> Outcome<Measured> {
    let producer = connect(run).await?;
    let ping = async |number| {
        let (key, value) = run.load.record(number);
        let start = Instant::now();
        producer
            .send(Record::new(&run.topic).key(key).value(value))
            .await?;
        Outcome::Ok((
            start.elapsed().as_nanos() as u64,
            (key.len() + value.len()) as u64,
        ))
    };
    for number in 0..run.bench.warmup {
        ping(number).await?;
    }
    let window = Window::start()?;
    let mut done = Done {
        records: run.records(),
        check: run.records(),
        ..Done::default()
    };
    for number in 0..run.records() {
        let (ns, bytes) = ping(number).await?;
        done.latencies_ns.push(ns);
        done.bytes += bytes;
    }
    window.end("pingpong", &run.bench.compression, done)
}
