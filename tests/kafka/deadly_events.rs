//! An event over which each process dies that handles it. In: a process of its own that aborts in its handler, started again whenever it has
//! ended, as an operator's supervisor does. Out: after a few deaths the event is a dead letter that says so, and all others are handled.

use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pat_events::events::email::EmailReceived;
use pat_events::events::{
    ConsumerConfig, Context, DeadLetter, DeadLetterFilter, DeadLetters, EventConsumer,
    EventProducer, HandlerError, OnFailure, ProducerConfig, event_set,
};
use pat_events::kafka::{Client, ClientConfig, NewTopic, OffsetReset};
use tokio::time::sleep;

use crate::children;
use crate::fleet::{Fleet, Target};
use crate::support::guarded::Guarded;
use crate::support::java::folder;

event_set! {
    enum Received, producer ReceivedProducer, handler ReceivedHandler { EmailReceived; }
}

const EVENTS: u32 = 600;
const KEYS: u32 = 30;
const DEADLY: u32 = 333;
/// The argument by which this program knows that it is to be a consumer, not the tests.
const CONSUMER: &str = "--be-a-consumer-that-dies";
/// Nobody waits longer than this for something to happen.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let name = "an_event_that_aborts_its_process_becomes_a_dead_letter_after_a_few_deaths";
    fleet.on_both_apart(name, Duration::ZERO, case).into()
}

/// Runs as a consumer, if this program was started for that, until it dies.
pub fn be_one_if_asked() {
    children::be_one_if_asked(CONSUMER, async |bootstrap, topic, notes| {
        let mut config = ConsumerConfig::new(&bootstrap, &topic, "deadly");
        config.auto_offset_reset = OffsetReset::Earliest;
        // As a static member it has its place again as soon as it is back.
        config.kafka.group_instance_id = Some("the-one".into());
        config.session_timeout = Duration::from_secs(45);
        config.on_failure = OnFailure::DeadLetter;
        let consumer = EventConsumer::<Received>::new(config).expect("a good configuration");
        consumer.start(Noting(notes)).await?;
        consumer.wait().await
    });
}

/// Writes down what it has handled, a line for each; aborts over one.
struct Noting(File);

impl ReceivedHandler for Noting {
    async fn handle_email_received(
        &self,
        _: &Context<'_>,
        event: EmailReceived,
    ) -> Result<(), HandlerError> {
        let number: u32 = event.subject.parse()?;
        sleep(Duration::from_millis(u64::from(number % 3))).await;
        if number == DEADLY {
            std::process::abort();
        }
        (&self.0).write_all(format!("{number}\n").as_bytes())?;
        Ok(())
    }
}

/// What was handled, in the order in which it was.
fn read_notes(notes: &Path) -> Vec<u32> {
    let text = fs::read_to_string(notes).expect("notes");
    let numbers = text.lines().map(|line| line.parse().expect("a number"));
    numbers.collect()
}

async fn case(target: Target, name: &'static str) {
    let topic = format!("deadly-{name}");
    let dead_topic = format!("{topic}.dlq");
    let admin = target.admin().await;
    for name in [&topic, &dead_topic] {
        let new = NewTopic::new(name, 3);
        admin.create_topic(&new).await.expect("created");
    }
    let producer = EventProducer::connect(ProducerConfig::new(&target.bootstrap, &topic));
    let producer = producer.await.expect("connected");
    for number in 0..EVENTS {
        let event = EmailReceived {
            email_id: format!("k{}", number % KEYS),
            subject: number.to_string(),
            ..Default::default()
        };
        // The flush tells of failures.
        drop(producer.enqueue(&event).await.expect("accepted"));
    }
    producer.flush().await.expect("written");

    let folder = folder().join(format!("{topic}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let notes = folder.join("handled");
    File::create(&notes).expect("a file");
    let log = folder.join("log");
    let start = || {
        let program = std::env::current_exe().expect("this program");
        let arguments = [
            CONSUMER,
            &target.bootstrap,
            &topic,
            &notes.to_string_lossy(),
        ];
        Guarded::start(&program.to_string_lossy(), &arguments, &log, &log).expect("it starts")
    };
    let client = Client::connect(ClientConfig::new(&target.bootstrap));
    let client = client.await.expect("connected");
    let letters = DeadLetters::on(&client, &*dead_topic);
    let (mut running, mut deaths) = (start(), 0);
    let began = Instant::now();
    let letter = loop {
        if running.ended().is_some() {
            deaths += 1;
            running = start();
        }
        let mut handled = read_notes(&notes);
        handled.sort_unstable();
        handled.dedup();
        let letter = first_of(&letters).await;
        if let Some(letter) = letter
            && handled.len() == EVENTS as usize - 1
        {
            break letter;
        }
        let says = || fs::read_to_string(&log).unwrap_or_default();
        let all = handled.len();
        assert!(
            began.elapsed() < PATIENCE,
            "after {deaths} deaths {all} of {EVENTS} are handled: {}",
            says()
        );
        sleep(LOOK).await;
    };
    drop(running);
    assert!(
        letter.error_type.ends_with("::KilledProcesses"),
        "{letter:?}"
    );
    assert!((5..=7).contains(&deaths), "{deaths} deaths");
    in_order(&read_notes(&notes));
    println!("{name}: {deaths} deaths, {} s", began.elapsed().as_secs());
    let _ = fs::remove_dir_all(folder);
}

async fn first_of(letters: &DeadLetters) -> Option<DeadLetter> {
    let mut first = None;
    let all = DeadLetterFilter::default();
    let read = letters.read(&all, |_, letter| {
        first = Some(letter.clone());
        ControlFlow::Break(())
    });
    read.await.expect("read");
    first
}

/// Each key has its events in order: after any, what comes next is the next, or one that was handled before.
fn in_order(handled: &[u32]) {
    for key in 0..KEYS {
        let mut next = key;
        for number in handled.iter().filter(|number| *number % KEYS == key) {
            assert!(*number <= next, "{number} of key {key} came before {next}");
            if *number == next {
                next += KEYS;
                if next == DEADLY {
                    next += KEYS;
                }
            }
        }
    }
}
