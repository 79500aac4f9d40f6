//! Reads the retry topics of the partitions that are ours, beside the group: first what is under way in them, for the books of their chains; then
//! each record when it is due. A partition whose first record is not due yet is paused until it is: its records are in the order of their times,
//! one delay apart from when they were written, so that nothing is waited for that would be due sooner.
//!
//! In: chains that begin and end with the group's assignments. Out: records for the distributor; origins that are resumed once their books are
//! filled. Handlers and groups never wait for it, nor does it for them.
//!
//! Where a retry topic is deleted and another gets its name, the chain begins again (`again.rs`), as after an assignment.

mod again;
mod starts;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::assigned::Assigned;
use super::config::ConsumerConfig;
use super::distributor::{Distributor, is_of};
use super::error_policy::{Refusals, Rereads, retry_backoff};
use super::metrics::Counters;
use crate::events::failure::{Chain, Envelope, EventAt, FailureHandling};
use crate::kafka::consumer::{ConsumerHandle, PartitionRecords};
use crate::kafka::observe::{ClientEvent, tell};
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Consumer, Error, ErrorKind, Records, Result, StartOffset, TopicPartition};
use starts::{Level, Start, find_begin};

/// The longest that one poll waits.
const POLL: Duration = Duration::from_millis(500);
/// After which time it is tried once more to read retry partitions that could not be assigned.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the positions in retry topics are committed without a change: no member subscribes to these, and brokers forget such a commit that
/// is older than `offsets.retention.minutes`.
const RENEW_EVERY: Duration = Duration::from_secs(3_600);

/// What reads retry topics.
pub(super) struct RetryReader {
    pub consumer: Consumer,
    /// The member of the group.
    pub main: ConsumerHandle,
    pub assigned: Assigned,
    pub failing: Arc<FailureHandling>,
    pub config: ConsumerConfig,
    pub counters: Arc<Counters>,
    /// By their origins.
    readings: BTreeMap<TopicPartition, Reading>,
    /// What is waited for.
    waiting: JoinSet<(Arc<Chain>, Done)>,
}

/// What was waited for of a chain.
enum Done {
    /// Where its retry partitions begin, or why that is not known.
    Prepared(Result<Vec<Level>>),
    /// Nothing of a retry topic that is gone is in flight any more, or that was waited for for long enough.
    Emptied,
    /// No handler is at work any more, or that was waited for for long enough.
    Drained,
}

/// One chain.
struct Reading {
    chain: Arc<Chain>,
    /// Where its retry partitions go on, as far as that is known here and not from what is committed: in the order of the levels.
    known: Vec<Option<Start>>,
    /// Its retry partitions; none until it is known where they begin.
    levels: Vec<Level>,
    /// When it is asked again where they begin.
    again_at: Option<Instant>,
    /// Whether it was told that they cannot be read.
    is_told: bool,
    /// Whether it is coming to its end, so that another can begin.
    is_ending: bool,
}

impl RetryReader {
    pub(super) fn new(
        consumer: Consumer,
        main: ConsumerHandle,
        assigned: Assigned,
        failing: Arc<FailureHandling>,
        config: ConsumerConfig,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            consumer,
            main,
            assigned,
            failing,
            config,
            counters,
            readings: BTreeMap::new(),
            waiting: JoinSet::new(),
        }
    }

    /// Reads, until it fails in a way that ends the consumer.
    pub(super) async fn run(&mut self, distributor: &Distributor) -> Error {
        let (mut backoff, mut random) = retry_backoff(&self.config, "polls of retry topics");
        let mut refusals = Refusals::new(&self.config);
        let mut rereads = Rereads::default();
        let mut renew_at = Instant::now() + RENEW_EVERY;
        loop {
            self.follow();
            let now = Instant::now();
            self.resume_what_is_due(now);
            if now >= renew_at {
                renew_at = now + RENEW_EVERY;
                self.commit_once_more();
            }
            let mut is_poll = false;
            let polled = match self.next(distributor).await {
                News::Chains => continue,
                News::Done((chain, Done::Prepared(Ok(levels)))) => self.begin(&chain, levels).await,
                News::Done((chain, Done::Prepared(Err(error)))) => {
                    self.tell_once(&chain, &error);
                    if let Some(reading) = self.reading_of(&chain) {
                        reading.again_at = Some(Instant::now() + backoff.failed(&mut random));
                    }
                    Err(error)
                }
                News::Done((chain, Done::Emptied)) => {
                    self.end(&chain);
                    continue;
                }
                News::Done((chain, Done::Drained)) => {
                    self.begin_again(&chain);
                    continue;
                }
                News::Polled(Ok(records)) => {
                    backoff.succeeded();
                    refusals.polled(&records, Instant::now());
                    self.take(&records, distributor)
                }
                News::Polled(Err(error)) if rereads.once_more(&self.consumer, &error) => {
                    self.counters.failed_to_poll(error);
                    continue;
                }
                News::Polled(Err(error)) => {
                    is_poll = true;
                    Err(error)
                }
            };
            let Err(error) = polled else {
                continue;
            };
            let ends = match error.kind() {
                // One bad response ends nothing.
                ErrorKind::OffsetOutOfRange => !self.is_in_the_log(&error).await,
                ErrorKind::TopicRecreated => match error.partition() {
                    Some(name) if self.recreated(name) => continue,
                    _ => true,
                },
                _ => refusals.ends(&error, Instant::now()),
            };
            if ends {
                return error;
            }
            self.counters.failed_to_poll(error);
            if is_poll {
                sleep(backoff.failed(&mut random)).await;
            }
        }
    }

    /// Whether the position that `error` says is out of range is in the log, as far as can be known now: then it is read from there once more.
    async fn is_in_the_log(&mut self, error: &Error) -> bool {
        let (Some(name), Some(offset)) = (error.partition(), error.failed_offset()) else {
            return true;
        };
        let one = std::slice::from_ref(name);
        let bounds = async {
            let begins = self.consumer.beginning_offsets(one).await?;
            let ends = self.consumer.end_offsets(one).await?;
            Ok::<_, Error>((begins.get(name).copied(), ends.get(name).copied()))
        };
        let is_in = match bounds.await {
            Ok((Some(begin), Some(end))) => (begin..=end).contains(&offset),
            // It is said again.
            Ok(_) | Err(_) => true,
        };
        if is_in {
            // One that is not assigned any more is not read.
            let _ = self.consumer.seek(name, offset);
        }
        is_in
    }

    /// Leaves the retry topics.
    pub(super) async fn close(self) -> Result<()> {
        self.consumer.close().await
    }

    /// Waits for what comes next.
    async fn next(&mut self, distributor: &Distributor) -> News {
        let Self {
            consumer,
            assigned,
            readings,
            waiting,
            ..
        } = self;
        let dues = readings.values().flat_map(|reading| {
            let levels = reading.levels.iter().filter_map(|level| level.due);
            levels.chain(reading.again_at)
        });
        let due = dues.min();
        let has_levels = readings.values().any(|it| !it.levels.is_empty());
        let poll = due.map_or(POLL, |due| {
            POLL.min(due.saturating_duration_since(Instant::now()))
        });
        let until = async {
            match due {
                // A poll ends by itself.
                Some(due) if !has_levels => sleep_until(due).await,
                _ => pending().await,
            }
        };
        let polled = async {
            match has_levels {
                true => consumer.poll_within(poll, distributor.most()).await,
                false => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = assigned.chains.changed() => News::Chains,
            Some(done) = waiting.join_next() => match done {
                Ok(done) => News::Done(done),
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => News::Chains,
                },
            },
            polled = polled => News::Polled(polled),
            () = until => News::Chains,
        }
    }

    /// Begins and ends readings, as chains do.
    fn follow(&mut self) {
        let chains = &self.assigned.chains;
        let mut gone = Vec::new();
        self.readings.retain(|_, reading| {
            let has = chains.has(&reading.chain);
            if !has {
                gone.extend(reading.levels.iter().map(|level| level.name.clone()));
            }
            has
        });
        if !gone.is_empty() {
            // They were assigned here, and by nobody else.
            let _ = self.consumer.unassign(&gone);
        }
        for chain in chains.all() {
            let reading = self.readings.get(&chain.origin);
            let now = Instant::now();
            let asks = reading.is_none_or(|it| it.again_at.is_some_and(|at| at <= now));
            if !asks {
                continue;
            }
            let before = self.readings.remove(&chain.origin);
            let (known, is_told) = match before {
                Some(reading) if Arc::ptr_eq(&reading.chain, &chain) => {
                    (reading.known, reading.is_told)
                }
                _ => (Vec::new(), false),
            };
            self.prepare(chain, known, is_told);
        }
    }

    /// Asks where the retry partitions of `chain` begin.
    fn prepare(&mut self, chain: Arc<Chain>, known: Vec<Option<Start>>, is_told: bool) {
        let reading = Reading {
            chain: chain.clone(),
            known: known.clone(),
            levels: Vec::new(),
            again_at: None,
            is_told,
            is_ending: false,
        };
        self.readings.insert(chain.origin.clone(), reading);
        let (main, retry) = (self.main.clone(), self.consumer.handle());
        self.waiting.spawn(async move {
            let levels = find_begin(&main, &retry, &chain, known).await;
            (chain, Done::Prepared(levels))
        });
    }

    /// The reading of `chain`, if it is still that of its origin.
    fn reading_of(&mut self, chain: &Arc<Chain>) -> Option<&mut Reading> {
        let reading = self.readings.get_mut(&chain.origin);
        reading.filter(|it| Arc::ptr_eq(&it.chain, chain))
    }

    /// Tells the observer what keeps the retry partitions of `chain` from being read: once, until they are.
    fn tell_once(&mut self, chain: &Arc<Chain>, error: &Error) {
        let reading = self.reading_of(chain);
        if reading.is_some_and(|it| !std::mem::replace(&mut it.is_told, true)) {
            self.tell(&chain.origin, error);
        }
    }

    fn tell(&self, origin: &TopicPartition, error: &Error) {
        tell(&self.config.kafka.client.observer, || {
            ClientEvent::RetryTopicFailed {
                group: &self.config.group_id,
                partition: origin,
                error,
            }
        });
    }

    /// Reads the retry partitions of `chain`, now that it is known where they begin.
    async fn begin(&mut self, chain: &Arc<Chain>, levels: Vec<Level>) -> Result<()> {
        if !self.assigned.chains.has(chain) {
            return Ok(());
        }
        for level in levels.iter().filter(|level| level.is_another) {
            self.tell_recreated(&chain.origin, &level.name);
        }
        let from = levels.iter().map(|level| {
            let from = StartOffset::Offset(level.start.offset);
            (level.name.clone(), from)
        });
        let assigned = self.consumer.assign_more(&from.collect::<Vec<_>>()).await;
        if let Some(reading) = self.readings.get_mut(&chain.origin) {
            match &assigned {
                Ok(()) => (reading.levels, reading.is_told) = (levels, false),
                Err(_) => reading.again_at = Some(Instant::now() + PATIENCE),
            }
        }
        assigned?;
        self.look_around();
        Ok(())
    }

    /// Takes what a poll has returned: for the books, or to be handled.
    fn take(&mut self, records: &Records, distributor: &Distributor) -> Result<()> {
        let mut full = None;
        let (chains, failing) = (&self.assigned.chains, &self.failing);
        let (readings, assigned, consumer) = (&mut self.readings, &self.assigned, &self.consumer);
        distributor.take_until(records, |run| {
            let (chain, number) = chains.find(run.partition())?;
            let reading = readings.get_mut(&chain.origin)?;
            if !Arc::ptr_eq(&reading.chain, &chain) || reading.is_ending && !chain.is_ready() {
                return None;
            }
            let level = reading.levels.get_mut(usize::from(number) - 1)?;
            if !chain.is_ready() {
                if !level.is_looked_through && !look_through(run, level, &chain, number, failing) {
                    full = Some(chain.origin.clone());
                }
                return None;
            }
            if level.due.is_some() {
                // What was behind the first that is not due.
                return None;
            }
            let wait = first_not_due(run, failing, number);
            let Some((offset, wait)) = wait else {
                return Some(run.next_offset());
            };
            level.due = Some(Instant::now() + wait);
            if let Some(partition) = assigned.find(&level.name) {
                partition.set_waiting(true);
            }
            // It is assigned: nothing can be wrong.
            let _ = consumer.seek(&level.name, offset);
            let _ = consumer.pause(std::slice::from_ref(&level.name));
            Some(offset)
        });
        if let Some(origin) = full {
            let limit = self.config.retry_topics.max_pending;
            let message = format!(
                "more than twice retry.pending.max = {limit} events are under way in its retry topics: raise it"
            );
            let error = Error::new(ErrorKind::Config, message);
            return Err(error.topic_partition(origin.topic, origin.partition));
        }
        self.look_around();
        Ok(())
    }

    /// Looks which chains are looked through, and lets these go on.
    fn look_around(&mut self) {
        let mut recreated = Vec::new();
        for (origin, reading) in &mut self.readings {
            let chain = &reading.chain;
            let goes = reading.is_ending || chain.is_leaving();
            if reading.levels.is_empty() || chain.is_ready() || goes {
                continue;
            }
            for level in &mut reading.levels {
                let position = self.consumer.position_to_commit(&level.name);
                let topic_id = position.as_ref().and_then(|at| at.topic_id);
                if topic_id.is_some_and(|now| level.start.topic_id.is_some_and(|it| it != now)) {
                    // What it begins at was found out of another topic.
                    recreated.push(level.name.clone());
                    continue;
                }
                let at = position.map_or(level.start.offset, |at| at.offset);
                #[cfg(planted_defects)]
                let at = match planted::is_planted(planted::Defect::UnderWayNotRebuilt) {
                    true => level.end,
                    false => at,
                };
                if at >= level.end && !level.is_looked_through {
                    level.is_looked_through = true;
                    let _ = self.consumer.pause(std::slice::from_ref(&level.name));
                }
            }
            if !reading.levels.iter().all(|level| level.is_looked_through) {
                continue;
            }
            for level in &mut reading.levels {
                let start = std::mem::take(&mut level.start);
                let offset = start.offset;
                let partition = start.put(&self.assigned, &level.name);
                // Committed once more, so that brokers do not forget it.
                partition.commit_failed();
                let _ = self.consumer.seek(&level.name, offset);
                let _ = self.consumer.resume(std::slice::from_ref(&level.name));
            }
            reading.chain.set_ready();
            let is_paused = self.assigned.find(origin).is_some_and(|it| it.is_paused());
            if !is_paused {
                let _ = self.main.resume(std::slice::from_ref(origin));
            }
        }
        for name in recreated {
            self.recreated(&name);
        }
    }

    fn resume_what_is_due(&mut self, now: Instant) {
        for reading in self.readings.values_mut() {
            for level in &mut reading.levels {
                if level.due.is_none_or(|due| due > now) {
                    continue;
                }
                level.due = None;
                let partition = self.assigned.find(&level.name);
                let is_paused = partition.is_some_and(|partition| {
                    partition.set_waiting(false);
                    partition.is_paused()
                });
                if !is_paused {
                    let _ = self.consumer.resume(std::slice::from_ref(&level.name));
                }
            }
        }
    }

    fn commit_once_more(&self) {
        let ours = self.assigned.ours();
        let retries = ours.iter().filter(|partition| partition.level() > 0);
        retries.for_each(|partition| partition.commit_failed());
    }
}

/// What came.
enum News {
    Chains,
    Done((Arc<Chain>, Done)),
    Polled(Result<Records>),
}

/// Puts what is under way into the book. `false`: it is more than a book may hold.
fn look_through(
    run: PartitionRecords<'_>,
    level: &Level,
    chain: &Chain,
    number: u8,
    failing: &FailureHandling,
) -> bool {
    let is_finished = |offset: i64| level.start.finished.iter().any(|it| it.contains(&offset));
    let records = run.iter().take_while(|record| record.offset < level.end);
    records
        .filter(|record| !is_finished(record.offset))
        .all(|record| {
            let Some(envelope) = Envelope::parse(|| record.headers.raw()) else {
                return true;
            };
            let letter = &envelope.letter;
            if !is_of(chain, &envelope) || !failing.is_ours(letter) {
                return true;
            }
            let event = EventAt::new(record.key, envelope.topic_id, letter.offset);
            chain.found(event, number)
        })
}

/// The first record of `run` that is not due, and for how long it is not.
fn first_not_due(
    run: PartitionRecords<'_>,
    failing: &FailureHandling,
    number: u8,
) -> Option<(i64, Duration)> {
    run.iter().find_map(|record| {
        let envelope = Envelope::parse(|| record.headers.raw())?;
        let wait = failing.due_in(number, envelope.not_before_ms);
        (failing.is_ours(&envelope.letter) && !wait.is_zero()).then_some((record.offset, wait))
    })
}
