//! `pat-events consume`: prints records. In: topics, and where to start and to stop. Out: lines, a format, JSON, or typed events.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `start` | where reading starts and stops, as kcat spells it |
//! | `sources` | which partitions those are, and where it is in each |
//! | `ends` | where it stops, if it is to stop |
//! | `print` | records become output |
//! | `filter`, `json_path` | which of them |
//! | `serdes`, `pack` | what keys and values are |
//! | `format` | how a record is shown |

mod ends;
mod filter;
pub mod format;
mod json_path;
mod pack;
mod print;
pub mod serdes;
mod sources;
mod start;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal};
use std::time::Duration;

use clap::Args;
use pat_events::kafka::{Admin, Consumer, ConsumerConfig, Error, ErrorKind};
use tokio::time::sleep;

use crate::Outcome;
use crate::admin::Named;
use crate::cluster::Cluster;
use crate::escapes::{self, Delimiter};
use crate::messages::MessageOptions;
use crate::notes::note;
use crate::registered::RegistryOptions;
use crate::signals::{Signals, unless_ended, unless_ended_twice};
use crate::typed::Schemas;
use ends::{Ends, Share};
use filter::Filter;
use format::Format;
use print::Printer;
use serdes::{SerdeOf, Serdes};
use sources::has_passed;
use start::{Place, Range, Start};

const POLL: Duration = Duration::from_millis(250);

/// Print the records of topics.
///
/// Brokers that go away are waited for, with a line on the standard error, unless reading is to end (-e, -o e@TIME) or -E says otherwise.
#[derive(Args)]
pub struct Consume {
    #[command(flatten)]
    cluster: Cluster,
    /// A topic to read, some of its partitions, or a pattern that begins with ^ (a regular expression): orders, orders:0,3-5, ^orders\.; may be given
    /// several times. In a group, topics that match later are read, too.
    #[arg(
        short,
        long = "topic",
        value_name = "TOPIC",
        required_unless_present = "more_topics"
    )]
    topics: Vec<Named>,
    /// Further topics.
    #[arg(value_name = "TOPIC")]
    more_topics: Vec<Named>,
    /// Read only these partitions, such as 0,3-5.
    #[arg(short, long, conflicts_with = "group", value_parser = partitions)]
    partition: Option<Partitions>,
    /// Where to start: beginning, end, stored, an offset, -N (the last N of each partition), s@TIME (from this time on); and where to stop: e@TIME
    /// (before the first record of this time or later). Times are 2026-11-26T13:00:00Z, milliseconds since 1970, or how long ago, as -7d, -1h30m.
    /// Default: beginning; with a group: stored.
    #[arg(short, long, value_name = "PLACE", allow_hyphen_values = true)]
    offset: Vec<Place>,
    /// Read as a member of this group, and commit what was printed.
    #[arg(short = 'G', long)]
    group: Option<String>,
    /// Exit at the end of the log, as it was when reading began.
    #[arg(short, long)]
    exit: bool,
    /// Exit after this many records.
    #[arg(short, long)]
    count: Option<u64>,
    /// Exit when brokers cannot be reached, and do not wait for them.
    #[arg(short = 'E', long)]
    exit_on_error: bool,
    /// Print the key and this delimiter before the value.
    ///
    /// Escapes: \n, \r, \t, \0, \e, \\, \xHH.
    #[arg(short = 'K', long, value_name = "DELIMITER", value_parser = escapes::delimiter)]
    key_delimiter: Option<Delimiter>,
    /// Print this delimiter after each record, and not the end of a line; escapes as with -K.
    #[arg(short = 'D', long, value_name = "DELIMITER", value_parser = escapes::delimiter)]
    delimiter: Option<Delimiter>,
    /// Print each record in this format: %t topic, %p partition, %o offset, %T timestamp, %k key, %K its length, %s value, %S its
    /// length, %R its length in four bytes, %h headers, %%; \n, \r, \t, \0, \e, \\, \xHH.
    #[arg(short, long, value_parser = Format::parse, conflicts_with_all = ["json", "key_delimiter", "delimiter"])]
    format: Option<Format>,
    /// Print each record as a line of JSON.
    ///
    /// Keys, values, and the names and values of headers are texts, null, or {"hex": "ff00"} where they are no UTF-8; keys and values that are read as
    /// more than bytes (--proto, -s) are what they say. `produce --json` with the same flags writes each as it was.
    #[arg(short = 'J', long, conflicts_with_all = ["key_delimiter", "delimiter"])]
    json: bool,
    /// Print each event as a line of JSON, its data by the names of its fields; records that are no events as with --json.
    #[arg(short = 'T', long, conflicts_with_all = ["json", "format", "key_delimiter", "delimiter"])]
    typed: bool,
    /// What keys, values or both are, as kcat has it: key=>q, value=registry, s. Letters unpack bytes: < > (byte order), b B (8 bits), h H (16), i I (32), q
    /// Q (64), c (a letter), s (all that is left, as text), $ (nothing is left). registry (avro, protobuf, json-schema) reads by the schema that they name.
    #[arg(
        short,
        long = "serde",
        value_name = "[key=|value=]SERDE",
        allow_hyphen_values = true
    )]
    serdes: Vec<SerdeOf>,
    #[command(flatten)]
    messages: MessageOptions,
    #[command(flatten)]
    registry: RegistryOptions,
    #[command(flatten)]
    filter: Filter,
    /// Print bytes as they are, also on a terminal, where otherwise what steers it and what is no text is escaped (\x1b).
    #[arg(long)]
    raw: bool,
}

#[derive(Clone, Debug)]
struct Partitions(Vec<i32>);

fn partitions(text: &str) -> Result<Partitions, String> {
    crate::admin::numbers(text).map(Partitions)
}

/// How far reading has come.
struct Reading {
    ends: Ends,
    /// Whether reading ends at the ends.
    is_bounded: bool,
    /// The ends are found when this time has passed (milliseconds since 1970).
    bounded_after_ms: Option<i64>,
    printer: Printer,
}

impl Consume {
    /// Reads until the count, the ends, or a signal; then it leaves the group, unless a second signal comes before.
    pub async fn run(&self) -> Outcome {
        let mut signals = Signals::listen()?;
        let range = Range::of(&self.offset)?;
        let config = self.config(range)?;
        let printer = self.printer(range)?;
        let starting = async {
            let connecting = Consumer::connect(config);
            let mut consumer = self.cluster.explained(connecting).await?;
            let reading = self.start(&mut consumer, range, printer).await?;
            Outcome::Ok((consumer, reading))
        };
        // Nobody was promised anything yet.
        let Ok(started) = unless_ended(&mut signals, starting).await else {
            return Ok(());
        };
        let (mut consumer, mut reading) = started?;
        let read = self.read(&mut consumer, &mut reading, &mut signals).await;
        let closed = unless_ended(&mut signals, consumer.close()).await?;
        read?;
        Ok(closed?)
    }

    fn config(&self, range: Range) -> Outcome<ConsumerConfig> {
        let in_group = [
            None,
            Some(Start::Stored),
            Some(Start::Beginning),
            Some(Start::End),
        ];
        if self.group.is_some() && !in_group.contains(&range.start) {
            return Err("with a group, reading starts at its committed offsets: -o takes stored, beginning or end".into());
        }
        if self.group.is_some() && self.names().any(|name| name.partitions.is_some()) {
            return Err("a group shares out all partitions of its topics: name topics without partitions, or leave out -G".into());
        }
        let reset = if range.start == Some(Start::End) {
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

    fn names(&self) -> impl Iterator<Item = &Named> {
        self.topics.iter().chain(&self.more_topics)
    }

    fn printer(&self, range: Range) -> Outcome<Printer> {
        if self.typed && self.messages.are_given() {
            return Err("-T prints events by their own schemas: without it, messages are printed by --proto".into());
        }
        let format = match &self.format {
            Some(format) => format.clone(),
            None if self.json => Format::Json,
            None if self.typed => Format::Typed(Schemas::load()?),
            None => Format::lines(self.key_delimiter.as_ref(), self.delimiter.as_ref()),
        };
        Ok(Printer {
            format,
            filter: self.filter.clone(),
            serdes: Serdes::new(&self.serdes, self.messages.load()?, &self.registry)?,
            least_offset: 0,
            stop_ms: range.stop_ms,
            is_escaped: !self.raw && io::stdout().is_terminal(),
            unreadable: 0,
        })
    }

    /// Subscribes or assigns.
    async fn start(
        &self,
        consumer: &mut Consumer,
        range: Range,
        mut printer: Printer,
    ) -> Outcome<Reading> {
        let names: Vec<Named> = self.names().cloned().collect();
        let share = self.group.is_some().then(Share::default);
        if let Some(share) = &share {
            let topics = sources::subscribed(&names);
            consumer.subscribe_with(&topics, share.clone()).await?;
        }
        let bounded_after_ms = range.stop_ms.filter(|ms| !self.exit && !has_passed(*ms));
        let is_bounded = (self.exit || range.stop_ms.is_some()) && bounded_after_ms.is_none();
        let partitions = match self.group.is_some() && !is_bounded {
            true => Vec::new(),
            false => {
                let admin = Admin::connect(self.config(range)?.client).await?;
                let only = self.partition.as_ref().map_or(&[][..], |it| &it.0);
                sources::named(&admin, &names, only).await?
            }
        };
        let ends = match is_bounded {
            true => sources::ends(consumer, &partitions, range.stop_ms).await?,
            false => BTreeMap::new(),
        };
        if self.group.is_none() {
            printer.least_offset =
                sources::assign(consumer, &partitions, range, is_bounded).await?;
        }
        Ok(Reading {
            ends: Ends::new(ends, share),
            is_bounded,
            bounded_after_ms,
            printer,
        })
    }

    /// Prints until the count, the ends, or a signal.
    async fn read(
        &self,
        consumer: &mut Consumer,
        reading: &mut Reading,
        signals: &mut Signals,
    ) -> Outcome {
        let mut out = BufWriter::new(io::stdout().lock());
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut is_away = false;
        while left > 0 && !(reading.is_bounded && reading.ends.are_reached(consumer)) {
            let polled = tokio::select! {
                biased;
                () = signals.next() => break,
                polled = consumer.poll(POLL) => polled,
            };
            let records = match polled {
                Ok(records) => records,
                Err(error) if self.waits_through(&error, reading) => {
                    if !is_away {
                        note(format!("waiting: {error}"));
                    }
                    is_away = true;
                    if unless_ended(signals, sleep(POLL)).await.is_err() {
                        break;
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if is_away && !records.is_empty() {
                note("reading goes on");
                is_away = false;
            }
            if let Some(stop_ms) = reading.bounded_after_ms
                && has_passed(stop_ms)
            {
                let partitions = consumer.assignment();
                reading.ends.offsets = sources::ends(consumer, &partitions, Some(stop_ms)).await?;
                (reading.is_bounded, reading.bounded_after_ms) = (true, None);
            }
            let Ok(learnt) = unless_ended(signals, reading.printer.learn(&records)).await else {
                break;
            };
            learnt?;
            // What is beyond an end is for others, or for another time.
            let ends = match reading.printer.stop_ms.is_some() {
                true => &reading.ends.offsets,
                false => &BTreeMap::new(),
            };
            let printed = reading.printer.print(&records, ends, left, &mut out)?;
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
                        note(format!("warning: not committed: {error}"));
                    }
                    committed => committed?,
                }
                if is_ended {
                    break;
                }
            }
        }
        if self.group.is_some() && left > 0 && reading.printer.stop_ms.is_none() {
            // Polls without a record may have gone on to the end of a transaction.
            match unless_ended(signals, consumer.commit_sync()).await? {
                Err(error) if error.kind() == ErrorKind::Rebalance => {}
                committed => committed?,
            }
        }
        match reading.printer.unreadable {
            0 => Ok(()),
            unreadable => {
                Err(format!("{unreadable} keys or values were not what they are said to be").into())
            }
        }
    }

    /// Whether brokers are away, and are waited for.
    fn waits_through(&self, error: &Error, reading: &Reading) -> bool {
        let may_end = self.exit_on_error || reading.is_bounded;
        let is_outage = match error.kind() {
            ErrorKind::Connect
            | ErrorKind::Disconnected
            | ErrorKind::Timeout
            | ErrorKind::NoLeader
            | ErrorKind::MetadataPending => true,
            ErrorKind::Server(_) => error.is_retriable(),
            _ => false,
        };
        is_outage && !may_end
    }
}
