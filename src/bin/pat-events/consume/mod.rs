//! `pat-events consume`: prints records. In: a topic, and where to start. Out: lines, a format, JSON, or typed events.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `start` | where reading starts, as kcat spells it |
//! | `ends` | where it stops, if it is to stop at the end of the log |
//! | `format` | how a record is shown |

mod ends;
pub mod format;
mod start;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::Args;
use pat_events::kafka::{
    Admin, Consumer, ConsumerConfig, ErrorKind, OffsetAndMetadata, Records, StartOffset,
    TopicPartition,
};

use crate::Outcome;
use crate::cluster::Cluster;
use crate::escapes::{self, Delimiter};
use crate::signals::{Signals, unless_ended, unless_ended_twice};
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
    /// The topic to read; with a group also a pattern that begins with ^, for all topics whose names begin as it says.
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
    ///
    /// Escapes: \n, \r, \t, \0, \e, \\, \xHH.
    #[arg(short = 'K', long, value_name = "DELIMITER", value_parser = escapes::delimiter)]
    key_delimiter: Option<Delimiter>,
    /// Print each record in this format: %t topic, %p partition, %o offset, %T timestamp, %k key, %K its length, %s value, %S its
    /// length, %h headers, %%; \n, \r, \t, \0, \e, \\, \xHH.
    #[arg(short, long, value_parser = Format::parse, conflicts_with_all = ["json", "key_delimiter"])]
    format: Option<Format>,
    /// Print each record as a line of JSON.
    ///
    /// Keys, values, and the names and values of headers are texts, null, or {"hex": "ff00"} where they are no UTF-8, so that
    /// `produce --json` writes each byte as it was.
    #[arg(short = 'J', long, conflicts_with = "key_delimiter")]
    json: bool,
    /// Print each event as a line of JSON, its data by the names of its fields; records that are no events as with --json.
    #[arg(short = 'T', long, conflicts_with_all = ["json", "format", "key_delimiter"])]
    typed: bool,
}

impl Consume {
    /// Reads until the count, the ends, or a signal; then it leaves the group, unless a second signal comes before.
    pub async fn run(&self) -> Outcome {
        let mut signals = Signals::listen()?;
        let config = self.config()?;
        let starting = async {
            let connecting = Consumer::connect(config);
            let mut consumer = self.cluster.explained(connecting).await?;
            let bounds = self.start(&mut consumer).await?;
            Outcome::Ok((consumer, bounds))
        };
        // Nobody was promised anything yet.
        let Ok(started) = unless_ended(&mut signals, starting).await else {
            return Ok(());
        };
        let (mut consumer, bounds) = started?;
        let read = self.read(&mut consumer, &bounds, &mut signals).await;
        let closed = unless_ended(&mut signals, consumer.close()).await?;
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
        self.cluster.config(&given)
    }

    /// Subscribes or assigns. Returns where reading begins and where it is to stop.
    async fn start(&self, consumer: &mut Consumer) -> Outcome<Bounds> {
        let is_pattern = self.topic.starts_with('^');
        if is_pattern && (self.group.is_none() || self.exit) {
            return Err(
                "a pattern of topics is read as a member of a group (-G), and has no end (-e)"
                    .into(),
            );
        }
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
        let partitions = match is_pattern {
            true => Vec::new(),
            false => self.partitions().await?,
        };
        let by_offset = matches!(self.offset, Some(Start::BeforeEnd(_) | Start::At(_)));
        let ends = match by_offset || self.exit {
            true => consumer.end_offsets(&partitions).await?,
            false => BTreeMap::new(),
        };
        let mut least_offset = 0;
        if self.group.is_none() {
            let beginnings = match by_offset {
                true => consumer.beginning_offsets(&partitions).await?,
                false => BTreeMap::new(),
            };
            if let Some(Start::At(offset)) = self.offset {
                least_offset = offset;
                self.tell_of_gaps(offset, &beginnings, &ends);
            }
            let known = |offsets: &BTreeMap<_, i64>, partition| offsets.get(partition).copied();
            let starts = partitions.iter().map(|partition| {
                let log = known(&beginnings, partition).unwrap_or(0)
                    ..=known(&ends, partition).unwrap_or(i64::MAX);
                (partition.clone(), self.start_of(&log))
            });
            consumer.assign(&starts.collect::<Vec<_>>()).await?;
        }
        Ok(Bounds {
            ends: Ends::new(ends, share),
            least_offset,
        })
    }

    /// Says where the offset that was asked for is not in the log.
    fn tell_of_gaps(
        &self,
        offset: i64,
        beginnings: &BTreeMap<TopicPartition, i64>,
        ends: &BTreeMap<TopicPartition, i64>,
    ) {
        for (partition, beginning) in beginnings {
            let end = ends.get(partition).copied().unwrap_or(i64::MAX);
            if offset < *beginning {
                eprintln!(
                    "warning: {partition} begins at offset {beginning}: what was before it is gone"
                );
            } else if offset > end {
                let then = match self.exit {
                    true => "it has nothing to print",
                    false => "what comes before that offset is not printed",
                };
                eprintln!("warning: {partition} ends at offset {end}: {then}");
            }
        }
    }

    /// Where reading starts in a partition whose log is known, if that matters, to have these offsets. An offset outside of them would fall
    /// under the policy of a reset.
    fn start_of(&self, log: &RangeInclusive<i64>) -> StartOffset {
        let within = |offset: i64| StartOffset::Offset(offset.clamp(*log.start(), *log.end()));
        match self.offset.unwrap_or(Start::Beginning) {
            Start::Beginning => StartOffset::Earliest,
            Start::End => StartOffset::Latest,
            Start::Stored => StartOffset::Committed,
            Start::At(offset) => within(offset),
            Start::BeforeEnd(records) => within(log.end().saturating_sub(records)),
            Start::Time(time_ms) => StartOffset::Timestamp(time_ms),
        }
    }

    async fn partitions(&self) -> Outcome<Vec<TopicPartition>> {
        let of = |partition| TopicPartition::new(self.topic.as_str(), partition);
        if let Some(partition) = self.partition {
            return Ok(vec![of(partition)]);
        }
        let admin = Admin::connect(self.config()?.client);
        let admin = self.cluster.explained(admin).await?;
        let described = admin
            .describe_topics(&[self.topic.as_str()])
            .await?
            .into_values()
            .collect::<Result<Vec<_>, _>>()?;
        Ok(described
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|p| of(p.partition))
            .collect())
    }

    /// Prints until the count, the ends, or a signal.
    async fn read(
        &self,
        consumer: &mut Consumer,
        bounds: &Bounds,
        signals: &mut Signals,
    ) -> Outcome {
        let mut out = BufWriter::new(io::stdout().lock());
        let format = match &self.format {
            Some(format) => format.clone(),
            None if self.json => Format::Json,
            None if self.typed => Format::Typed(Schemas::load()?),
            None => Format::lines(self.key_delimiter.as_ref()),
        };
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 && !(self.exit && bounds.ends.are_reached(consumer)) {
            let records = tokio::select! {
                biased;
                () = signals.next() => break,
                records = consumer.poll(POLL) => records?,
            };
            let printed = print(&records, &format, bounds.least_offset, left, &mut out)?;
            left -= printed.records;
            if self.group.is_some() && !records.is_empty() {
                let committing = async {
                    match printed.is_all {
                        // What follows the last record and is no record counts as read, too.
                        true => consumer.commit_sync().await,
                        false => printed.commit(consumer).await,
                    }
                };
                let (committed, is_ended) = unless_ended_twice(signals, committing).await?;
                match committed {
                    // The partitions changed hands in the meantime; whoever has them now prints these records again.
                    Err(error) if error.kind() == ErrorKind::Rebalance && left > 0 => {
                        eprintln!("warning: not committed: {error}");
                    }
                    committed => committed?,
                }
                if is_ended {
                    break;
                }
            }
        }
        if self.group.is_some() && left > 0 {
            // Polls without a record may have gone on to the end of a transaction.
            match unless_ended(signals, consumer.commit_sync()).await? {
                Err(error) if error.kind() == ErrorKind::Rebalance => {}
                committed => committed?,
            }
        }
        Ok(())
    }
}

/// Where reading begins, and where it stops.
struct Bounds {
    ends: Ends,
    /// Records before this offset are passed over.
    least_offset: i64,
}

/// What was printed of the records of one poll.
#[derive(Default)]
struct Printed {
    records: u64,
    /// Whether no record was left for another time.
    is_all: bool,
    /// Where each partition goes on after it.
    next: BTreeMap<TopicPartition, OffsetAndMetadata>,
}

impl Printed {
    async fn commit(self, consumer: &Consumer) -> pat_events::kafka::Result<()> {
        let offsets: Vec<_> = self.next.into_iter().collect();
        consumer.commit(&offsets).await
    }
}

/// Prints at most `most` records, from `least_offset` on.
fn print(
    records: &Records,
    format: &Format,
    least_offset: i64,
    most: u64,
    out: &mut impl Write,
) -> io::Result<Printed> {
    let mut printed = Printed {
        is_all: true,
        ..Printed::default()
    };
    for run in records.partitions() {
        let mut next = None;
        for record in run.iter() {
            if record.offset < least_offset {
                continue;
            }
            if printed.records == most {
                printed.is_all = false;
                break;
            }
            format.write(&record, out)?;
            printed.records += 1;
            let mut after = OffsetAndMetadata::new(record.offset + 1);
            after.leader_epoch = record.leader_epoch;
            next = Some(after);
        }
        if let Some(next) = next {
            printed.next.insert(run.partition().clone(), next);
        }
    }
    out.flush()?;
    Ok(printed)
}
