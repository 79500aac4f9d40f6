//! `pat-events produce`: writes records. In: lines, or the JSON that `consume --json` and `--typed` print. Out: records, all
//! acknowledged when it ends with 0.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `lines` | the lines of the input |
//! | `deliveries` | what became of each line |
//! | `json` | a record as a line of JSON |

mod deliveries;
pub mod json;
mod lines;

use std::cell::Cell;
use std::path::PathBuf;

use clap::Args;
use pat_events::events::{self, EventProducer};
use pat_events::kafka::{self, Delivery, Header, Producer, Record};

use crate::Outcome;
use crate::cluster::Cluster;
use crate::escapes::{self, Delimiter};
use crate::signals::{Ended, Signals, unless_ended};
use crate::typed::Schemas;
use deliveries::Deliveries;
use json::JsonRecord;
use lines::Lines;

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
    #[arg(skip)]
    told_of_no_key: Cell<bool>,
    /// A header of every record; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = crate::cluster::property)]
    headers: Vec<(String, String)>,
    /// Write an empty value, and an empty key, as null.
    #[arg(short = 'Z', long)]
    null: bool,
    /// none, gzip, snappy, lz4 or zstd. Default: none, or what KAFKA_COMPRESSION_TYPE says.
    #[arg(short = 'z', long)]
    compression: Option<String>,
    /// Each line is a JSON object with value, and if need be key, headers, partition and timestamp_ms, as `consume --json` prints it.
    ///
    /// Keys, values, and the names and values of headers are texts, null, or {"hex": "ff00"} where they are no UTF-8: what `consume --json`
    /// prints is written again byte by byte.
    #[arg(short = 'J', long, conflicts_with_all = ["key", "key_delimiter", "headers", "null"])]
    json: bool,
    /// Each line is a JSON object with the type and the data of an event, as `consume --typed` prints it.
    #[arg(short = 'T', long, conflicts_with_all = ["json", "key", "key_delimiter", "headers", "null", "partition"])]
    typed: bool,
    /// Read this file and not the standard input.
    file: Option<PathBuf>,
}

impl Produce {
    pub async fn run(&self) -> Outcome {
        let mut signals = Signals::listen()?;
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
            let lines = self.lines(config.kafka.max_request_bytes)?;
            let connecting = EventProducer::connect(config);
            let producer = unless_ended(&mut signals, self.cluster.explained(connecting)).await??;
            let accept = async |_: u64, line: &[u8]| {
                Ok(producer.enqueue(&schemas.write(line).await?).await?)
            };
            return write_all(lines, accept, producer.flush(), &mut signals).await;
        }
        let config: kafka::ProducerConfig = self.cluster.config(&given)?;
        let lines = self.lines(config.max_request_bytes)?;
        let connecting = Producer::connect(config);
        let producer = unless_ended(&mut signals, self.cluster.explained(connecting)).await??;
        let accept = async |number: u64, line: &[u8]| match self.json {
            true => self.write_json(&producer, line).await,
            false => self.write_line(&producer, number, line).await,
        };
        write_all(lines, accept, producer.flush(), &mut signals).await
    }

    /// The lines of the file or of the standard input, none longer than the description of a record of so many bytes can be.
    fn lines(&self, most_record_bytes: usize) -> Outcome<Lines> {
        let most = match self.json || self.typed {
            true => most_record_bytes
                .saturating_mul(MOST_JSON_FOR_A_BYTE)
                .saturating_add(MOST_JSON_BESIDE),
            false => most_record_bytes,
        };
        Lines::of(self.file.as_deref(), most)
    }

    async fn write_line(&self, producer: &Producer, number: u64, line: &[u8]) -> Outcome<Delivery> {
        let (key, value) = match &self.key_delimiter {
            None => (self.key.as_deref().map(str::as_bytes), line),
            Some(Delimiter(delimiter)) => match split(line, delimiter) {
                Some((key, value)) => (Some(key), value),
                None => {
                    if !self.told_of_no_key.replace(true) {
                        let shown = delimiter.escape_ascii();
                        eprintln!(
                            "warning: line {number} has no \"{shown}\", so that its record has no key"
                        );
                    }
                    (None, line)
                }
            },
        };
        let or_null = |bytes: &[u8]| !(self.null && bytes.is_empty());
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| Header::new(name, value.as_bytes()))
            .collect();
        let mut record = Record::new(&self.topic);
        record.partition = self.partition;
        record.key = key.filter(|key| or_null(key));
        record.value = Some(value).filter(|value| or_null(value));
        record.headers = &headers;
        Ok(producer.enqueue(record).await?)
    }

    async fn write_json(&self, producer: &Producer, line: &[u8]) -> Outcome<Delivery> {
        let read = JsonRecord::parse(line)?;
        let headers: Vec<_> = read
            .headers
            .iter()
            .map(|(name, value)| Header::raw(name, value.as_deref()))
            .collect();
        let mut record = Record::new(&self.topic).headers(&headers);
        record.partition = self.partition.or(read.partition);
        (record.key, record.value) = (read.key.as_deref(), read.value.as_deref());
        record.timestamp_ms = read.timestamp_ms;
        Ok(producer.enqueue(record).await?)
    }
}

/// Has each line accepted, up to the first that is not, and waits until all that were are acknowledged. An error says which line it
/// was. A signal ends the reading, and a second one the waiting.
async fn write_all(
    mut lines: Lines,
    accept: impl AsyncFn(u64, &[u8]) -> Outcome<Delivery>,
    flush: impl Future<Output = kafka::Result<()>>,
    signals: &mut Signals,
) -> Outcome {
    let mut deliveries = Deliveries::default();
    let mut number = 0;
    let reading = async {
        while let Some(chunk) = lines.next().await {
            for line in chunk?.lines() {
                number += 1;
                deliveries.make_room().await?;
                let accepted = accept(number, line).await;
                let delivery = accepted.map_err(|error| format!("line {number}: {error}"))?;
                deliveries.push(number, delivery);
            }
        }
        Ok(())
    };
    let read = unless_ended(signals, reading).await.flatten();
    let read = read.map_err(|error| match error.downcast_ref::<Ended>() {
        Some(_) => format!("ended by a signal after line {number}").into(),
        None => error,
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

fn split<'a>(line: &'a [u8], delimiter: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = line
        .windows(delimiter.len().max(1))
        .position(|window| window == delimiter)?;
    Some((&line[..at], &line[at + delimiter.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_ends_at_the_first_delimiter() {
        assert_eq!(split(b"k::v::w", b"::"), Some((&b"k"[..], &b"v::w"[..])));
        assert_eq!(split(b"no delimiter", b"::"), None);
    }
}
