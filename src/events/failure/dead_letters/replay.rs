//! Dead letters written to the topics that they came from, as the records that they were.
//!
//! In order per key: of one key, no record is sent before the one ahead of it is acknowledged. Each once: what was acknowledged is marked before
//! more is sent, a record that was given up twice (by a member that died before it had committed) is known by its origin, of which as many are
//! remembered as 32 MiB have room for, and a partition in which no more can be marked is left alone from there on.

use std::collections::BTreeSet;

use super::known::Known;
use super::marks::Marks;
use super::origin::Origins;
use super::reading::{Reading, parse};
use super::{DeadLetterFilter, DeadLetters};
use crate::events::dead_letter::{ORIGIN_TOPIC, REPLAYS};
use crate::events::failure::dead_letter_writer::producer_config;
use crate::events::{DeadLetter, LeftOut};
use crate::kafka::consumer::OwnedHeader;
use crate::kafka::{Client, Error, Header, OwnedRecord, Producer, Record, Result, TopicPartition};

/// The most records that are sent before what was sent is marked, and the most bytes of them, one record aside.
const CHUNK: usize = 200;
const CHUNK_BYTES: usize = 4 << 20;
/// The most memory for where the records of all letters so far stood: 16 million of those that stood one behind the other.
const KNOWN_BYTES: usize = 32 << 20;

/// What is replayed, and to where.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReplayOptions {
    /// Which dead letters. What it leaves out can be replayed later; of one key it comes behind the others then.
    pub filter: DeadLetterFilter,
    /// The topic to write to, where the key says which partition. Default: each record goes to the topic and the partition that it came from.
    pub to: Option<String>,
    /// How many at the most.
    pub limit: Option<u64>,
    /// Only counts: nothing is written and nothing marked.
    pub dry_run: bool,
}

/// What came of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed {
    /// Records read.
    pub read: u64,
    /// Of these, such as are no dead letters.
    pub others: u64,
    /// Dead letters that the filter takes and that were not replayed before.
    pub selected: u64,
    /// Those that it takes and that were replayed before.
    pub before: u64,
    /// Those that are there a second time: the first of them is replayed.
    pub doubled: u64,
    /// Letters that were met so long ago that another of the same record would not be known as such, and replayed too: 0 where there are less than
    /// a hundred thousand letters.
    pub forgotten: u64,
    /// Those that were written to their topics, or would be.
    pub replayed: u64,
    /// Those of which something is left out that is not in the topic any more that they came from.
    pub gone: u64,
    /// Partitions in which there was no room left to mark what is replayed: from where they are behind, the rest of each was not. Replay all of
    /// them without a filter, or purge, first.
    pub full: BTreeSet<TopicPartition>,
}

/// A record on its way back.
struct Letter {
    from: TopicPartition,
    offset: i64,
    record: OwnedRecord,
    letter: DeadLetter,
}

impl DeadLetters {
    /// Writes the records of dead letters to the topics that they came from: key, value and headers as they were, with one more header that
    /// counts [replays](crate::events::dead_letter::REPLAYS). Their time is now, as retention would take old records away at once.
    ///
    /// What was replayed is committed in a [group](Self::group) of its own, so that another run does not send it again; after one that was killed or
    /// dropped, that can happen for the 200 records that were sent last. One run at a time: two of them would send everything twice. Ends
    /// with the first record that cannot be written, when the marks of all others are committed.
    pub async fn replay(&self, options: &ReplayOptions) -> Result<Replayed> {
        let mut reading = Reading::begin(&self.client, &self.topic, Some(&self.group)).await?;
        let marks = Marks::load(&reading.consumer, reading.ends.keys()).await?;
        let mut replay = Replay {
            options,
            writer: Writer::on(&self.client, options)?,
            origins: Origins::on(&self.client),
            marks,
            known: Known::within(KNOWN_BYTES),
            chunk: Vec::new(),
            chunk_bytes: 0,
            done: Replayed::default(),
        };
        while let Some(records) = reading.next().await? {
            for record in records.iter().filter(|record| !reading.is_new(record)) {
                let is_new = replay.marks.arrive(&record);
                replay.done.read += 1;
                let Some(letter) = parse(&record) else {
                    replay.done.others += 1;
                    replay.marks.finish(record.topic_partition(), record.offset);
                    continue;
                };
                if !is_new {
                    replay.is_first(&letter);
                    let is_selected = options.filter.takes(&record, &letter);
                    replay.done.before += u64::from(is_selected);
                    continue;
                }
                if !options.filter.takes(&record, &letter) || replay.is_over(&record) {
                    continue;
                }
                if !replay.is_first(&letter) {
                    replay.done.doubled += 1;
                    replay.marks.finish(record.topic_partition(), record.offset);
                    continue;
                }
                replay.done.selected += 1;
                let letter = Letter {
                    from: record.topic_partition().clone(),
                    offset: record.offset,
                    record: record.to_owned(),
                    letter,
                };
                replay.take(letter, &reading).await?;
            }
            replay.send(&reading).await?;
        }
        for (partition, end) in &reading.ends {
            replay.marks.advance(partition, *end);
        }
        if !options.dry_run {
            replay.marks.commit(&reading.consumer).await?;
        }
        replay.done.forgotten = replay.known.forgotten();
        Ok(replay.done)
    }
}

struct Replay<'o> {
    options: &'o ReplayOptions,
    writer: Writer,
    origins: Origins,
    marks: Marks,
    /// Where the records of all letters so far stood.
    known: Known,
    chunk: Vec<Letter>,
    chunk_bytes: usize,
    done: Replayed,
}

impl Replay<'_> {
    /// Whether no letter of the same record was met before.
    fn is_first(&mut self, letter: &DeadLetter) -> bool {
        (self.known).insert(&letter.topic, letter.partition, letter.offset)
    }

    /// Whether no more is replayed, or no more of the partition of `record`.
    fn is_over(&self, record: &crate::kafka::RecordView<'_>) -> bool {
        let is_full = self.done.full.contains(record.topic_partition());
        let limit = self.options.limit.unwrap_or(u64::MAX);
        is_full || self.done.selected >= limit
    }

    /// Takes a letter into the chunk, and sends what stands in its way first.
    async fn take(&mut self, mut letter: Letter, reading: &Reading) -> Result<()> {
        if letter.letter.left_out != LeftOut::Nothing {
            match self.origins.find(&letter.letter).await? {
                Some(origin) => letter.record = origin,
                None => {
                    self.done.gone += 1;
                    return Ok(());
                }
            }
        }
        if self.options.dry_run {
            self.done.replayed += 1;
            return Ok(());
        }
        let is_behind = |other: &Letter| {
            letter.record.key.is_some()
                && letter.record.key == other.record.key
                && letter.letter.topic == other.letter.topic
        };
        let has_room = |replay: &Self| {
            let chunk = replay.chunk.iter();
            let others = chunk.filter(|other| other.from == letter.from).count();
            replay.marks.has_room(&letter.from, letter.offset, others)
        };
        if self.chunk.len() >= CHUNK
            || self.chunk_bytes >= CHUNK_BYTES
            || self.chunk.iter().any(is_behind)
            || !has_room(self)
        {
            self.send(reading).await?;
        }
        if !has_room(self) {
            self.done.selected -= 1;
            self.done.full.insert(letter.from);
            return Ok(());
        }
        let record = &letter.record;
        self.chunk_bytes += [&record.key, &record.value]
            .into_iter()
            .flatten()
            .map(|bytes| bytes.len())
            .sum::<usize>();
        self.chunk.push(letter);
        Ok(())
    }

    /// Sends the chunk, waits until all of it is acknowledged, and marks what is.
    async fn send(&mut self, reading: &Reading) -> Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        self.chunk_bytes = 0;
        let mut failure = None;
        let mut sent = Vec::with_capacity(chunk.len());
        for letter in &chunk {
            match self.writer.enqueue(letter).await {
                Ok(delivery) => sent.push((letter, delivery)),
                Err(error) => {
                    failure = Some((letter, error));
                    break;
                }
            }
        }
        for (letter, delivery) in sent {
            match delivery.await {
                Ok(_) => {
                    self.done.replayed += 1;
                    self.marks.finish(&letter.from, letter.offset);
                }
                Err(error) => {
                    failure.get_or_insert((letter, error));
                }
            }
        }
        let committed = self.marks.commit(&reading.consumer).await;
        if let Some((letter, error)) = failure {
            let message = format!(
                "the dead letter at {} offset {} could not be replayed, after {} that were: {error}",
                letter.from, letter.offset, self.done.replayed
            );
            return Err(Error::new(error.kind(), message).because(error));
        }
        committed
    }
}

/// Writes records to their topics.
struct Writer {
    client: Client,
    producer: Producer,
    to: Option<String>,
    /// How many partitions each topic has that was written to.
    partitions: std::collections::BTreeMap<String, i32>,
}

impl Writer {
    fn on(client: &Client, options: &ReplayOptions) -> Result<Self> {
        Ok(Self {
            client: client.clone(),
            producer: client.producer(producer_config())?,
            to: options.to.clone(),
            partitions: Default::default(),
        })
    }

    async fn enqueue(&mut self, letter: &Letter) -> Result<crate::kafka::Delivery> {
        let Letter { record, letter, .. } = letter;
        let topic = self.to.as_deref().unwrap_or(&letter.topic);
        let replays = (letter.replays + 1).to_string();
        // What the letter says stands behind the record's own, and behind it what a tracer adds to each record.
        let is_first = |header: &OwnedHeader| header.key == ORIGIN_TOPIC;
        let count = record.headers.iter().rposition(is_first);
        let own = &record.headers[..count.unwrap_or(record.headers.len())];
        let own = own.iter().filter(|header| header.key != REPLAYS);
        let mut headers: Vec<_> = own
            .map(|header| Header::raw(header.key_bytes(), header.value.as_deref()))
            .collect();
        headers.push(Header::new(REPLAYS, replays.as_bytes()));
        let mut again = Record::new(topic).headers(&headers);
        (again.key, again.value) = (record.key.as_deref(), record.value.as_deref());
        if self.to.is_none() {
            let known = match self.partitions.get(topic) {
                Some(known) => *known,
                None => {
                    let described = self.client.admin().describe_topics(&[topic]).await?;
                    let described = described.into_values().collect::<Result<Vec<_>>>()?;
                    let count = described
                        .iter()
                        .map(|topic| topic.partitions.len() as i32)
                        .sum();
                    self.partitions.insert(topic.to_string(), count);
                    count
                }
            };
            again.partition = Some(letter.partition).filter(|partition| *partition < known);
        }
        self.producer.enqueue(again).await
    }
}
