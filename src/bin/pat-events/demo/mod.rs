//! `pat-events demo`: the main job, and a check of it. In: a number of events, and a cluster or none. Out: a table or JSON, and an
//! error unless each event was handled once and in the order of its key.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `workload` | the events: what happens to many emails at once, and to their tenants |
//! | `verifying_handler` | the handler that sees them |
//! | `delivery_checker` | once, and in order? |
//! | `send_outcomes` | what the producer says of what is missing |
//! | `histogram` | percentiles, and how often which lag came |
//! | `progress` | what is told while it runs |
//! | `report` | the table and the JSON |

mod delivery_checker;
mod histogram;
#[cfg(test)]
mod picture;
mod progress;
mod report;
mod send_outcomes;
mod verifying_handler;
pub mod workload;

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use pat_events::broker::Broker;
use pat_events::events::email::EmailEvents;
use pat_events::events::{ConsumerConfig, EventConsumer, EventProducer, ProducerConfig};
use pat_events::kafka::{self, Admin, ErrorCode, NewTopic};
use tokio::time::{Instant, sleep, sleep_until};

use crate::Outcome;
use crate::cluster::Options;
use crate::signals::{Signals, unless_ended};
use crate::unique::unique_name;
use crate::waiting::explained;
use progress::{Progress, QUIET};
use report::{Phase, Report};
use send_outcomes::SendOutcomes;
use verifying_handler::VerifyingHandler;
use workload::Workload;

const RETENTION_BYTES: u64 = 256 << 20;
/// Events a second at the end of a run at full speed: at that, the lag is the delay of one event, not the length of a queue.
const PACE: u64 = 1_000;
/// How long that goes on, at the most.
const PACED_SECS: u64 = 3;
/// What part of all events it takes, at the most.
const PACED_PART: u64 = 10;
const JOIN_WITHIN: Duration = Duration::from_secs(30);
/// How long to look for duplicates after the last event.
const AFTERMATH: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long the connections of clients that have ended may take to close.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// Send all types of events through a broker and back, and check that each is handled once and in order.
///
/// First as fast as it goes, which shows how many events a second that is; then some at 1,000 a second, which shows how long an event takes
/// from its creation to its handling.
#[derive(Args)]
pub struct Demo {
    /// The brokers to use, as host:port with commas between several; without it, and without bootstrap.servers in -X or -F, an embedded one.
    #[arg(short, long)]
    brokers: Option<String>,
    /// The number of nodes of the embedded broker.
    #[arg(long, default_value_t = 1, conflicts_with = "brokers")]
    nodes: usize,
    /// How many events to send.
    #[arg(short, long, default_value_t = 200_000)]
    events: u64,
    /// Events a second, all of them; without it, as fast as it goes, and the last few at 1,000 a second.
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
        let mut signals = Signals::listen()?;
        let (named, options) = self.options.brokers_or_own(self.brokers.as_deref())?;
        let (embedded, brokers) = match named {
            Some(brokers) => (None, brokers),
            None => {
                let builder = Broker::builder()
                    .nodes(self.nodes)
                    .retention_bytes(RETENTION_BYTES);
                let broker = builder.start_tcp("127.0.0.1:0").await?;
                let servers = broker.bootstrap_servers();
                (Some(broker), servers)
            }
        };
        let report = self.on(&brokers, &options, &mut signals).await?;
        if let Some(broker) = embedded {
            end_broker(&broker).await;
        }
        let printed = match self.json {
            true => writeln!(io::stdout(), "{}", report.json()),
            false => write!(io::stdout(), "{report}"),
        };
        report.verdict()?;
        Ok(printed?)
    }

    async fn on(&self, brokers: &str, options: &Options, signals: &mut Signals) -> Outcome<Report> {
        let run = unique_name("demo");
        let topic = self
            .topic
            .clone()
            .unwrap_or_else(|| format!("pat-events-{run}"));
        let consumer = consumer_config(options, brokers, &topic, &run)?;
        let producer = self.producer_config(options, brokers, &topic)?;
        let mut client = consumer.kafka.client.clone();
        client.bootstrap_servers.clone_from(&consumer.brokers);
        let connecting = explained(brokers, Admin::connect(client));
        let admin = unless_ended(signals, connecting).await??;
        let created = admin
            .create_topic(&NewTopic::new(&topic, self.partitions))
            .await;
        if let Err(error) = created
            && !(self.topic.is_some() && is_there(&admin, &topic, &error).await)
        {
            return Err(error.into());
        }
        let mut report = self.through(consumer, producer, &run, signals).await;
        if self.topic.is_none()
            && let (Err(error), Ok(report)) = (delete(&admin, &topic, signals).await, &mut report)
        {
            report.add_problem(format!("the topic {topic} was not deleted: {error}"));
        }
        report
    }

    fn producer_config(
        &self,
        options: &Options,
        brokers: &str,
        topic: &str,
    ) -> Outcome<ProducerConfig> {
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
        options.config_beside(brokers, &given)
    }

    /// Sends the workload of one run through its topic.
    async fn through(
        &self,
        consumer: ConsumerConfig,
        producer: ProducerConfig,
        run: &str,
        signals: &mut Signals,
    ) -> Outcome<Report> {
        let consumer = EventConsumer::<EmailEvents>::new(consumer)?;
        let handler = VerifyingHandler::new(run);
        consumer.start(handler.clone()).await?;
        let producer = EventProducer::connect(producer).await?;
        tokio::select! {
            biased;
            () = signals.next() => return Err("ended by a signal before anything was sent".into()),
            ended = consumer.wait() => {
                ended?;
                return Err("the consumer ended before it handled anything".into());
            }
            ready = self.await_consumer(&producer, &handler) => ready?,
        }

        let mut progress = Progress::new(self.events, !self.json);
        let mut workload = Workload::new(handler.run(), self.events);
        let mut outcomes = SendOutcomes::default();
        let mut phases = Vec::new();
        let mut problems = Vec::new();
        let accepted_before = producer.metrics().records_accepted;
        // The last event may have been accepted by a call that did not come to its end.
        let accepted = || producer.metrics().records_accepted - accepted_before;
        let paced = self.paced_events();
        for (events, rate) in [(self.events - paced, self.rate), (paced, Some(PACE))] {
            if events == 0 {
                continue;
            }
            if !phases.is_empty() {
                handler.begin_pace();
            }
            let (before, handled_before) = (accepted(), progress.handled);
            progress.begin(&Phase::name_of(rate));
            let start = Instant::now();
            // Whatever ends the sending, what was sent is awaited and reported. Why the consumer ended is what its stop says.
            let all_sent = tokio::select! {
                biased;
                () = signals.next() => false,
                _ = consumer.wait() => false,
                sent = self.send(
                    &producer, &handler, &mut progress, &mut outcomes, workload.by_ref().take(events as usize), before, rate,
                ) => {
                    problems.extend(sent.err());
                    problems.is_empty()
                }
            };
            let sent_in = start.elapsed();
            let sent = accepted();
            tokio::select! {
                biased;
                () = signals.next() => {}
                _ = consumer.wait() => {}
                () = progress.await_handled(sent, || handler.seen()) => {}
            }
            progress.end_phase(sent, handler.seen());
            phases.push(Phase {
                rate,
                sent: sent - before,
                sent_in,
                handled: progress.handled - handled_before,
                handled_in: progress.at.saturating_duration_since(start),
            });
            if !all_sent || progress.handled < sent {
                break;
            }
        }
        sleep(AFTERMATH).await;
        progress.end();
        problems.extend(end(&consumer, &producer, signals).await.err());
        let (sent, lost) = (accepted(), outcomes.end());
        let mut report = handler.read(|findings| Report::new(sent, findings, &phases, lost));
        for problem in problems {
            report.add_problem(problem.to_string());
        }
        Ok(report)
    }

    /// How many of the events are sent at a steady pace, after the others.
    fn paced_events(&self) -> u64 {
        match self.rate {
            Some(_) => 0,
            None => (self.events / PACED_PART).min(PACE * PACED_SECS),
        }
    }

    /// Waits until the group has its partitions: joining is not part of an event's lag.
    async fn await_consumer(
        &self,
        producer: &EventProducer,
        handler: &VerifyingHandler,
    ) -> Outcome {
        producer.send(&Workload::warm_up(handler.run())).await?;
        let end = Instant::now() + JOIN_WITHIN;
        while !handler.is_ready() {
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

    /// Sends events, after `before` others, and waits for the last acknowledgement. Fails when nothing is handled for long while much is
    /// under way.
    #[allow(clippy::too_many_arguments)]
    async fn send(
        &self,
        producer: &EventProducer,
        handler: &VerifyingHandler,
        progress: &mut Progress,
        outcomes: &mut SendOutcomes,
        events: impl Iterator<Item = EmailEvents>,
        before: u64,
        rate: Option<u64>,
    ) -> Outcome {
        let start = Instant::now();
        for (sent, event) in (1u64..).zip(events) {
            outcomes.push(producer.enqueue(&event).await?);
            if let Some(rate) = rate {
                // A timer is no finer than a millisecond: events go out in bursts of what is due.
                let due = start
                    + Duration::from_nanos(
                        (u128::from(sent) * 1_000_000_000 / u128::from(rate)) as u64,
                    );
                if due > Instant::now() {
                    sleep_until(due).await;
                    progress.tell(before + sent, handler.seen());
                }
            } else if sent % 1_000 == 0 {
                tokio::task::yield_now().await;
                let room = progress.await_room(before + sent, || handler.seen());
                room.await?;
            }
            if sent % 1_000 == 0 {
                outcomes.look();
                progress.tell(before + sent, handler.seen());
            }
        }
        Ok(producer.flush().await?)
    }
}

fn consumer_config(
    options: &Options,
    brokers: &str,
    topic: &str,
    run: &str,
) -> Outcome<ConsumerConfig> {
    let given = [
        ("topics", topic),
        ("group.id", run),
        ("auto.offset.reset", "earliest"),
    ];
    options.config_beside(brokers, &given)
}

/// Ends both, unless a signal comes first: brokers that are gone may take long to be given up.
async fn end(
    consumer: &EventConsumer<EmailEvents>,
    producer: &EventProducer,
    signals: &mut Signals,
) -> Outcome {
    let ended = async { tokio::join!(consumer.stop(), producer.close(QUIET)) };
    let (stopped, closed) = unless_ended(signals, ended)
        .await
        .map_err(|error| format!("{error} before consumer and producer had ended"))?;
    stopped?;
    Ok(closed?)
}

/// Ends the embedded broker once the clients are gone: one that is cut off says so.
async fn end_broker(broker: &Broker) {
    let end = Instant::now() + GONE_WITHIN;
    while broker.open_connections() > 0 && Instant::now() < end {
        sleep(LOOK_EVERY).await;
    }
    broker.shutdown().await;
}

/// Deletes the topic, unless a signal comes first.
async fn delete(admin: &Admin, topic: &str, signals: &mut Signals) -> Outcome {
    let deleted = unless_ended(signals, admin.delete_topics(&[topic])).await??;
    Ok(deleted.into_values().collect::<Result<(), _>>()?)
}

/// Whether there is a topic that could not be created: somebody else's or of an earlier run, which is just as well. A cluster older than
/// Kafka 2.4, or one that forbids creating topics, has other errors for it.
async fn is_there(admin: &Admin, topic: &str, error: &kafka::Error) -> bool {
    exists_already(error)
        || (admin.describe_topics(&[topic]).await)
            .is_ok_and(|topics| topics.values().all(Result::is_ok))
}

/// Whether a topic could not be created because there is one of that name.
pub fn exists_already(error: &kafka::Error) -> bool {
    error.server_error() == Some(ErrorCode::TOPIC_ALREADY_EXISTS)
}
