//! Mode `consume`: all partitions from the start. `check` = the sum of every value's length and first byte.

use std::time::{Duration, Instant};

use pat_events::kafka::{Consumer, StartOffset, TopicPartition};

use super::Run;
use super::measure::{Done, Measured, Window};
use crate::Outcome;

const POLL: Duration = Duration::from_millis(500);
/// How many empty polls in a row mean that the log is shorter than the records asked for.
const EMPTY_POLLS: u32 = 20;

pub async fn consume(run: &Run<'_>) -> Outcome<Measured> {
    if run.bench.warmup > 0 {
        read(run, run.bench.warmup).await?;
    }
    let window = Window::start()?;
    let done = read(run, run.records()).await?;
    window.end("consume", &run.bench.compression, done)
}

async fn read(run: &Run<'_>, records: u64) -> Outcome<Done> {
    let connecting = Consumer::connect(run.consumer_config()?);
    let mut consumer = run.explained(connecting).await?;
    let partitions = (0..run.bench.partitions).map(|p| {
        (
            TopicPartition::new(run.topic.as_str(), p),
            StartOffset::Earliest,
        )
    });
    consumer.assign(&partitions.collect::<Vec<_>>()).await?;
    let mut done = Done::default();
    let start = Instant::now();
    let mut empty = 0;
    while done.records < records {
        let polled = consumer.poll(POLL).await?;
        empty = if polled.is_empty() { empty + 1 } else { 0 };
        if empty == EMPTY_POLLS {
            return Err(format!(
                "{} holds {} records, not {records}",
                run.topic, done.records
            )
            .into());
        }
        for record in polled.iter() {
            let value = record.value.unwrap_or_default();
            done.check += value.len() as u64 + value.first().map_or(0, |first| u64::from(*first));
            done.bytes += (value.len() + record.key.map_or(0, <[u8]>::len)) as u64;
            done.records += 1;
        }
        done.mark(start.elapsed(), done.records);
    }
    Ok(done)
}
