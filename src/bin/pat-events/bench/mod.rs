//! `pat-events bench`: one measured run. In: the flags that all clients' benchmark programs share. Out: one line of JSON.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `load` | the records to send, from a payload file |
//! | `measure` | wall clock, CPU time and memory of the measured window; percentiles; the line |
//! | `produce` | modes `produce` and `pingpong` |
//! | `consume` | mode `consume` |
//! | `latency` | mode `latency` |

mod consume;
mod latency;
mod load;
mod measure;
mod produce;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pat_events::kafka::{Configuration, ConsumerConfig, ProducerConfig};

use crate::Outcome;
use load::Load;

/// Measure one run and print one line of JSON.
#[derive(Args)]
pub struct Bench {
    /// What to measure.
    #[arg(long, value_enum)]
    mode: Mode,
    /// The brokers, as host:port with commas between several.
    #[arg(long, default_value = "127.0.0.1:9092")]
    broker: String,
    /// The topic; it must exist, with this many partitions.
    #[arg(long, default_value = "bench")]
    topic: String,
    /// File of records: u32le key length, u32le value length, key, value, repeated. Record i is entry i modulo their number.
    #[arg(long, default_value = "payload.bin")]
    payload: PathBuf,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long, default_value = "none")]
    compression: String,
    /// The partitions of the topic.
    #[arg(long, default_value_t = 6)]
    partitions: i32,
    /// Records to measure (produce, consume, pingpong).
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Records before the measured ones (produce, consume, pingpong).
    #[arg(long, default_value_t = 0)]
    warmup: u64,
    /// The longest that a record may wait for others, in milliseconds.
    #[arg(long, default_value_t = 5)]
    linger_ms: u64,
    /// The most bytes of a batch, before compression.
    #[arg(long, default_value_t = 1_000_000)]
    batch_bytes: usize,
    /// Records a second (latency).
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Seconds (latency).
    #[arg(long, default_value_t = 10)]
    secs: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Send records until the last is acknowledged.
    Produce,
    /// Read all partitions from the start.
    Consume,
    /// Send at a steady rate and read back, through a group: end-to-end percentiles.
    Latency,
    /// One record at a time, waiting for its acknowledgement: produce percentiles.
    Pingpong,
}

impl Bench {
    /// Runs it on one thread and prints the line.
    pub fn run(&self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let line = runtime.block_on(async {
            match self.mode {
                Mode::Produce => produce::produce(self).await,
                Mode::Consume => consume::consume(self).await,
                Mode::Latency => latency::latency(self).await,
                Mode::Pingpong => produce::pingpong(self).await,
            }
        })?;
        Ok(writeln!(io::stdout(), "{line}")?)
    }

    fn load(&self) -> Outcome<Load> {
        Load::read(&self.payload).map_err(|e| format!("{}: {e}", self.payload.display()).into())
    }

    fn producer_config(&self) -> pat_events::kafka::Result<ProducerConfig> {
        ProducerConfig::from_properties([
            ("bootstrap.servers", self.broker.as_str()),
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("compression.type", &self.compression),
            ("linger.ms", &self.linger_ms.to_string()),
            ("batch.size", &self.batch_bytes.to_string()),
        ])
    }

    fn consumer_config(&self) -> pat_events::kafka::Result<ConsumerConfig> {
        ConsumerConfig::from_properties([
            ("bootstrap.servers", self.broker.as_str()),
            ("auto.offset.reset", "earliest"),
        ])
    }
}
