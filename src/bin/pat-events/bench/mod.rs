//! `pat-events bench`: measured runs. In: nothing, or the flags that all clients' benchmark programs share. Out: a table, or a line of JSON
//! for each run.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `load` | the records to send: generated, or from a payload file |
//! | `measure`, `usage` | wall clock, CPU time and memory of the measured window; percentiles; the lines |
//! | `target` | the broker and the topics: those named, or an embedded one and new ones |
//! | `produce` | modes `produce` and `pingpong` |
//! | `transactions` | mode `produce` with --transaction |
//! | `consume` | mode `consume` |
//! | `latency` | mode `latency` |
//! | `report` | a page of HTML about the runs |

mod consume;
mod latency;
mod load;
mod measure;
mod produce;
mod report;
mod target;
mod transactions;
mod usage;

#[cfg(test)]
pub use report::escaped;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pat_events::kafka::{ConsumerConfig, ProducerConfig};

use crate::Outcome;
use crate::cluster::Options;
use crate::table::grouped;
use crate::waiting::explained;
use load::Load;
use measure::Measured;
use target::Target;

/// Measure producing and consuming; without options every mode, on an embedded broker, with generated records.
///
/// Client and embedded broker share the machine and the figures: CPU time is that of both. Take --broker to measure the client alone.
#[derive(Clone, Args)]
pub struct Bench {
    /// What to measure; without it, everything, one after the other.
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// The brokers, as host:port with commas between several; without it, and without bootstrap.servers in -X or -F, an embedded one.
    #[arg(long)]
    broker: Option<String>,
    /// The topic, with as many partitions as --partitions says; it is created unless it exists. Without it, new ones that are deleted
    /// afterwards.
    #[arg(long)]
    topic: Option<String>,
    /// File of records: u32le key length, u32le value length, key, value, repeated. Record i is entry i modulo their number. Without it,
    /// generated email events. With it, lines of JSON are printed, as with --json.
    #[arg(long)]
    payload: Option<PathBuf>,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long, default_value = "none")]
    compression: String,
    /// The partitions of the topic.
    #[arg(long, default_value_t = 6)]
    partitions: i32,
    /// Records to measure (produce, consume, pingpong). Default: 1,000,000; for pingpong 10,000.
    #[arg(long)]
    records: Option<u64>,
    /// Records before the measured ones (produce, consume, pingpong).
    #[arg(long, default_value_t = 0)]
    warmup: u64,
    /// The longest that a record may wait for others, in milliseconds. Default: 5; for pingpong 0.
    #[arg(long)]
    linger_ms: Option<u64>,
    /// The most bytes of a batch, before compression.
    #[arg(long, default_value_t = 1_000_000)]
    batch_bytes: usize,
    /// Write in transactions of so many records (produce): the percentiles are of how long a transaction takes, from its begin until it is committed.
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u64).range(1..))]
    transaction: Option<u64>,
    /// Records a second (latency).
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Seconds (latency).
    #[arg(long, default_value_t = 5)]
    secs: u64,
    /// Write a page of HTML about the runs to this file: figures, and plots of rates and latencies, with all that it needs in it.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print a line of JSON for each run and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
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

const ALL: [Mode; 4] = [Mode::Produce, Mode::Consume, Mode::Latency, Mode::Pingpong];

/// One run: a mode, and where it takes place.
struct Run<'a> {
    bench: &'a Bench,
    mode: Mode,
    brokers: &'a str,
    options: &'a Options,
    topic: String,
    load: &'a Load,
}

impl Bench {
    /// Runs each mode on one thread, as the clients that it is compared with, and prints what comes of it.
    pub fn run(&self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // As a task: whatever wakes the future that a runtime is blocked on costs it a system call.
        let bench = self.clone();
        runtime.block_on(runtime.spawn(async move { bench.run_all().await }))?
    }

    async fn run_all(&self) -> Outcome {
        let writes = matches!(self.mode, None | Some(Mode::Produce));
        if self.transaction.is_some() && !writes {
            return Err("--transaction goes with --mode produce".into());
        }
        let only_reads = self.mode == Some(Mode::Consume) && self.topic.is_some();
        let load = match &self.payload {
            // Memory that a reader has no use for would count as its own.
            _ if only_reads => Load::default(),
            Some(path) => {
                Load::read(path).map_err(|error| format!("{}: {error}", path.display()))?
            }
            None => Load::generated().await?,
        };
        let mut target = Target::find(self).await?;
        let mut out = io::stdout();
        let as_json = self.json || self.payload.is_some();
        if !as_json {
            let place = target.place();
            let (partitions, codec) = (self.partitions, &self.compression);
            writeln!(
                out,
                "on {place}, {partitions} partitions, compression {codec}\n"
            )?;
            writeln!(out, "{}", Measured::header())?;
        }
        let mut filled = None;
        let mut runs = Vec::new();
        let mut measured = Ok(());
        for mode in self.mode.map_or(ALL.to_vec(), |mode| vec![mode]) {
            measured = async {
                let topic = match &filled {
                    // What was produced is there to be consumed.
                    Some(topic) if mode == Mode::Consume => String::clone(topic),
                    _ => target.topic(self, mode).await?,
                };
                let run = Run {
                    bench: self,
                    mode,
                    brokers: target.brokers(),
                    options: target.options(),
                    topic,
                    load: &load,
                };
                if mode == Mode::Produce {
                    filled = Some(run.topic.clone());
                } else if mode == Mode::Consume && filled.is_none() && self.topic.is_none() {
                    produce::fill(&run).await?;
                }
                let measured = run.measure().await?;
                match as_json {
                    true => writeln!(out, "{}", measured.json())?,
                    false => writeln!(out, "{measured}")?,
                }
                runs.push(measured);
                Outcome::Ok(())
            }
            .await;
            if measured.is_err() {
                break;
            }
        }
        if let (Some(path), Ok(())) = (&self.report, &measured) {
            let settings = format!(
                "{} partitions, compression {}, batches of {} bytes at most",
                self.partitions,
                self.compression,
                grouped(self.batch_bytes as u64)
            );
            let page = report::page(target.place(), &settings, &runs);
            let written = std::fs::write(path, page);
            measured = written.map_err(|error| format!("{}: {error}", path.display()).into());
        }
        let ended = target.end().await;
        measured.and(ended)
    }
}

impl Run<'_> {
    async fn measure(&self) -> Outcome<Measured> {
        match self.mode {
            Mode::Produce => match self.bench.transaction {
                Some(size) => transactions::transactions(self, size).await,
                None => produce::produce(self).await,
            },
            Mode::Consume => consume::consume(self).await,
            Mode::Latency => latency::latency(self).await,
            Mode::Pingpong => produce::pingpong(self).await,
        }
    }

    fn records(&self) -> u64 {
        self.bench.records.unwrap_or(match self.mode {
            Mode::Pingpong => 10_000,
            _ => 1_000_000,
        })
    }

    /// Waits for what needs the brokers, and says so when it takes long.
    async fn explained<T>(&self, work: impl Future<Output = T>) -> T {
        explained(self.brokers, work).await
    }

    fn producer_config(&self) -> Outcome<ProducerConfig> {
        let bench = self.bench;
        let linger_ms = bench.linger_ms.unwrap_or(match self.mode {
            Mode::Pingpong => 0,
            _ => 5,
        });
        let given = [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("compression.type", &bench.compression),
            ("linger.ms", &linger_ms.to_string()),
            ("batch.size", &bench.batch_bytes.to_string()),
        ];
        self.options.config_beside(self.brokers, &given)
    }

    fn consumer_config(&self) -> Outcome<ConsumerConfig> {
        let given = [("auto.offset.reset", "earliest")];
        self.options.config_beside(self.brokers, &given)
    }
}
