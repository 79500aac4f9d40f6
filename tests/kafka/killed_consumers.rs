//! Consumers of events that are killed (SIGKILL) again and again, while handlers fail and members come and go. In: events on many keys, some of which
//! fail for a while, and wait in retry topics, and some for ever. Out: each is handled or in the topic of dead letters, each key in order; again comes only what was not
//! committed; and a replay brings the dead ones back in order.
//!
//! `KILLED_CONSUMERS=200000` sends so many events and kills ten times; without it 5,000, and three times.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pat_events::events::email::EmailReceived;
use pat_events::events::prost::Message;
use pat_events::events::{
    ConsumerConfig, Context, DeadLetter, DeadLetterFilter, DeadLetters, EventConsumer,
    EventProducer, HandlerError, OnFailure, ProducerConfig, ReplayOptions, RetryPolicy,
    RetryTopics, dead_letter, event_set,
};
use pat_events::kafka::{Client, ClientConfig, NewTopic, OffsetReset, RecordView, TopicPartition};
use tokio::time::{sleep, timeout};

use crate::children;
use crate::fleet::{Fleet, Target};
use crate::support::guarded::Guarded;
use crate::support::java::folder;

event_set! {
    enum Received, producer ReceivedProducer, handler ReceivedHandler { EmailReceived; }
}

const PARTITIONS: i32 = 6;
const MEMBERS: usize = 3;
const GROUP: &str = "killed";
/// The argument by which this program knows that it is to be a consumer, not the tests.
const CONSUMER: &str = "--be-a-consumer-that-is-killed";
/// Nobody waits longer than this for something to happen.
const PATIENCE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(100);

/// How much of it there is.
#[derive(Clone, Copy)]
struct Size {
    events: u32,
    keys: u32,
    kills: u32,
}

impl Size {
    fn of_the_environment() -> Self {
        let events = std::env::var("KILLED_CONSUMERS").ok();
        let events = events.map(|it| it.parse().expect("KILLED_CONSUMERS is a number of events"));
        match events {
            Some(events) => Self {
                events,
                keys: 2_000,
                kills: 10,
            },
            None => Self {
                events: 5_000,
                keys: 200,
                kills: 3,
            },
        }
    }

    fn takes(self) -> Duration {
        Duration::from_secs(u64::from(self.kills) * 30)
    }
}

/// What handlers do with an event, each time that it comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Good,
    /// So many attempts fail.
    Transient(u32),
    Poison,
}

fn fate(number: u32) -> Fate {
    let mixed = (u64::from(number) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    match (mixed >> 33) % 1_000 {
        0..5 => Fate::Poison,
        5..55 => Fate::Transient(1 + number % 2),
        _ => Fate::Good,
    }
}

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let name = "killed_consumers_handle_or_bury_each_event_in_order_and_a_replay_brings_it_back";
    let meant = Size::of_the_environment().takes();
    fleet.on_both_apart(name, meant, case).into()
}

/// Runs as a consumer, if this program was started for that, until it is killed.
pub fn be_one_if_asked() {
    children::be_one_if_asked(CONSUMER, async |bootstrap, topic, notes| {
        let consumer = consumer(&bootstrap, &topic);
        consumer.start(Noting(notes)).await?;
        consumer.wait().await
    });
}

fn consumer(bootstrap: &str, topic: &str) -> EventConsumer<Received> {
    let mut config = ConsumerConfig::new(bootstrap, topic, GROUP);
    config.auto_offset_reset = OffsetReset::Earliest;
    config.session_timeout = Duration::from_secs(6);
    config.on_failure = OnFailure::DeadLetter;
    // One attempt in place, and one in each retry topic.
    config.retry = RetryPolicy::none();
    config.retry_topics = retry_topics();
    // Failures are as they are meant, and no storm.
    config.retry.budget_per_second = 100_000;
    config.circuit.failure_percent = 0;
    EventConsumer::new(config).expect("a good configuration")
}

fn retry_topics() -> RetryTopics {
    RetryTopics::after([200, 1_000].map(Duration::from_millis))
}

/// Writes down what it has handled, before it says so: a line for each, all members in one file.
struct Noting(File);

impl ReceivedHandler for Noting {
    async fn handle_email_received(
        &self,
        context: &Context<'_>,
        event: EmailReceived,
    ) -> Result<(), HandlerError> {
        let number: u32 = event.subject.parse()?;
        sleep(Duration::from_millis(1 + u64::from(number % 3))).await;
        match fate(number) {
            Fate::Poison => return Err(HandlerError::poison("it will never do")),
            Fate::Transient(failures) if context.attempt() <= failures => {
                return Err(HandlerError::transient("not now"));
            }
            Fate::Good | Fate::Transient(_) => {}
        }
        let line = format!(
            "{} {} {} {number}\n",
            context.partition(),
            context.offset(),
            event.email_id
        );
        (&self.0).write_all(line.as_bytes())?;
        Ok(())
    }
}

/// A line of the members' notes.
#[derive(Clone, Debug)]
struct Handled {
    partition: i32,
    offset: i64,
    key: String,
    number: u32,
    /// Where the line begins in the file.
    at: u64,
}

fn read_notes(notes: &Path) -> Vec<Handled> {
    let text = fs::read_to_string(notes).expect("notes");
    let mut at = 0;
    let handled = text.lines().map(|line| {
        let begins = at;
        at += line.len() as u64 + 1;
        let mut parts = line.split(' ');
        let mut next = || parts.next().expect("a part");
        Handled {
            partition: next().parse().expect("a number"),
            offset: next().parse().expect("a number"),
            key: next().to_string(),
            number: next().parse().expect("a number"),
            at: begins,
        }
    });
    handled.collect()
}

struct Members {
    bootstrap: String,
    topic: String,
    notes: PathBuf,
    running: Vec<Guarded>,
}

impl Members {
    fn start_one(&mut self) {
        let program = std::env::current_exe().expect("this program");
        let notes = self.notes.to_string_lossy();
        let arguments = [CONSUMER, &self.bootstrap, &self.topic, &notes];
        let log = self.notes.with_extension("log");
        let started = Guarded::start(&program.to_string_lossy(), &arguments, &log, &log);
        self.running.push(started.expect("it starts"));
    }

    /// Fails when one has ended by itself.
    fn check(&mut self) {
        let log = self.notes.with_extension("log");
        let ended = self
            .running
            .iter_mut()
            .any(|member| member.ended().is_some());
        let says = fs::read_to_string(log).unwrap_or_default();
        assert!(!ended, "a member has ended by itself: {says}");
    }
}

async fn case(target: Target, name: &'static str) {
    let size = Size::of_the_environment();
    let began = Instant::now();
    let topic = format!("killed-{name}");
    let dead_topic = format!("{topic}.dlq");
    let admin = target.admin().await;
    for name in [&topic, &dead_topic] {
        let new = NewTopic::new(name, PARTITIONS);
        admin.create_topic(&new).await.expect("created");
    }
    let client = Client::connect(ClientConfig::new(&target.bootstrap));
    let client = client.await.expect("connected");
    let retries = retry_topics().create(&client, &topic, GROUP).await;
    let retries = retries.expect("created");
    let folder = folder().join(format!("{topic}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let notes = folder.join("handled");
    File::create(&notes).expect("a file");
    let mut members = Members {
        bootstrap: target.bootstrap.clone(),
        topic: topic.clone(),
        notes: notes.clone(),
        running: Vec::new(),
    };
    (0..MEMBERS).for_each(|_| members.start_one());
    send_all(&target, &topic, size).await;
    let committed = kill_again_and_again(&target, &mut members, &retries, size).await;
    let letters = DeadLetters::on(&client, &*dead_topic);
    let poison = |number: &u32| fate(*number) == Fate::Poison;
    let poisoned: BTreeSet<u32> = (0..size.events).filter(poison).collect();
    let waits = Instant::now();
    let (handled, dead) = loop {
        members.check();
        let handled = read_notes(&notes);
        let numbers: BTreeSet<u32> = handled.iter().map(|one| one.number).collect();
        let dead = dead_numbers(&letters).await;
        let buried: BTreeSet<u32> = dead.iter().copied().collect();
        if numbers.len() + poisoned.len() == size.events as usize && buried == poisoned {
            break (handled, dead);
        }
        let (all, had) = (size.events as usize, numbers.len());
        assert!(
            waits.elapsed() < PATIENCE,
            "of {all} events {had} are handled, and {} of {} are dead letters",
            buried.len(),
            poisoned.len()
        );
        sleep(Duration::from_millis(500)).await;
    };
    drop(members);
    in_order(&handled, size);
    let again = handled.len() - (size.events as usize - poisoned.len());
    let mut copies: BTreeMap<(i32, i64), Vec<(&str, i64)>> = BTreeMap::new();
    for name in &retries {
        // What is in a retry topic says where it stood in the words of a dead letter.
        let each = |record: &RecordView<'_>, letter: &DeadLetter| {
            let copies = copies.entry((letter.partition, letter.offset)).or_default();
            copies.push((name, record.offset));
            ControlFlow::Continue(())
        };
        let letters = DeadLetters::on(&client, name);
        letters
            .read(&DeadLetterFilter::default(), each)
            .await
            .expect("read");
    }
    for one in &handled {
        for (place, committed) in &committed {
            let is_after = |topic: &str, offset: i64| {
                let before = committed.get(&TopicPartition::new(topic, one.partition));
                offset >= before.copied().unwrap_or(0)
            };
            let mut copies = copies
                .get(&(one.partition, one.offset))
                .into_iter()
                .flatten();
            assert!(
                one.at < *place
                    || is_after(&topic, one.offset)
                    || copies.any(|(retry, offset)| is_after(retry, *offset)),
                "{one:?} was handled again though it was committed: {committed:?}"
            );
        }
    }
    let waited = copies.len();
    let replayed = replay(&target, &topic, &letters, &poisoned, size).await;
    println!(
        "{name}: {} events on {} keys, {} kills: {} handled, {again} of them again, {waited} in retry topics, {} dead letters, {} of them doubled, {replayed} replayed; {} s",
        size.events,
        size.keys,
        size.kills,
        handled.len() - again,
        poisoned.len(),
        dead.len() - poisoned.len(),
        began.elapsed().as_secs()
    );
    let _ = fs::remove_dir_all(folder);
}

fn key_of(number: u32, size: Size) -> String {
    format!("k{}", number % size.keys)
}

async fn send_all(target: &Target, topic: &str, size: Size) {
    let producer = EventProducer::connect(ProducerConfig::new(&target.bootstrap, topic));
    let producer = producer.await.expect("connected");
    for number in 0..size.events {
        let event = EmailReceived {
            email_id: key_of(number, size),
            subject: number.to_string(),
            ..Default::default()
        };
        // The flush tells of failures.
        drop(producer.enqueue(&event).await.expect("accepted"));
    }
    producer.flush().await.expect("written");
}

/// Kills a member whenever so much more is handled, and starts another in its place. Returns what was committed after each kill, and how long the
/// notes were then.
async fn kill_again_and_again(
    target: &Target,
    members: &mut Members,
    retries: &[String],
    size: Size,
) -> Vec<(u64, BTreeMap<TopicPartition, i64>)> {
    let reader = target.consumer(&[("group.id", GROUP)]).await;
    let topics = [members.topic.clone()].into_iter();
    let names: Vec<_> = topics
        .chain(retries.iter().cloned())
        .flat_map(|topic| (0..PARTITIONS).map(move |it| TopicPartition::new(&*topic, it)))
        .collect();
    let mut committed = Vec::new();
    for kill in 0..size.kills {
        let until = size.events as usize * (kill as usize + 1) / (size.kills as usize + 2);
        let waits = Instant::now();
        while fs::read(&members.notes)
            .expect("notes")
            .iter()
            .filter(|it| **it == b'\n')
            .count()
            < until
        {
            members.check();
            assert!(
                waits.elapsed() < PATIENCE,
                "no {until} are handled before kill {kill}"
            );
            sleep(LOOK).await;
        }
        drop(members.running.remove(kill as usize % MEMBERS));
        members.start_one();
        let known = reader.committed(&names).await.expect("answered");
        let length = fs::metadata(&members.notes).expect("notes").len();
        let known = known
            .into_iter()
            .map(|(name, commit)| (name, commit.offset));
        committed.push((length, known.collect()));
    }
    committed
}

/// The numbers of the events in the dead letters, as they stand there.
async fn dead_numbers(letters: &DeadLetters) -> Vec<u32> {
    let mut numbers = Vec::new();
    let all = DeadLetterFilter::default();
    let read = letters.read(&all, |record, _| {
        let event = EmailReceived::decode(record.value.unwrap_or_default()).expect("an event");
        numbers.push(event.subject.parse().expect("a number"));
        ControlFlow::Continue(())
    });
    read.await.expect("read");
    numbers
}

/// Each key has its events in order: after any, what comes next is the next good one, or one that was handled before.
fn in_order(handled: &[Handled], size: Size) {
    let mut next: BTreeMap<&str, u32> = BTreeMap::new();
    let after = |number: u32| {
        let rest = (number..size.events).step_by(size.keys as usize);
        { rest }
            .find(|number| fate(*number) != Fate::Poison)
            .unwrap_or(u32::MAX)
    };
    for one in handled {
        assert_eq!(one.key, key_of(one.number, size));
        let wanted = next
            .entry(&one.key)
            .or_insert(after(one.number % size.keys));
        assert!(one.number <= *wanted, "{one:?} overtook {wanted}");
        if one.number == *wanted {
            *wanted = after(one.number + size.keys);
        }
    }
}

/// What was replayed, as it comes.
#[derive(Clone, Default)]
struct Healed(Arc<Mutex<Vec<(String, u32)>>>);

impl ReceivedHandler for Healed {
    async fn handle_email_received(
        &self,
        context: &Context<'_>,
        event: EmailReceived,
    ) -> Result<(), HandlerError> {
        if context.record().headers.last(dead_letter::REPLAYS) == Some(b"1") {
            let one = (event.email_id.clone(), event.subject.parse()?);
            self.0.lock().expect("lock").push(one);
        }
        Ok(())
    }
}

/// Replays the dead letters to a consumer whose handlers have been mended. Returns how many came.
async fn replay(
    target: &Target,
    topic: &str,
    letters: &DeadLetters,
    poisoned: &BTreeSet<u32>,
    size: Size,
) -> usize {
    let healed = Healed::default();
    let consumer = consumer(&target.bootstrap, topic);
    consumer.start(healed.clone()).await.expect("started");
    let replayed = letters
        .replay(&ReplayOptions::default())
        .await
        .expect("sent");
    assert_eq!(replayed.replayed as usize, poisoned.len(), "{replayed:?}");
    let come = || healed.0.lock().expect("lock").len();
    let all = async {
        while come() < poisoned.len() {
            sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, all).await.expect("all come");
    let again = letters
        .replay(&ReplayOptions::default())
        .await
        .expect("read");
    assert_eq!((again.replayed, again.selected), (0, 0));
    consumer.stop().await.expect("stopped well");
    let came = healed.0.lock().expect("lock").clone();
    let numbers: BTreeSet<u32> = came.iter().map(|(_, number)| *number).collect();
    assert_eq!(
        (&numbers, came.len()),
        (poisoned, poisoned.len()),
        "each once"
    );
    let mut last: BTreeMap<&str, u32> = BTreeMap::new();
    for (key, number) in &came {
        assert_eq!(*key, key_of(*number, size));
        let before = last.insert(key, *number);
        assert!(before < Some(*number), "{number} after {before:?}");
    }
    came.len()
}
