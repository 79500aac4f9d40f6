//! Mode `produce` in transactions, one after the other (`check` = acknowledged records; a latency is that of a transaction).

use std::time::Instant;

use pat_events::kafka::{Record, TransactionalProducer};

use super::Run;
use super::measure::{Done, Measured, Window};
use crate::Outcome;
use crate::unique::unique_name;

pub async fn transactions(run: &Run<'_>, size: u64) -> Outcome<Measured> {
    let mut config = run.producer_config()?;
    // Nobody else's is taken over.
    (config.transactional_id).get_or_insert_with(|| unique_name("pat-events-bench"));
    let connecting = TransactionalProducer::from_config(config);
    let mut producer = run.explained(connecting).await?;
    write(&mut producer, run, size, run.bench.warmup).await?;
    let window = Window::start()?;
    let done = write(&mut producer, run, size, run.records()).await?;
    window.end("transactions", &run.bench.compression, done)
}

async fn write(
    producer: &mut TransactionalProducer,
    run: &Run<'_>,
    size: u64,
    records: u64,
) -> Outcome<Done> {
    let before = producer.metrics().records_delivered;
    let mut done = Done {
        records,
        transaction: Some(size),
        ..Done::default()
    };
    let (start, mut number) = (Instant::now(), 0);
    while number < records {
        let began = Instant::now();
        let transaction = producer.begin().await?;
        let end = records.min(number.saturating_add(size));
        for number in number..end {
            let (key, value) = run.load.record(number);
            done.bytes += (key.len() + value.len()) as u64;
            let record = Record::new(&run.topic).key(key).value(value);
            // The handle is dropped: the commit waits for all of them.
            drop(transaction.enqueue(record).await?);
        }
        transaction.commit().await?;
        number = end;
        done.latencies_ns.push(began.elapsed().as_nanos() as u64);
        done.mark(start.elapsed(), number);
    }
    done.check = producer.metrics().records_delivered - before;
    Ok(done)
}
