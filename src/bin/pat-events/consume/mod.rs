//! `pat-events consume`: prints records. In: a topic, and where to start. Out: lines, a format, JSON, or typed events.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `start` | where reading starts, as kcat spells it |
//! | `ends` | where it stops, if it is to stop at the end of the log |
//! | `format` | how a record is shown |

mod ends;
mod format;
mod start;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use clap::Args;
use pat_events::kafka::{
    Admin, Consumer, ConsumerConfig, ErrorKind, OffsetAndMetadata, Records, StartOffset,
    TopicPartition,
};
use tokio::signal;

use crate::Outcome;
use crate::cluster::Cluster;
use crate::typed::Schemas;
use ends::{Ends, Share};
use format::Format;
use start::Start;

const POLL: Duration = Duration::from_millis(250);

/// Print the records of a topic.
#[derive(Args)]
pub struct Consume {
    #[command(flatten)]
    cluster: Cluster,
    /// The topic to read.
    #[arg(short, long)]
    topic: String,
    /// Read only this partition.
    #[arg(short, long, conflicts_with = "group")]
    partition: Option<i32>,
    /// Where to start: beginning, end, stored, an offset, -N (the last N of each partition), s@MS (from this time on). Default:
    /// beginning; with a group: stored.
    #[arg(short, long, allow_hyphen_values = true)]
    offset: Option<Start>,
    /// Read as a member of this group, and commit what was printed.
    #[arg(short = 'G', long)]
    group: Option<String>,
    /// Exit at the end of the log, as it was when reading began.
    #[arg(short, long)]
    exit: bool,
    /// Exit after this many records.
    #[arg(short, long)]
    count: Option<u64>,
    /// Print the key and this delimiter before the value.
    #[arg(short = 'K', long, value_name = "DELIMITER")]
    key_delimiter: Option<String>,
    /// Print each record in this format: %t topic, %p partition, %o offset, %T timestamp, %k key, %K its length, %s value, %S its
    /// length, %h headers, %%; \n, \r, \t, \\, \xHH.
    #[arg(short, long, value_parser = Format::parse, conflicts_with_all = ["json", "key_delimiter"])]
    format: Option<Format>,
    /// Print each record as a line of JSON.
    #[arg(short = 'J', long, conflicts_with = "key_delimiter")]
    json: bool,
    /// Print each event as a line of JSON, its data by the names of its fields; records that are no events as with --json.
    #[arg(short = 'T', long, conflicts_with_all = ["json", "format", "key_delimiter"])]
    typed: bool,
}

impl Consume {
    pub async fn run(&self) -> Outcome {
        let mut consumer = Consumer::connect(self.config()?).await?;
        let ends = self.start(&mut consumer).await?;
        let read = self.read(&mut consumer, &ends).await;
        let closed = consumer.close().await;
        read?;
        Ok(closed?)
    }

    fn config(&self) -> Outcome<ConsumerConfig> {
        let reset = if self.offset == Some(Start::End) {
            "latest"
        } else {
            "earliest"
        };
        // An automatic commit would go by what polls returned, which may be more than what was printed.
        let mut given = vec![
            ("auto.offset.reset", reset),
            ("enable.auto.commit", "false"),
        ];
        if let Some(group) = &self.group {
            given.push(("group.id", group));
        }
        Ok(self.cluster.config(&given)?)
    }

    /// Subscribes or assigns. Returns where reading is to stop.
    async fn start(&self, consumer: &mut Consumer) -> Outcome<Ends> {
        let share = self.group.is_some().then(Share::default);
        if let Some(share) = &share {
            if !matches!(
                self.offset,
                None | Some(Start::Stored | Start::Beginning | Start::End)
            ) {
                return Err("with a group, reading starts at its committed offsets: -o takes stored, beginning or end".into());
            }
            let topics = [self.topic.as_str()];
            consumer.subscribe_with(&topics, share.clone()).await?;
        }
        let partitions = self.partitions().await?;
        let ends = match self.offset {
            Some(Start::BeforeEnd(_)) => consumer.end_offsets(&partitions).await?,
            _ if self.exit => consumer.end_offsets(&partitions).await?,
            _ => BTreeMap::new(),
        };
        if self.group.is_none() {
            let starts = partitions
                .iter()
                .map(|p| (p.clone(), self.start_of(ends.get(p).copied().unwrap_or(0))));
            consumer.assign(&starts.collect::<Vec<_>>()).await?;
        }
        Ok(Ends::new(ends, share))
    }

    fn start_of(&self, end: i64) -> StartOffset {
        match self.offset.unwrap_or(Start::Beginning) {
            Start::Beginning => StartOffset::Earliest,
            Start::End => StartOffset::Latest,
            Start::Stored => StartOffset::Committed,
            Start::At(offset) => StartOffset::Offset(offset),
            Start::BeforeEnd(records) => StartOffset::Offset((end - records).max(0)),
            Start::Time(time_ms) => StartOffset::Timestamp(time_ms),
        }
    }

    async fn partitions(&self) -> Outcome<Vec<TopicPartition>> {
        let of = |partition| TopicPartition::new(self.topic.as_str(), partition);
        if let Some(partition) = self.partition {
            return Ok(vec![of(partition)]);
        }
        let admin = Admin::connect(self.config()?.client).await?;
        let described = admin
            .describe_topics(&[self.topic.as_str()])
            .await?
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        Ok(described
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|p| of(p.partition))
            .collect())
    }

    /// Prints until the count, the ends, or an interrupt.
    async fn read(&self, consumer: &mut Consumer, ends: &Ends) -> Outcome {
        let mut out = BufWriter::new(io::stdout().lock());
        let format = match &self.format {
            Some(format) => format.clone(),
            None if self.json => Format::Json,
            None if self.typed => Format::Typed(Schemas::load()?),
            None => Format::lines(self.key_delimiter.as_deref()),
        };
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut interrupted = std::pin::pin!(signal::ctrl_c());
        while left > 0 && !(self.exit && ends.are_reached(consumer)) {
            let records = tokio::select! {
                biased;
                _ = &mut interrupted => break,
                records = consumer.poll(POLL) => records?,
            };
            let printed = print(&records, &format, left, &mut out)?;
            left -= printed.records;
            if self.group.is_some() {
                match printed.commit(consumer).await {
                    // The partitions changed hands in the meantime; whoever has them now prints these records again.
                    Err(error) if error.kind() == ErrorKind::Rebalance && left > 0 => {
                        eprintln!("warning: not committed: {error}");
                    }
                    committed => committed?,
                }
            }
        }
        Ok(())
    }
}

/// What was printed of the records of one poll.
#[derive(Default)]
struct Printed {
    records: u64,
    /// Where each partition goes on after it.
    next: BTreeMap<TopicPartition, OffsetAndMetadata>,
}

impl Printed {
    async fn commit(self, consumer: &Consumer) -> pat_events::kafka::Result<()> {
        let offsets: Vec<_> = self.next.into_iter().collect();
        consumer.commit(&offsets).await
    }
}

/// Prints at most `most` records.
fn print(
    records: &Records,
    format: &Format,
    most: u64,
    out: &mut impl Write,
) -> io::Result<Printed> {
    let mut printed = Printed::default();
    for run in records.partitions() {
        let left = usize::try_from(most - printed.records).unwrap_or(usize::MAX);
        let mut next = None;
        for record in run.iter().take(left) {
            format.write(&record, out)?;
            printed.records += 1;
            next = Some(OffsetAndMetadata {
                leader_epoch: record.leader_epoch,
                ..OffsetAndMetadata::new(record.offset + 1)
            });
        }
        if let Some(next) = next {
            printed.next.insert(run.partition().clone(), next);
        }
    }
    out.flush()?;
    Ok(printed)
}
