//! `pat-events produce`: writes records. In: lines, or the JSON that `consume --json` and `--typed` print. Out: records, all
//! acknowledged when it ends with 0.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `deliveries` | what became of each line |
//! | `json` | a record as a line of JSON |

mod deliveries;
mod json;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

use clap::Args;
use pat_events::events::EventProducer;
use pat_events::kafka::{self, Delivery, Header, Producer, Record};

use crate::Outcome;
use crate::cluster::Cluster;
use crate::typed::Schemas;
use deliveries::Deliveries;
use json::JsonRecord;

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
    #[arg(short = 'K', long, value_name = "DELIMITER")]
    key_delimiter: Option<String>,
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
        let mut given = vec![("acks", "all"), ("enable.idempotence", "true")];
        if let Some(codec) = &self.compression {
            given.push(("compression.type", codec));
        }
        if self.typed {
            let schemas = Schemas::load()?;
            given.extend([("topic", self.topic.as_str()), ("linger.ms", "5")]);
            let producer = EventProducer::connect(self.cluster.config(&given)?).await?;
            let accept = async |line: &[u8]| Ok(producer.enqueue(&schemas.write(line)?).await?);
            return self.write_all(accept, producer.flush()).await;
        }
        let producer = Producer::connect(self.cluster.config(&given)?).await?;
        let accept = async |line: &[u8]| match self.json {
            true => self.write_json(&producer, line).await,
            false => self.write_line(&producer, line).await,
        };
        self.write_all(accept, producer.flush()).await
    }

    /// Has each line accepted, up to the first that is not, and waits until all that were are acknowledged. An error says which line it
    /// was.
    async fn write_all(
        &self,
        accept: impl AsyncFn(&[u8]) -> Outcome<Delivery>,
        flush: impl Future<Output = kafka::Result<()>>,
    ) -> Outcome {
        let mut deliveries = Deliveries::default();
        let read = self
            .each_line(async |number, line| {
                deliveries.make_room().await?;
                let accepted = accept(line).await;
                let delivery = accepted.map_err(|error| format!("line {number}: {error}"))?;
                deliveries.push(number, delivery);
                Ok(())
            })
            .await;
        // Whatever ended the reading, the lines before it were accepted. Their deliveries tell what failed, and of which line it was.
        let _ = flush.await;
        match (read, deliveries.all().await) {
            (Err(read), Err(lost)) => Err(format!("{read}; {lost}").into()),
            (read, delivered) => read.and(delivered),
        }
    }

    /// Calls `write` with the number and the text of each line of the file or of the standard input.
    async fn each_line(&self, mut write: impl AsyncFnMut(u64, &[u8]) -> Outcome) -> Outcome {
        let mut input: Box<dyn BufRead> = match &self.file {
            Some(path) => Box::new(BufReader::new(
                File::open(path).map_err(|e| format!("{}: {e}", path.display()))?,
            )),
            None => Box::new(io::stdin().lock()),
        };
        let mut line = Vec::new();
        for number in 1u64.. {
            line.clear();
            // Reading blocks; the records before go out on other threads.
            if tokio::task::block_in_place(|| input.read_until(b'\n', &mut line))? == 0 {
                break;
            }
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            write(number, line).await?;
        }
        Ok(())
    }

    async fn write_line(&self, producer: &Producer, line: &[u8]) -> Outcome<Delivery> {
        let (key, value) = match self
            .key_delimiter
            .as_deref()
            .and_then(|delimiter| split(line, delimiter.as_bytes()))
        {
            Some((key, value)) => (Some(key), value),
            None => (self.key.as_deref().map(str::as_bytes), line),
        };
        let or_null = |bytes: &[u8]| !(self.null && bytes.is_empty());
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| Header::new(name, value.as_bytes()))
            .collect();
        let record = Record {
            partition: self.partition,
            key: key.filter(|key| or_null(key)),
            value: Some(value).filter(|value| or_null(value)),
            headers: &headers,
            ..Record::new(&self.topic)
        };
        Ok(producer.enqueue(record).await?)
    }

    async fn write_json(&self, producer: &Producer, line: &[u8]) -> Outcome<Delivery> {
        let read = JsonRecord::parse(line)?;
        let headers: Vec<_> = read
            .headers
            .iter()
            .map(|(name, value)| Header {
                key: name,
                value: value.as_deref(),
            })
            .collect();
        let record = Record {
            topic: &self.topic,
            partition: self.partition.or(read.partition),
            key: read.key.as_deref(),
            value: read.value.as_deref(),
            headers: &headers,
            timestamp_ms: read.timestamp_ms,
        };
        Ok(producer.enqueue(record).await?)
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
