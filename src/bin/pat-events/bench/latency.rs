//! Mode `latency`: a steady stream out, and back through a group. The first 8 bytes of a value are the time it was sent.
//! `check` = records received.

use std::time::{Duration, Instant};

use pat_events::kafka::{Consumer, OffsetAndMetadata, Producer, Record, TopicPartition};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until, timeout};

use super::Run;
use super::measure::{Done, Measured, Window};
use crate::Outcome;
use crate::unique::unique_name;

const POLL: Duration = Duration::from_millis(500);
const PROBE_EVERY: Duration = Duration::from_millis(50);
const JOIN_WITHIN: Duration = Duration::from_secs(30);
const LAST_WITHIN: Duration = Duration::from_secs(10);
const STAMP_BYTES: usize = 8;

pub async fn latency(run: &Run<'_>) -> Outcome<Measured> {
    let (bench, load) = (run.bench, run.load);
    let clock = Clock(Instant::now());
    let milliseconds = bench.secs * 1_000;
    let (reader, mut joined) = read(run, clock, due(bench.rate, milliseconds)).await?;
    let connecting = Producer::connect(run.producer_config()?);
    let producer = run.explained(connecting).await?;
    let probe = async {
        while joined.try_recv().is_err() {
            producer
                .send(Record::new(&run.topic).value(&[0; 64]))
                .await?;
            sleep(PROBE_EVERY).await;
        }
        Outcome::Ok(())
    };
    timeout(JOIN_WITHIN, probe)
        .await
        .map_err(|_| "no probe came back: the group never got its partitions")??;

    let window = Window::start()?;
    let mut done = Done::default();
    let mut value = Vec::new();
    let start = tokio::time::Instant::now();
    for tick in 0..milliseconds {
        sleep_until(start + Duration::from_millis(tick)).await;
        while done.records < due(bench.rate, tick + 1) {
            let (key, template) = load.record(done.records);
            value.clear();
            value.extend_from_slice(template);
            value.resize(value.len().max(STAMP_BYTES), 0);
            value[..STAMP_BYTES].copy_from_slice(&clock.now_ns().to_le_bytes());
            drop(
                producer
                    .enqueue(Record::new(&run.topic).key(key).value(&value))
                    .await?,
            );
            done.bytes += (key.len() + value.len()) as u64;
            done.records += 1;
        }
        done.mark(start.elapsed(), done.records);
    }
    producer.flush().await?;
    done.latencies_ns = timeout(LAST_WITHIN, reader)
        .await
        .map_err(|_| "not every record came back")???;
    done.check = done.latencies_ns.len() as u64;
    if done.check == 0 {
        return Err("nothing was measured: there was nothing to send".into());
    }
    window.end("latency", &bench.compression, done)
}

/// How many records are due in the first `milliseconds` at this rate per second.
fn due(rate: u64, milliseconds: u64) -> u64 {
    (u128::from(rate) * u128::from(milliseconds) / 1_000) as u64
}

/// Nanoseconds since the start, from 1 on: 0 is the mark of a probe.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now_ns(self) -> u64 {
        self.0.elapsed().as_nanos() as u64 + 1
    }
}

type Reader = JoinHandle<pat_events::kafka::Result<Vec<u64>>>;

/// Has the group begin behind what is in the topic already: the stamps there are of other clocks.
async fn begin_at_the_end(run: &Run<'_>, consumer: &mut Consumer) -> Outcome {
    let partition = |index| TopicPartition::new(run.topic.as_str(), index);
    let partitions: Vec<_> = (0..run.bench.partitions).map(partition).collect();
    let ends = consumer.end_offsets(&partitions).await?;
    let ends: Vec<_> = ends
        .into_iter()
        .map(|(partition, end)| (partition, OffsetAndMetadata::new(end)))
        .collect();
    Ok(consumer.commit(&ends).await?)
}

/// Reads this many stamped records in a task; the receiver resolves when the first probe has come.
async fn read(
    run: &Run<'_>,
    clock: Clock,
    records: u64,
) -> Outcome<(Reader, oneshot::Receiver<()>)> {
    let mut config = run.consumer_config()?;
    config.set("group.id", &unique_name(&run.topic))?;
    let mut consumer = run.explained(Consumer::connect(config)).await?;
    begin_at_the_end(run, &mut consumer).await?;
    consumer.subscribe(&[run.topic.as_str()]).await?;
    let (tell, joined) = oneshot::channel();
    let mut tell = Some(tell);
    let reader = tokio::spawn(async move {
        let mut latencies_ns = Vec::with_capacity(records as usize);
        while (latencies_ns.len() as u64) < records {
            for record in consumer.poll(POLL).await?.iter() {
                let stamp = record
                    .value
                    .and_then(|value| value.first_chunk::<STAMP_BYTES>());
                let now = clock.now_ns();
                match stamp.map_or(0, |stamp| u64::from_le_bytes(*stamp)) {
                    0 => drop(tell.take().map(|tell| tell.send(()))),
                    sent if sent <= now => latencies_ns.push(now - sent),
                    // Of somebody else.
                    _ => {}
                }
            }
        }
        consumer.close().await?;
        Ok(latencies_ns)
    });
    Ok((reader, joined))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rate_is_kept_and_sent_evenly() {
        for rate in [1, 3, 500, 1_000, 1_999, 10_500] {
            assert_eq!(due(rate, 7_000), rate * 7);
            let even = rate / 1_000;
            for tick in 0..2_000 {
                let burst = due(rate, tick + 1) - due(rate, tick);
                assert!(burst == even || burst == even + 1, "{burst} at {rate}/s");
            }
        }
    }
}
