//! `pat-events produce`: writes records. In: lines, files, a template, or the JSON that `consume --json` and `--typed` print. Out: records, all
//! acknowledged when it ends with 0.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `lines` | the lines of the input, or files as a whole |
//! | `making` | a line becomes a record |
//! | `template` | records made by a template |
//! | `deliveries` | what became of each line |
//! | `json` | a record as a line of JSON |

mod deliveries;
pub mod json;
mod lines;
mod making;
mod template;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pat_events::events::{self, EventProducer};
use pat_events::kafka::{self, Delivery, Producer};
use tokio::time::{Instant, sleep_until};

use crate::Outcome;
use crate::cluster::Cluster;
use crate::consume::serdes::SerdeOf;
use crate::escapes::{self, Delimiter};
use crate::messages::MessageOptions;
use crate::registered::{Registered, RegistryOptions, WriteBy, write_by};
use crate::signals::{Ended, Signals, unless_ended};
use crate::typed::Schemas;
use deliveries::Deliveries;
use lines::{Lines, Place, Split};
use making::Maker;
use template::Template;

/// The most characters that JSON takes for one byte of a record: `\u0000`.
const MOST_JSON_FOR_A_BYTE: usize = 6;
/// The most that JSON has beside the bytes of a record.
const MOST_JSON_BESIDE: usize = 64 * 1024;

/// Write a record for each line of the input.
#[derive(Args)]
pub struct Produce {
    #[command(flatten)]
    cluster: Cluster,
    /// The topic to write to.
    #[arg(short, long)]
    topic: String,
    /// Write to this partition; otherwise the key decides, or chance.
    #[arg(short, long)]
    partition: Option<i32>,
    /// The key of every record.
    #[arg(short, long, conflicts_with = "key_delimiter")]
    key: Option<String>,
    /// What stands before this delimiter in a line is the key.
    ///
    /// Escapes: \n, \r, \t, \0, \e, \\, \xHH. A line without it becomes a record without a key.
    #[arg(short = 'K', long, value_name = "DELIMITER", value_parser = escapes::delimiter)]
    key_delimiter: Option<Delimiter>,
    /// What ends a record in the input, and not the end of a line; escapes as with -K.
    #[arg(short = 'D', long, value_name = "DELIMITER", value_parser = escapes::delimiter)]
    delimiter: Option<Delimiter>,
    /// Write each file as one record, and not each line.
    #[arg(short = 'w', long, conflicts_with = "delimiter")]
    whole_files: bool,
    /// A header of every record; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = crate::cluster::property)]
    headers: Vec<(String, String)>,
    /// Write an empty value, and an empty key, as null.
    #[arg(short = 'Z', long)]
    null: bool,
    /// none, gzip, snappy, lz4 or zstd. Default: none, or what KAFKA_COMPRESSION_TYPE says.
    #[arg(short = 'z', long)]
    compression: Option<String>,
    /// Write no more than this many records.
    #[arg(short, long)]
    count: Option<u64>,
    /// Write this many records a second, and no more.
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// The value of every record: {{n}} its number, {{line}} its line of the input, {{now}}, {{now_ms}}, {{uuid}}, {{random 1 100}}. Without {{line}}
    /// nothing is read, and -c says how many records there are.
    #[arg(long, value_name = "TEXT")]
    template: Option<Template>,
    /// The key of every record, likewise; {{line}} is the key that -K finds.
    #[arg(long, value_name = "TEXT", conflicts_with = "key")]
    key_template: Option<Template>,
    /// Values are JSON, and are written by this schema of a registry, with its id in front: SUBJECT, SUBJECT:VERSION or id:NUMBER.
    #[arg(long, value_name = "SCHEMA", value_parser = write_by)]
    value_schema: Option<WriteBy>,
    /// Keys are JSON, likewise.
    #[arg(long, value_name = "SCHEMA", value_parser = write_by)]
    key_schema: Option<WriteBy>,
    /// Keys, values or both are JSON, and are written by the newest schemas that the registry has for the topic (TOPIC-key, TOPIC-value), with their ids in
    /// front, as `consume -s` reads them: registry (avro, protobuf, json-schema).
    #[arg(short, long = "serde", value_name = "[key=|value=]registry", value_parser = by_topic)]
    serdes: Vec<SerdeOf>,
    #[command(flatten)]
    registry: RegistryOptions,
    #[command(flatten)]
    messages: MessageOptions,
    /// Each line is a JSON object with value, and if need be key, headers, partition and timestamp_ms, as `consume --json` prints it.
    ///
    /// Keys, values, and the names and values of headers are texts, null, or {"hex": "ff00"} where they are no UTF-8: what `consume --json`
    /// prints is written again byte by byte. Keys and values that a schema or a message says how to write (-s, --value-schema, --proto) are JSON by
    /// it, as `consume --json` prints them with the same flags, or null.
    #[arg(short = 'J', long, conflicts_with_all = ["key", "key_delimiter", "headers", "null", "template", "key_template"])]
    json: bool,
    /// Each line is a JSON object with the type and the data of an event, as `consume --typed` prints it.
    #[arg(short = 'T', long, conflicts_with_all = ["json", "key", "key_delimiter", "headers", "null", "partition", "template", "key_template", "value_schema", "key_schema", "serdes"])]
    typed: bool,
    /// Read these files and not the standard input; - is the standard input.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Produce {
    pub async fn run(&self) -> Outcome {
        let mut signals = Signals::listen()?;
        self.check()?;
        // As kcat does, and Kafka's own tools: a first record makes its topic where brokers allow that.
        let mut given = vec![
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("allow.auto.create.topics", "true"),
        ];
        if let Some(codec) = &self.compression {
            given.push(("compression.type", codec));
        }
        if self.typed {
            let schemas = Schemas::load()?;
            given.extend([("topic", self.topic.as_str()), ("linger.ms", "5")]);
            let config: events::ProducerConfig = self.cluster.config(&given)?;
            let lines = self.lines(config.kafka.max_request_bytes);
            let connecting = EventProducer::connect(config);
            let producer = unless_ended(&mut signals, self.cluster.explained(connecting)).await??;
            let accept = async |_: &Place, _: u64, line: &[u8]| {
                Ok(producer.enqueue(&schemas.write(line).await?).await?)
            };
            return self
                .write_all(lines, accept, producer.flush(), &mut signals)
                .await;
        }
        let config: kafka::ProducerConfig = self.cluster.config(&given)?;
        let lines = self.lines(config.max_request_bytes);
        let maker = unless_ended(&mut signals, self.maker()).await??;
        let connecting = Producer::connect(config);
        let producer = unless_ended(&mut signals, self.cluster.explained(connecting)).await??;
        let accept = async |place: &Place, number: u64, line: &[u8]| match self.json {
            true => maker.json(&producer, line).await,
            false => maker.line(&producer, place, number, line).await,
        };
        self.write_all(lines, accept, producer.flush(), &mut signals)
            .await
    }

    fn check(&self) -> Outcome {
        if self.needs_no_input() && self.count.is_none() && self.files.is_empty() {
            return Err("a template without {{line}} reads nothing: say with -c how many records there are to be".into());
        }
        if self.needs_no_input() && !self.files.is_empty() {
            return Err("a template without {{line}} reads no files".into());
        }
        if self.messages.are_given() && self.typed {
            return Err(
                "a line is the JSON of a message (--proto), or that of an event (-T)".into(),
            );
        }
        Ok(())
    }

    /// Whether records are made of nothing.
    fn needs_no_input(&self) -> bool {
        let has_no_line = |template: &Template| !template.has_line();
        self.template.as_ref().is_some_and(has_no_line)
            && self.key_template.as_ref().is_none_or(has_no_line)
    }

    /// The lines of the files or of the standard input, none longer than the description of a record of so many bytes can be.
    fn lines(&self, most_record_bytes: usize) -> Lines {
        if self.needs_no_input() {
            return Lines::without_input();
        }
        let is_described = self.json
            || self.typed
            || self.value_schema.is_some()
            || self.key_schema.is_some()
            || !self.serdes.is_empty()
            || self.messages.are_given();
        let most = match is_described {
            true => most_record_bytes
                .saturating_mul(MOST_JSON_FOR_A_BYTE)
                .saturating_add(MOST_JSON_BESIDE),
            false => most_record_bytes,
        };
        let split = match (self.whole_files, &self.delimiter) {
            (true, _) => Split::Whole,
            (false, Some(Delimiter(delimiter))) => Split::By(delimiter.clone()),
            (false, None) => Split::By(b"\n".to_vec()),
        };
        Lines::of(&self.files, split, most)
    }

    /// What makes records, with the schemas that it needs.
    async fn maker(&self) -> Outcome<Maker<'_>> {
        let mut maker = Maker::new(self);
        maker.messages = self.messages.load()?;
        let [key_schema, value_schema] = self.schemas()?;
        let is_twice = maker.messages.key.is_some() && key_schema.is_some()
            || maker.messages.value.is_some() && value_schema.is_some();
        if is_twice {
            return Err(
                "what is said to be a message by a file has no schema of a registry".into(),
            );
        }
        if value_schema.is_none() && key_schema.is_none() {
            return Ok(maker);
        }
        let mut registered = Registered::connect(&self.registry)?;
        if let Some(by) = &value_schema {
            maker.value_id = Some(registered.look_up(by).await?);
        }
        if let Some(by) = &key_schema {
            maker.key_id = Some(registered.look_up(by).await?);
        }
        maker.registered = Some(registered);
        Ok(maker)
    }

    /// The schemas of a registry that keys and values are written by, where they are.
    fn schemas(&self) -> Outcome<[Option<WriteBy>; 2]> {
        let asked = self.serdes.iter().filter_map(SerdeOf::registered);
        let (keys, values) = asked.fold((false, false), |(keys, values), (of_keys, of_values)| {
            (keys || of_keys, values || of_values)
        });
        let by = |is_asked: bool, part: &str, named: &Option<WriteBy>| match (is_asked, named) {
            (true, Some(_)) => Err(format!(
                "the schema of each {part} is said twice: by --{part}-schema, and by -s"
            )),
            (true, None) => {
                let subject = format!("{}-{part}", self.topic);
                Ok(Some(WriteBy::Subject(subject, None)))
            }
            (false, named) => Ok(named.clone()),
        };
        Ok([
            by(keys, "key", &self.key_schema)?,
            by(values, "value", &self.value_schema)?,
        ])
    }

    /// Has each line accepted, up to the first that is not, and waits until all that were are acknowledged. An error says which line it
    /// was. A signal ends the reading, and a second one the waiting.
    async fn write_all(
        &self,
        mut lines: Lines,
        accept: impl AsyncFn(&Place, u64, &[u8]) -> Outcome<Delivery>,
        flush: impl Future<Output = kafka::Result<()>>,
        signals: &mut Signals,
    ) -> Outcome {
        let mut deliveries = Deliveries::default();
        let mut last = None;
        let mut number = 0;
        let most = self.count.unwrap_or(u64::MAX);
        let pace = self.rate.map(Pace::new);
        let reading = async {
            while number < most
                && let Some(chunk) = lines.next().await
            {
                for (place, line) in chunk?.lines() {
                    if number == most {
                        break;
                    }
                    if let Some(pace) = &pace {
                        pace.wait(number).await;
                    }
                    number += 1;
                    deliveries.make_room().await?;
                    last = Some(place.clone());
                    let accepted = accept(&place, number, line).await;
                    let delivery = accepted.map_err(|error| format!("{place}: {error}"))?;
                    deliveries.push(place, delivery);
                }
            }
            Ok(())
        };
        let read = unless_ended(signals, reading).await.flatten();
        let read = read.map_err(|error| match (error.downcast_ref::<Ended>(), &last) {
            (Some(_), Some(last)) => format!("ended by a signal after {last}").into(),
            (Some(_), None) => "ended by a signal before anything was written".into(),
            (None, _) => error,
        });
        // Whatever ended the reading, the lines before it were accepted. Their deliveries tell what failed, and of which line it was.
        let waiting = async {
            let _ = flush.await;
            deliveries.all().await
        };
        match (read, unless_ended(signals, waiting).await.flatten()) {
            (Err(read), Err(lost)) => Err(format!("{read}; {lost}").into()),
            (read, delivered) => read.and(delivered),
        }
    }
}

/// What is written by the schemas that a registry has for the topic: `avro`, `key=registry`.
fn by_topic(text: &str) -> Result<SerdeOf, String> {
    let of: SerdeOf = text.parse()?;
    match of.registered() {
        Some(_) => Ok(of),
        None => Err("records are written by schemas of a registry only: registry (avro, protobuf, json-schema), key=registry, value=registry".to_owned()),
    }
}

/// So many records a second.
struct Pace {
    start: Instant,
    rate: u32,
}

impl Pace {
    fn new(rate: u32) -> Pace {
        Pace {
            start: Instant::now(),
            rate,
        }
    }

    /// Waits until it is time for the record after that many.
    async fn wait(&self, written: u64) {
        let seconds = written as f64 / f64::from(self.rate);
        let due = self.start + Duration::from_secs_f64(seconds);
        // A timer is no finer than a millisecond: records go out in bursts of what is due.
        if due > Instant::now() {
            sleep_until(due).await;
        }
    }
}
