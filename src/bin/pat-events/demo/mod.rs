//! `pat-events demo`: the main job, and a check of it. In: a number of events, and a cluster or none. Out: a table or JSON, and an
//! error unless each event was handled once and in the order of its key.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `story` | the events: what happens to many emails at once, and to their tenants |
//! | `witness` | the handler that sees them |
//! | `ledger` | once, and in order? |
//! | `histogram` | percentiles |
//! | `report` | the table and the JSON |

mod histogram;
mod ledger;
mod report;
mod story;
mod witness;

use std::io::{self, IsTerminal, Write, stderr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use pat_events::broker::Broker;
use pat_events::events::email::EmailEvents;
use pat_events::events::{ConsumerConfig, EventConsumer, EventProducer, ProducerConfig};
use pat_events::kafka::{Admin, ClientConfig, NewTopic};
use tokio::signal;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Outcome;
use crate::cluster::Options;
use report::Report;
use story::Story;
use witness::Witness;

/// Events that may be on their way at once when no rate is given. The embedded broker keeps more than these.
const MOST_UNDER_WAY: u64 = 100_000;
const RETENTION_BYTES: u64 = 256 << 20;
const JOIN_WITHIN: Duration = Duration::from_secs(30);
/// How long nothing may come in before what is missing counts as lost.
const QUIET: Duration = Duration::from_secs(30);
/// How long to look for duplicates after the last event.
const AFTERMATH: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Send all types of events through a broker and back, and check that each is handled once and in order.
#[derive(Args)]
pub struct Demo {
    /// The brokers to use, as host:port with commas between several; without it, an embedded one.
    #[arg(short, long)]
    brokers: Option<String>,
    /// The number of nodes of the embedded broker.
    #[arg(long, default_value_t = 1, conflicts_with = "brokers")]
    nodes: usize,
    /// How many events to send.
    #[arg(short, long, default_value_t = 200_000)]
    events: u64,
    /// Events a second; without it, as fast as it goes.
    #[arg(short, long, value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// The topic; it is created unless it exists. Without it, a new one that is deleted afterwards.
    #[arg(short, long)]
    topic: Option<String>,
    /// The partitions of the topic.
    #[arg(short, long, default_value_t = 6)]
    partitions: i32,
    /// The most events in one batch.
    #[arg(long, default_value_t = 1_000)]
    batch_size: usize,
    /// none, gzip, snappy, lz4 or zstd. Default: none, or what KAFKA_COMPRESSION_TYPE says.
    #[arg(short = 'z', long)]
    compression: Option<String>,
    /// Print one line of JSON and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: Options,
}

impl Demo {
    pub async fn run(&self) -> Outcome {
        let (embedded, brokers) = match &self.brokers {
            Some(brokers) => (None, brokers.clone()),
            None => {
                let builder = Broker::builder()
                    .nodes(self.nodes)
                    .retention_bytes(RETENTION_BYTES);
                let broker = builder.start_tcp("127.0.0.1:0").await?;
                let servers = broker.bootstrap_servers();
                (Some(broker), servers)
            }
        };
        let report = self.on(&brokers).await?;
        if let Some(broker) = embedded {
            broker.shutdown().await;
        }
        let printed = match self.json {
            true => writeln!(io::stdout(), "{}", report.json()),
            false => write!(io::stdout(), "{report}"),
        };
        report.verdict()?;
        Ok(printed?)
    }

    async fn on(&self, brokers: &str) -> Outcome<Report> {
        let run = format!(
            "demo-{:x}",
            SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis()
        );
        let topic = self
            .topic
            .clone()
            .unwrap_or_else(|| format!("pat-events-{run}"));
        let consumer = self.consumer_config(brokers, &topic, &run)?;
        let producer = self.producer_config(brokers, &topic)?;
        let client = ClientConfig {
            bootstrap_servers: consumer.brokers.clone(),
            ..consumer.kafka.client.clone()
        };
        let admin = Admin::connect(client).await?;
        if self.topic.is_none()
            || !admin
                .list_topics()
                .await?
                .iter()
                .any(|listed| listed.name == topic)
        {
            admin
                .create_topic(&NewTopic::new(&topic, self.partitions))
                .await?;
        }
        let report = self.through(consumer, producer, &run).await;
        if self.topic.is_none() {
            admin
                .delete_topics(&[topic.as_str()])
                .await?
                .into_iter()
                .collect::<Result<Vec<()>, _>>()?;
        }
        report
    }

    fn consumer_config(&self, brokers: &str, topic: &str, run: &str) -> Outcome<ConsumerConfig> {
        let given = [
            ("topics", topic),
            ("group.id", run),
            ("auto.offset.reset", "earliest"),
        ];
        let options = &self.options;
        Ok(options.config_beside::<ConsumerConfig, ProducerConfig>(brokers, &given)?)
    }

    fn producer_config(&self, brokers: &str, topic: &str) -> Outcome<ProducerConfig> {
        let batch_records = self.batch_size.to_string();
        let mut given = vec![
            ("topic", topic),
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("batch.records", &batch_records),
        ];
        if let Some(codec) = &self.compression {
            given.push(("compression.type", codec));
        }
        let options = &self.options;
        Ok(options.config_beside::<ProducerConfig, ConsumerConfig>(brokers, &given)?)
    }

    /// Sends the story of one run through its topic.
    async fn through(
        &self,
        consumer: ConsumerConfig,
        producer: ProducerConfig,
        run: &str,
    ) -> Outcome<Report> {
        let consumer = EventConsumer::<EmailEvents>::new(consumer)?;
        let witness = Witness::new(run);
        consumer.start(witness.clone()).await?;
        let producer = EventProducer::connect(producer).await?;
        self.await_consumer(&producer, &witness).await?;

        let bar = self.progress_bar();
        let start = Instant::now();
        let sent = self.send(&producer, &witness, run, &bar).await?;
        let produced_in = start.elapsed();
        let handled_in = await_handled(&witness, sent, start, &bar).await;
        sleep(AFTERMATH).await;
        bar.finish_and_clear();
        consumer.stop().await?;
        producer.close(QUIET).await?;
        Ok(witness.read(|findings| Report::new(sent, findings, produced_in, handled_in)))
    }

    /// Waits until the group has its partitions: joining is not part of an event's lag.
    async fn await_consumer(&self, producer: &EventProducer, witness: &Witness) -> Outcome {
        producer.send(&Story::prologue(witness.run())).await?;
        let end = Instant::now() + JOIN_WITHIN;
        while !witness.is_ready() {
            if Instant::now() > end {
                return Err(format!(
                    "the consumer handled nothing within {} s",
                    JOIN_WITHIN.as_secs()
                )
                .into());
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Sends until the story ends, or an interrupt comes, and waits for the last acknowledgement. Returns how many were sent.
    async fn send(
        &self,
        producer: &EventProducer,
        witness: &Witness,
        run: &str,
        bar: &ProgressBar,
    ) -> Outcome<u64> {
        let interrupt = tokio::spawn(signal::ctrl_c());
        let start = Instant::now();
        let mut sent = 0;
        for event in Story::new(run, self.events) {
            drop(producer.enqueue(&event).await?);
            sent += 1;
            if let Some(rate) = self.rate {
                // A timer is no finer than a millisecond: events go out in bursts of what is due.
                let due = start
                    + Duration::from_nanos(
                        (u128::from(sent) * 1_000_000_000 / u128::from(rate)) as u64,
                    );
                if due > Instant::now() {
                    sleep_until(due).await;
                }
            } else if sent % 1_000 == 0 {
                tokio::task::yield_now().await;
                while sent - witness.handled().min(sent) > MOST_UNDER_WAY {
                    sleep(LOOK_EVERY).await;
                }
            }
            if sent % 1_000 == 0 {
                bar.set_position(witness.handled());
                if interrupt.is_finished() {
                    break;
                }
            }
        }
        interrupt.abort();
        producer.flush().await?;
        Ok(sent)
    }

    fn progress_bar(&self) -> ProgressBar {
        if self.json || !stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(
            "{elapsed_precise} {wide_bar} {human_pos}/{human_len} handled, {per_sec}, {eta} left",
        );
        ProgressBar::new(self.events)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }
}

/// Waits until that many events are handled, or none came for long. Returns how long after `start` that was.
async fn await_handled(
    witness: &Witness,
    sent: u64,
    start: Instant,
    bar: &ProgressBar,
) -> Duration {
    let (mut handled, mut progress) = (0, Instant::now());
    loop {
        let now = witness.handled();
        bar.set_position(now);
        if now > handled {
            (handled, progress) = (now, Instant::now());
        }
        if handled >= sent || progress.elapsed() > QUIET {
            return progress - start;
        }
        sleep(LOOK_EVERY).await;
    }
}
